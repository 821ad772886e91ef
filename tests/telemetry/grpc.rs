//! What stands on the calls of the exporter over gRPC, seen by the service that the protocol's own description makes.

use std::sync::Arc;

use http::HeaderMap;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};
use tower::ServiceExt as _;

use crate::world::{VERSION, World, file};

/// What came with each call, and how many spans.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<(HeaderMap, usize)>>>);

#[tonic::async_trait]
impl TraceService for Calls {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let scopes = message.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans = scopes.map(|scope| scope.spans.len()).sum();
        self.0.lock().push((metadata.into_headers(), spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector over gRPC, and its URL; its connections end with the test.
async fn collector() -> (Calls, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let calls = Calls::default();
    let service = TraceServiceServer::new(calls.clone());
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone().map_request(|request: http::Request<_>| {
                request.map(tonic::body::Body::new::<hyper::body::Incoming>)
            });
            connections.spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new()).http2_only();
                let connection = server
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
                // How it ends is the gateway's affair.
                let _ = connection.await;
            });
        }
    });
    (calls, url)
}

#[tokio::test]
async fn over_grpc_a_header_of_the_keys_comes_before_one_of_the_variables() {
    let (calls, url) = collector().await;
    let mut world = World::start(&[
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", &url),
        ("DIPYLON_TRACE_HEADERS", "x-tenant:ours"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=theirs,x-more=theirs"),
    ])
    .await;
    assert_eq!(world.get(&file(VERSION, "info")).await.status, 200);
    world.end().await;
    let calls = calls.0.lock();
    let spans: usize = calls.iter().map(|(_, spans)| spans).sum();
    assert!(spans > 12, "{spans} spans in {} calls", calls.len());
    for (headers, _) in calls.iter() {
        let all = |name: &str| -> Vec<String> {
            let values = headers.get_all(name).iter();
            values.map(|value| value.to_str().expect("text").to_owned()).collect()
        };
        assert_eq!(
            (all("x-tenant"), all("x-more")),
            (vec!["ours".to_owned()], vec!["theirs".to_owned()])
        );
    }
}
