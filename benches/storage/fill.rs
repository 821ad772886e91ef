//! How many versions get into a store in no time: laid out beside it, as Athens or the gateway has them. Saves
//! would take minutes for each kind.

use std::path::PathBuf;

use dipylon_testkit::athens::Names;
use dipylon_testkit::module::FakeModule;
use mongodb::Database;
use mongodb::bson::oid::ObjectId;

use crate::raw::Raw;
use crate::rows;

/// Where the versions of a store lie.
pub(crate) enum Inside {
    Folder(PathBuf),
    Bucket(Names, Raw),
    Database(Database),
}

/// Lays whole versions out.
pub(crate) async fn fill(inside: &Inside, modules: impl Iterator<Item = FakeModule>) {
    match inside {
        Inside::Folder(root) => {
            let put = |name, bytes| async move {
                let file = root.join::<String>(name);
                std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
                std::fs::write(file, bytes).expect("a file");
            };
            Names::Directory.lay_out(modules, put).await;
        }
        Inside::Bucket(names, raw) => {
            let put = |name: String, bytes| async move { raw.put(&name, bytes).await };
            names.lay_out(modules, put).await;
        }
        Inside::Database(database) => {
            let versions: Vec<_> = modules.map(|module| (ObjectId::new(), module)).collect();
            rows::lay_out(database, &versions).await;
        }
    }
}
