//! `dipylon check` refuses what the start would refuse, and writes nothing.

use std::path::Path;
use std::process::{Command, Output};

use crate::world::PROGRAM;

fn check(folder: &Path, variables: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .arg("check")
        .env_clear()
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .env("GO_BINARY_PATH", folder.join("there-is-no-go"))
        .envs(variables.iter().copied())
        .current_dir(folder)
        .output()
        .expect("the program can be started")
}

#[test]
fn what_the_start_would_refuse_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (absent, in_file) = (path("absent"), path("file/spools"));
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("ATHENS_NETRC_PATH", &absent)], "NETRCPath: "),
        (&[("ATHENS_HGRC_PATH", &absent)], "HGRCPath: "),
        (
            &[("ATHENS_STORAGE_TYPE", "disk"), ("ATHENS_DISK_STORAGE_ROOT", &absent)],
            "does not exist",
        ),
        (&[("DIPYLON_SPOOL_DIR", &in_file)], "SpoolDir: "),
        (&[("ATHENS_GOGET_DIR", &in_file)], "GoGetDir: "),
        (&[("GOPROXY", "direct")], "there-is-no-go"),
        (
            &[("ATHENS_STORAGE_TYPE", "external"), ("ATHENS_EXTERNAL_STORAGE_URL", "http://h/?q")],
            "Storage.External.URL",
        ),
        // The index has kinds that no build knows how to open.
        (&[("ATHENS_INDEX_TYPE", "mysql")], "not in this build"),
        (
            &[
                ("ATHENS_STORAGE_TYPE", "mongo"),
                ("ATHENS_MONGO_STORAGE_URL", "mongodb://h"),
                ("ATHENS_MONGO_CERT_PATH", &absent),
            ],
            "Storage.Mongo.CertPath",
        ),
    ];
    for (variables, words) in cases {
        let output = check(folder.path(), variables);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{variables:?}: {said}");
        assert!(said.contains(words), "{variables:?}: {said}");
    }
}

#[test]
fn what_the_start_takes_is_taken_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let spools = folder.path().join("to/be/made").display().to_string();
    let root = store.display().to_string();
    let output = check(
        folder.path(),
        &[
            ("ATHENS_STORAGE_TYPE", "disk"),
            ("ATHENS_DISK_STORAGE_ROOT", &root),
            ("DIPYLON_SPOOL_DIR", &spools),
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0, "the store is as it was");
    assert!(!Path::new(&spools).exists());
}
