use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::Layer as _;

use super::state::{HEDGES_PER_CALL, HEDGES_SAVED_MAX, is_small};
use super::{Hedge, HedgeLayer};
use crate::error::{Error, ErrorKind};
use crate::ports::{Fetched, Payload};
use crate::request::{FetchAsk, FetchRequest};
use crate::stack::Border;
use crate::telemetry::{Hedged, Telemetry};
use crate::testing::below::{Held, assert_passes_unchanged, error_from_below, failing};
use crate::testing::{SECOND, call, context_for, error, module, query, telemetry, version};

const AFTER: Duration = Duration::from_millis(200);

/// When one call ends, and how: each name is in its answer, or its error's text.
type Script = &'static [(u64, Result<&'static str, ErrorKind>)];

/// Answers its calls in turn by the script; the last entry is for all that follow.
#[derive(Clone)]
struct Below {
    script: Script,
    /// Calls begun, and those whose end was reached.
    calls: Arc<Mutex<(usize, usize)>>,
}

impl Below {
    fn new(script: Script) -> Self {
        Self { script, calls: Arc::default() }
    }

    fn service(&self) -> Border<FetchRequest, Fetched> {
        let below = self.clone();
        Border::new(tower::service_fn(move |_: FetchRequest| {
            let below = below.clone();
            async move {
                let number = below.calls.lock().0;
                below.calls.lock().0 += 1;
                let (millis, says) = below.script[number.min(below.script.len() - 1)];
                tokio::time::sleep(Duration::from_millis(millis)).await;
                below.calls.lock().1 += 1;
                let say = |text: &'static str| {
                    let payload = Payload::Bytes(Bytes::from_static(text.as_bytes()));
                    Fetched { payload, upstream: "proxy.example".into(), cache_status: None }
                };
                says.map(say).map_err(|kind| Error::new(kind, format!("call {number}")))
            }
        }))
    }
}

type Way = Border<FetchRequest, Fetched>;

/// Both requests go the same way.
fn over(telemetry: &Telemetry, way: &Way) -> Hedge<Way> {
    HedgeLayer::new(AFTER, way.clone(), telemetry).layer(way.clone())
}

fn request(ask: FetchAsk) -> FetchRequest {
    FetchRequest::new(context_for(60 * SECOND), module("example.com/m"), ask)
}

fn small() -> [FetchAsk; 4] {
    let (info, go_mod) = (FetchAsk::Info(query("v1.0.0")), FetchAsk::Mod(version("v1.0.0")));
    [FetchAsk::List, FetchAsk::Latest, info, go_mod]
}

fn hedges(telemetry: &Telemetry, result: Hedged) -> u64 {
    telemetry.metrics.hedges.get((result,)).get()
}

/// All that was counted: first, late, failed, abandoned, refused.
fn counted(telemetry: &Telemetry) -> [u64; 5] {
    [Hedged::First, Hedged::Late, Hedged::Failed, Hedged::Abandoned, Hedged::Refused]
        .map(|result| hedges(telemetry, result))
}

