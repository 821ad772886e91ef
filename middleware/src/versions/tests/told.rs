//! What is told of lists and queries, and that what is foretold of them comes true.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use serde_json::{Value, json};

use super::{Bench, bench, bench_with, config, info, m, no_files};
use crate::error::{Error, ErrorKind};
use crate::explain::{Ending, Foretold, Resolving, StandsFor, Subject, Tells, file_of, foretell};
use crate::ports::{BoxFuture, Decision, Mode};
use crate::request::{Ask, FetchAsk, FileRequest, ModuleRequest};
use crate::response::{HasOutcome as _, ModuleResponse};
use crate::telemetry::Outcome;
use crate::testing::upstream::Reply;
use crate::testing::{SECOND, context, error, fetches_all, file_answer, query, settle};
use crate::versions::NetworkMode::{Fallback, Offline, Strict};
use crate::versions::VersionsConfig;

async fn told(bench: &Bench, asked: Option<&str>) -> Value {
    let about = Subject { context: context(), module: m(), version: asked.map(query) };
    bench.layer.tell(&about).await
}

async fn foretold(bench: &Bench, ask: &Ask) -> Foretold {
    let request = ModuleRequest { context: context(), module: m(), ask: ask.clone() };
    let asked = bench.upstream.asked().len();
    let foretold = bench.layer.foretell(&request).await;
    assert_eq!(bench.upstream.asked().len(), asked, "who looks asks nobody");
    foretold
}

/// It is foretold to end so, and does.
async fn comes_true(bench: &Bench, ask: Ask, want: Outcome) {
    let Foretold::Ends(ending) = foretold(bench, &ask).await else {
        panic!("{want:?} is not foretold for {ask:?}")
    };
    assert_eq!(ending.outcome, want, "{ask:?}: {}", ending.why);
    assert!(!ending.why.is_empty());
    assert_eq!(bench.ask(ask.clone()).await.outcome(), want, "{ask:?}");
    settle().await;
}

