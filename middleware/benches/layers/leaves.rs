//! The leaves of the stacks, over ports that answer at once from memory.

use std::future::ready;
use std::io::{Cursor, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use dipylon_middleware::Error;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::dispatch::{Background, BackgroundConfig, BackgroundPorts, Dispatch};
use dipylon_middleware::forward::Forward;
use dipylon_middleware::missing_paths::MissingPaths;
use dipylon_middleware::negative::NegativeLayer;
use dipylon_middleware::ports::{
    BoxFuture, CatalogPage, Expected, Fetched, Fetcher, Index, IndexEntry, NewVersion, Payload,
    SaveResult, Storage, StorageCall, StorageReply, Verifier, ZipBody,
};
use dipylon_middleware::request::{
    FetchAsk, FetchRequest, Plan, Planned, RequestContext, StashKey, StashRequest, StorageRequest,
    Want,
};
use dipylon_middleware::response::{Files, Finished, Stashed};
use dipylon_middleware::spool::Spools;
use dipylon_middleware::stack::{Border, Stage};
use dipylon_middleware::stash::{Stash, StashPorts};
use dipylon_middleware::storage_io::StorageIo;
use dipylon_middleware::telemetry::{Outcome, UpstreamClass};
use dipylon_middleware::upstream::Upstream;
use dipylon_protocol::{FileKind, ModulePath, Version, VersionQuery};
use tokio_util::task::TaskTracker;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::fetch::stashed;
use crate::module::{file_request, leaf};
use crate::support::{
    INFO, LONG, bench, bench_service, context, module, policy, storage, telemetry, version,
};

/// Room for the spools of the zips that are under way.
const SPOOLS_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a zip that are held back.
const HOLD_BACK_BYTES: u64 = 1 << 16;

/// A plan, as far as the border of the stash stack.
pub(crate) fn dispatch(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers planned");
    let request = &Planned { request: file_request(), plan: Plan::Stash };
    bench_service(group, "bare leaf", &leaf::<Planned>(), request);
    let stash = Border::new(tower::service_fn(|_: StashRequest| {
        let files = Files { info: Some(INFO.into()), ..Files::default() };
        let (version, finished) = (version(), Finished::now());
        let (outcome, forward) = (Outcome::MissLeader, Forward::default());
        ready(Ok::<_, Error>(Stashed { version, files, outcome, forward, finished }))
    }));
    let fetcher: Arc<dyn Fetcher> = Arc::new(Memory::new());
    let background = Background::new(
        BackgroundConfig { timeout: LONG, entries_max: 1, workers_max: 1 },
        BackgroundPorts {
            stash: stash.clone(),
            fetcher: Arc::clone(&fetcher),
            storage: storage(true),
            store: None,
            may_fetch: Arc::new(|_, _| true),
            negatives: NegativeLayer::new(LONG, MissingPaths::new(LONG), policy(), &telemetry())
                .learns(),
            tasks: TaskTracker::new(),
            telemetry: telemetry(),
        },
    );
    let dispatch = Dispatch::new(stash, fetcher, background);
    bench_service(group, "dispatch, a stash", &dispatch, request);
    let plan = Plan::Redirect("https://example.com/v1.2.3.info".to_owned());
    let redirect = &Planned { request: file_request(), plan };
    bench_service(group, "dispatch, a redirect", &dispatch, redirect);
}

/// A stash of one file until all work behind it has ended, nothing of its version being stored.
pub(crate) fn stash(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers stash leaf");
    let (telemetry, memory) = (telemetry(), Arc::new(Memory::new()));
    let directory = tempfile::tempdir().expect("a temporary folder");
    let stash = Stash::new(StashPorts {
        upstream: Border::new(Upstream::new(
            Arc::<Memory>::clone(&memory),
            UpstreamClass::Proxy,
            &telemetry,
        )),
        verifier: Arc::<Memory>::clone(&memory),
        storage: storage(false),
        index: memory,
        spools: Spools::new(directory.path(), SPOOLS_BYTES_MAX, &telemetry),
        hold_back_bytes: HOLD_BACK_BYTES,
        tasks: TaskTracker::new(),
        telemetry,
    });
    let asked = VersionQuery::Version(version());
    let request = |kind| {
        let (want, version) = (Want::File(kind), asked.clone());
        StashRequest { context: context(), key: StashKey { module: module(), version, want } }
    };
    until_it_ends(group, "bare leaf", &stashed(), &request(FileKind::Mod));
    for kind in [FileKind::Mod, FileKind::Zip] {
        until_it_ends(group, &format!("stash, a {kind}"), &stash, &request(kind));
    }
}

/// Measures stashes, each with the work behind its answer.
fn until_it_ends<S: Stage<StashRequest, Reply = Stashed>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    stash: &S,
    request: &StashRequest,
) {
    bench(group, name, || {
        let stashing = stash.run(request.clone());
        async {
            let stashed = stashing.await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(stashed.outcome, Outcome::MissLeader, "{name}");
            stashed.finished.wait().await;
        }
    });
}

