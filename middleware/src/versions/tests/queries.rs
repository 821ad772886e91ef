//! What queries stand for where nobody waits for files: in mode `async`.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_protocol::route::FileKind;

use super::{Bench, bench_with, config, m};
use crate::error::{Error, ErrorKind};
use crate::forward::Forward;
use crate::ports::{Decision, Mode};
use crate::request::{Ask, FetchAsk, FileRequest};
use crate::response::{Answer, ModuleResponse};
use crate::telemetry::Outcome;
use crate::testing::upstream::Reply;
use crate::testing::{SECOND, error, file_answer, purge_of, query};
use crate::versions::FAILURE_PAUSE;
use crate::versions::NetworkMode::Strict;

const INFO: &str = r#"{"Version":"v1.2.3","Time":"2024-01-02T03:04:05Z"}"#;

/// What lies below has v1.2.3 and has nothing for who asks for anything else, but in a while.
fn one_version(request: &FileRequest) -> Result<ModuleResponse, Error> {
    match request.version.canonical() {
        Some(version) if version.as_str() == "v1.2.3" => {
            let bytes = Bytes::from_static(INFO.as_bytes());
            Ok(file_answer(request.kind, version.as_str(), bytes, Outcome::HitStorage))
        }
        _ => Err(error(ErrorKind::AsyncAccepted)),
    }
}

fn bench() -> Bench {
    let policy = Arc::new(Decision::new(Mode::Async, ""));
    bench_with(config(Strict), &[], policy, one_version)
}

fn main_branch() -> FetchAsk {
    FetchAsk::Info(query("main"))
}

async fn info(bench: &Bench) -> Result<ModuleResponse, Error> {
    bench.ask(Ask::File(query("main"), FileKind::Info)).await
}

fn asked(bench: &Bench) -> usize {
    bench.upstream.asked().len()
}

