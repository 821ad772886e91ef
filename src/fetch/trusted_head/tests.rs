use std::collections::BTreeMap;

use dipylon_middleware::ports::BoxFuture;
use dipylon_protocol::sumdb::tlog::Hash;

use super::*;

const KEY: &str = "sumdb/sum.test/head";

#[derive(Default)]
struct Files(parking_lot::Mutex<BTreeMap<String, Bytes>>);

impl ExtraStore for Files {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move { Ok(self.0.lock().get(key).cloned()) })
    }

    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        self.0.lock().insert(key.to_owned(), bytes);
        Box::pin(async { Ok(()) })
    }
}

fn head(size: u64, mark: u8) -> TreeHead {
    TreeHead { size, hash: Hash([mark; 32]) }
}

fn stored(files: &Files) -> TreeHead {
    let bytes = files.0.lock().get(KEY).cloned().expect("a stored head");
    TreeHead::parse(std::str::from_utf8(&bytes).unwrap()).unwrap()
}

fn store(files: &Files, head: TreeHead) {
    files.0.lock().insert(KEY.to_owned(), Bytes::from(head.format()));
}

fn fresh() -> (Arc<Files>, TrustedHead) {
    let files = Arc::<Files>::default();
    let store: Arc<dyn ExtraStore> = Arc::<Files>::clone(&files);
    (files, TrustedHead::new("sum.test", store))
}

#[tokio::test]
async fn the_first_head_is_trusted_and_stored() {
    let (files, trusted) = fresh();
    let known = trusted.known().await.unwrap();
    assert_eq!(known, Known::default());
    assert!(trusted.advance(known, head(10, 1)).await);
    assert_eq!(trusted.known().await.unwrap().trusted, Some(head(10, 1)));
    assert_eq!(stored(&files), head(10, 1));
}

#[tokio::test]
async fn a_proof_against_an_overtaken_head_must_be_made_again() {
    let (_files, trusted) = fresh();
    let before = trusted.known().await.unwrap();
    assert!(trusted.advance(before, head(10, 1)).await);
    assert!(!trusted.advance(before, head(12, 2)).await, "12 was never compared with 10");
    assert!(trusted.advance(before, head(10, 1)).await, "the same head needs no other proof");
    let now = trusted.known().await.unwrap();
    assert!(trusted.advance(now, head(12, 2)).await);
    assert!(trusted.advance(now, head(10, 1)).await, "what brings nothing newer always agrees");
    assert_eq!(trusted.known().await.unwrap().trusted, Some(head(12, 2)));
}

#[tokio::test(start_paused = true)]
async fn another_replicas_head_is_compared_once_and_never_overwritten_by_an_older_one() {
    let (files, trusted) = fresh();
    let known = trusted.known().await.unwrap();
    assert!(trusted.advance(known, head(10, 1)).await);
    store(&files, head(20, 2));
    tokio::time::advance(REREAD_INTERVAL).await;
    let known = trusted.known().await.unwrap();
    assert_eq!(known, Known { trusted: Some(head(10, 1)), other: Some(head(20, 2)) });
    // Proven against both, the newer one is the head from then on.
    assert!(trusted.advance(known, head(20, 2)).await);
    assert_eq!(trusted.known().await.unwrap(), Known { trusted: Some(head(20, 2)), other: None });
    store(&files, head(30, 3));
    tokio::time::advance(WRITE_INTERVAL).await;
    let known = Known { trusted: Some(head(20, 2)), other: None };
    assert!(trusted.advance(known, head(25, 4)).await);
    assert_eq!(stored(&files), head(30, 3), "the store never goes back");
    assert_eq!(trusted.known().await.unwrap().other, Some(head(30, 3)));
}

#[tokio::test(start_paused = true)]
async fn writes_are_spaced_and_the_last_advance_is_written_in_the_end() {
    let (files, trusted) = fresh();
    for size in 1..=50 {
        let known = trusted.known().await.unwrap();
        assert!(trusted.advance(known, head(size, 1)).await);
    }
    assert_eq!(stored(&files), head(1, 1));
    tokio::time::advance(WRITE_INTERVAL).await;
    let known = trusted.known().await.unwrap();
    assert!(trusted.advance(known, head(50, 1)).await);
    assert_eq!(stored(&files), head(50, 1));
}

#[tokio::test]
async fn an_unreadable_stored_head_is_an_error_and_not_a_fresh_start() {
    let (files, trusted) = fresh();
    files.0.lock().insert(KEY.to_owned(), Bytes::from_static(b"\xff garbage"));
    let error = trusted.known().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChecksumUnavailable);
    assert!(error.message().contains(".dipylon/sumdb/sum.test/head"), "{error}");
}
