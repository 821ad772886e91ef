//! `.info` and `.mod`.

use dipylon_protocol::route::FileKind;

use super::{Bench, bench, bench_with, good, read, release};
use crate::error::{Error, ErrorKind};
use crate::forward::Forward;
use crate::ports::Expected;
use crate::request::{FetchAsk, Want};
use crate::telemetry::{Outcome, Saved, StorageOperation, Verification};
use crate::testing::below::{assert_passes_unchanged, failing};
use crate::testing::upstream::{Reply, ScriptedUpstream};
use crate::testing::verifier::ScriptedVerifier;
use crate::testing::{SECOND, error, module, query, settle, version};

const EARLY_INFO: &str = "early/example.com/m/@/v1.0.0/info";
const EARLY_MOD: &str = "early/example.com/m/@/v1.0.0/mod";

/// A bench whose upstream answers one question with a text.
fn answering(ask: FetchAsk, text: &str) -> Bench {
    let upstream = ScriptedUpstream::new();
    upstream.on(&module("example.com/m"), ask, Reply::text(text));
    bench(upstream, Ok(Expected::Exempt))
}

fn info(asked: &str) -> FetchAsk {
    FetchAsk::Info(query(asked))
}

#[tokio::test(start_paused = true)]
async fn an_info_is_answered_as_upstream_sent_it_and_kept_early() {
    let (release, bench) = good();
    let stashed = bench.file("v1.0.0", FileKind::Info).await.expect("stashed");
    assert_eq!((&stashed.version, stashed.outcome), (&release.version, Outcome::MissLeader));
    assert_eq!(read(&stashed, FileKind::Info).await.unwrap(), release.info);
    assert_eq!(bench.storage.extra(EARLY_INFO), Some(release.info));
    stashed.finished.wait().await;
    assert_eq!(bench.upstream.asked(), [info("v1.0.0")], "no zip is waited for");
    assert_eq!(bench.storage.len(), 0, "only whole versions are stored as such");
}