/// A call of an upstream.
pub(crate) fn upstream(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers upstream leaf");
    let request = &FetchRequest::new(context(), module(), FetchAsk::List);
    let memory = Arc::new(Memory::new());
    let bare = Arc::clone(&memory);
    let bare = tower::service_fn(move |request| Arc::clone(&bare).answer(request));
    bench_service(group, "bare leaf", &bare, request);
    bench_service(
        group,
        "upstream",
        &Upstream::new(memory, UpstreamClass::Proxy, &telemetry()),
        request,
    );
}

/// A call of a store.
pub(crate) fn storage_io(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers storage leaf");
    let operation = StorageCall::Read(module(), version(), FileKind::Info);
    let request = &StorageRequest { context: context(), operation };
    let bare = tower::service_fn(|_: StorageRequest| {
        let blob = Blob::from_bytes(INFO.into());
        ready(Ok::<_, Error>(StorageReply::Blob(Some(blob))))
    });
    bench_service(group, "bare leaf", &bare, request);
    let storage_io = StorageIo::new(Arc::new(Memory::new()), &telemetry());
    bench_service(group, "storage_io", &storage_io, request);
}

/// An upstream, a checksum database that exempts all, a store and an index, in memory.
struct Memory {
    go_mod: Bytes,
    zip: Bytes,
}

impl Memory {
    fn new() -> Self {
        let go_mod = Bytes::from(format!("module {}\n", module()));
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let name = format!("{}@{}/go.mod", module(), version());
        zip.start_file(name, SimpleFileOptions::default()).expect("an entry can be begun");
        zip.write_all(&go_mod).expect("an entry can be written");
        let zip = zip.finish().expect("a zip can be finished").into_inner().into();
        Self { go_mod, zip }
    }

    async fn answer(self: Arc<Self>, request: FetchRequest) -> Result<Fetched, Error> {
        self.fetch(request).await
    }
}

impl Fetcher for Memory {
    fn name(&self) -> Arc<str> {
        "memory".into()
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        let payload = match request.ask {
            FetchAsk::List => Payload::Bytes("v1.2.3\n".into()),
            FetchAsk::Latest | FetchAsk::Info(_) => Payload::Bytes(INFO.into()),
            FetchAsk::Mod(_) => Payload::Bytes(self.go_mod.clone()),
            FetchAsk::Zip(_) => {
                let chunk = ready(Ok(self.zip.clone()));
                let stream = Box::pin(futures::stream::once(chunk));
                Payload::Zip(ZipBody { length: Some(self.zip.len() as u64), stream })
            }
        };
        Box::pin(ready(Ok(Fetched { payload, upstream: self.name(), cache_status: None })))
    }
}

impl Verifier for Memory {
    fn expected<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a ModulePath,
        _: &'a Version,
    ) -> BoxFuture<'a, Result<Expected, Error>> {
        Box::pin(ready(Ok(Expected::Exempt)))
    }
}

impl Index for Memory {
    fn add<'a>(&'a self, _: &'a ModulePath, _: &'a Version) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }

    fn since(
        &self,
        _: time::OffsetDateTime,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexEntry>, Error>> {
        Box::pin(ready(Ok(Vec::new())))
    }
}

impl Storage for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn list<'a>(&'a self, _: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        Box::pin(ready(Ok(vec![version()])))
    }

    fn read<'a>(
        &'a self,
        _: &'a ModulePath,
        _: &'a Version,
        _: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        Box::pin(ready(Ok(Some(Blob::from_bytes(INFO.into())))))
    }

    fn save(&self, _: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(ready(Ok(SaveResult::Existed { same: true })))
    }

    fn catalog<'a>(
        &'a self,
        _: Option<&'a str>,
        _: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        Box::pin(ready(Ok(CatalogPage::default())))
    }

    fn read_extra<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(ready(Ok(None)))
    }

    fn write_extra<'a>(&'a self, _: &'a str, _: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }

    fn remove_extra<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }
}
