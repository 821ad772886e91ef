//! The layers of the edge: HTTP in, HTTP out, the body read to its end.

use std::future::ready;
use std::num::NonZeroU32;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use dipylon_middleware::access_log::AccessLogLayer;
use dipylon_middleware::admission::AdmissionLayer;
use dipylon_middleware::auth::{AuthLayer, Credentials};
use dipylon_middleware::body::{self, Body};
use dipylon_middleware::budget::Rate;
use dipylon_middleware::catch_panic::CatchPanicLayer;
use dipylon_middleware::compression::CompressionLayer;
use dipylon_middleware::deadline::DeadlineLayer;
use dipylon_middleware::force_ssl::ForceSslLayer;
use dipylon_middleware::limit::LimitLayer;
use dipylon_middleware::observe::ObserveLayer;
use dipylon_middleware::ports::BoxFuture;
use dipylon_middleware::rate_limit::RateLimitLayer;
use dipylon_middleware::request::{EdgeParts, EdgeRequest, ModuleRequest, SumDbRequest};
use dipylon_middleware::request_context::{
    Arrival, Connection, RequestContextLayer, TrustedProxies,
};
use dipylon_middleware::route::{AdminPages, Route};
use dipylon_middleware::stack::{Border, Stage};
use dipylon_middleware::telemetry::{LayerName, RouteName};
use dipylon_middleware::{Error, ErrorKind};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tower::Layer;

use crate::support::{LONG, bench, context, file_answer, telemetry};

const PATH: &str = "/github.com/!azure/azure-sdk-for-go/@v/v1.2.3.info";
const PEER: ([u8; 4], u16) = ([10, 0, 0, 1], 4711);
/// A rate that nothing reaches.
const RATE: NonZeroU32 = NonZeroU32::MAX;

fn hello<R: Send + 'static>() -> impl Stage<R, Reply = Response<Body>> {
    tower::service_fn(|_: R| ready(Ok::<_, Error>(Response::new(body::full("hello")))))
}

/// As a client behind two proxies sends it, with credentials.
fn http_request() -> Request<()> {
    Request::get(PATH)
        .header("host", "gateway.example.com")
        .header("user-agent", "Go-http-client/1.1")
        .header("authorization", "Basic dXNlcjpwYXNz")
        .header("x-forwarded-for", "198.51.100.7, 10.0.0.2")
        .body(())
        .expect("a request")
}

fn arrival() -> Arrival {
    let connection = Connection { peer: Some(PEER.into()), secure: true };
    Arrival { connection, ..http_request().into() }
}

fn edge_request() -> EdgeRequest {
    let (head, ()) = http_request().into_parts();
    let path = Some(PATH.to_owned());
    let head = Box::new(head);
    EdgeParts { context: context(), head, path, peer: Some(PEER.into()), secure: true }.into()
}

fn read<S, R>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, service: &S, request: &R)
where
    S: Stage<R, Reply = Response<Body>>,
    R: Clone,
{
    bench(group, name, || {
        let answer = service.run(request.clone());
        async {
            let answer = answer.await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(answer.status(), 200, "{name}");
            answer.into_body().collect().await.expect("a whole body").to_bytes()
        }
    });
}

fn over<L>(group: &mut BenchmarkGroup<'_, WallTime>, name: LayerName, layer: L)
where
    L: Layer<Leaf>,
    L::Service: Stage<EdgeRequest, Reply = Response<Body>>,
{
    read(group, name.as_str(), &layer.layer(Leaf::new(hello())), &edge_request());
}

/// The leaf has a name, so that layers can be named by what they stand over.
type Leaf = Border<EdgeRequest, Response<Body>>;

pub(crate) fn layers(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers edge");
    let telemetry = telemetry();
    read(group, "bare leaf", &Leaf::new(hello()), &edge_request());
    over(group, LayerName::AccessLog, AccessLogLayer::new(true, &telemetry));
    over(group, LayerName::CatchPanic, CatchPanicLayer);
    over(group, LayerName::Admission, AdmissionLayer::new(1_000));
    let deadline = DeadlineLayer::new("request", LONG, ErrorKind::DeadlineExceeded);
    over(group, LayerName::Deadline, deadline);
    let rate = Rate { per_second: RATE, burst: RATE };
    over(group, LayerName::RateLimit, RateLimitLayer::new(rate, false, &telemetry));
    over(group, LayerName::ForceSsl, ForceSslLayer::new(false));
    over(group, LayerName::Auth, AuthLayer::new(Credentials::new("user", "pass"), false));
    over(group, LayerName::Compression, CompressionLayer);
    // What the stack puts around every layer, and the layers that stand in several stacks.
    let observe = ObserveLayer::new(LayerName::Route, &telemetry);
    read(group, "observe", &observe.layer(Leaf::new(hello())), &edge_request());
    let limit = LimitLayer::new("calls", 1_000, LONG);
    read(group, "limit", &limit.layer(Leaf::new(hello())), &edge_request());
}

/// From the HTTP request to the edge, and from the edge to the module stack.
pub(crate) fn ends(criterion: &mut Criterion) {
    http(criterion);
    route(criterion);
}

fn http(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers http");
    read(group, "bare leaf", &hello::<Arrival>(), &arrival());
    let context = RequestContextLayer::new("", LONG, &telemetry());
    read(group, "request_context", &context.layer(hello::<EdgeRequest>()), &arrival());
    let ours =
        TrustedProxies::new(|address| address.is_ipv4() && address.to_string().starts_with("10."));
    let trusting = context.trusting(Some(ours));
    let service = trusting.layer(hello::<EdgeRequest>());
    read(group, "request_context, behind proxies", &service, &arrival());
}

fn route(criterion: &mut Criterion) {
    let modules = Border::new(tower::service_fn(|_: ModuleRequest| ready(Ok(file_answer()))));
    let sumdb = Border::new(tower::service_fn(|_: SumDbRequest| {
        ready(Err(Error::new(ErrorKind::NotFound, "there is no checksum database here")))
    }));
    let route = Route::new(modules, sumdb, Arc::new(NoPages), "");
    let group = &mut criterion.benchmark_group("layers route");
    read(group, "bare leaf", &Leaf::new(hello()), &edge_request());
    read(group, "route and render", &route, &edge_request());
}

/// A gateway without pages of its own.
struct NoPages;

impl AdminPages for NoPages {
    fn route(&self, _: &str) -> Option<RouteName> {
        None
    }

    fn serve<'a>(
        &'a self,
        path: &'a str,
        _: &'a EdgeRequest,
    ) -> BoxFuture<'a, Result<Response<Body>, Error>> {
        Box::pin(ready(Err(Error::new(ErrorKind::InvalidPath, path))))
    }
}
