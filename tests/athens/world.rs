//! Both programs, the modules they serve, and the folders they keep them in.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// The variable that names a real Athens.
const ATHENS_BIN: &str = "ATHENS_BIN";

/// Versions of every shape that a path or a file name can have.
pub(crate) fn modules() -> Vec<FakeModule> {
    let plain = [
        ("example.com/lib", "v1.0.0"),
        ("example.com/lib", "v1.1.0"),
        ("example.com/lib", "v1.2.0-rc1"),
        ("example.com/lib/v2", "v2.0.0"),
        ("example.com/lib/nested/deep", "v0.1.0"),
        ("github.com/BurntSushi/Toml", "v1.3.2"),
        ("example.com/pseudo", "v0.0.0-20240102030405-abcdefabcdef"),
        ("gopkg.in/yaml.v3", "v3.0.1"),
    ];
    let mut modules: Vec<FakeModule> =
        plain.iter().map(|(path, version)| FakeModule::new(path, version)).collect();
    modules.push(FakeModule::new("example.com/old", "v3.1.0+incompatible").no_go_mod());
    modules.push(FakeModule::new("example.com/large", "v1.0.0").filler(3_000_000));
    modules
}

/// An upstream with [`modules`].
pub(crate) async fn upstream() -> Upstream {
    let upstream = Upstream::start().await;
    modules().into_iter().for_each(|module| upstream.add(module));
    upstream.query("example.com/lib", "main", "v1.1.0");
    upstream.add_path("example.com/empty");
    upstream
}

/// The URL path of one file of a version.
pub(crate) fn path_of(module: &FakeModule, kind: &str) -> String {
    format!("/{}/@v/{}.{kind}", escape(module.path()), escape(module.version()))
}

/// `!` before each letter that was upper case.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if character.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(character.to_ascii_lowercase());
    }
    escaped
}

/// What both programs are told: the same words for both, which is the point.
pub(crate) fn settings(upstream: &str, store: &Path) -> Vec<(String, String)> {
    let store = store.display().to_string();
    let child = format!("GOPROXY={upstream};GOSUMDB=off;GOTOOLCHAIN=local");
    [
        ("ATHENS_STORAGE_TYPE", "disk"),
        ("ATHENS_DISK_STORAGE_ROOT", &store),
        ("ATHENS_GO_BINARY_ENV_VARS", &child),
        ("ATHENS_LOG_LEVEL", "info"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn started(program: impl Into<PathBuf>, variables: &[(String, String)]) -> Builder {
    let builder = Gateway::builder(program);
    variables.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
}

/// Starts dipylon with these settings.
pub(crate) fn dipylon(variables: &[(String, String)]) -> Builder {
    started(PROGRAM, variables)
}

/// Starts the real Athens with these settings.
pub(crate) fn athens(variables: &[(String, String)]) -> Builder {
    let program = std::env::var_os(ATHENS_BIN).filter(|value| !value.is_empty());
    let program = program
        .unwrap_or_else(|| panic!("{ATHENS_BIN} is not set: give it the path of an Athens binary"));
    started(program, variables)
}

/// One file or folder below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `None` for a folder.
    pub(crate) bytes: Option<Vec<u8>>,
    /// The permission bits.
    pub(crate) mode: u32,
}

/// Everything below `root` by relative path, but for what lies under `.dipylon`.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the store") {
            let path = entry.expect("an entry of the store").path();
            let relative = path.strip_prefix(root).expect("it is below").display().to_string();
            if relative == ".dipylon" {
                continue;
            }
            let metadata = path.metadata().expect("its metadata");
            let is_folder = metadata.is_dir();
            let bytes = (!is_folder).then(|| std::fs::read(&path).expect("a file of the store"));
            entries.insert(relative, Entry { bytes, mode: metadata.permissions().mode() & 0o777 });
            if is_folder {
                folders.push(path);
            }
        }
    }
    entries
}

/// Copies a store.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder for the copy");
    for entry in std::fs::read_dir(from).expect("a folder of the store") {
        let entry = entry.expect("an entry of the store");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}
