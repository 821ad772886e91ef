//! Files pass; what a query stands for is remembered.

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use tower::Layer as _;

use super::{Bench, bench, bench_with, config, m};
use crate::error::{Error, ErrorKind};
use crate::request::{Ask, FileRequest, ModuleRequest};
use crate::response::ModuleResponse;
use crate::telemetry::Outcome;
use crate::testing::below::{Held, assert_passes_unchanged, error_from_below};
use crate::testing::{SECOND, context, error, fetches_all, file_answer, query};
use crate::versions::NetworkMode::{Offline, Strict};

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