/// Nothing is foretold but that upstream is asked, and it is.
async fn asks(bench: &Bench, ask: Ask, want: Outcome) {
    let before = bench.upstream.asked().len();
    assert_eq!(foretold(bench, &ask).await, Foretold::Passes, "{ask:?}");
    assert_eq!(bench.ask(ask.clone()).await.outcome(), want, "{ask:?}");
    assert_eq!(bench.upstream.asked().len(), before + 1, "{ask:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_told_with_its_age_from_fresh_to_forgotten() {
    let times = VersionsConfig { stale_while_revalidate: 100 * SECOND, ..config(Strict) };
    let bench = bench_with(times, &[], fetches_all(), no_files);
    assert_eq!(told(&bench, None).await, json!({ "list": null, "latest": null }));
    bench.lists("v1.0.0\n");
    asks(&bench, Ask::List, Outcome::MissLeader).await;
    tokio::time::advance(5 * SECOND).await;
    let fresh = json!({ "list": { "state": "fresh", "age_seconds": 5 }, "latest": null });
    assert_eq!(told(&bench, None).await, fresh);
    comes_true(&bench, Ask::List, Outcome::HitMemory).await;
    bench.list_fails(ErrorKind::UpstreamFailed);
    tokio::time::advance(56 * SECOND).await;
    assert_eq!(told(&bench, None).await["list"], json!({ "state": "stale", "age_seconds": 61 }));
    comes_true(&bench, Ask::List, Outcome::StaleRevalidate).await;
    tokio::time::advance(100 * SECOND).await;
    assert_eq!(
        told(&bench, None).await["list"],
        Value::Null,
        "it is not given before upstream is asked"
    );
    let Foretold::StandsIn(ending) = foretold(&bench, &Ask::List).await else {
        panic!("an older answer stands in")
    };
    assert_eq!(ending.outcome, Outcome::StaleError);
    assert!(ending.why.contains("161 s"), "{}", ending.why);
    assert_eq!(bench.list().await.expect("the older list").1, Outcome::StaleError);
    let failing = json!({ "state": "upstream_fails", "age_seconds": 161 });
    assert_eq!(told(&bench, None).await["list"], failing);
    comes_true(&bench, Ask::List, Outcome::StaleError).await;
    assert_eq!(
        bench.upstream.asked().len(),
        3,
        "the first, the one behind an answer, and the last"
    );
}

#[tokio::test(start_paused = true)]
async fn a_no_is_told_with_its_reason_for_as_long_as_it_counts() {
    let bench = bench(Strict, &[]);
    bench.list_fails(ErrorKind::NotFound);
    asks(&bench, Ask::List, Outcome::UpstreamNotFound).await;
    tokio::time::advance(4 * SECOND).await;
    let no = told(&bench, None).await["list"].clone();
    assert_eq!((&no["state"], &no["age_seconds"]), (&json!("does_not_exist"), &json!(4)), "{no}");
    assert!(no["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{no}");
    comes_true(&bench, Ask::List, Outcome::Negative).await;
    // Something was found at the path: the "no" is refuted.
    bench.layer.missing().exists(&m());
    bench.lists("v1.0.0\n");
    asks(&bench, Ask::List, Outcome::MissLeader).await;
}

#[tokio::test(start_paused = true)]
async fn where_storage_answers_that_is_foretold_of_lists_and_of_latest() {
    let offline = bench(Offline, &["v1.0.0"]);
    for ask in [Ask::List, Ask::Latest] {
        comes_true(&offline, ask, Outcome::HitStorage).await;
    }
    let empty = bench(Offline, &[]);
    comes_true(&empty, Ask::Latest, Outcome::NotStored).await;
    let fallback = bench(Fallback, &["v1.0.0"]);
    fallback.list_fails(ErrorKind::UpstreamFailed);
    let Foretold::StandsIn(ending) = foretold(&fallback, &Ask::List).await else {
        panic!("what is stored stands in")
    };
    assert_eq!(ending.outcome, Outcome::HitStorage);
    assert_eq!(fallback.list().await.expect("what is stored").1, Outcome::HitStorage);
}

#[tokio::test(start_paused = true)]
async fn who_would_join_a_question_under_way_is_foretold_so() {
    let bench = bench(Strict, &[]);
    let late = Reply::Late(SECOND, Box::new(Reply::text("v1.0.0\n")));
    bench.upstream.only(&m(), FetchAsk::List, late);
    let joined = async {
        tokio::time::sleep(SECOND / 2).await;
        comes_true(&bench, Ask::List, Outcome::MissFollower).await;
    };
    let (leads, ()) = tokio::join!(bench.list(), joined);
    assert_eq!(leads.expect("listed").1, Outcome::MissLeader);
}

/// Has every canonical version, and says that `main` stands for v1.2.3.
fn some_files(request: &FileRequest) -> Result<ModuleResponse, Error> {
    let is_query = request.version.canonical().is_none();
    let of = if is_query { "v1.2.3" } else { request.version.as_str() };
    let outcome = if is_query { Outcome::MissLeader } else { Outcome::HitStorage };
    let mut answer = file_answer(request.kind, of, Bytes::from(info(of)), outcome);
    answer.asked = is_query.then(|| request.version.clone());
    Ok(answer)
}

fn main_info() -> Ask {
    Ask::File(query("main"), FileKind::Info)
}

fn becomes(version: &str) -> Foretold {
    Foretold::Becomes(StandsFor { version: crate::testing::version(version), stale: None })
}

/// That upstream finds it out, with the file, and that nothing is known of before.
fn resolves() -> Foretold {
    Foretold::Resolves(Resolving { older: None, alone: None })
}

/// What lies below the layer: it has every version, and an upstream that may be asked, or not.
struct Below(Option<ErrorKind>);

impl Tells for Below {
    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        let is_version = file_of(request).is_some_and(|file| file.version.canonical().is_some());
        let refuses = self.0.map(|kind| Foretold::Ends(Ending::with(&error(kind))));
        Box::pin(std::future::ready(match is_version {
            true => Foretold::Ends(Ending::new(Outcome::HitStorage, "it is stored")),
            false => refuses.unwrap_or(Foretold::Passes),
        }))
    }
}

/// A request for the `.info` of `main` is foretold to end so, above what lies below, and does.
async fn main_comes_true(bench: &Bench, below: Below, want: Outcome, why: &str) {
    let request = ModuleRequest { context: context(), module: m(), ask: main_info() };
    let way: [&dyn Tells; 2] = [&bench.layer, &below];
    let ending = foretell(way.into_iter(), request).await;
    assert_eq!(ending.outcome, want, "{}", ending.why);
    assert!(ending.why.contains(why), "{}", ending.why);
    assert_eq!(bench.ask(main_info()).await.outcome(), want);
    settle().await;
}

/// Has every canonical version, and no upstream that may be asked.
fn nobody_to_ask(request: &FileRequest) -> Result<ModuleResponse, Error> {
    match request.version.canonical() {
        Some(_) => some_files(request),
        None => Err(error(ErrorKind::UpstreamUnavailable)),
    }
}

/// What the query stood for was found out so long ago.
async fn known_for(bench: &Bench, age: Duration) {
    let version = crate::testing::version("v1.2.3");
    bench.layer.shared.queries.keep((m(), query("main")), Ok(version));
    tokio::time::advance(age).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_query_stood_for_is_foretold_where_upstream_may_not_be_asked_in_each_mode() {
    let refuses = || Below(Some(ErrorKind::UpstreamUnavailable));
    for mode in [Mode::Sync, Mode::Async] {
        let policy = Arc::new(Decision::new(mode, ""));
        let bench = bench_with(config(Strict), &[], policy, nobody_to_ask);
        let main = FetchAsk::Info(query("main"));
        bench.upstream.only(&m(), main, Reply::fail(ErrorKind::UpstreamUnavailable));
        let nothing = Outcome::UpstreamUnavailable;
        main_comes_true(&bench, refuses(), nothing, "").await;
        known_for(&bench, 3000 * SECOND).await;
        main_comes_true(&bench, refuses(), Outcome::StaleError, "3000 s old").await;
        // It has just failed.
        tokio::time::advance(SECOND).await;
        main_comes_true(&bench, refuses(), Outcome::StaleError, "just failed").await;
        tokio::time::advance(1000 * SECOND).await;
        main_comes_true(&bench, refuses(), nothing, "").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_asked_anew_behind_its_answer_is_foretold_so() {
    for mode in [Mode::Sync, Mode::Async] {
        let times = VersionsConfig { stale_while_revalidate: 100 * SECOND, ..config(Strict) };
        let bench = bench_with(times, &[], Arc::new(Decision::new(mode, "")), some_files);
        let main = FetchAsk::Info(query("main"));
        bench.upstream.only(&m(), main, Reply::text(&info("v1.2.3")));
        known_for(&bench, 10 * SECOND).await;
        main_comes_true(&bench, Below(None), Outcome::HitStorage, "stored").await;
        tokio::time::advance(60 * SECOND).await;
        let stale = Outcome::StaleRevalidate;
        main_comes_true(&bench, Below(None), stale, "it is stored; what the query").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_query_stands_for_is_told_and_the_request_is_foretold_to_become_that() {
    let bench = bench_with(config(Strict), &[], fetches_all(), some_files);
    let unknown = json!({ "list": null, "latest": null, "query": null });
    assert_eq!(told(&bench, Some("main")).await, unknown);
    assert_eq!(foretold(&bench, &main_info()).await, resolves());
    bench.ask(main_info()).await.expect("resolved below");
    tokio::time::advance(7 * SECOND).await;
    let known = told(&bench, Some("main")).await;
    let query = (&known["stands_for"], &known["query"]);
    assert_eq!(query, (&json!("v1.2.3"), &json!({ "state": "fresh", "age_seconds": 7 })));
    assert_eq!(foretold(&bench, &main_info()).await, becomes("v1.2.3"));
    assert_eq!(bench.ask(main_info()).await.outcome(), Outcome::HitStorage);
    assert_eq!(*bench.files.lock(), ["main.info", "v1.2.3.info"]);
    let canonical = told(&bench, Some("v1.2.3")).await;
    assert_eq!(canonical, json!({ "list": null, "latest": null }), "it is no query");
}

#[tokio::test(start_paused = true)]
async fn a_query_is_foretold_from_storage_where_that_alone_answers() {
    let bench = bench_with(config(Offline), &["v1.2.0", "v1.2.3"], fetches_all(), some_files);
    let minor = Ask::File(query("v1.2"), FileKind::Info);
    assert_eq!(foretold(&bench, &minor).await, becomes("v1.2.3"));
    bench.ask(minor).await.expect("it is stored");
    assert_eq!(foretold(&bench, &main_info()).await, Foretold::Passes, "those below say no");
    bench.ask(main_info()).await.expect("the leaf has everything");
    assert_eq!(*bench.files.lock(), ["v1.2.3.info", "main.info"]);
}

#[tokio::test(start_paused = true)]
async fn in_mode_async_a_query_s_no_and_its_older_answer_are_foretold() {
    let policy = Arc::new(Decision::new(Mode::Async, ""));
    let bench = bench_with(config(Strict), &[], policy, some_files);
    let says = |reply| bench.upstream.only(&m(), FetchAsk::Info(query("main")), reply);
    let Foretold::Resolves(Resolving { older: None, alone: Some(ending) }) =
        foretold(&bench, &main_info()).await
    else {
        panic!("upstream is not asked for the version alone")
    };
    assert_eq!(ending.outcome, Outcome::AsyncAccepted, "{}", ending.why);
    says(Reply::fail(ErrorKind::NotFound));
    bench.ask(main_info()).await.expect_err("it does not exist");
    assert_eq!(told(&bench, Some("main")).await["query"]["state"], "does_not_exist");
    comes_true(&bench, main_info(), Outcome::Negative).await;
    tokio::time::advance(6 * SECOND).await;
    says(Reply::text(&info("v1.2.3")));
    bench.ask(main_info()).await.expect("it exists now");
    assert_eq!(foretold(&bench, &main_info()).await, becomes("v1.2.3"));
    tokio::time::advance(61 * SECOND).await;
    says(Reply::fail(ErrorKind::UpstreamFailed));
    assert_eq!(bench.ask(main_info()).await.outcome(), Outcome::StaleError);
    let failing = told(&bench, Some("main")).await;
    assert_eq!(failing["query"]["state"], "upstream_fails", "{failing}");
    main_comes_true(&bench, Below(None), Outcome::StaleError, "61 s old").await;
}
