use std::sync::Arc;

use super::Upstream;
use crate::error::ErrorKind;
use crate::ports::Payload;
use crate::request::{FetchAsk, FetchRequest};
use crate::telemetry::{FetchKind, Outcome, Telemetry};
use crate::testing::release::Release;
use crate::testing::upstream::{Reply, ScriptedUpstream};
use crate::testing::{call, context, module, query, telemetry};

fn upstream(scripted: &Arc<ScriptedUpstream>, telemetry: &Telemetry) -> Upstream {
    let fetcher: Arc<ScriptedUpstream> = Arc::clone(scripted);
    Upstream::new(fetcher, telemetry)
}

fn request(ask: FetchAsk) -> FetchRequest {
    FetchRequest { context: context(), module: module("example.com/m"), ask }
}

#[tokio::test]
async fn an_answer_passes_unchanged_and_is_counted_by_what_was_asked() {
    let (telemetry, release) = (telemetry(), Release::new("example.com/m", "v1.0.0"));
    let scripted = ScriptedUpstream::serving(&release);
    let upstream = upstream(&scripted, &telemetry);
    let fetched = call(&upstream, request(FetchAsk::Info(query("v1.0.0")))).await.expect("served");
    assert!(matches!(fetched.payload, Payload::Bytes(bytes) if bytes == release.info));
    assert_eq!(&*fetched.upstream, "scripted");
    let zip = call(&upstream, request(FetchAsk::Zip(release.version))).await.expect("served");
    assert!(matches!(zip.payload, Payload::Zip(body) if body.length.is_some()));
    for kind in [FetchKind::Info, FetchKind::Zip] {
        assert_eq!(telemetry.metrics.fetches.get((kind, Outcome::Ok)).get(), 1);
        assert_eq!(telemetry.metrics.fetch_seconds.get((kind,)).get_sample_count(), 1);
    }
}

#[tokio::test]
async fn a_failure_passes_unchanged_and_is_counted_by_its_outcome() {
    let (telemetry, scripted) = (telemetry(), ScriptedUpstream::new());
    let reply = Reply::fail(ErrorKind::UpstreamTimeout);
    scripted.on(&module("example.com/m"), FetchAsk::List, reply);
    let upstream = upstream(&scripted, &telemetry);
    let failed = call(&upstream, request(FetchAsk::List)).await.map(drop).expect_err("fails");
    assert_eq!(failed.kind(), ErrorKind::UpstreamTimeout);
    let fetches = &telemetry.metrics.fetches;
    assert_eq!(fetches.get((FetchKind::List, Outcome::UpstreamTimeout)).get(), 1);
    assert_eq!(fetches.get((FetchKind::List, Outcome::Ok)).get(), 0);
}
