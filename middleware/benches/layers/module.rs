//! The layers of the module stack.

use std::future::ready;
use std::sync::Arc;

use criterion::Criterion;
use dipylon_middleware::Error;
use dipylon_middleware::download_mode::DownloadModeLayer;
use dipylon_middleware::filter::{FilterLayer, Rules};
use dipylon_middleware::hot_cache::HotCacheLayer;
use dipylon_middleware::lookup::LookupLayer;
use dipylon_middleware::missing_paths::MissingPaths;
use dipylon_middleware::negative::NegativeLayer;
use dipylon_middleware::ports::{BoxFuture, Validator};
use dipylon_middleware::request::{
    Ask, FileRequest, Missed, ModuleRequest, Planned, RequestContext,
};
use dipylon_middleware::response::ModuleResponse;
use dipylon_middleware::stack::Stage;
use dipylon_middleware::validate::ValidateLayer;
use dipylon_protocol::{FileKind, ModulePath, VersionQuery};
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use crate::support::{
    LONG, bench_service, context, file_answer, module, module_request, policy, storage, telemetry,
    version, versions,
};

/// Rules of a filter file, for modules of other names.
const RULES: usize = 1_000;

pub(crate) fn leaf<R: Send + 'static>() -> impl Stage<R, Reply = ModuleResponse> {
    tower::service_fn(|_: R| ready(Ok::<_, Error>(file_answer())))
}

pub(crate) fn file_request() -> FileRequest {
    let version = VersionQuery::Version(version());
    FileRequest { context: context(), module: module(), version, kind: FileKind::Info }
}

pub(crate) fn file(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers file");
    let request = &file_request();
    bench_service(group, "bare leaf", &leaf::<FileRequest>(), request);
    let hot = HotCacheLayer::new(1 << 20, &telemetry()).layer(leaf::<FileRequest>());
    bench_service(group, "hot_cache, hit", &hot, request);
    let cold = HotCacheLayer::new(0, &telemetry()).layer(leaf::<FileRequest>());
    bench_service(group, "hot_cache, off", &cold, request);
    let found = LookupLayer::new(storage(true), &telemetry()).layer(leaf::<Missed>());
    bench_service(group, "lookup, hit", &found, request);
    let absent = LookupLayer::new(storage(false), &telemetry()).layer(leaf::<Missed>());
    bench_service(group, "lookup, missed", &absent, request);
}

pub(crate) fn missed(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers missed");
    let request = &Missed { request: file_request() };
    bench_service(group, "bare leaf", &leaf::<Missed>(), request);
    let negative = NegativeLayer::new(LONG, MissingPaths::new(LONG), policy(), &telemetry());
    bench_service(group, "negative", &negative.layer(leaf::<Missed>()), request);
    let planned = DownloadModeLayer::new(policy()).layer(leaf::<Planned>());
    bench_service(group, "download_mode", &planned, request);
}

pub(crate) fn layers(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers module");
    let request = &module_request();
    bench_service(group, "bare leaf", &leaf::<ModuleRequest>(), request);
    let rules: String = (0..RULES).map(|n| format!("- example.com/excluded{n}\n")).collect();
    let rules = Arc::new(Rules::parse(&rules).expect("rules"));
    let filter = FilterLayer::new(rules, "https://example.com").layer(leaf::<ModuleRequest>());
    bench_service(group, "filter", &filter, request);
    let validate = ValidateLayer::new(Arc::new(Willing), LONG, TaskTracker::new());
    bench_service(group, "validate", &validate.layer(leaf::<ModuleRequest>()), request);
    let versions = versions(storage(false)).layer(leaf::<FileRequest>());
    bench_service(group, "versions, a file", &versions, request);
    let list = &ModuleRequest { ask: Ask::List, ..request.clone() };
    bench_service(group, "versions, a fresh list", &versions, list);
}

/// A hook that has nothing against anything, asked without a network in between.
struct Willing;

impl Validator for Willing {
    fn validate<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a ModulePath,
        _: &'a VersionQuery,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }
}
