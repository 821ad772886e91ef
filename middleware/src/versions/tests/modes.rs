//! What each network mode answers.

use std::sync::Arc;

use dipylon_protocol::path::ModulePath;
use http::StatusCode;

use super::{Bench, PSEUDO, bench, bench_with, config, info, m, no_files};
use crate::error::ErrorKind;
use crate::forward::Forward;
use crate::ports::{Decision, ListSource, Mode, Policy};
use crate::request::{Ask, FetchAsk};
use crate::response::ModuleResponse;
use crate::telemetry::{Outcome, StorageOperation};
use crate::testing::upstream::Reply;
use crate::testing::{SECOND, error};
use crate::versions::NetworkMode::{self, Fallback, Offline, Strict};

/// Failures that say nothing about whether a module exists.
const UNSURE: [ErrorKind; 4] = [
    ErrorKind::UpstreamFailed,
    ErrorKind::UpstreamTimeout,
    ErrorKind::UpstreamUnavailable,
    ErrorKind::NoUpstream,
];

#[tokio::test(start_paused = true)]
async fn a_list_is_upstream_s_then_what_only_storage_has_without_pseudo_versions() {
    for mode in [Strict, Fallback] {
        let bench = bench(mode, &["v0.9.0", "v1.0.0", PSEUDO, "v0.8.0"]);
        bench.lists("v1.1.0\nv1.0.0\n");
        let list = bench.list().await.expect("listed");
        let merged = "v1.1.0 v1.0.0 v0.9.0 v0.8.0".to_owned();
        assert_eq!(list, (merged, Outcome::MissLeader), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_shows_only_what_a_client_can_use() {
    let bench = bench(Strict, &[]);
    let text = format!(
        "v1.0.0\r\nv1.9\nv2.0.0\nnot-a-version\n{PSEUDO}\nv3.0.0+incompatible\nv1.0.0\nv1.2.0"
    );
    bench.lists(&text);
    let (list, _) = bench.list().await.expect("listed");
    assert_eq!(list, "v1.0.0 v3.0.0+incompatible v1.2.0");
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_an_answer() {
    let bench = bench(Strict, &[]);
    bench.lists("");
    assert_eq!(bench.list().await.expect("empty"), (String::new(), Outcome::MissLeader));
}

#[tokio::test(start_paused = true)]
async fn a_login_page_is_no_list() {
    let bench = bench(Strict, &[]);
    bench.lists("<!DOCTYPE html><html>sign in</html>");
    let failed = bench.list().await.expect_err("refused");
    assert_eq!(failed.kind(), ErrorKind::BadContent);
    assert!(failed.message().contains("scripted sent a wrong list"), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_costs_the_stored_versions_and_is_asked_again_the_next_time() {
    for mode in [Strict, Fallback] {
        let bench = bench(mode, &["v0.9.0"]);
        bench.lists("v1.0.0\n");
        bench.storage.fail(StorageOperation::List);
        let listed = bench.list().await.expect("upstream's");
        assert_eq!(listed, ("v1.0.0".to_owned(), Outcome::MissDegraded), "{mode:?}");
        bench.storage.mend();
        let (listed, outcome) = bench.list().await.expect("both");
        assert!(listed.contains("v0.9.0") && listed.contains("v1.0.0"), "{mode:?}: {listed}");
        assert_eq!(outcome, Outcome::MissLeader, "the short list was not kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_is_an_error_where_upstream_may_not_or_does_not_list() {
    let offline = bench(Offline, &["v1.0.0"]);
    offline.storage.down();
    let failed = offline.list().await.expect_err("storage fails");
    assert_eq!(failed.kind(), ErrorKind::StorageUnavailable);
    for mode in [Strict, Fallback] {
        let bench = bench(mode, &["v1.0.0"]);
        bench.list_fails(ErrorKind::NotFound);
        bench.storage.down();
        let failed = bench.list().await.expect_err("never a 404");
        assert_eq!(failed.kind(), ErrorKind::StorageUnavailable, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_upstream_says_does_not_exist_is_overruled_by_what_is_stored() {
    for mode in [Strict, Fallback] {
        for (stored, list) in
            [(&["v1.0.0", PSEUDO, "v0.9.0"][..], "v1.0.0 v0.9.0"), (&[PSEUDO], PSEUDO)]
        {
            let bench = bench(mode, stored);
            bench.list_fails(ErrorKind::NotFound);
            let shown = bench.list().await.expect("stored");
            assert_eq!(shown, (list.to_owned(), Outcome::HitStorage), "{mode:?}");
        }
        let empty = bench(mode, &[]);
        empty.list_fails(ErrorKind::NotFound);
        let failed = empty.list().await.expect_err("neither has it");
        assert_eq!(failed.kind(), ErrorKind::NotFound, "{mode:?}");
    }
}

/// How an answer came about, and for how long it is fresh.
fn came(response: &ModuleResponse) -> (Outcome, Forward, Option<i64>) {
    (response.outcome, response.forward, response.ttl)
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_says_whether_upstream_was_asked_before_it_was_the_answer() {
    let asked = |status| Forward { asked: true, status, ..Forward::default() };
    let [gone, sick] = [StatusCode::GONE, StatusCode::BAD_GATEWAY];
    use ErrorKind::{NotFound, UpstreamFailed, UpstreamTimeout, UpstreamUnavailable};
    // What is kept is given again from memory; what is not, from storage, and upstream is left alone.
    let (memory, storage) = ((Outcome::HitMemory, Some(60)), (Outcome::HitStorage, None));
    for (mode, failure, forward, (again, ttl)) in [
        (Strict, error(NotFound).answered(gone), asked(Some(gone)), memory),
        (Fallback, error(NotFound).answered(gone), asked(Some(gone)), memory),
        (Fallback, error(UpstreamFailed).answered(sick), asked(Some(sick)), storage),
        (Fallback, error(UpstreamTimeout), asked(None), storage),
        // A breaker is open: nobody is asked.
        (Fallback, error(UpstreamUnavailable), Forward::default(), storage),
    ] {
        for (question, ask) in [(FetchAsk::List, Ask::List), (FetchAsk::Latest, Ask::Latest)] {
            let bench = bench(mode, &["v1.0.0"]);
            bench.says(question, Reply::Fail(failure.clone()));
            let first = bench.ask(ask.clone()).await.expect("stored");
            assert_eq!(came(&first), (Outcome::HitStorage, forward, ttl), "{mode:?} {failure}");
            let next = bench.ask(ask).await.expect("stored");
            assert_eq!(came(&next), (again, Forward::default(), ttl), "{mode:?} {failure}");
            assert_eq!(bench.upstream.asked().len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_says_that_an_older_list_was_there_and_who_shared_the_question() {
    let bench = bench(Strict, &["v1.0.0"]);
    bench.lists("v1.1.0\n");
    bench.list().await.expect("listed");
    tokio::time::advance(61 * SECOND).await;
    let gone = Reply::Fail(error(ErrorKind::NotFound).answered(StatusCode::NOT_FOUND));
    bench.upstream.only(&m(), FetchAsk::List, Reply::Late(SECOND, Box::new(gone)));
    let (leads, follows) = tokio::join!(bench.ask(Ask::List), bench.ask(Ask::List));
    let status = Some(StatusCode::NOT_FOUND);
    let forward = Forward { asked: true, stale: true, collapsed: false, status };
    let ends = |forward| (Outcome::HitStorage, forward, Some(60));
    assert_eq!(came(&leads.expect("stored")), ends(forward));
    assert_eq!(came(&follows.expect("stored")), ends(Forward { collapsed: true, ..forward }));
}

#[tokio::test(start_paused = true)]
async fn strict_any_other_failure_is_an_error_even_when_versions_are_stored() {
    for kind in UNSURE {
        let bench = bench(Strict, &["v1.0.0"]);
        bench.list_fails(kind);
        let failed = bench.list().await.expect_err("strict");
        assert_eq!(failed.kind(), kind);
        assert!(kind.row().status.is_server_error(), "could not find out is never 404");
    }
}

#[tokio::test(start_paused = true)]
async fn fallback_any_failure_is_answered_from_storage() {
    for kind in UNSURE {
        let bench = bench(Fallback, &["v1.0.0", PSEUDO]);
        bench.list_fails(kind);
        let shown = bench.list().await.expect("stored");
        assert_eq!(shown, ("v1.0.0".to_owned(), Outcome::HitStorage), "{kind:?}");
    }
}

/// Athens answers 200 with an empty list here, which tells a client that the module has no versions.
#[tokio::test(start_paused = true)]
async fn fallback_without_anything_stored_keeps_the_failure_s_status() {
    for kind in UNSURE {
        let bench = bench(Fallback, &[]);
        bench.list_fails(kind);
        assert_eq!(bench.list().await.expect_err("nothing is known").kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn offline_lists_what_is_stored_as_it_is_and_never_calls_upstream() {
    for (stored, list) in
        [(&["v1.0.0", PSEUDO][..], format!("v1.0.0 {PSEUDO}")), (&[], String::new())]
    {
        let bench = bench(Offline, stored);
        bench.lists("v9.9.9\n");
        assert_eq!(bench.list().await.expect("stored"), (list, Outcome::HitStorage));
        assert!(bench.upstream.asked().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn latest_is_what_upstream_sent_byte_for_byte() {
    for mode in [Strict, Fallback] {
        let bench = bench(mode, &["v1.5.0"]);
        let text = "{\"Version\":\"v1.2.0\",\"Origin\":{\"VCS\":\"git\"}}";
        bench.says(FetchAsk::Latest, Reply::text(text));
        assert_eq!(
            bench.latest().await.expect("upstream's"),
            (text.to_owned(), Outcome::MissLeader)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_latest_that_is_no_info_is_bad_content() {
    for text in ["<html>", "{", "v1.0.0"] {
        let bench = bench(Strict, &[]);
        bench.says(FetchAsk::Latest, Reply::text(text));
        let failed = bench.latest().await.expect_err("refused");
        assert_eq!(failed.kind(), ErrorKind::BadContent, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn latest_without_upstream_is_the_highest_release_stored() {
    for (stored, newest) in [
        (&["v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-rc1+incompatible", PSEUDO][..], "v1.10.0"),
        (&["v1.0.0-rc1", "v1.0.0-rc2", PSEUDO], "v1.0.0-rc2"),
        (&[PSEUDO], PSEUDO),
    ] {
        let bench = bench(Offline, stored);
        assert_eq!(bench.latest().await.expect("stored"), (info(newest), Outcome::HitStorage));
        assert!(bench.upstream.asked().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn offline_latest_of_a_module_that_is_not_stored_is_404() {
    let failed = bench(Offline, &[]).latest().await.expect_err("nothing stored");
    assert_eq!(failed.kind(), ErrorKind::NotStored);
    assert_eq!(failed.kind().row().status, 404);
}

async fn latest_fails(mode: NetworkMode, stored: &[&str], kind: ErrorKind) -> Bench {
    let bench = bench(mode, stored);
    bench.says(FetchAsk::Latest, Reply::fail(kind));
    bench
}

#[tokio::test(start_paused = true)]
async fn a_latest_that_fails_follows_the_mode_like_a_list() {
    let stored = latest_fails(Fallback, &["v1.0.0"], ErrorKind::UpstreamTimeout).await;
    assert_eq!(stored.latest().await.expect("stored"), (info("v1.0.0"), Outcome::HitStorage));
    let strict = latest_fails(Strict, &["v1.0.0"], ErrorKind::UpstreamTimeout).await;
    let failed = strict.latest().await.expect_err("strict");
    assert_eq!(failed.kind(), ErrorKind::UpstreamTimeout);
    let gone = latest_fails(Strict, &["v1.0.0"], ErrorKind::NotFound).await;
    assert_eq!(gone.latest().await.expect("stored").1, Outcome::HitStorage);
    let nothing = latest_fails(Strict, &[], ErrorKind::NotFound).await;
    assert_eq!(nothing.latest().await.expect_err("neither").kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn storage_has_its_own_time_when_upstream_has_used_up_the_caller_s() {
    let bench = bench(Fallback, &["v1.0.0"]);
    let slow = Reply::Late(
        std::time::Duration::from_secs(15),
        Box::new(Reply::fail(ErrorKind::UpstreamTimeout)),
    );
    bench.upstream.only(&m(), FetchAsk::List, slow);
    let hasty = crate::testing::context_for(std::time::Duration::from_secs(1));
    let late = bench.ask_in(hasty, Ask::List).await.expect_err("too late");
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    let patient = bench.list().await.expect("the first one's question went on");
    assert_eq!(patient, ("v1.0.0".to_owned(), Outcome::HitStorage));
    assert_eq!(bench.upstream.asked().len(), 1);
}

/// A policy that says this of one module, and nothing of any other.
struct Of(ModulePath, Decision);

impl Policy for Of {
    fn decide(&self, module: &ModulePath) -> Arc<Decision> {
        let plain = || Decision::new(Mode::Sync, "");
        Arc::new(if *module == self.0 { self.1.clone() } else { plain() })
    }
}

fn sourced(module: ModulePath, list: ListSource, latest: ListSource) -> Arc<dyn Policy> {
    Arc::new(Of(module, Decision { list, latest, ..Decision::new(Mode::Sync, "") }))
}

#[tokio::test(start_paused = true)]
async fn a_module_whose_list_is_that_of_storage_is_never_asked_about() {
    let policy = |module| sourced(module, ListSource::Storage, ListSource::Storage);
    let private = bench_with(config(Strict), &["v1.0.0"], policy(m()), no_files);
    assert_eq!(private.list().await.expect("stored").0, "v1.0.0");
    assert!(private.latest().await.is_ok(), "of what is stored");
    assert!(private.upstream.asked().is_empty());
    let other = crate::testing::module("example.com/other");
    let allowed = bench_with(config(Strict), &["v1.0.0"], policy(other), no_files);
    allowed.lists("v1.1.0\n");
    assert_eq!(allowed.list().await.expect("merged").0, "v1.1.0 v1.0.0");
}

#[tokio::test(start_paused = true)]
async fn list_and_latest_have_a_source_each() {
    let policy = sourced(m(), ListSource::Upstream, ListSource::Storage);
    let bench = bench_with(config(Strict), &["v1.0.0"], policy, no_files);
    bench.lists("v1.1.0\n");
    assert_eq!(bench.list().await.expect("merged").0, "v1.1.0 v1.0.0");
    assert!(bench.latest().await.is_ok(), "of what is stored");
    assert_eq!(bench.upstream.asked().len(), 1, "for the list");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_fresh_and_a_no_is_remembered_as_long_as_the_policy_says() {
    let own = Decision {
        fresh_for: Some(5 * SECOND),
        negative_for: Some(2 * SECOND),
        ..Decision::new(Mode::Sync, "")
    };
    let bench = bench_with(config(Strict), &[], Arc::new(Of(m(), own)), no_files);
    bench.lists("v1.1.0\n");
    for (after, asked) in [(0, 1), (5, 1), (1, 2)] {
        tokio::time::advance(after * SECOND).await;
        assert_eq!(bench.list().await.expect("listed").0, "v1.1.0");
        assert_eq!(bench.upstream.asked().len(), asked, "after {after} s more");
    }
    bench.list_fails(ErrorKind::NotFound);
    tokio::time::advance(6 * SECOND).await;
    for (after, asked) in [(0, 3), (2, 3), (1, 4)] {
        tokio::time::advance(after * SECOND).await;
        assert!(bench.list().await.is_err());
        assert_eq!(bench.upstream.asked().len(), asked, "after {after} s more");
    }
}
