//! A zip: checked, saved, indexed.

use std::sync::Arc;

use dipylon_protocol::route::FileKind;

use super::{Bench, bench, good, read, release};
use crate::error::ErrorKind;
use crate::events::STORED;
use crate::ports::Expected;
use crate::request::FetchAsk;
use crate::telemetry::{Outcome, Saved, StorageOperation, Verification};
use crate::testing::events::Events;
use crate::testing::release::Release;
use crate::testing::upstream::{Reply, ScriptedUpstream};
use crate::testing::{query, settle};

/// From where what was stored came, as it is remembered.
fn came_from(bench: &Bench) -> Vec<Option<Arc<str>>> {
    let events = bench.telemetry.events.about("example.com/m", Some("v1.0.0"), usize::MAX);
    assert!(events.iter().all(|event| event.what == STORED), "{events:?}");
    events.into_iter().map(|event| event.upstream).collect()
}

#[tokio::test(start_paused = true)]
async fn a_zip_is_answered_verified_saved_whole_and_entered_in_the_index() {
    let (release, bench) = good();
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("stashed");
    assert_eq!(stashed.outcome, Outcome::MissLeader);
    assert_eq!(read(&stashed, FileKind::Zip).await.expect("whole"), release.zip);
    stashed.finished.wait().await;
    let stored = bench.stored().expect("saved");
    assert_eq!(
        (stored.info, stored.go_mod, stored.zip.len()),
        (release.info, release.go_mod, release.zip.len())
    );
    assert!(stored.zip == release.zip);
    assert_eq!(bench.saves(Saved::Created), 1);
    assert_eq!(bench.verifications(Verification::Verified), 2, "the zip and the .mod");
    assert_eq!(bench.index.added(), ["example.com/m@v1.0.0"]);
    let received = bench.telemetry.metrics.fetched_bytes.get(()).get();
    assert_eq!(received, release.zip.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_zip_stays_in_the_spools_when_nobody_reads_it() {
    let (_, bench) = good();
    bench.zip().await.expect("whole");
    settle().await;
    assert_eq!(bench.telemetry.metrics.spool_bytes.get(()).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn small_files_that_were_kept_early_are_not_fetched_again() {
    let (release, bench) = good();
    bench.file("v1.0.0", FileKind::Info).await.expect("stashed");
    bench.file("v1.0.0", FileKind::Mod).await.expect("stashed");
    assert!(bench.is_early(FileKind::Info) && bench.is_early(FileKind::Mod));
    bench.zip().await.expect("whole");
    assert!(bench.stored().is_some());
    assert_eq!(bench.upstream.count(&FetchAsk::Info(query("v1.0.0"))), 1);
    assert_eq!(bench.upstream.count(&FetchAsk::Mod(release.version.clone())), 1);
    settle().await;
    for kind in [FileKind::Info, FileKind::Mod] {
        assert!(!bench.is_early(kind), "the whole version has it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_stored_meanwhile_is_neither_fetched_nor_saved_again() {
    let (release, bench) = good();
    bench.zip().await.expect("whole");
    let asked = bench.upstream.asked().len();
    for kind in FileKind::ALL {
        let stashed = bench.file("v1.0.0", kind).await.expect("stored");
        assert_eq!(stashed.outcome, Outcome::MissFollower);
    }
    assert_eq!(bench.zip().await.expect("stored"), release.zip);
    assert_eq!(bench.upstream.asked().len(), asked);
    assert_eq!((bench.saves(Saved::Created), bench.saves(Saved::Existed)), (1, 0));
    assert_eq!(came_from(&bench), [Some("scripted".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_another_saves_first_stays_and_is_not_indexed_again() {
    let (release, bench) = good();
    bench.storage.store_at(StorageOperation::Save, release);
    bench.zip().await.expect("whole");
    assert_eq!((bench.saves(Saved::Created), bench.saves(Saved::Existed)), (0, 1));
    assert_eq!(came_from(&bench), [None; 0], "it came by another");
    assert_eq!((bench.storage.len(), bench.index.added().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_there_with_other_bytes_stays_and_the_difference_is_counted() {
    let (release, bench) = good();
    let first = Release::with_filler("example.com/m", "v1.0.0", 50);
    bench.storage.store_at(StorageOperation::Save, first.clone());
    assert_eq!(bench.zip().await.expect("what upstream sent"), release.zip);
    assert_eq!(bench.saves(Saved::Differed), 1);
    assert_eq!(bench.stored().expect("the first").zip, first.zip);
    assert!(bench.index.added().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_zip_without_go_mod_is_saved_with_the_mod_of_upstream() {
    let release = release().with_files(&[("m.go", "package m\n")]);
    let bench = bench(ScriptedUpstream::serving(&release), Ok(release.expected()));
    assert_eq!(bench.zip().await.expect("whole"), release.zip);
    assert_eq!(bench.stored().expect("saved").go_mod, release.go_mod);
}

#[tokio::test(start_paused = true)]
async fn a_mod_that_is_not_the_go_mod_of_its_zip_is_neither_shown_whole_nor_stored() {
    let (events, _guard) = Events::capture();
    let mut release = release();
    release.go_mod = "module example.com/m\n\ngo 1.99\n".into();
    let bench = bench(ScriptedUpstream::serving(&release), Ok(Expected::Exempt));
    let failed = bench.zip().await.expect_err("the two contradict each other");
    assert_eq!(failed.kind(), ErrorKind::BadContent);
    assert!(failed.message().contains("not the go.mod of its zip"), "{failed}");
    assert_eq!((bench.storage.len(), bench.storage.calls(StorageOperation::Save)), (0, 0));
    assert!(bench.index.added().is_empty());
    let logged = events.named("not stored");
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].field("outcome"), Outcome::UpstreamBadContent.as_str());
}

/// A bench whose upstream sends this as the zip.
fn sending(bytes: impl Into<bytes::Bytes>) -> Bench {
    let (release, bench) = good();
    let ask = FetchAsk::Zip(release.version);
    bench.upstream.only(&release.module, ask, Reply::zip(&bytes.into()));
    bench
}

#[tokio::test(start_paused = true)]
async fn what_is_no_module_zip_is_bad_content_and_not_stored() {
    let foreign = Release::new("example.com/other", "v1.0.0").zip;
    let twice = release().with_files(&[("a.go", "package m\n"), ("A.go", "package m\n")]).zip;
    let nested = release().with_files(&[("go.mod", "module m\n"), ("x/go.mod", "module x\n")]).zip;
    let good = release().zip;
    let truncated = good.slice(..good.len() - 30);
    for (what, bytes) in [
        ("a login page", "<html>sign in</html>".into()),
        ("an empty body", bytes::Bytes::new()),
        ("a foreign prefix", foreign),
        ("names that differ in case only", twice),
        ("a nested module", nested),
        ("a truncated zip", truncated),
    ] {
        let bench = sending(bytes);
        let failed = bench.zip().await.expect_err(what);
        assert_eq!(failed.kind(), ErrorKind::BadContent, "{what}: {failed}");
        assert!(failed.message().contains("example.com/m@v1.0.0"), "{failed}");
        assert!(bench.stored().is_none(), "{what}");
        assert!(bench.quarantined(), "{what}: not fetched again for a while");
        assert!(bench.index.added().is_empty());
        assert_eq!(bench.saves(Saved::Created), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_cannot_save_costs_the_copy_and_not_the_answer() {
    let (events, _guard) = Events::capture();
    let (release, bench) = good();
    bench.storage.fail(StorageOperation::Save);
    assert_eq!(bench.zip().await.expect("answered all the same"), release.zip);
    assert_eq!((bench.saves(Saved::Failed), bench.saves(Saved::Created)), (1, 0));
    assert!(bench.index.added().is_empty());
    let logged = events.named("not stored");
    assert_eq!(logged[0].field("outcome"), Outcome::StorageError.as_str());
    bench.storage.mend();
    bench.zip().await.expect("whole");
    assert_eq!(bench.saves(Saved::Created), 1, "the next stash saves it");
}

#[tokio::test(start_paused = true)]
async fn an_index_that_fails_costs_the_entry_and_not_the_version() {
    let (events, _guard) = Events::capture();
    let (release, bench) = good();
    bench.index.fail();
    assert_eq!(bench.zip().await.expect("whole"), release.zip);
    assert_eq!(bench.saves(Saved::Created), 1);
    assert!(bench.stored().is_some());
    assert_eq!(events.named("stored, but not in the index").len(), 1);
    assert!(events.named("not stored").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_small_file_that_cannot_be_had_keeps_the_version_out_of_the_store_only() {
    let (release, bench) = good();
    let ask = FetchAsk::Mod(release.version.clone());
    bench.upstream.only(&release.module, ask, Reply::fail(ErrorKind::UpstreamFailed));
    assert_eq!(bench.zip().await.expect("the zip is good"), release.zip);
    assert!(bench.stored().is_none(), "never a part of a version");
}

#[tokio::test(start_paused = true)]
async fn small_files_that_come_as_a_whole_version_are_taken_from_it() {
    let (release, bench) = good();
    let whole = || Reply::Version(Box::new(release.clone()));
    bench.upstream.only(&release.module, FetchAsk::Mod(release.version.clone()), whole());
    bench.upstream.only(&release.module, FetchAsk::Info(query("v1.0.0")), whole());
    assert_eq!(bench.zip().await.expect("whole"), release.zip);
    assert_eq!(bench.stored().expect("saved").go_mod, release.go_mod);
}

#[tokio::test(start_paused = true)]
async fn spools_that_are_full_refuse_before_the_first_byte() {
    let large = Release::with_filler("example.com/m", "v1.0.0", 2 << 20);
    let bench = bench(ScriptedUpstream::serving(&large), Ok(Expected::Exempt));
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let failed = read(&stashed, FileKind::Zip).await.expect_err("the spools hold 1 MiB");
    assert_eq!(failed.kind(), ErrorKind::Overloaded);
    stashed.finished.wait().await;
    assert!(bench.stored().is_none());
}
