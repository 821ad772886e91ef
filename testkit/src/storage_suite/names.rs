//! Names that a backend could confuse.

use super::Subject;
use crate::module::FakeModule;

async fn all_are_stored_apart(subject: &Subject, modules: &[FakeModule]) {
    for module in modules {
        subject.create(module).await;
    }
    for module in modules {
        subject.assert_stored(module).await;
    }
}

/// Stored names are decoded, so two modules may differ in case alone.
pub async fn capitals_are_told_from_small_letters(subject: Subject) {
    let capital = FakeModule::new("example.com/Azure/SDK", "v1.0.0");
    let small = FakeModule::new("example.com/azure/sdk", "v1.0.0");
    subject.create(&capital).await;
    subject.assert_absent(&small).await;
    assert!(subject.list("example.com/azure/sdk").await.is_empty());
    subject.create(&small).await;
    subject.assert_stored(&capital).await;
    subject.assert_stored(&small).await;
}

/// The same for versions.
pub async fn capitals_in_versions_are_told_from_small_letters(subject: Subject) {
    let modules = ["v1.0.0-RC1", "v1.0.0-rc1"].map(|v| FakeModule::new("example.com/a", v));
    all_are_stored_apart(&subject, &modules).await;
    assert_eq!(subject.list("example.com/a").await, ["v1.0.0-RC1", "v1.0.0-rc1"]);
}

/// Some libraries would percent-encode it, and Athens would not find the name.
pub async fn a_tilde_stays_a_tilde(subject: Subject) {
    let module = FakeModule::new("git.example.com/~user/tool", "v1.0.0");
    all_are_stored_apart(&subject, std::slice::from_ref(&module)).await;
    assert_eq!(subject.list(module.path()).await, ["v1.0.0"]);
    if subject.has_catalog {
        assert_eq!(subject.catalog(0).await[0].module, module.path());
    }
}

/// Versions with everything that a version may have.
pub async fn incompatible_and_pseudo_versions_are_stored(subject: Subject) {
    let versions = [
        "v0.0.0-20240102030405-abcdefabcdef",
        "v1.2.4-0.20240102030405-abcdefabcdef",
        "v2.0.0+incompatible",
        "v3.0.0-beta.1+incompatible",
    ];
    let modules = versions.map(|version| FakeModule::new("example.com/a", version));
    all_are_stored_apart(&subject, &modules).await;
    assert_eq!(subject.list("example.com/a").await, versions);
}

/// `/v2` and `/sub` are modules of their own.
pub async fn nested_modules_are_not_versions_of_their_parent(subject: Subject) {
    let modules = [
        FakeModule::new("example.com/a", "v1.0.0"),
        FakeModule::new("example.com/a/v2", "v2.0.0"),
        FakeModule::new("example.com/a/sub", "v1.5.0"),
        FakeModule::new("example.com/a/sub/v3", "v3.0.0"),
    ];
    all_are_stored_apart(&subject, &modules).await;
    for module in &modules {
        assert_eq!(subject.list(module.path()).await, [module.version()], "{}", module.path());
    }
}

/// A module path may run through the directory of another module's version.
pub async fn a_module_below_a_version_of_another_stays(subject: Subject) {
    let inner = FakeModule::new("example.com/a/v1.0.0/b", "v0.1.0");
    let outer = FakeModule::new("example.com/a", "v1.0.0");
    subject.create(&inner).await;
    subject.assert_absent(&outer).await;
    assert!(subject.list("example.com/a").await.is_empty());
    subject.create(&outer).await;
    subject.assert_stored(&inner).await;
    subject.assert_stored(&outer).await;
    assert_eq!(subject.list("example.com/a").await, ["v1.0.0"]);
}

/// A search by prefix finds too much.
pub async fn a_name_that_begins_like_another_is_not_taken_for_it(subject: Subject) {
    let long = FakeModule::new("example.com/ab", "v1.0.0-pre.10");
    subject.create(&long).await;
    for (path, version) in [
        ("example.com/a", "v1.0.0-pre.10"),
        ("example.com/ab", "v1.0.0"),
        ("example.com/ab", "v1.0.0-pre.1"),
        ("example.com/ab", "v1.0.0-pre"),
    ] {
        let short = FakeModule::new(path, version);
        subject.assert_absent(&short).await;
        subject.create(&short).await;
    }
    subject.assert_stored(&long).await;
    assert_eq!(subject.list("example.com/a").await, ["v1.0.0-pre.10"]);
    let all = ["v1.0.0", "v1.0.0-pre", "v1.0.0-pre.1", "v1.0.0-pre.10"];
    assert_eq!(subject.list("example.com/ab").await, all);
}

/// Athens's MongoDB name for a zip has underscores for slashes.
pub async fn names_that_differ_in_a_slash_stay_apart(subject: Subject) {
    let paths = ["example.com/a/b_c", "example.com/a_b/c", "example.com/a/b/c"];
    let modules = paths.map(|path| FakeModule::new(path, "v1.0.0").filler(path.len() * 100));
    all_are_stored_apart(&subject, &modules).await;
}

/// Lexical, not by precedence: what Athens's clients have always got.
pub async fn versions_are_listed_in_lexical_order(subject: Subject) {
    let saved = ["v1.9.0", "v1.10.0", "v1.2.0", "v1.2.0-rc.1", "v0.1.0", "v1.10.0-a"];
    for version in saved {
        subject.create(&FakeModule::new("example.com/a", version)).await;
    }
    let mut sorted = saved;
    sorted.sort_unstable();
    assert_eq!(subject.list("example.com/a").await, sorted);
}

/// Names near the limit of common file systems, in a path of many elements.
pub async fn a_long_name_is_stored(subject: Subject) {
    let element = "x".repeat(120);
    let path = format!("example.com/{element}/{element}/{element}/a");
    let version = format!("v1.0.0-{}", "y".repeat(100));
    let module = FakeModule::new(&path, &version);
    all_are_stored_apart(&subject, std::slice::from_ref(&module)).await;
    assert_eq!(subject.list(&path).await, [version]);
}