#[tokio::test(start_paused = true)]
async fn a_query_is_resolved_at_once_and_its_files_are_those_of_the_version() {
    let bench = bench();
    bench.upstream.only(&m(), main_branch(), Reply::text(INFO));
    for _ in 0..2 {
        let response = info(&bench).await.expect("the version is there");
        assert_eq!(response.asked, Some(query("main")));
        let Answer::File { version, .. } = response.answer else { panic!("a file") };
        assert_eq!(version.as_str(), "v1.2.3");
    }
    assert_eq!(asked(&bench), 1);
    assert_eq!(*bench.files.lock(), ["v1.2.3.info", "v1.2.3.info"], "no query comes below");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_there_yet_is_fetched_under_its_own_name() {
    let bench = bench();
    let newer = INFO.replace("v1.2.3", "v1.3.0");
    bench.upstream.only(&m(), main_branch(), Reply::text(&newer));
    let not_yet = info(&bench).await.expect_err("it is being fetched");
    assert_eq!(not_yet.kind(), ErrorKind::AsyncAccepted);
    assert_eq!(*bench.files.lock(), ["v1.3.0.info"]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_does_not_exist_is_asked_for_once_in_a_while_and_after_a_purge() {
    let bench = bench();
    bench.upstream.only(&m(), main_branch(), Reply::fail(ErrorKind::NotFound));
    let refused = async |outcome| {
        let error = info(&bench).await.expect_err("it does not exist");
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::NotFound, outcome));
    };
    refused(Outcome::UpstreamNotFound).await;
    refused(Outcome::Negative).await;
    tokio::time::advance(6 * SECOND).await;
    refused(Outcome::UpstreamNotFound).await;
    assert_eq!(asked(&bench), 2);
    bench.layer.forgets().forget(&purge_of(m().as_str()));
    refused(Outcome::UpstreamNotFound).await;
    assert_eq!(asked(&bench), 3);
}

#[tokio::test(start_paused = true)]
async fn no_branch_is_asked_for_where_there_is_nothing_and_one_that_is_found_ends_that() {
    let bench = bench();
    for question in [FetchAsk::List, FetchAsk::Latest] {
        bench.upstream.only(&m(), question, Reply::fail(ErrorKind::NotFound));
    }
    bench.list().await.expect_err("no list");
    // The list alone says nothing of branches.
    bench.upstream.only(&m(), main_branch(), Reply::text(INFO));
    info(&bench).await.expect("the version is there");
    bench.latest().await.expect_err("no latest");
    bench.list().await.expect_err("no list, asked again as there is something");
    assert_eq!(asked(&bench), 4);
    let other = bench.ask(Ask::File(query("other"), FileKind::Info)).await;
    assert_eq!(other.expect_err("nothing is there").outcome(), Outcome::Negative);
    assert_eq!(asked(&bench), 4);
    // One that there was is asked for all the same, and stands in where upstream fails.
    tokio::time::advance(61 * SECOND).await;
    for question in [FetchAsk::List, FetchAsk::Latest] {
        bench.upstream.only(&m(), question, Reply::fail(ErrorKind::NotFound));
    }
    bench.list().await.expect_err("no list");
    bench.latest().await.expect_err("no latest");
    bench.upstream.only(&m(), main_branch(), Reply::fail(ErrorKind::UpstreamFailed));
    let stale = info(&bench).await.expect("the older answer");
    assert_eq!((stale.outcome, asked(&bench)), (Outcome::StaleError, 7));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_leaves_what_the_branch_stood_for() {
    let bench = bench();
    bench.upstream.only(&m(), main_branch(), Reply::text(INFO));
    info(&bench).await.expect("resolved");
    bench.upstream.only(&m(), main_branch(), Reply::fail(ErrorKind::UpstreamFailed));
    tokio::time::advance(61 * SECOND).await;
    let stale = info(&bench).await.expect("the older answer");
    assert_eq!((stale.outcome, asked(&bench)), (Outcome::StaleError, 2));
    bench.upstream.only(&m(), main_branch(), Reply::text("no JSON"));
    tokio::time::advance(2 * FAILURE_PAUSE).await;
    let stale = info(&bench).await.expect("the older answer");
    assert_eq!((stale.outcome, asked(&bench)), (Outcome::StaleError, 3));
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_for_a_branch_at_once_ask_upstream_once() {
    let bench = bench();
    bench.upstream.only(&m(), main_branch(), Reply::text(INFO));
    let asking = (0..50).map(|_| info(&bench));
    for answer in futures::future::join_all(asking).await {
        answer.expect("the version is there");
    }
    assert_eq!(asked(&bench), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stored_file_says_whether_upstream_was_asked_what_the_branch_stands_for() {
    let bench = bench();
    let asked = Forward { asked: true, ..Forward::default() };
    let late = Reply::Late(SECOND, Box::new(Reply::text(INFO)));
    bench.upstream.only(&m(), main_branch(), late);
    let came = |result: Result<ModuleResponse, Error>| {
        let response = result.expect("the version is there");
        assert_eq!(response.outcome, Outcome::HitStorage);
        (response.forward, response.ttl)
    };
    let (leads, follows) = tokio::join!(info(&bench), info(&bench));
    assert_eq!(came(leads), (asked, Some(60)));
    assert_eq!(came(follows), (Forward { collapsed: true, ..asked }, Some(60)));
    tokio::time::advance(10 * SECOND).await;
    assert_eq!(came(info(&bench).await), (Forward::default(), Some(50)), "nobody was asked");
    tokio::time::advance(51 * SECOND).await;
    assert_eq!(came(info(&bench).await), (Forward { stale: true, ..asked }, Some(60)));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_whether_upstream_was_asked_what_the_branch_stands_for() {
    let bench = bench();
    let newer = INFO.replace("v1.2.3", "v1.3.0");
    let late = Reply::Late(SECOND, Box::new(Reply::text(&newer)));
    bench.upstream.only(&m(), main_branch(), late);
    let asked = Forward { asked: true, ..Forward::default() };
    let refused = |result: Result<ModuleResponse, Error>| {
        let error = result.expect_err("it is being fetched");
        assert_eq!(error.kind(), ErrorKind::AsyncAccepted);
        error.forward()
    };
    let (leads, follows) = tokio::join!(info(&bench), info(&bench));
    assert_eq!(refused(leads), asked);
    assert_eq!(refused(follows), Forward { collapsed: true, ..asked });
    assert_eq!(refused(info(&bench).await), Forward::default(), "the branch is known");
}
