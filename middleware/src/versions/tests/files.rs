//! Files pass; what a query stands for is remembered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use parking_lot::Mutex;
use tower::Layer as _;

use super::{Bench, bench, bench_with, config, m, no_files};
use crate::error::{Error, ErrorKind};
use crate::ports::{Decision, ListSource, Mode};
use crate::purge::{Modules, Purge};
use crate::request::{Ask, FileRequest, ModuleRequest};
use crate::response::{Answer, ModuleResponse};
use crate::stack::Border;
use crate::telemetry::Outcome;
use crate::testing::below::{Held, assert_passes_unchanged, error_from_below, late};
use crate::testing::{
    SECOND, call, context, error, fetches_all, file_answer, purge_of, query, settle,
};
use crate::versions::NetworkMode::{Fallback, Offline, Strict};
use crate::versions::{FAILURE_PAUSE, STALE_PATIENCE, Versions, VersionsConfig};

/// What lies below resolves every query to v1.2.3 and has every version.
fn resolving(request: &FileRequest) -> Result<ModuleResponse, Error> {
    let bytes = Bytes::from_static(b"{\"Version\":\"v1.2.3\"}");
    match request.version.canonical() {
        Some(version) => {
            Ok(file_answer(request.kind, version.as_str(), bytes, Outcome::HitStorage))
        }
        None => {
            let mut answer = file_answer(request.kind, "v1.2.3", bytes, Outcome::MissLeader);
            answer.asked = Some(request.version.clone());
            Ok(answer)
        }
    }
}

async fn file(bench: &Bench, asked: &str, kind: FileKind) -> Result<ModuleResponse, Error> {
    bench.ask(Ask::File(query(asked), kind)).await
}

fn reached(bench: &Bench) -> Vec<String> {
    bench.files.lock().clone()
}