/// What a call for a list says, after how many milliseconds, how many calls were made and ended, and what was
/// counted.
async fn list_of(script: Script) -> (Result<String, ErrorKind>, u128, (usize, usize), [u64; 5]) {
    let (below, telemetry) = (Below::new(script), telemetry());
    let service = over(&telemetry, &below.service());
    let began = Instant::now();
    let said = match call(&service, request(FetchAsk::List)).await {
        Ok(Fetched { payload: Payload::Bytes(bytes), .. }) => {
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        Ok(_) => panic!("bytes were sent"),
        Err(error) => {
            assert!(error.message() == "call 0" || !error.kind().is_transient(), "{error}");
            Err(error.kind())
        }
    };
    let took = began.elapsed().as_millis();
    let calls = *below.calls.lock();
    (said, took, calls, counted(&telemetry))
}

#[tokio::test(start_paused = true)]
async fn the_second_request_goes_the_whole_way_and_the_first_what_is_below() {
    let telemetry = telemetry();
    let (below, way) = (Below::new(&[(9_000, Ok("slow"))]), Below::new(&[(50, Ok("quick"))]));
    let service = HedgeLayer::new(AFTER, way.service(), &telemetry).layer(below.service());
    call(&service, request(FetchAsk::List)).await.map(drop).expect("answered");
    assert_eq!((*below.calls.lock(), *way.calls.lock()), ((1, 0), (1, 1)));
}

#[test]
fn all_but_zips_are_small() {
    assert!(small().iter().all(is_small));
    assert!(!is_small(&FetchAsk::Zip(version("v1.0.0"))));
}

#[tokio::test(start_paused = true)]
async fn what_answers_in_time_is_asked_once() {
    for says in [Ok("v1.0.0"), Err(ErrorKind::NotFound), Err(ErrorKind::UpstreamFailed)] {
        let script: Script = match says {
            Ok(_) => &[(199, Ok("v1.0.0"))],
            Err(ErrorKind::NotFound) => &[(199, Err(ErrorKind::NotFound))],
            Err(_) => &[(199, Err(ErrorKind::UpstreamFailed))],
        };
        let seen = list_of(script).await;
        assert_eq!(seen, (says.map(str::to_owned), 199, (1, 1), [0; 5]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_late_is_asked_once_more_and_the_first_answer_counts() {
    let late: Script = &[(9_000, Ok("slow")), (50, Ok("quick"))];
    assert_eq!(list_of(late).await, (Ok("quick".to_owned()), 250, (2, 1), [1, 0, 0, 0, 0]));
    let not_so_late: Script = &[(300, Ok("first")), (9_000, Ok("second"))];
    assert_eq!(list_of(not_so_late).await, (Ok("first".to_owned()), 300, (2, 1), [0, 1, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_no_is_an_answer() {
    for no in [ErrorKind::NotFound, ErrorKind::UpstreamRefused] {
        let script: Script = match no {
            ErrorKind::NotFound => &[(9_000, Ok("slow")), (50, Err(ErrorKind::NotFound))],
            _ => &[(9_000, Ok("slow")), (50, Err(ErrorKind::UpstreamRefused))],
        };
        assert_eq!(list_of(script).await, (Err(no), 250, (2, 1), [1, 0, 0, 0, 0]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_second_is_no_answer_and_one_of_the_first_ends_both() {
    let second: Script = &[(9_000, Ok("slow")), (50, Err(ErrorKind::UpstreamFailed))];
    assert_eq!(list_of(second).await, (Ok("slow".to_owned()), 9_000, (2, 2), [0, 0, 1, 0, 0]));
    let first: Script = &[(300, Err(ErrorKind::UpstreamFailed)), (900, Ok("second"))];
    assert_eq!(
        list_of(first).await,
        (Err(ErrorKind::UpstreamFailed), 300, (2, 1), [0, 0, 0, 1, 0])
    );
}

#[tokio::test(start_paused = true)]
async fn where_both_fail_the_failure_is_that_of_the_first() {
    let timeout = ErrorKind::UpstreamTimeout;
    let second: Script =
        &[(9_000, Err(ErrorKind::UpstreamTimeout)), (50, Err(ErrorKind::UpstreamFailed))];
    assert_eq!(list_of(second).await, (Err(timeout), 9_000, (2, 2), [0, 0, 1, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn each_small_thing_is_asked_for_twice_and_a_zip_never() {
    const LATE: Script = &[(9_000, Ok("slow")), (50, Ok("quick")), (9_000, Ok("slow"))];
    for ask in small() {
        let (below, telemetry) = (Below::new(LATE), telemetry());
        let service = over(&telemetry, &below.service());
        call(&service, request(ask)).await.map(drop).expect("answered");
        assert_eq!((below.calls.lock().0, hedges(&telemetry, Hedged::First)), (2, 1));
    }
    let (below, telemetry) = (Below::new(LATE), telemetry());
    let service = over(&telemetry, &below.service());
    let zip = FetchAsk::Zip(version("v1.0.0"));
    call(&service, request(zip)).await.map(drop).expect("answered");
    assert_eq!((below.calls.lock().0, counted(&telemetry)), (1, [0; 5]));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_slow_as_a_whole_is_not_asked_twice_as_often() {
    const SLOW: Script = &[(1_000, Ok("slow"))];
    const CALLS: usize = 1_000;
    let (below, telemetry) = (Below::new(SLOW), telemetry());
    let service = over(&telemetry, &below.service());
    let calls = (0..CALLS).map(|_| call(&service, request(FetchAsk::List)));
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    let extra = below.calls.lock().0 - CALLS;
    let most = CALLS as f64 * HEDGES_PER_CALL + HEDGES_SAVED_MAX as f64;
    assert!(extra > 0 && extra as f64 <= most, "{extra} of at most {most}");
    let [first, late, failed, abandoned, refused] = counted(&telemetry);
    assert_eq!((first + late, failed + abandoned), (extra as u64, 0));
    assert_eq!(refused, (CALLS - extra) as u64);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let telemetry = telemetry();
    for kind in ErrorKind::ALL {
        let service = over(&telemetry, &failing(*kind));
        assert_passes_unchanged(&service, request(FetchAsk::List), *kind).await;
        // And where it comes late, from both.
        let late = Border::new(tower::service_fn(move |_: FetchRequest| async move {
            tokio::time::sleep(2 * AFTER).await;
            Err::<Fetched, _>(error_from_below(*kind))
        }));
        let service = over(&telemetry, &late);
        assert_passes_unchanged(&service, request(FetchAsk::List), *kind).await;
    }
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_budget() {
    let telemetry = telemetry();
    let late = Below::new(&[(1_000, Err(ErrorKind::UpstreamTimeout))]);
    let layer = HedgeLayer::new(AFTER, late.service(), &telemetry);
    let (one, two) = (layer.layer(late.service()), layer.layer(late.service()));
    let ask = async |service: &Hedge<_>| {
        call(service, request(FetchAsk::List)).await.map(drop).expect_err("it fails")
    };
    for _ in 0..HEDGES_SAVED_MAX {
        ask(&one).await;
    }
    assert_eq!(hedges(&telemetry, Hedged::Abandoned), HEDGES_SAVED_MAX as u64);
    assert_eq!(ask(&two).await.kind(), error(ErrorKind::UpstreamTimeout).kind());
    assert_eq!(hedges(&telemetry, Hedged::Refused), 1, "nothing is left for the other");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_both_requests_below() {
    let (telemetry, held) = (telemetry(), Held::default());
    let service = over(&telemetry, &held.service());
    held.assert_ends_with_its_caller(&service, request(FetchAsk::List)).await;
    assert_eq!(counted(&telemetry), [0; 5], "it was not late yet");
    let calling = call(&service, request(FetchAsk::List));
    tokio::time::timeout(2 * AFTER, calling).await.map(drop).expect_err("it hangs");
    assert_eq!(held.counts(), (3, 0), "the first and the second are ended");
    assert_eq!(hedges(&telemetry, Hedged::Abandoned), 1);
}
