//! A zip and the checksum database.

use std::time::{Duration, SystemTime};

use dipylon_protocol::route::FileKind;
use futures::StreamExt as _;

use super::super::{BAD_CONTENT_FOR, QUARANTINE_FOR};
use super::{Bench, HOLD_BACK, QUARANTINE, bench, bench_with, good, release};
use crate::error::{Error, ErrorKind};
use crate::ports::Expected;
use crate::request::FetchAsk;
use crate::telemetry::{Saved, Verification};
use crate::testing::events::Events;
use crate::testing::release::Release;
use crate::testing::upstream::{Piece, Reply, ScriptedUpstream};
use crate::testing::verifier::ScriptedVerifier;
use crate::testing::{SECOND, error, settle};

/// What the database knows: the same version with another file in its zip.
fn other() -> Expected {
    release().with_files(&[("go.mod", "module example.com/m\n")]).expected()
}

fn small_release() -> Release {
    let release = Release::new("example.com/m", "v1.0.0");
    assert!(release.zip.len() < HOLD_BACK, "small enough to be held back whole");
    release
}

#[tokio::test(start_paused = true)]
async fn a_wrong_hash_of_a_small_zip_is_a_refusal_and_no_byte_is_shown() {
    let (events, _guard) = Events::capture();
    let release = small_release();
    let bench = bench(ScriptedUpstream::serving(&release), Ok(other()));
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let spool = stashed.files.zip.clone().expect("a spool");
    let refused = spool.ready().await.expect_err("before the first byte");
    assert_eq!(refused.kind(), ErrorKind::ChecksumMismatch);
    assert!(refused.message().contains(&release.h1().to_string()), "{refused}");
    let told = stashed.finished.refusal().await.expect("why there is nothing to store");
    assert_eq!((told.kind(), told.message()), (refused.kind(), refused.message()));
    assert_eq!(bench.verifications(Verification::Mismatch), 1, "the zip");
    assert_eq!(bench.verifications(Verification::Verified), 1, "the .mod beside it");
    assert!(bench.stored().is_none() && bench.quarantined());
    assert_eq!(events.named("SECURITY: wrong checksum: in quarantine").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_hash_of_a_large_zip_cuts_the_body_before_its_tail() {
    let release = release();
    let Expected::Hashes { go_mod, .. } = release.expected() else { unreachable!() };
    let Expected::Hashes { zip, .. } = other() else { unreachable!() };
    let bench = bench(ScriptedUpstream::serving(&release), Ok(Expected::Hashes { zip, go_mod }));
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let mut stream = stashed.files.zip.clone().expect("a spool").stream(0..u64::MAX);
    let (mut shown, mut cut) = (Vec::new(), None);
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(bytes) => shown.extend_from_slice(&bytes),
            Err(error) => cut = Some(error),
        }
    }
    assert_eq!(cut.expect("the body is cut").kind(), ErrorKind::ChecksumMismatch);
    assert!(shown.len() <= release.zip.len() - HOLD_BACK, "{} bytes shown", shown.len());
    assert!(release.zip.starts_with(&shown));
    stashed.finished.wait().await;
    assert!(bench.stored().is_none() && bench.quarantined());
    assert_eq!(bench.saves(Saved::Created), 0);
}

#[tokio::test(start_paused = true)]
async fn a_version_in_quarantine_is_refused_without_a_fetch() {
    let release = small_release();
    let bench = bench(ScriptedUpstream::serving(&release), Ok(other()));
    let first = bench.zip().await.expect_err("refused");
    let asked = bench.upstream.asked().len();
    let second = bench.file("v1.0.0", FileKind::Zip).await.expect_err("refused at once");
    assert_eq!(second.kind(), ErrorKind::ChecksumMismatch);
    assert_eq!(second.message(), first.message(), "with both hashes, as the first time");
    assert_eq!(bench.upstream.asked().len(), asked);
}

fn quarantined_for(bench: &Bench, age: Duration) {
    quarantined_as(bench, "checksum_mismatch", age);
}

fn quarantined_as(bench: &Bench, kind: &str, age: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let since = (now - age).as_secs();
    let record = format!("{{\"kind\":\"{kind}\",\"reason\":\"wrong\",\"since\":{since}}}");
    bench.storage.put_extra(QUARANTINE, record);
}

#[tokio::test(start_paused = true)]
async fn a_zip_that_broke_the_rules_is_refused_as_such_for_a_shorter_time() {
    let (release, bench) = good();
    quarantined_as(&bench, "bad_content", BAD_CONTENT_FOR - 60 * SECOND);
    let refused = bench.zip().await.expect_err("still in quarantine");
    assert_eq!((refused.kind(), refused.message()), (ErrorKind::BadContent, "wrong"));
    assert!(bench.upstream.asked().is_empty());
    quarantined_as(&bench, "bad_content", BAD_CONTENT_FOR + 60 * SECOND);
    assert_eq!(bench.zip().await.expect("fetched again"), release.zip);
}

