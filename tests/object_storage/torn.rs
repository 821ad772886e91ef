//! What a crash leaves of a version, and of the claim to write it.

use std::time::{Duration, Instant};

use dipylon::storage::object::CLAIM_LEASE;
use dipylon_middleware::ports::SaveResult;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;

use crate::bench::Bench;

/// Every part of a version reads as absent, is not listed, and is mended by the next save.
async fn parts_are_absent_and_mended(bench: Bench) {
    for parts in 1..7_u8 {
        let kinds: Vec<FileKind> = FileKind::ALL
            .into_iter()
            .enumerate()
            .filter_map(|(bit, kind)| (parts & (1 << bit) != 0).then_some(kind))
            .collect();
        let left = FakeModule::new("example.com/torn", &format!("v1.0.{parts}")).filler(9 << 20);
        let whole = left.clone().go_mod("module example.com/torn // whole\n").filler(1_000);
        bench.lay_out(&left, &kinds).await;
        assert!(bench.is_absent(&left).await, "{kinds:?}");
        assert!(!bench.list("example.com/torn").await.contains(&left.version().to_owned()));
        assert_eq!(bench.subject.save(&whole).await.unwrap(), SaveResult::Created, "{kinds:?}");
        assert!(bench.is_stored(&whole).await, "{kinds:?}");
    }
    assert_eq!(bench.list("example.com/torn").await.len(), 6);
    assert_eq!(bench.catalog().await.len(), 6);
}

/// Objects that are there and are no version's.
async fn broken_objects_are_absent_and_mended(bench: Bench) {
    let broken: [(&str, FileKind, &str); 4] = [
        ("v1.0.0", FileKind::Info, ""),
        ("v1.0.1", FileKind::Info, r#"{"Version":"v9.9.9"}"#),
        ("v1.0.2", FileKind::Mod, ""),
        ("v1.0.3", FileKind::Zip, "PK"),
    ];
    for (version, kind, bytes) in broken {
        let module = FakeModule::new("example.com/broken", version);
        bench.lay_out(&module, &FileKind::ALL).await;
        bench.raw.put(&bench.names.of(&module, kind), bytes).await;
        assert!(bench.is_absent(&module).await, "{version}");
        // A list does not read an `.info`: one of another version is still believed there.
        let is_listed = bench.list("example.com/broken").await.contains(&version.to_owned());
        assert_eq!(is_listed, bytes.contains("v9.9.9"), "{version}");
        let entry = format!("example.com/broken@{version}");
        assert_eq!(bench.catalog().await.contains(&entry), is_listed, "{version}");
        assert_eq!(bench.subject.save(&module).await.unwrap(), SaveResult::Created, "{version}");
        assert!(bench.is_stored(&module).await, "{version}");
    }
}

/// The claim of a process that is gone ends with its lease; a version it had finished needs none.
async fn a_claim_that_was_left_ends(bench: Bench) {
    let module = FakeModule::new("example.com/claimed", "v1.0.0");
    bench.raw.put(".dipylon/saving/example.com/claimed@v1.0.0", "a process that is gone").await;
    let begin = Instant::now();
    assert_eq!(bench.subject.save(&module).await.unwrap(), SaveResult::Created);
    let waited = begin.elapsed();
    assert!(waited >= CLAIM_LEASE, "a claim is respected: {waited:?}");
    assert!(waited < CLAIM_LEASE + Duration::from_secs(5), "{waited:?}");
    assert!(bench.is_stored(&module).await);
    assert_eq!(bench.raw.ours().await, Vec::<String>::new());
    bench.raw.put(".dipylon/saving/example.com/claimed@v1.0.0", "a process that is gone").await;
    let begin = Instant::now();
    let saved = bench.subject.save(&module).await.unwrap();
    assert_eq!(saved, SaveResult::Existed { same: true });
    assert!(begin.elapsed() < Duration::from_secs(2), "what is there needs no claim");
}

/// A version that somebody removes is absent from then on, though it was remembered.
async fn a_version_that_is_removed_is_absent(bench: Bench) {
    let module = FakeModule::new("example.com/removed", "v1.0.0");
    bench.subject.save(&module).await.unwrap();
    assert!(bench.is_stored(&module).await);
    for kind in FileKind::ALL {
        bench.raw.remove(&bench.names.of(&module, kind)).await;
    }
    assert!(bench.is_absent(&module).await);
    assert_eq!(bench.subject.save(&module).await.unwrap(), SaveResult::Created);
}

on_every_kind!(
    parts_are_absent_and_mended,
    broken_objects_are_absent_and_mended,
    a_claim_that_was_left_ends,
    a_version_that_is_removed_is_absent,
);
