//! Many versions at once, as the gateway has them: a zip has the `_id` of its document. `benches/storage` fills
//! its database this way too.

use dipylon_testkit::module::FakeModule;
use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};

/// Versions that are sent at once.
const BATCH: usize = 1_000;

pub(crate) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
}

/// The name that Athens gives a zip.
pub(crate) fn zip_name(module: &FakeModule) -> String {
    format!("{}_{}.zip", module.path().replace('/', "_"), module.version())
}

/// The document that Athens writes.
pub(crate) fn document(id: ObjectId, module: &FakeModule) -> Document {
    doc! {
        "_id": id,
        "module": module.path(),
        "version": module.version(),
        "mod": binary(&module.go_mod_bytes()),
        "info": binary(module.info().as_bytes()),
    }
}

/// The record of a zip and its only chunk.
fn zip(id: ObjectId, module: &FakeModule) -> (Document, Document) {
    let record = doc! {
        "_id": id,
        "length": i64::try_from(module.zip().len()).unwrap(),
        "chunkSize": 261_120,
        "uploadDate": DateTime::now(),
        "filename": zip_name(module),
    };
    (record, doc! { "files_id": id, "n": 0, "data": binary(&module.zip()) })
}

/// Lays out whole versions.
pub(crate) async fn lay_out(database: &Database, versions: &[(ObjectId, FakeModule)]) {
    for batch in versions.chunks(BATCH) {
        let modules = batch.iter().map(|(id, module)| document(*id, module)).collect();
        let (files, chunks) = batch.iter().map(|(id, module)| zip(*id, module)).unzip();
        let rows: [(&str, Vec<Document>); 3] =
            [("fs.chunks", chunks), ("fs.files", files), ("modules", modules)];
        for (collection, documents) in rows {
            database.collection(collection).insert_many(documents).await.unwrap();
        }
    }
}
