//! Zips whose content is checked behind their answers.

use dipylon_protocol::route::FileKind;

use super::{Bench, bench, read, release};
use crate::error::ErrorKind;
use crate::ports::Expected;
use crate::request::FetchAsk;
use crate::telemetry::{Saved, Verification};
use crate::testing::release::Release;
use crate::testing::upstream::{Reply, ScriptedUpstream};

/// A zip with one byte of its content changed: only who reads all of it sees that.
fn changed(release: &Release) -> bytes::Bytes {
    let mut bytes = release.zip.to_vec();
    let at = bytes.windows(3).position(|bytes| bytes == b"xxx").expect("the filler");
    bytes[at + 1] = b'y';
    bytes.into()
}

/// An upstream that sends such a zip of this release.
fn sending_changed(release: &Release, expected: Expected) -> Bench {
    let upstream = ScriptedUpstream::serving(release);
    let ask = FetchAsk::Zip(release.version.clone());
    upstream.only(&release.module, ask, Reply::zip(&changed(release)));
    bench(upstream, Ok(expected))
}

#[tokio::test(start_paused = true)]
async fn a_long_zip_without_a_checksum_is_shown_whole_and_saved_when_all_of_it_was_checked() {
    let release = release();
    let bench = bench(ScriptedUpstream::serving(&release), Ok(Expected::Exempt));
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("a zip");
    assert_eq!(read(&stashed, FileKind::Zip).await.expect("whole"), release.zip);
    assert!(stashed.finished.refusal().await.is_none());
    assert_eq!(bench.stored().expect("saved").zip, release.zip);
    assert_eq!((bench.saves(Saved::Created), bench.verifications(Verification::Exempt)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn content_that_is_not_what_the_directory_says_is_shown_and_never_stored() {
    let release = release();
    let bench = sending_changed(&release, Expected::Exempt);
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("a zip");
    let shown =
        read(&stashed, FileKind::Zip).await.expect("whole: `go` sees what is wrong with it");
    assert_eq!(shown, changed(&release));
    let refusal = stashed.finished.refusal().await.expect("why it is not stored");
    assert_eq!(refusal.kind(), ErrorKind::BadContent);
    assert!(bench.stored().is_none());
    assert!(bench.quarantined());
    let refused = bench.zip().await.expect_err("known by now");
    assert_eq!(refused.kind(), ErrorKind::BadContent);
}

#[tokio::test(start_paused = true)]
async fn with_a_checksum_the_tail_waits_for_all_of_the_check() {
    let release = release();
    let bench = sending_changed(&release, release.expected());
    let stashed = bench.file("v1.0.0", FileKind::Zip).await.expect("its beginning");
    let cut = read(&stashed, FileKind::Zip).await.expect_err("its tail is held back");
    assert_eq!(cut.kind(), ErrorKind::BadContent);
    assert!(bench.stored().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_short_zip_is_checked_before_it_is_shown() {
    let release = Release::with_filler("example.com/m", "v1.0.0", 200);
    assert!(release.zip.len() <= super::HOLD_BACK, "{}", release.zip.len());
    let bench = sending_changed(&release, Expected::Exempt);
    let refused = bench.zip().await.expect_err("a refusal is a status");
    assert_eq!(refused.kind(), ErrorKind::BadContent);
    assert!(bench.stored().is_none());
}
