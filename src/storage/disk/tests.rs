use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use dipylon_testkit::module::FakeModule;
use tempfile::TempDir;

use super::names::{Begin, MAX_NAMES_HELD, directories};
use super::start::sweep;
use super::*;

fn lay_out(root: &Path, module: &FakeModule) -> PathBuf {
    let directory = root.join(module.path()).join(module.version());
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("go.mod"), module.go_mod_bytes()).unwrap();
    fs::write(directory.join("source.zip"), module.zip()).unwrap();
    fs::write(directory.join(format!("{}.info", module.version())), module.info()).unwrap();
    directory
}

fn module() -> (FakeModule, ModulePath, Version) {
    let fake = FakeModule::new("example.com/a", "v1.0.0");
    (fake, ModulePath::parse("example.com/a").unwrap(), Version::parse("v1.0.0").unwrap())
}

#[test]
fn names_come_in_order_and_a_few_at_a_time() {
    let root = TempDir::new().unwrap();
    for name in ["d", "a", "c", "e", "b"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::write(root.path().join("file"), "").unwrap();
    symlink(root.path(), root.path().join("link")).unwrap();
    let names = |from, max| directories(root.path(), from, max, |name| name != "c").unwrap();
    assert_eq!(names(Begin::Start, 2), ["a", "b"]);
    assert_eq!(names(Begin::After("b"), 9), ["d", "e"]);
    assert_eq!(names(Begin::At("b"), 9), ["b", "d", "e"]);
    assert!(names(Begin::After("e"), 9).is_empty());
    let gone = root.path().join("gone");
    assert!(directories(&gone, Begin::Start, 9, |_| true).unwrap().is_empty());
}

#[test]
fn a_directory_of_more_names_than_are_held_is_walked_to_its_end() {
    let root = TempDir::new().unwrap();
    let modules = MAX_NAMES_HELD + 10;
    for number in 0..modules {
        let directory = root.path().join(format!("example.com/m{number}/v1.0.0"));
        fs::create_dir_all(&directory).unwrap();
        for (name, bytes) in [("go.mod", 1), ("source.zip", 22), ("v1.0.0.info", 1)] {
            File::create(directory.join(name)).unwrap().set_len(bytes).unwrap();
        }
    }
    let disk = Disk::open_with(root.path(), Durability::Volatile).unwrap();
    let all = disk.store.catalog(None, 0).unwrap();
    assert_eq!((all.entries.len(), all.next), (modules, None));
    assert!(all.entries.is_sorted_by(|a, b| a.module < b.module));
    let tail = disk.store.catalog(Some("example.com/m4090|v1.0.0"), 1).unwrap();
    assert_eq!(tail.entries[0].module, "example.com/m4091");
}

#[test]
fn staging_is_swept_of_what_is_old_and_of_nothing_else() {
    let root = TempDir::new().unwrap();
    let staging = root.path().join(".dipylon/staging");
    fs::create_dir_all(staging.join("save-dead")).unwrap();
    for name in ["save-dead/go.mod", "spool-dead", "extra-dead", "kept-by-the-operator"] {
        fs::write(staging.join(name), "x").unwrap();
    }
    let names = || {
        let entries = fs::read_dir(&staging).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    sweep(&staging, SystemTime::now() + STAGING_AGE_MAX - Duration::from_secs(60));
    assert_eq!(names().len(), 4, "young things may be in use");
    sweep(&staging, SystemTime::now() + STAGING_AGE_MAX + Duration::from_secs(60));
    assert_eq!(names(), ["kept-by-the-operator"]);
}

#[test]
fn what_was_found_whole_is_not_read_again_until_it_changes() {
    let root = TempDir::new().unwrap();
    let (fake, path, version) = module();
    let directory = lay_out(root.path(), &fake);
    let disk = Disk::open(root.path()).unwrap();
    let is_there = || disk.store.read(&path, &version, FileKind::Info).unwrap().is_some();
    assert!(is_there());
    // Same file, same length, same time: only reading it would tell.
    let zip = directory.join("source.zip");
    let modified = fs::metadata(&zip).unwrap().modified().unwrap();
    fs::write(&zip, vec![0; fake.zip().len()]).unwrap();
    File::options().write(true).open(&zip).unwrap().set_modified(modified).unwrap();
    assert!(is_there(), "it is remembered");
    let later = modified + Duration::from_nanos(1);
    File::options().write(true).open(&zip).unwrap().set_modified(later).unwrap();
    assert!(!is_there(), "it is looked at again");
}

#[test]
fn a_mender_waits_for_its_turn() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("lock");
    let turn = publish::lock(&path).unwrap();
    let other = std::thread::spawn(move || publish::lock(&path).map(drop));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!other.is_finished(), "the lock is held");
    drop(turn);
    other.join().unwrap().unwrap();
}