#[tokio::test(start_paused = true)]
async fn quarantine_ends() {
    let (release, bench) = good();
    quarantined_for(&bench, QUARANTINE_FOR - 60 * SECOND);
    let refused = bench.zip().await.expect_err("still in quarantine");
    assert_eq!((refused.kind(), refused.message()), (ErrorKind::ChecksumMismatch, "wrong"));
    quarantined_for(&bench, QUARANTINE_FOR + 60 * SECOND);
    assert_eq!(bench.zip().await.expect("fetched again"), release.zip);
    assert!(bench.stored().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_of_tomorrow_holds_because_a_clock_went_back() {
    let (_, bench) = good();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let since = (now + QUARANTINE_FOR).as_secs();
    bench.storage.put_extra(QUARANTINE, format!("{{\"reason\":\"wrong\",\"since\":{since}}}"));
    bench.zip().await.expect_err("the safe side");
    assert!(bench.upstream.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_whole_version_in_quarantine_is_refused_too() {
    let (release, bench) = good();
    quarantined_for(&bench, SECOND);
    let ask = FetchAsk::Info(crate::testing::query("v1.0.0"));
    bench.upstream.only(&release.module, ask, Reply::Version(Box::new(release.clone())));
    let want = crate::request::Want::Version;
    let refused = bench.ask(crate::testing::query("v1.0.0"), want).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::ChecksumMismatch);
}

#[tokio::test(start_paused = true)]
async fn where_the_checksum_database_gives_no_answer_a_zip_is_refused_and_not_in_quarantine() {
    for (kind, status, counted) in [
        (ErrorKind::ChecksumUnavailable, 503, Verification::Unavailable),
        (ErrorKind::PrivateChecksum, 403, Verification::Unknown),
    ] {
        let bench = bench(ScriptedUpstream::serving(&small_release()), Err(error(kind)));
        let refused: Error = bench.zip().await.expect_err("not shown");
        assert_eq!((refused.kind(), refused.kind().row().status.as_u16()), (kind, status));
        assert!(bench.verifications(counted) >= 1);
        assert!(bench.stored().is_none() && !bench.quarantined());
    }
}

#[tokio::test(start_paused = true)]
async fn no_byte_is_shown_before_the_checksum_database_has_answered() {
    let release = release();
    let late = ScriptedVerifier::late(30 * SECOND, Ok(release.expected()));
    let bench = bench_with(ScriptedUpstream::serving(&release), late);
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let mut stream = stashed.files.zip.clone().expect("a spool").stream(0..u64::MAX);
    settle().await;
    assert!(futures::poll!(stream.next()).is_pending(), "the zip is here, the answer is not");
    assert_eq!(super::read(&stashed, FileKind::Zip).await.expect("whole"), release.zip);
}

#[tokio::test(start_paused = true)]
async fn bytes_stream_once_it_has_but_the_tail_waits_for_the_end_of_the_checks() {
    let release = release();
    let ask = FetchAsk::Zip(release.version.clone());
    let bench = bench(ScriptedUpstream::serving(&release), Ok(release.expected()));
    let pieces = vec![Piece::Data(release.zip.clone()), Piece::Hang];
    bench.upstream.only(&release.module, ask, Reply::Zip(None, pieces));
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let mut stream = stashed.files.zip.clone().expect("a spool").stream(0..u64::MAX);
    let (mut head, shown) = (0, release.zip.len() - HOLD_BACK);
    while head < shown {
        head += stream.next().await.expect("more").expect("good").len();
    }
    assert_eq!(head, shown);
    settle().await;
    assert!(futures::poll!(stream.next()).is_pending(), "the tail is held back");
}

#[tokio::test(start_paused = true)]
async fn a_checksum_database_that_refuses_ends_a_download_that_goes_on() {
    let release = release();
    let refusal = Err(error(ErrorKind::PrivateChecksum));
    let bench = bench(ScriptedUpstream::serving(&release), refusal);
    let pieces = vec![Piece::Data(release.zip.slice(..15_000)), Piece::Hang];
    let ask = FetchAsk::Zip(release.version.clone());
    bench.upstream.only(&release.module, ask, Reply::Zip(None, pieces));
    let started = tokio::time::Instant::now();
    let refused = bench.zip().await.expect_err("nothing is shown");
    assert_eq!(refused.kind(), ErrorKind::PrivateChecksum);
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody waited for the body");
}

#[tokio::test(start_paused = true)]
async fn a_checksum_database_that_hangs_ends_the_stash_at_its_deadline() {
    let release = small_release();
    let late = ScriptedVerifier::late(3600 * SECOND, Ok(release.expected()));
    let bench = bench_with(ScriptedUpstream::serving(&release), late);
    let started = tokio::time::Instant::now();
    let refused = bench.zip().await.expect_err("given up");
    assert_eq!(refused.kind(), ErrorKind::ChecksumUnavailable);
    assert!(started.elapsed() <= bench.patience + SECOND, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_zip_that_breaks_off_is_not_put_into_quarantine() {
    let (release, bench) = good();
    let pieces =
        vec![Piece::Data(release.zip.slice(..100)), Piece::Fail(ErrorKind::UpstreamFailed)];
    let ask = FetchAsk::Zip(release.version.clone());
    bench.upstream.only(&release.module, ask, Reply::Zip(None, pieces));
    bench.zip().await.expect_err("broken off twice");
    assert!(!bench.quarantined());
}
