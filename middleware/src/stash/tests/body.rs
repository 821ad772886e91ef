//! A zip's body that breaks off, stalls or changes.

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use futures::StreamExt as _;
use tokio::time::Instant;

use super::super::BODY_ATTEMPTS;
use super::{Bench, HOLD_BACK, bench, good, read, release};
use crate::error::{Error, ErrorKind};
use crate::ports::Expected;
use crate::request::{FetchAsk, Want};
use crate::telemetry::StorageOperation;
use crate::testing::below::Held;
use crate::testing::release::Release;
use crate::testing::upstream::{Piece, Reply, ScriptedUpstream};
use crate::testing::{SECOND, query, settle, version};

/// An upstream whose zip comes in these pieces, one list for each time it is asked.
fn pieces(attempts: Vec<Vec<Piece>>) -> (Release, Bench) {
    let release = release();
    let upstream = ScriptedUpstream::new();
    let length = Some(release.zip.len() as u64);
    for pieces in attempts {
        let ask = FetchAsk::Zip(release.version.clone());
        upstream.on(&release.module, ask, Reply::Zip(length, pieces));
    }
    let info = FetchAsk::Info(release.version.clone().into());
    upstream.on(&release.module, info, Reply::Bytes(release.info.clone()));
    let go_mod = FetchAsk::Mod(release.version.clone());
    upstream.on(&release.module, go_mod, Reply::Bytes(release.go_mod.clone()));
    let bench = bench(upstream, Ok(release.expected()));
    (release, bench)
}

fn breaks_off_after(bytes: usize) -> Vec<Piece> {
    vec![Piece::Data(release().zip.slice(..bytes)), Piece::Fail(ErrorKind::UpstreamFailed)]
}

/// The whole zip in pieces of another size than those before.
fn whole_in_pieces_of(bytes: usize) -> Vec<Piece> {
    let zip = release().zip;
    zip.chunks(bytes).map(|piece| Piece::Data(Bytes::copy_from_slice(piece))).collect()
}

fn times_asked(bench: &Bench) -> usize {
    bench.upstream.count(&FetchAsk::Zip(release().version))
}

