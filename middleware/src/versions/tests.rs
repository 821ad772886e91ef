mod files;
mod kept;
mod modes;
mod queries;
mod told;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use super::service::Versions;
use super::{NetworkMode, VersionsConfig, VersionsLayer};
use crate::deadline::DeadlineLayer;
use crate::error::{Error, ErrorKind};
use crate::ports::{Policy, Storage};
use crate::request::{Ask, FetchAsk, FileRequest, ModuleRequest, RequestContext};
use crate::response::{Answer, ModuleResponse};
use crate::stack::Border;
use crate::storage_io::{StorageHandle, StorageIo};
use crate::telemetry::{Outcome, Telemetry};
use crate::testing::storage::MemoryStorage;
use crate::testing::upstream::{Reply, ScriptedUpstream};
use crate::testing::{SECOND, call, context, error, fetches_all, leaf, module, telemetry};

/// A pseudo-version of `example.com/m`.
const PSEUDO: &str = "v0.0.0-20240301120000-abcdefabcdef";

fn config(network_mode: NetworkMode) -> VersionsConfig {
    VersionsConfig {
        network_mode,
        fresh_for: 60 * SECOND,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: 3600 * SECOND,
        negative_for: 10 * SECOND,
        negative_version_for: 5 * SECOND,
        timeout: 20 * SECOND,
    }
}

/// The layer with an upstream and a storage in memory, over a leaf that answers files.
struct Bench {
    layer: VersionsLayer,
    service: Versions<Border<FileRequest, ModuleResponse>>,
    upstream: Arc<ScriptedUpstream>,
    storage: Arc<MemoryStorage>,
    /// Files that reached the leaf.
    files: Arc<Mutex<Vec<String>>>,
    telemetry: Telemetry,
}

/// What the leaf says to a file.
type Files = fn(&FileRequest) -> Result<ModuleResponse, Error>;

fn no_files(_: &FileRequest) -> Result<ModuleResponse, Error> {
    Err(error(ErrorKind::NotFound))
}

fn bench(mode: NetworkMode, stored: &[&str]) -> Bench {
    bench_with(config(mode), stored, fetches_all(), no_files)
}

fn bench_with(
    config: VersionsConfig,
    stored: &[&str],
    policy: Arc<dyn Policy>,
    answer: Files,
) -> Bench {
    let telemetry = telemetry();
    let (upstream, storage) = (ScriptedUpstream::new(), MemoryStorage::with(stored));
    // As in the real storage stack, a deadline that has passed ends a call.
    let port: Arc<dyn Storage> = Arc::<MemoryStorage>::clone(&storage);
    let io = StorageIo::new(port, &telemetry);
    let io = DeadlineLayer::new("storage", 10 * SECOND, ErrorKind::Storage).layer(io);
    let layer = VersionsLayer::new(
        config,
        upstream.border(&telemetry),
        StorageHandle::new(Border::new(io)),
        policy,
        TaskTracker::new(),
        &telemetry,
    );
    let files: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&files);
    let inner = leaf(move |request: FileRequest| {
        noted.lock().push(format!("{}.{}", request.version, request.kind));
        answer(&request)
    });
    let service = layer.layer(Border::new(inner));
    Bench { layer, service, upstream, storage, files, telemetry }
}

impl Bench {
    fn says(&self, ask: FetchAsk, reply: Reply) {
        self.upstream.on(&m(), ask, reply);
    }

    fn lists(&self, text: &str) {
        self.upstream.only(&m(), FetchAsk::List, Reply::text(text));
    }

    fn list_fails(&self, kind: ErrorKind) {
        self.upstream.only(&m(), FetchAsk::List, Reply::fail(kind));
    }

    async fn ask(&self, ask: Ask) -> Result<ModuleResponse, Error> {
        self.ask_in(context(), ask).await
    }

    async fn ask_in(&self, context: RequestContext, ask: Ask) -> Result<ModuleResponse, Error> {
        call(&self.service, ModuleRequest { context, module: m(), ask }).await
    }

    /// The list, its lines separated by blanks, and how it came about.
    async fn list(&self) -> Result<(String, Outcome), Error> {
        self.ask(Ask::List).await.map(|response| shown(&response))
    }

    async fn latest(&self) -> Result<(String, Outcome), Error> {
        self.ask(Ask::Latest).await.map(|response| shown(&response))
    }
}

fn m() -> ModulePath {
    module("example.com/m")
}

fn shown(response: &ModuleResponse) -> (String, Outcome) {
    let body: &Bytes = match &response.answer {
        Answer::List(body) | Answer::Latest(body) => body,
        other => panic!("neither list nor latest: {other:?}"),
    };
    let text = String::from_utf8_lossy(body);
    (text.split_whitespace().collect::<Vec<_>>().join(" "), response.outcome)
}

fn info(version: &str) -> String {
    format!("{{\"Version\":\"{version}\",\"Time\":\"2024-03-01T12:00:00Z\"}}")
}