#[tokio::test(start_paused = true)]
async fn a_mod_is_compared_with_the_checksum_database_answered_and_kept_early() {
    let (release, bench) = good();
    let stashed = bench.file("v1.0.0", FileKind::Mod).await.expect("stashed");
    assert_eq!(read(&stashed, FileKind::Mod).await.unwrap(), release.go_mod);
    assert_eq!(bench.storage.extra(EARLY_MOD), Some(release.go_mod));
    assert_eq!((bench.verifier.asked(), bench.verifications(Verification::Verified)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_exempt_module_is_not_compared() {
    let release = release();
    let bench = bench(ScriptedUpstream::serving(&release), Ok(Expected::Exempt));
    bench.file("v1.0.0", FileKind::Mod).await.expect("stashed");
    assert_eq!(bench.verifications(Verification::Exempt), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_info_is_bad_content_and_not_kept() {
    for text in [
        "<html>sign in</html>",
        "",
        "{",
        "{\"Version\":\"v1.0.1\"}",
        "{\"Time\":\"2024-03-01T12:00:00Z\"}",
        "{\"Version\":\"main\"}",
    ] {
        let bench = answering(info("v1.0.0"), text);
        let failed = bench.file("v1.0.0", FileKind::Info).await.expect_err("refused");
        assert_eq!(failed.kind(), ErrorKind::BadContent, "{text:?}");
        assert!(failed.message().contains("scripted sent a wrong .info"), "{failed}");
        assert!(failed.message().contains("example.com/m@v1.0.0"), "{failed}");
        assert_eq!(bench.storage.calls(StorageOperation::WriteExtra), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_resolves_to_a_foreign_version_is_bad_content() {
    let bench = answering(info("main"), "{\"Version\":\"v2.0.0\"}");
    let failed = bench.file("main", FileKind::Info).await.expect_err("v2 needs a /v2 path");
    assert_eq!(failed.kind(), ErrorKind::BadContent);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_mod_is_bad_content_and_not_kept() {
    let bench = answering(FetchAsk::Mod(version("v1.0.0")), "<html>sign in</html>");
    let failed = bench.file("v1.0.0", FileKind::Mod).await.expect_err("refused");
    assert_eq!(failed.kind(), ErrorKind::BadContent);
    assert!(failed.message().contains("scripted sent a wrong .mod"), "{failed}");
    assert_eq!(bench.storage.calls(StorageOperation::WriteExtra), 0);
}

#[tokio::test(start_paused = true)]
async fn a_mod_with_another_hash_is_refused_with_both_hashes() {
    let (release, bench) = good();
    let text = "module example.com/m\n\n// changed\n";
    let ask = FetchAsk::Mod(release.version.clone());
    bench.upstream.only(&release.module, ask, Reply::text(text));
    let failed = bench.file("v1.0.0", FileKind::Mod).await.expect_err("refused");
    assert_eq!(failed.kind(), ErrorKind::ChecksumMismatch);
    let Expected::Hashes { go_mod, .. } = release.expected() else { unreachable!() };
    let sent = dipylon_protocol::dirhash::hash_go_mod(text.as_bytes());
    for part in ["example.com/m@v1.0.0/go.mod", &go_mod.to_string(), &sent.to_string()] {
        assert!(failed.message().contains(part), "{part} is not in: {failed}");
    }
    assert_eq!(bench.verifications(Verification::Mismatch), 1);
    assert_eq!(
        bench.storage.calls(StorageOperation::WriteExtra),
        1,
        "the record of the quarantine"
    );
    let asked = bench.upstream.asked().len();
    let zip = bench.file("v1.0.0", FileKind::Zip).await.expect_err("in quarantine");
    assert_eq!(zip.kind(), ErrorKind::ChecksumMismatch);
    assert_eq!(bench.upstream.asked().len(), asked, "its zip is not fetched");
}

#[tokio::test(start_paused = true)]
async fn where_the_checksum_database_gives_no_answer_a_mod_is_not_shown() {
    for (kind, status, counted) in [
        (ErrorKind::ChecksumUnavailable, 503, Verification::Unavailable),
        (ErrorKind::PrivateChecksum, 403, Verification::Unknown),
    ] {
        let bench = bench(ScriptedUpstream::serving(&release()), Err(error(kind)));
        let failed = bench.file("v1.0.0", FileKind::Mod).await.expect_err("not shown");
        assert_eq!((failed.kind(), failed.kind().row().status.as_u16()), (kind, status));
        assert_eq!(bench.verifications(counted), 1);
        assert_eq!(bench.storage.calls(StorageOperation::WriteExtra), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_checksum_database_that_hangs_is_given_up_at_the_stash_s_deadline() {
    let late = ScriptedVerifier::late(3600 * SECOND, Ok(Expected::Exempt));
    let bench = bench_with(ScriptedUpstream::serving(&release()), late);
    let started = tokio::time::Instant::now();
    let failed = bench.file("v1.0.0", FileKind::Mod).await.expect_err("given up");
    assert_eq!(failed.kind(), ErrorKind::ChecksumUnavailable);
    assert_eq!(started.elapsed(), bench.patience);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged_and_at_once() {
    let kind = ErrorKind::UpstreamThrottled;
    let late = ScriptedVerifier::late(30 * SECOND, Ok(Expected::Exempt));
    let bench = bench_with(ScriptedUpstream::new(), late);
    let (stash, started) = (bench.over(failing(kind)), tokio::time::Instant::now());
    for asked in ["v1.0.0", "main"] {
        for want in FileKind::ALL.map(Want::File).into_iter().chain([Want::Version]) {
            assert_passes_unchanged(&stash, bench.request(query(asked), want), kind).await;
        }
    }
    assert_eq!(started.elapsed(), std::time::Duration::ZERO);
    settle().await;
    assert_eq!(bench.left(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_its_small_file_to_those_who_come_and_to_storage() {
    let (release, bench) = good();
    let ask = FetchAsk::Mod(release.version.clone());
    let late = Reply::Late(5 * SECOND, Box::new(Reply::Bytes(release.go_mod.clone())));
    bench.upstream.only(&release.module, ask.clone(), late);
    let mut leaving = Box::pin(bench.file("v1.0.0", FileKind::Mod));
    while bench.upstream.count(&ask) == 0 {
        assert!(futures::poll!(&mut leaving).is_pending());
        settle().await;
    }
    drop(leaving);
    let shared = bench.file("v1.0.0", FileKind::Mod).await.expect("its fetch went on");
    assert_eq!(read(&shared, FileKind::Mod).await.unwrap(), release.go_mod);
    settle().await;
    assert!(bench.is_early(FileKind::Mod), "kept");
    assert_eq!((bench.upstream.count(&ask), bench.left()), (1, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_cannot_keep_costs_the_copy_and_not_the_answer() {
    for kind in [FileKind::Info, FileKind::Mod] {
        let (release, bench) = good();
        bench.storage.fail(StorageOperation::WriteExtra);
        let stashed = bench.file("v1.0.0", kind).await.expect("answered all the same");
        assert_eq!(stashed.outcome, Outcome::MissDegraded);
        let want = if kind == FileKind::Info { release.info } else { release.go_mod };
        assert_eq!(read(&stashed, kind).await.unwrap(), want);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_is_resolved_by_its_info_which_is_kept_under_the_version() {
    let (release, bench) = good();
    bench.upstream.on(&release.module, info("main"), Reply::Bytes(release.info.clone()));
    let stashed = bench.file("main", FileKind::Info).await.expect("stashed");
    assert_eq!(stashed.version, release.version);
    assert_eq!(bench.storage.extra(EARLY_INFO), Some(release.info));
}

#[tokio::test(start_paused = true)]
async fn a_mod_or_zip_by_query_is_that_of_the_version_it_stands_for() {
    for kind in [FileKind::Mod, FileKind::Zip] {
        let (release, bench) = good();
        bench.upstream.on(&release.module, info("main"), Reply::Bytes(release.info.clone()));
        let stashed = bench.file("main", kind).await.expect("stashed");
        assert_eq!(stashed.version, release.version);
        let want = if kind == FileKind::Mod { &release.go_mod } else { &release.zip };
        assert_eq!(read(&stashed, kind).await.unwrap(), *want);
        stashed.finished.wait().await;
        assert_eq!(bench.upstream.count(&info("main")), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_stands_for_a_stored_version_has_asked_upstream_itself_and_shares_no_fetch() {
    let (release, bench) = good();
    bench.zip().await.expect("whole");
    bench.upstream.on(&release.module, info("main"), Reply::Bytes(release.info.clone()));
    let asked = bench.upstream.asked().len();
    for (times, kind) in FileKind::ALL.into_iter().enumerate() {
        let stashed = bench.file("main", kind).await.expect("stored");
        assert_eq!((&stashed.version, stashed.outcome), (&release.version, Outcome::HitStorage));
        assert_eq!(stashed.forward, Forward { asked: true, ..Forward::default() });
        assert_eq!(bench.upstream.asked().len(), asked + times + 1, "only what it stands for");
    }
    // Who asks for the version by its name finds what another has stored, and asks nobody.
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("stored");
    assert_eq!((stashed.outcome, stashed.forward), (Outcome::MissFollower, Forward::default()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_question_is_a_defect_and_no_file() {
    let (release, bench) = good();
    bench.upstream.only(&release.module, info("v1.0.0"), Reply::zip(&release.zip));
    let ask = FetchAsk::Zip(release.version.clone());
    bench.upstream.only(&release.module, ask, Reply::Bytes(release.zip.clone()));
    for kind in [FileKind::Info, FileKind::Zip] {
        let failed: Error = bench.file("v1.0.0", kind).await.expect_err("refused");
        assert_eq!(failed.kind(), ErrorKind::Internal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_version_brings_all_files_and_is_saved_at_once() {
    let release = release();
    let upstream = ScriptedUpstream::of_whole_versions();
    let whole = Reply::Version(Box::new(release.clone()));
    upstream.on(&release.module, info("v1.0.0"), whole);
    let bench = bench(upstream, Ok(release.expected()));
    let stashed = bench.ask(query("v1.0.0"), Want::Version).await.expect("stashed");
    for (kind, want) in [
        (FileKind::Info, &release.info),
        (FileKind::Mod, &release.go_mod),
        (FileKind::Zip, &release.zip),
    ] {
        assert_eq!(read(&stashed, kind).await.unwrap(), *want);
    }
    stashed.finished.wait().await;
    assert_eq!(bench.stored().expect("saved").zip, release.zip);
    assert_eq!(bench.saves(Saved::Created), 1);
    assert_eq!(bench.upstream.asked().len(), 1, "asked once for everything");
    assert_eq!(bench.index.added(), ["example.com/m@v1.0.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_whole_version_with_a_wrong_mod_is_not_shown_at_all() {
    let release = release();
    let mut changed = release.clone();
    changed.go_mod = "module example.com/m\n// changed\n".into();
    let upstream = ScriptedUpstream::of_whole_versions();
    upstream.on(&release.module, info("v1.0.0"), Reply::Version(Box::new(changed)));
    let bench = bench(upstream, Ok(release.expected()));
    let failed = bench.ask(query("v1.0.0"), Want::Version).await.expect_err("refused");
    assert_eq!(failed.kind(), ErrorKind::ChecksumMismatch);
    assert_eq!(
        bench.storage.calls(StorageOperation::WriteExtra),
        1,
        "the record of the quarantine"
    );
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_answered_with_a_whole_version_is_not_fetched_twice() {
    for kind in [FileKind::Mod, FileKind::Zip] {
        let release = release();
        // A list of a proxy and a version-control system: which one answers is not known before.
        let upstream = ScriptedUpstream::new();
        let whole = Reply::Version(Box::new(release.clone()));
        upstream.on(&release.module, info("main"), whole);
        let bench = bench(upstream, Ok(release.expected()));
        let stashed = bench.file("main", kind).await.expect("stashed");
        assert!(read(&stashed, kind).await.is_ok());
        stashed.finished.wait().await;
        assert_eq!(bench.upstream.asked(), [info("main")]);
        assert_eq!(bench.saves(Saved::Created), 1);
    }
}
