//! What many requests at once cost the server: few of them are served at a time, the others wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dipylon::external_storage::{MAX_SAVES, MAX_WALKS, Options};
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_middleware::storage_io::ANSWER_MAX;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use tokio::sync::Semaphore;

use crate::bench::{Served, client, served_disk};
use crate::limits::begin_save;

/// A disk whose lists and catalogue pages wait for the test, and are counted.
struct Walked {
    disk: Arc<dyn Storage>,
    gate: Semaphore,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl Walked {
    async fn walk(&self) {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        drop(self.gate.acquire().await);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Storage for Walked {
    fn kind(&self) -> &'static str {
        self.disk.kind()
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        Box::pin(async move {
            self.walk().await;
            self.disk.list(module).await
        })
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        self.disk.read(module, version, kind)
    }

    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        self.disk.save(version)
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        Box::pin(async move {
            self.walk().await;
            self.disk.catalog(token, limit).await
        })
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        self.disk.read_extra(key)
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        self.disk.write_extra(key, bytes)
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.disk.remove_extra(key)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.disk.check()
    }
}

/// What a list holds in memory is counted when it is there: so few are made at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_lists_and_catalogue_pages_are_made_at_once_and_the_rest_wait_for_their_turn() {
    let root = tempfile::tempdir().unwrap();
    let disk = dipylon::storage::disk(root.path().into()).await.unwrap();
    let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let walked = Arc::new(Walked { disk, gate: Semaphore::new(0), under_way, most });
    let options = Options { log_access: false, ..Options::default() };
    let served = Served::start(Arc::<Walked>::clone(&walked), options).await;
    let asking = (0..3 * MAX_WALKS).map(|number| {
        let path = if number % 2 == 0 { "/example.com/a/@v/list" } else { "/catalog" };
        let http = served.client().limit(Duration::from_secs(30));
        tokio::spawn(async move { http.get(path).await.status.as_u16() })
    });
    let asking: Vec<_> = asking.collect();
    while walked.under_way.load(Ordering::SeqCst) < MAX_WALKS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        asking.iter().all(|one| !one.is_finished()),
        "longer than a walk takes, nobody is refused"
    );
    walked.gate.close();
    for one in asking {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(walked.most.load(Ordering::SeqCst), MAX_WALKS);
}

/// They are small, and a client waits for them in the middle of a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_extras_wait_for_no_upload_of_a_zip() {
    let (root, served) = served_disk().await;
    let mut uploads = Vec::new();
    for number in 0..2 * MAX_SAVES {
        uploads.push(begin_save(&served, number, "mod.zip").await);
    }
    // Each that has a place has a spool.
    let spools = root.path().join(".dipylon/staging");
    while std::fs::read_dir(&spools).unwrap().count() < MAX_SAVES {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let storage = client(&served.url()).await;
    let bytes = Bytes::from_static(b"module m\n");
    let written = storage.write_extra("early/a", bytes.clone());
    tokio::time::timeout(ANSWER_MAX, written).await.expect("it waits for no zip").unwrap();
    assert_eq!(storage.read_extra("early/a").await.unwrap(), Some(bytes));
    drop(uploads);
}
