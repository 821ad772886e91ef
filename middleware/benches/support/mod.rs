//! What the benches of this crate share: how a call is measured, and the requests that are sent.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use dipylon_middleware::Error;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::ports::{
    Decision, Fetched, Mode, Payload, Policy, SaveResult, StorageCall, StorageReply,
};
use dipylon_middleware::request::{
    Ask, FetchRequest, ModuleRequest, RequestContext, StorageRequest,
};
use dipylon_middleware::response::{Answer, Content, ModuleResponse};
use dipylon_middleware::stack::{Border, Stage};
use dipylon_middleware::storage_io::StorageHandle;
use dipylon_middleware::telemetry::{Outcome, Telemetry};
use dipylon_middleware::versions::{NetworkMode, VersionsConfig, VersionsLayer};
use dipylon_protocol::{FileKind, ModulePath, Version, VersionQuery};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;

/// Long enough that no deadline passes within a bench.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
/// A `.info` as modules have it.
pub(crate) const INFO: &[u8] = br#"{"Version":"v1.2.3","Time":"2024-05-06T07:08:09Z"}"#;

/// One thread, so that what is measured is the work and not how threads take turns.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// CPU time of this process (Linux's `schedstat`), all threads together: on a machine that has more to do,
/// the time on the wall would say more of the others than of us. The kernel brings a thread's count up to
/// date when it yields or waits.
pub(crate) fn cpu_time() -> Duration {
    std::thread::yield_now();
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux keeps it").flatten();
    // A thread may end between the two looks.
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    Duration::from_nanos(stats.filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok()).sum())
}

/// Measures `call`, one after the other.
pub(crate) fn bench<F: Future>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut call: impl FnMut() -> F,
) {
    let runtime = runtime();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(async {
                let before = cpu_time();
                for _ in 0..calls {
                    black_box(call().await);
                }
                cpu_time().saturating_sub(before)
            })
        });
    });
}

/// Measures calls of a service with the same request; an error ends the bench.
pub(crate) fn bench_service<S, Request>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    service: &S,
    request: &Request,
) where
    S: Stage<Request>,
    Request: Clone,
{
    bench(group, name, || {
        let answer = service.run(request.clone());
        async { answer.await.map(drop).unwrap_or_else(|error| panic!("{name}: {error}")) }
    });
}

/// A registry of its own.
pub(crate) fn telemetry() -> Telemetry {
    Telemetry::new().expect("the catalogue names no metric twice")
}

/// A context whose caller waits as long as a bench may last.
pub(crate) fn context() -> RequestContext {
    RequestContext::detached(tokio::time::Instant::now() + LONG)
}

/// The module of every request.
pub(crate) fn module() -> ModulePath {
    ModulePath::parse("github.com/Azure/azure-sdk-for-go").expect("a module path")
}

/// A version of it.
pub(crate) fn version() -> Version {
    Version::parse("v1.2.3").expect("a version")
}

/// A request for `.info`, by version.
pub(crate) fn module_request() -> ModuleRequest {
    let ask = Ask::File(VersionQuery::Version(version()), FileKind::Info);
    ModuleRequest { context: context(), module: module(), ask }
}

/// `.info` in memory as an answer.
pub(crate) fn file_answer() -> ModuleResponse {
    let content = Content::Bytes(INFO.into());
    let answer = Answer::File { kind: FileKind::Info, version: version(), content };
    ModuleResponse::new(answer, Outcome::HitStorage)
}

/// A store that has every file, or none, keeps nothing, and costs nothing.
pub(crate) fn storage(has_files: bool) -> StorageHandle {
    let leaf = tower::service_fn(move |request: StorageRequest| {
        let reply = match request.operation {
            StorageCall::List(_) => StorageReply::Versions(vec![version()]),
            StorageCall::ReadExtra(_) => StorageReply::Extra(None),
            StorageCall::Save(_) => StorageReply::Saved(SaveResult::Created),
            StorageCall::WriteExtra(..) | StorageCall::RemoveExtra(_) => StorageReply::Done,
            _ => StorageReply::Blob(has_files.then(|| Blob::from_bytes(INFO.into()))),
        };
        std::future::ready(Ok(reply))
    });
    StorageHandle::new(Border::new(leaf))
}

/// The policy of one mode for all modules, ready made as the program has it.
struct OneMode(Arc<Decision>);

impl Policy for OneMode {
    fn decide(&self, _: &ModulePath) -> Arc<Decision> {
        Arc::clone(&self.0)
    }
}

/// Fetches every module.
pub(crate) fn policy() -> Arc<dyn Policy> {
    Arc::new(OneMode(Arc::new(Decision::new(Mode::Sync, ""))))
}

/// Versions before an upstream that lists three, whose answers stay fresh.
pub(crate) fn versions(storage: StorageHandle) -> VersionsLayer {
    let config = VersionsConfig {
        network_mode: NetworkMode::Strict,
        fresh_for: LONG,
        stale_while_revalidate: LONG,
        stale_if_error: LONG,
        negative_for: LONG,
        negative_version_for: LONG,
        timeout: LONG,
    };
    let upstream = Border::new(tower::service_fn(|_: FetchRequest| {
        let payload = Payload::Bytes("v1.0.0\nv1.1.0\nv1.2.3\n".into());
        let upstream = "upstream".into();
        std::future::ready(Ok::<_, Error>(Fetched { payload, upstream, cache_status: None }))
    }));
    VersionsLayer::new(config, upstream, storage, policy(), TaskTracker::new(), &telemetry())
}
