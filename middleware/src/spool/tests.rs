use super::*;

fn spools(directory: &Path, bytes_max: u64) -> Spools {
    Spools::new(directory, bytes_max, &Telemetry::new().expect("fresh registry"))
}

async fn collect(mut stream: ByteStream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

#[tokio::test]
async fn a_reader_sees_bytes_as_they_come_and_the_tail_only_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, spool) = spools(directory.path(), 1 << 20).create(None, 4).unwrap();
    spool.permit_release();
    let mut stream = spool.stream(0..u64::MAX);
    writer.write(b"0123456789").unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "012345");
    writer.finish();
    assert_eq!(stream.next().await.unwrap().unwrap(), "6789");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_small_file_that_fails_is_still_a_status() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, spool) = spools(directory.path(), 1 << 20).create(Some(10), 1024).unwrap();
    writer.write(b"0123456789").unwrap();
    writer.fail(Error::new(ErrorKind::ChecksumMismatch, "wrong"));
    assert_eq!(spool.ready().await.unwrap_err().kind(), ErrorKind::ChecksumMismatch);
}

#[tokio::test]
async fn a_large_file_that_fails_is_cut_before_its_tail() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, spool) = spools(directory.path(), 1 << 20).create(Some(10), 4).unwrap();
    spool.permit_release();
    writer.write(b"0123456789").unwrap();
    spool.ready().await.expect("bytes were released");
    let mut stream = spool.stream(0..u64::MAX);
    writer.fail(Error::new(ErrorKind::ChecksumMismatch, "wrong"));
    assert!(spool.ready().await.is_err(), "who comes late gets a status");
    assert_eq!(stream.next().await.unwrap().unwrap(), "012345");
    assert!(stream.next().await.unwrap().is_err());
    assert!(stream.next().await.is_none(), "nothing follows the error");
    assert!(spool.complete().await.is_err());
}

#[tokio::test]
async fn a_dropped_writer_fails_its_readers() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, spool) = spools(directory.path(), 1 << 20).create(None, 0).unwrap();
    drop(writer);
    assert_eq!(spool.ready().await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn a_range_is_served_from_the_middle() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::of_bytes(&spools(directory.path(), 1 << 20), b"0123456789").unwrap();
    assert_eq!(collect(spool.stream(3..7)).await.unwrap(), b"3456");
    assert_eq!(collect(spool.stream(8..u64::MAX)).await.unwrap(), b"89");
}

#[tokio::test]
async fn the_limit_is_shared_and_freed_with_the_last_handle() {
    let directory = tempfile::tempdir().unwrap();
    let spools = spools(directory.path(), 10);
    let first = Spool::of_bytes(&spools, b"0123456789").unwrap();
    let refused = Spool::of_bytes(&spools, b"x").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    drop(first);
    Spool::of_bytes(&spools, b"x").expect("the bytes are free again");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "no file is left");
}

#[tokio::test]
async fn nothing_is_shown_before_release_is_permitted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, spool) = spools(directory.path(), 1 << 20).create(Some(10), 4).unwrap();
    writer.write(b"0123456789").unwrap();
    assert!(futures::poll!(std::pin::pin!(spool.ready())).is_pending());
    spool.permit_release();
    spool.ready().await.unwrap();
}

#[tokio::test]
async fn a_refusal_stays_whatever_the_writer_does_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, spool) = spools(directory.path(), 1 << 20).create(Some(10), 4).unwrap();
    spool.refuse(Error::new(ErrorKind::ChecksumUnavailable, "down"));
    writer.write(b"0123456789").unwrap();
    writer.finish();
    assert_eq!(spool.ready().await.unwrap_err().kind(), ErrorKind::ChecksumUnavailable);
    let mut stream = spool.stream(0..u64::MAX);
    assert!(stream.next().await.unwrap().is_err());
}