#[tokio::test(start_paused = true)]
async fn a_canonical_version_passes_as_it_is() {
    let bench = bench_with(config(Strict), &[], fetches_all(), resolving);
    for kind in FileKind::ALL {
        let response = file(&bench, "v1.0.0", kind).await.expect("below has it");
        assert_eq!((response.asked, response.outcome), (None, Outcome::HitStorage));
    }
    assert_eq!(reached(&bench), ["v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip"]);
    assert!(bench.upstream.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_query_that_was_resolved_a_moment_ago_passes_as_its_version() {
    let bench = bench_with(config(Strict), &[], fetches_all(), resolving);
    let first = file(&bench, "main", FileKind::Info).await.expect("resolved");
    assert_eq!(first.asked, Some(query("main")));
    let second = file(&bench, "main", FileKind::Mod).await.expect("known");
    assert_eq!(second.asked, Some(query("main")), "the answer may still change");
    assert_eq!(reached(&bench), ["main.info", "v1.2.3.mod"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_query_stands_for_is_asked_again_after_a_while() {
    let bench = bench_with(config(Strict), &[], fetches_all(), resolving);
    file(&bench, "main", FileKind::Info).await.expect("resolved");
    tokio::time::advance(30 * SECOND).await;
    file(&bench, "main", FileKind::Info).await.expect("known");
    tokio::time::advance(31 * SECOND).await;
    file(&bench, "main", FileKind::Info).await.expect("resolved again");
    assert_eq!(reached(&bench), ["main.info", "v1.2.3.info", "main.info"]);
}

#[tokio::test(start_paused = true)]
async fn one_query_says_nothing_of_another() {
    let bench = bench_with(config(Strict), &[], fetches_all(), resolving);
    file(&bench, "main", FileKind::Info).await.expect("resolved");
    file(&bench, "v1", FileKind::Info).await.expect("resolved");
    assert_eq!(reached(&bench), ["main.info", "v1.info"]);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_fails_is_not_remembered() {
    let fails = |_: &FileRequest| Err(error(ErrorKind::UpstreamFailed));
    let bench = bench_with(config(Strict), &[], fetches_all(), fails);
    for _ in 0..2 {
        let failed = file(&bench, "main", FileKind::Info).await.expect_err("fails");
        assert_eq!(failed.kind(), ErrorKind::UpstreamFailed);
    }
    assert_eq!(reached(&bench), ["main.info", "main.info"]);
}

/// What lies below: it has every version, and resolves queries to what the test says, after a while.
#[derive(Clone)]
struct Below {
    says: Arc<Mutex<Result<&'static str, ErrorKind>>>,
    resolved: Arc<Mutex<usize>>,
}

type Service = Versions<Border<FileRequest, ModuleResponse>>;

impl Below {
    /// A layer over it that keeps what queries stand for so much longer than they are fresh.
    fn revalidating(revalidated_for: Duration) -> (Self, Bench, Service) {
        let below = Self { says: Arc::new(Mutex::new(Ok("v1.2.3"))), resolved: Arc::default() };
        let config = VersionsConfig { stale_while_revalidate: revalidated_for, ..config(Strict) };
        let bench = bench_with(config, &[], fetches_all(), no_files);
        let service = bench.layer.layer(below.service(Duration::ZERO));
        (below, bench, service)
    }

    fn service(&self, by: Duration) -> Border<FileRequest, ModuleResponse> {
        let below = self.clone();
        let resolve = move |request: FileRequest| {
            if request.version.canonical().is_some() {
                return resolving(&request);
            }
            *below.resolved.lock() += 1;
            let version = (*below.says.lock()).map_err(error)?;
            let mut answer = file_answer(request.kind, version, "{}", Outcome::MissLeader);
            answer.asked = Some(request.version);
            Ok(answer)
        };
        late(by, resolve)
    }

    fn says(&self, says: Result<&'static str, ErrorKind>) {
        *self.says.lock() = says;
    }

    fn resolved(&self) -> usize {
        *self.resolved.lock()
    }
}

/// The version that `main` stands for, and how the answer came about.
async fn main_info(service: &Service) -> Result<(String, Outcome, Option<Duration>), Error> {
    let ask = Ask::File(query("main"), FileKind::Info);
    let request = ModuleRequest { context: context(), module: m(), ask };
    let response = call(service, request).await?;
    assert_eq!(response.asked, Some(query("main")), "the answer may still change");
    let Answer::File { version, .. } = &response.answer else { panic!("{:?}", response.answer) };
    Ok((version.to_string(), response.outcome, response.age))
}

#[tokio::test(start_paused = true)]
async fn a_query_past_its_freshness_stands_for_the_same_while_it_is_resolved_anew() {
    let (below, _bench, service) = Below::revalidating(600 * SECOND);
    main_info(&service).await.expect("resolved");
    below.says(Ok("v1.3.0"));
    tokio::time::advance(61 * SECOND).await;
    let stale = main_info(&service).await.expect("at once");
    let age = Some(61 * SECOND);
    assert_eq!(stale, ("v1.2.3".to_owned(), Outcome::StaleRevalidate, age));
    settle().await;
    let fresh = main_info(&service).await.expect("resolved behind the answer");
    assert_eq!((fresh.0.as_str(), fresh.2, below.resolved()), ("v1.3.0", None, 2));
    tokio::time::advance(661 * SECOND).await;
    below.says(Ok("v1.4.0"));
    assert_eq!(main_info(&service).await.expect("too old to be given").0, "v1.4.0");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_until_a_query_is_resolved_anew_and_it_costs_one_call() {
    let (below, bench, service) = Below::revalidating(600 * SECOND);
    main_info(&service).await.expect("resolved");
    below.says(Ok("v1.3.0"));
    let slow = bench.layer.layer(below.service(5 * SECOND));
    tokio::time::advance(61 * SECOND).await;
    let began = tokio::time::Instant::now();
    let answers = futures::future::join_all((0..3).map(|_| main_info(&slow))).await;
    for stale in answers.into_iter().map(|answer| answer.expect("known")) {
        assert_eq!((stale.0.as_str(), stale.1), ("v1.2.3", Outcome::StaleRevalidate));
    }
    // Each waited for the file of the version that is known, and for nothing else.
    assert_eq!(began.elapsed(), 5 * SECOND);
    settle().await;
    assert_eq!(below.resolved(), 2);
    assert_eq!(main_info(&service).await.expect("resolved").0, "v1.3.0");
}

#[tokio::test(start_paused = true)]
async fn a_query_that_cannot_be_resolved_stands_for_what_it_stood_for_and_not_for_ever() {
    for failure in [ErrorKind::UpstreamTimeout, ErrorKind::Overloaded, ErrorKind::BadContent] {
        let (below, _bench, service) = Below::revalidating(Duration::ZERO);
        main_info(&service).await.expect("resolved");
        below.says(Err(failure));
        tokio::time::advance(1800 * SECOND).await;
        for _ in 0..3 {
            let (version, outcome, age) = main_info(&service).await.expect("an older answer");
            assert_eq!((version.as_str(), outcome), ("v1.2.3", Outcome::StaleError), "{failure:?}");
            assert_eq!(age, Some(1800 * SECOND));
        }
        assert_eq!(below.resolved(), 2, "left alone after its failure");
        tokio::time::advance(FAILURE_PAUSE + SECOND).await;
        main_info(&service).await.expect("older, and asked again");
        assert_eq!(below.resolved(), 3);
        tokio::time::advance(1800 * SECOND).await;
        let failed = main_info(&service).await.expect_err("too old by now");
        assert_eq!(failed.kind(), failure);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_takes_long_to_resolve_stands_for_the_same_and_is_resolved_behind_the_answer()
{
    let (below, bench, service) = Below::revalidating(Duration::ZERO);
    main_info(&service).await.expect("resolved");
    let slow = {
        let (fast, slow) = (below.service(Duration::ZERO), below.service(15 * SECOND));
        bench.layer.layer(Border::new(tower::service_fn(move |request: FileRequest| {
            let known = request.version.canonical().is_some();
            if known { fast.clone() } else { slow.clone() }.send(request)
        })))
    };
    below.says(Ok("v1.3.0"));
    tokio::time::advance(61 * SECOND).await;
    let began = tokio::time::Instant::now();
    let (version, outcome, age) = main_info(&slow).await.expect("an older answer");
    assert_eq!((version.as_str(), outcome), ("v1.2.3", Outcome::StaleError));
    assert_eq!(age, Some(61 * SECOND + STALE_PATIENCE));
    assert!(began.elapsed() < STALE_PATIENCE + SECOND, "{:?}", began.elapsed());
    settle().await;
    tokio::time::advance(FAILURE_PAUSE + 2 * SECOND).await;
    let waited = tokio::time::Instant::now();
    assert_eq!(main_info(&slow).await.expect("at once").1, Outcome::StaleError);
    assert!(waited.elapsed() < SECOND, "{:?}", waited.elapsed());
    tokio::time::sleep(15 * SECOND).await;
    let (version, outcome, _) = main_info(&slow).await.expect("resolved behind the answer");
    assert_eq!((version.as_str(), outcome), ("v1.3.0", Outcome::HitStorage));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_stands_for_nothing_any_more_is_given_to_nobody() {
    use ErrorKind::{AsyncAccepted, NotFound, NotStored, UpstreamRefused};
    for no in [NotFound, NotStored, AsyncAccepted, UpstreamRefused] {
        for revalidated_for in [Duration::ZERO, 600 * SECOND] {
            let (below, _bench, service) = Below::revalidating(revalidated_for);
            main_info(&service).await.expect("resolved");
            below.says(Err(no));
            tokio::time::advance(61 * SECOND).await;
            if !revalidated_for.is_zero() {
                main_info(&service).await.expect("while it is resolved anew");
                settle().await;
            }
            assert_eq!(main_info(&service).await.expect_err("gone").kind(), no);
            below.says(Err(ErrorKind::UpstreamTimeout));
            let failed = main_info(&service).await.expect_err("nothing older is left");
            assert_eq!(failed.kind(), ErrorKind::UpstreamTimeout);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_whose_clients_are_sent_elsewhere_by_now_is_not_given_for_long() {
    let (_below, bench, service) = Below::revalidating(600 * SECOND);
    main_info(&service).await.expect("resolved");
    let elsewhere = |request: FileRequest| match request.version.canonical() {
        Some(_) => resolving(&request),
        None => {
            let location = "https://elsewhere.example/main.info".to_owned();
            let answer = Answer::Redirect { location, status: http::StatusCode::FOUND };
            Ok(ModuleResponse::new(answer, Outcome::Redirected))
        }
    };
    let redirecting = bench.layer.layer(late(Duration::ZERO, elsewhere));
    tokio::time::advance(61 * SECOND).await;
    assert_eq!(main_info(&redirecting).await.expect("once").1, Outcome::StaleRevalidate);
    settle().await;
    let ask = Ask::File(query("main"), FileKind::Info);
    let request = ModuleRequest { context: context(), module: m(), ask };
    let sent = call(&redirecting, request).await.expect("sent elsewhere");
    assert!(matches!(sent.answer, Answer::Redirect { .. }), "{:?}", sent.answer);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_fetched_for_a_stale_query_is_no_hit() {
    let (below, bench, service) = Below::revalidating(600 * SECOND);
    main_info(&service).await.expect("resolved");
    let fetching = |request: FileRequest| {
        let version = request.version.as_str().to_owned();
        Ok(file_answer(request.kind, &version, "{}", Outcome::MissLeader))
    };
    let fetched = bench.layer.layer(late(Duration::ZERO, fetching));
    below.says(Err(ErrorKind::UpstreamTimeout));
    tokio::time::advance(61 * SECOND).await;
    assert_eq!(main_info(&fetched).await.expect("fetched now").1, Outcome::MissLeader);
}

#[tokio::test(start_paused = true)]
async fn a_purge_has_a_query_resolved_anew() {
    let (below, bench, service) = Below::revalidating(600 * SECOND);
    main_info(&service).await.expect("resolved");
    below.says(Ok("v1.3.0"));
    let purge = |module: &str, version| {
        let modules = Modules::Exactly(module.to_owned());
        bench.layer.forgets().forget(&Purge { modules, version })
    };
    assert_eq!(purge("example.com/other", None), 0);
    assert_eq!(purge("example.com/m", Some(query("v1"))), 0);
    assert_eq!(main_info(&service).await.expect("known").0, "v1.2.3");
    assert_eq!(purge("example.com/m", Some(query("main"))), 1);
    assert_eq!(main_info(&service).await.expect("resolved anew").0, "v1.3.0");
    assert_eq!(purge("example.com/m", None), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_purge_is_not_known_after_it() {
    let (below, bench, _) = Below::revalidating(Duration::ZERO);
    let service = Arc::new(bench.layer.layer(below.service(SECOND)));
    let first = tokio::spawn({
        let service = Arc::clone(&service);
        async move { main_info(&service).await }
    });
    settle().await;
    bench.layer.forgets().forget(&purge_of("example.com/m"));
    first.await.expect("no panic").expect("resolved");
    let resolved = below.resolved();
    main_info(&service).await.expect("resolved");
    assert_eq!(below.resolved(), resolved + 1, "the answer was of before the purge");
}

#[tokio::test(start_paused = true)]
async fn in_mode_fallback_a_query_that_cannot_be_resolved_stands_for_what_it_stood_for() {
    let bench = bench_with(config(Fallback), &[], fetches_all(), resolving);
    file(&bench, "main", FileKind::Info).await.expect("resolved");
    let fails = late(Duration::ZERO, |request: FileRequest| match request.version.canonical() {
        Some(_) => resolving(&request),
        None => Err(error(ErrorKind::UpstreamFailed)),
    });
    tokio::time::advance(61 * SECOND).await;
    let stale = main_info(&bench.layer.layer(fails)).await.expect("older");
    assert_eq!((stale.0.as_str(), stale.1), ("v1.2.3", Outcome::StaleError));
}

#[tokio::test(start_paused = true)]
async fn offline_a_query_for_a_major_or_minor_version_is_answered_from_storage() {
    let stored = &["v1.2.0", "v1.10.0", "v1.2.9", "v1.11.0-rc1", "v0.9.0"];
    for (asked, version) in [("v1", "v1.10.0"), ("v1.2", "v1.2.9"), ("v0", "v0.9.0")] {
        let bench = bench_with(config(Offline), stored, fetches_all(), resolving);
        let response = file(&bench, asked, FileKind::Info).await.expect("stored");
        assert_eq!(response.asked, Some(query(asked)));
        assert_eq!(reached(&bench), [format!("{version}.info")]);
        assert!(bench.upstream.asked().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn offline_a_branch_passes_as_it_is() {
    let bench = bench(Offline, &["v1.0.0"]);
    file(&bench, "main", FileKind::Info).await.expect_err("below refuses");
    assert_eq!(reached(&bench), ["main.info"]);
}

#[tokio::test(start_paused = true)]
async fn what_storage_alone_resolves_is_asked_of_nobody_but_where_clients_are_sent() {
    for (mode, below) in
        [(Mode::Sync, 0), (Mode::Async, 0), (Mode::Redirect, 1), (Mode::AsyncRedirect, 1)]
    {
        let mut decision = Decision::new(mode, "https://elsewhere.test");
        decision.list = ListSource::Storage;
        let bench = bench_with(config(Strict), &["v2.0.0"], Arc::new(decision), resolving);
        let answered = file(&bench, "v1", FileKind::Info).await;
        assert_eq!(reached(&bench).len(), below, "{mode:?}");
        if below == 0 {
            assert_eq!(answered.expect_err("not stored").kind(), ErrorKind::NotStored);
        }
        file(&bench, "v2", FileKind::Info).await.expect("stored");
        assert_eq!(reached(&bench).last().map(String::as_str), Some("v2.0.0.info"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let fails = |_: &FileRequest| Err(error_from_below(ErrorKind::UpstreamFailed));
    let bench = bench_with(config(Strict), &[], fetches_all(), fails);
    for asked in ["v1.2.3", "main"] {
        assert_passes_unchanged(&bench.service, request(asked), ErrorKind::UpstreamFailed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_for_its_file_below() {
    let (bench, held) = (bench(Strict, &[]), Held::default());
    let service = bench.layer.layer(held.service());
    for asked in ["v1.2.3", "main"] {
        held.assert_ends_with_its_caller(&service, request(asked)).await;
    }
}

/// A request for a `.mod`.
fn request(asked: &str) -> ModuleRequest {
    let ask = Ask::File(query(asked), FileKind::Mod);
    ModuleRequest { context: context(), module: m(), ask }
}
