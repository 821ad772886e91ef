//! The trace of a call goes along to an object store, and the store takes the signed requests all the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon_middleware::request::RequestContext;
use dipylon_middleware::stack::Border;
use dipylon_middleware::storage_io::{StorageHandle, StorageIo};
use dipylon_middleware::telemetry::Telemetry;
use dipylon_middleware::telemetry::trace::{
    FinishedTrace, KeepRules, Parent, SpanRef, SpanSink, Tracer,
};
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::given::{KeyedServer, fresh_name};
use dipylon_testkit::storage_suite::{Subject, new_version};
use parking_lot::Mutex;

use crate::bench::names;
use crate::front::{Front, PassOn};
use crate::minio::{config, no_environment, server};

/// Takes spans and keeps none.
struct Nowhere;

impl SpanSink for Nowhere {
    fn take(&self, _: FinishedTrace) {}
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn reads_and_saves_carry_the_trace_where_it_is_kept() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (server, bucket) = (server(), fresh_name());
    let (told, real) = (Arc::clone(&seen), PassOn::to(&server.endpoint));
    let front = Front::start(move |request| {
        let text = |name: &str| {
            let value = request.headers().get(name);
            value.map(|value| value.to_str().expect("text").to_owned())
        };
        let headers = (text("traceparent"), text("tracestate"));
        told.lock().push((format!("{} {}", request.method(), request.uri().path()), headers));
        let real = real.clone();
        async move { real.send(request).await }
    })
    .await;
    let server = KeyedServer { endpoint: front.url.clone(), ..server };
    let storage = dipylon::storage::minio::open(&config(&server, &bucket), &no_environment).await;
    let subject = Subject::new(storage.expect("a store"));
    let io = StorageIo::new(Arc::clone(subject.storage()), &Telemetry::new().expect("a registry"));
    let handle = StorageHandle::new(Border::new(io));
    let tracer = Tracer::new(KeepRules::NONE, Arc::new(Nowhere));
    for (is_sampled, version) in [(true, "v1.0.0"), (false, "v1.1.0")] {
        let module = FakeModule::new("example.com/traced", version).filler(200_000);
        let span = SpanRef::parse("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331");
        let (span, state) = (span.expect("ids"), Some("vendor=opaque".into()));
        let trace = tracer.request(Some(Parent { span, is_sampled, state }), Instant::now());
        let wanted = (
            is_sampled.then(|| trace.traceparent().expect("a trace")),
            is_sampled.then(|| "vendor=opaque".to_owned()),
        );
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let context = RequestContext { trace, ..RequestContext::detached(deadline) };
        seen.lock().clear();
        handle.save(&context, new_version(subject.spools(), &module)).await.expect("saved");
        let (path, version) = names(&module);
        let read = handle.read(&context, &path, &version, FileKind::Zip).await;
        assert!(read.expect("read").is_some(), "stored");
        let asked = seen.lock().clone();
        for method in ["PUT", "GET"] {
            let of_it: Vec<_> = asked.iter().filter(|(what, _)| what.starts_with(method)).collect();
            assert!(!of_it.is_empty(), "{method} in {asked:?}");
            for (what, headers) in of_it {
                assert_eq!(*headers, wanted, "{what}");
            }
        }
    }
}