#[tokio::test(start_paused = true)]
async fn a_zip_in_many_small_pieces_is_the_same_zip() {
    for size in [1, 7, 1000] {
        let (release, bench) = pieces(vec![whole_in_pieces_of(size)]);
        assert_eq!(bench.zip().await.expect("whole"), release.zip, "{size}");
        assert!(bench.stored().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_zip_that_breaks_off_is_asked_for_once_more_and_goes_on_byte_for_byte() {
    for after in [0, 1, HOLD_BACK, 7777, release().zip.len()] {
        let attempts = vec![breaks_off_after(after), whole_in_pieces_of(613)];
        let (release, bench) = pieces(attempts);
        assert!(bench.zip().await.expect("whole") == release.zip, "after {after}");
        assert_eq!(times_asked(&bench), 2);
        assert!(bench.stored().expect("saved").zip == release.zip);
        let received = bench.telemetry.metrics.fetched_bytes.get(()).get();
        assert_eq!(received, (after + release.zip.len()) as u64, "both attempts are counted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_the_beginning_already_sees_no_seam() {
    let attempts = vec![breaks_off_after(10_000), whole_in_pieces_of(4096)];
    let (release, bench) = pieces(attempts);
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let mut stream = stashed.files.zip.clone().expect("a spool").stream(0..u64::MAX);
    let mut seen = Vec::new();
    while let Some(chunk) = stream.next().await {
        seen.extend_from_slice(&chunk.expect("no error reaches the reader"));
    }
    assert!(seen == release.zip);
}

#[tokio::test(start_paused = true)]
async fn a_zip_that_breaks_off_again_is_given_up() {
    let attempts = vec![breaks_off_after(5000), breaks_off_after(9000), whole_in_pieces_of(4096)];
    let (_, bench) = pieces(attempts);
    let failed = bench.zip().await.expect_err("given up");
    assert_eq!(failed.kind(), ErrorKind::UpstreamFailed);
    assert_eq!(times_asked(&bench), BODY_ATTEMPTS as usize);
    assert!(bench.stored().is_none());
}

#[tokio::test(start_paused = true)]
async fn other_bytes_the_second_time_are_bad_content() {
    let changed = Release::with_filler("example.com/m", "v1.0.0", 20_001).zip;
    let attempts = vec![breaks_off_after(15_000), vec![Piece::Data(changed)]];
    let (_, bench) = pieces(attempts);
    let failed = bench.zip().await.expect_err("refused");
    assert_eq!(failed.kind(), ErrorKind::BadContent);
    assert!(failed.message().contains("other bytes"), "{failed}");
    assert!(bench.stored().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_ends_too_soon_is_not_taken_for_whole() {
    let attempts = vec![breaks_off_after(15_000), vec![Piece::Data(release().zip.slice(..9000))]];
    let (_, bench) = pieces(attempts);
    let failed = bench.zip().await.expect_err("refused");
    assert_eq!(failed.kind(), ErrorKind::BadContent);
    assert!(bench.stored().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_will_not_pass_is_not_asked_again() {
    let gone = vec![Piece::Data(release().zip.slice(..5000)), Piece::Fail(ErrorKind::Overloaded)];
    let (_, bench) = pieces(vec![gone, whole_in_pieces_of(4096)]);
    let failed = bench.zip().await.expect_err("refused");
    assert_eq!((failed.kind(), times_asked(&bench)), (ErrorKind::Overloaded, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_is_refused_is_the_error() {
    let (release, bench) = pieces(vec![breaks_off_after(5000)]);
    let ask = FetchAsk::Zip(release.version.clone());
    bench.upstream.on(&release.module, ask, Reply::fail(ErrorKind::UpstreamThrottled));
    let failed = bench.zip().await.expect_err("refused");
    assert_eq!(failed.kind(), ErrorKind::UpstreamThrottled);
}

/// Turns the paused clock to `until`, second by second, while a future runs, then leaves it there: a
/// zip's check keeps a blocking thread, and the clock does not move by itself while one runs.
async fn driven<T>(until: Instant, work: impl Future<Output = T>) -> T {
    let clock = async {
        while Instant::now() < until {
            tokio::time::advance(SECOND).await;
        }
        // What is left to be done takes no time, but a blocking thread takes its turns.
        let real = std::time::Instant::now();
        while real.elapsed() < 60 * SECOND {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = work => result,
        () = clock => panic!("not over at the time it had to be"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_ended_by_the_stash_s_timeout() {
    let trickle: Vec<_> = whole_in_pieces_of(100)
        .into_iter()
        .flat_map(|piece| [piece, Piece::Wait(10 * SECOND)])
        .collect();
    let (_, bench) = pieces(vec![trickle]);
    let (started, over) = (Instant::now(), Instant::now() + bench.patience + SECOND);
    let failed: Error = driven(over, bench.zip()).await.expect_err("too slow");
    assert_eq!(failed.kind(), ErrorKind::UpstreamTimeout);
    assert!(failed.message().contains("StashTimeout"), "{failed}");
    assert!(started.elapsed() >= bench.patience, "{:?}", started.elapsed());
    assert!(bench.stored().is_none());
    assert_eq!(times_asked(&bench), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_after_its_first_bytes_cuts_its_readers_at_the_timeout() {
    let stall = vec![Piece::Data(release().zip.slice(..15_000)), Piece::Hang];
    let (_, bench) = pieces(vec![stall]);
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let over = Instant::now() + bench.patience + SECOND;
    let failed = driven(over, read(&stashed, FileKind::Zip)).await.expect_err("cut");
    assert_eq!(failed.kind(), ErrorKind::UpstreamTimeout);
    stashed.finished.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_before_its_zip_begins_ends_the_call_below_and_leaves_nothing() {
    let ((_, bench), held) = (good(), Held::default());
    let stash = bench.over(held.service());
    for asked in ["v1.0.0", "main"] {
        let request = bench.request(query(asked), Want::File(FileKind::Zip));
        held.assert_ends_with_its_caller(&stash, request).await;
    }
    assert_eq!((bench.left(), bench.storage.len()), ((0, 0), 0));
    assert_eq!(bench.storage.calls(StorageOperation::WriteExtra), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stash_that_has_begun_goes_on_without_its_answer() {
    let (_, bench) = good();
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let finished = stashed.finished.clone();
    drop(stashed);
    finished.wait().await;
    assert!(bench.stored().is_some());
}

#[tokio::test(start_paused = true)]
async fn one_stash_serves_many_readers_of_any_pace() {
    let release = release();
    let bench = bench(ScriptedUpstream::serving(&release), Ok(Expected::Exempt));
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("begun");
    let slow = stashed.files.zip.clone().expect("a spool").stream(0..u64::MAX);
    let readers = (0..20).map(|_| read(&stashed, FileKind::Zip));
    for bytes in futures::future::join_all(readers).await {
        assert!(bytes.expect("whole") == release.zip);
    }
    stashed.finished.wait().await;
    let late: Vec<Bytes> = slow.map(|chunk| chunk.expect("still there")).collect().await;
    assert!(late.concat() == release.zip, "a reader that had not begun gets all of it");
    assert_eq!(times_asked(&bench), 1);
}

#[tokio::test(start_paused = true)]
async fn a_small_file_that_a_zip_on_its_way_in_needs_as_well_is_fetched_once() {
    let release = release();
    let (first, rest) = (release.zip.slice(..100), release.zip.slice(100..));
    let late = vec![Piece::Data(first), Piece::Wait(30 * SECOND), Piece::Data(rest)];
    let (_, bench) = pieces(vec![late]);
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("stashed");
    // While the zip arrives its small files are here already, and lie nowhere yet.
    settle().await;
    let go_mod = bench.file("v1.0.0", FileKind::Mod).await.expect("shared");
    let info = bench.file("v1.0.0", FileKind::Info).await.expect("shared");
    assert_eq!(go_mod.files.go_mod, Some(release.go_mod.clone()));
    assert_eq!(info.files.info, Some(release.info.clone()));
    // The clock does not move by itself while the zip's check keeps a blocking thread.
    tokio::time::advance(31 * SECOND).await;
    let over = Instant::now() + 60 * SECOND;
    driven(over, stashed.finished.wait()).await;
    assert!(bench.stored().is_some());
    let asked = [
        FetchAsk::Zip(version("v1.0.0")),
        FetchAsk::Mod(version("v1.0.0")),
        FetchAsk::Info(query("v1.0.0")),
    ];
    assert_eq!(asked.map(|ask| bench.upstream.count(&ask)), [1, 1, 1]);
}
