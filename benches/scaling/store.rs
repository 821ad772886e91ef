//! Stores laid out by hand, under Athens's names: saving a million versions would take hours.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dipylon_testkit::module::FakeModule;

/// Versions of each module of a large store.
pub(crate) const VERSIONS_OF_A_MODULE: usize = 1_000;
/// A zip that nobody asks for.
const SMALL_ZIP_BYTES: usize = 1_000;

/// A store's folder, and one beside it.
pub(crate) struct Store(PathBuf);

fn module_of(number: usize) -> String {
    format!("example.com/scaling/m{}", number / VERSIONS_OF_A_MODULE)
}

fn version_of(number: usize) -> String {
    format!("v1.{}.0", number % VERSIONS_OF_A_MODULE)
}

/// The path of a file of a version, by its number in the store.
pub(crate) fn path(number: usize, kind: &str) -> String {
    format!("/{}/@v/{}.{kind}", module_of(number), version_of(number))
}

impl Store {
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(folder.join("storage")).expect("a folder for the store");
        Self(folder)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("storage")
    }

    /// A folder of the same place, for who has the same files.
    pub(crate) fn beside(&self) -> PathBuf {
        self.0.clone()
    }

    /// So many versions, [`VERSIONS_OF_A_MODULE`] of each module; those that are there stay.
    pub(crate) fn lay_out(&self, count: usize) {
        for first in (0..count).step_by(VERSIONS_OF_A_MODULE) {
            let last = count.min(first + VERSIONS_OF_A_MODULE);
            self.module(&module_of(first), (first..last).map(version_of));
        }
    }

    /// One module of so many versions.
    pub(crate) fn lay_out_module(&self, count: usize) {
        self.module(&module_of(0), (0..count).map(|number| format!("v1.{number}.0")));
    }

    /// One version, whose zip has about so many bytes.
    pub(crate) fn lay_out_zip(&self, bytes: usize) {
        self.module(&module_of(0), [version_of(0)].into_iter());
        let folder = self.root().join(module_of(0)).join(version_of(0));
        // What is around the filler in a small zip.
        let filler = bytes.saturating_sub(SMALL_ZIP_BYTES / 2).max(1);
        let zip = FakeModule::new(&module_of(0), &version_of(0)).filler(filler).zip();
        fs::remove_file(folder.join("source.zip")).expect("the small zip");
        fs::write(folder.join("source.zip"), zip).expect("the zip");
    }

    /// A version is a folder with its own `.info`; go.mod and zip are the same file for all of a module.
    fn module(&self, module: &str, versions: impl Iterator<Item = String>) {
        let folder = self.root().join(module);
        let [go_mod, zip] =
            ["go.mod", "source.zip"].map(|name| self.0.join("same").join(module).join(name));
        if !zip.exists() {
            let same = FakeModule::new(module, "v1.0.0");
            write(&go_mod, &same.go_mod_bytes());
            write(&zip, &same.zip());
        }
        for version in versions {
            let folder = folder.join(&version);
            if folder.exists() {
                continue;
            }
            fs::create_dir_all(&folder).expect("a folder for a version");
            let info = format!("{{\"Version\":\"{version}\",\"Time\":\"2024-03-01T12:00:00Z\"}}");
            fs::write(folder.join(format!("{version}.info")), info).expect("an info");
            fs::hard_link(&go_mod, folder.join("go.mod")).expect("a go.mod");
            fs::hard_link(&zip, folder.join("source.zip")).expect("a zip");
        }
    }

    /// Gives the disk back.
    pub(crate) fn remove(&self) {
        fs::remove_dir_all(&self.0).expect("the store is ours");
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
    let mut file = fs::File::create(path).expect("a file");
    file.write_all(bytes).expect("it is written");
}
