use std::sync::Arc;

use dipylon_protocol::path::ModulePath;
use parking_lot::Mutex;

use super::Upstream;
use crate::error::ErrorKind;
use crate::ports::{Decision, Fetcher, Mode, Payload, Policy};
use crate::request::{FetchAsk, FetchRequest, Permit};
use crate::telemetry::{Answered, FetchKind, Outcome, Telemetry, UpstreamClass};
use crate::testing::below::{Held, assert_passes_unchanged, error_from_below};
use crate::testing::release::Release;
use crate::testing::upstream::{Reply, ScriptedUpstream};
use crate::testing::{call, context, module, query, telemetry};

fn upstream(scripted: &Arc<ScriptedUpstream>, telemetry: &Telemetry) -> Upstream {
    let fetcher: Arc<ScriptedUpstream> = Arc::clone(scripted);
    Upstream::new(fetcher, UpstreamClass::Proxy, telemetry)
}

fn request(ask: FetchAsk) -> FetchRequest {
    FetchRequest::new(context(), module("example.com/m"), ask)
}

#[tokio::test(start_paused = true)]
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
    let class = UpstreamClass::Proxy;
    assert_eq!(telemetry.metrics.class_fetches.get((class, Answered::Ok)).get(), 2);
    assert_eq!(telemetry.metrics.class_fetch_seconds.get((class,)).get_sample_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged_and_is_counted_by_its_outcome() {
    let (telemetry, scripted) = (telemetry(), ScriptedUpstream::new());
    let reply = Reply::Fail(error_from_below(ErrorKind::UpstreamTimeout));
    scripted.on(&module("example.com/m"), FetchAsk::List, reply);
    let upstream = upstream(&scripted, &telemetry);
    let list = request(FetchAsk::List);
    assert_passes_unchanged(&upstream, list, ErrorKind::UpstreamTimeout).await;
    let fetches = &telemetry.metrics.fetches;
    assert_eq!(fetches.get((FetchKind::List, Outcome::UpstreamTimeout)).get(), 1);
    assert_eq!(fetches.get((FetchKind::List, Outcome::Ok)).get(), 0);
    let failed = (UpstreamClass::Proxy, Answered::Failed);
    assert_eq!(telemetry.metrics.class_fetches.get(failed).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_is_not_counted_as_answered() {
    let (telemetry, held) = (telemetry(), Held::default());
    let upstream = Upstream::new(Arc::new(held.clone()), UpstreamClass::Proxy, &telemetry);
    held.assert_ends_with_its_caller(&upstream, request(FetchAsk::List)).await;
    let seconds = telemetry.metrics.fetch_seconds.get((FetchKind::List,));
    assert_eq!(seconds.get_sample_count(), 0);
}

/// A policy that can be replaced, as by a reload.
struct Replaced(Mutex<Arc<Decision>>);

impl Policy for Replaced {
    fn decide(&self, _: &ModulePath) -> Arc<Decision> {
        self.0.lock().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_permitted_no_more_is_asked_of_nobody() {
    let (telemetry, release) = (telemetry(), Release::new("example.com/m", "v1.0.0"));
    let scripted = ScriptedUpstream::serving(&release);
    let upstream = upstream(&scripted, &telemetry);
    let fetches = Arc::new(Decision::new(Mode::Sync, ""));
    let elsewhere: Arc<dyn Fetcher> = ScriptedUpstream::new();
    let later = [
        (Decision::new(Mode::Async, ""), true),
        (Decision::new(Mode::None, ""), false),
        (Decision { upstreams: Some(elsewhere), ..Decision::new(Mode::Sync, "") }, false),
    ];
    for (decision, goes) in later {
        let policy = Arc::new(Replaced(Mutex::new(Arc::clone(&fetches))));
        let permit = Permit::new(Arc::clone(&policy) as Arc<dyn Policy>, Arc::clone(&fetches));
        let zip = request(FetchAsk::Zip(release.version.clone()));
        let zip = FetchRequest { permit: Some(permit), ..zip };
        call(&upstream, zip.clone()).await.expect("as it was decided");
        let asked = scripted.asked().len();
        *policy.0.lock() = Arc::new(decision.clone());
        let result = call(&upstream, zip).await.map(drop);
        assert_eq!(result.is_ok(), goes, "{decision:?}");
        assert_eq!(scripted.asked().len(), asked + usize::from(goes), "{decision:?}");
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::PolicyChanged);
        }
    }
}
