use std::sync::Arc;

use dipylon_protocol::route::FileKind;
use parking_lot::Mutex;
use tower::Layer as _;

use super::{Negative, NegativeLayer};
use crate::error::{Error, ErrorKind};
use crate::request::Missed;
use crate::response::ModuleResponse;
use crate::stack::Stage;
use crate::telemetry::Outcome;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{SECOND, call, error, file_answer, leaf, missed, module};

/// Remembers for a minute over a leaf that fails with `kind` or answers; and the count of its calls.
#[derive(Clone)]
struct Below {
    kind: Arc<Mutex<Option<ErrorKind>>>,
    calls: Arc<Mutex<usize>>,
}

impl Below {
    fn failing(kind: ErrorKind) -> (Negative<impl Stage<Missed, Reply = ModuleResponse>>, Self) {
        let below = Self { kind: Arc::new(Mutex::new(Some(kind))), calls: Arc::default() };
        let inner = below.clone();
        let inner = leaf(move |missed: Missed| {
            *inner.calls.lock() += 1;
            match *inner.kind.lock() {
                Some(kind) => Err(error(kind)),
                None => {
                    Ok(file_answer(missed.request.kind, "v1.0.0", "bytes", Outcome::MissLeader))
                }
            }
        });
        (NegativeLayer::new(60 * SECOND).layer(inner), below)
    }

    fn calls(&self) -> usize {
        *self.calls.lock()
    }
}

async fn ask<S>(negative: &Negative<S>) -> Result<ModuleResponse, Error>
where
    S: Stage<Missed, Reply = ModuleResponse>,
{
    call(negative, missed("v1.0.0", FileKind::Mod)).await
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_remembered_until_its_time_is_over() {
    let (negative, below) = Below::failing(ErrorKind::NotFound);
    let first = ask(&negative).await.expect_err("not found");
    assert_eq!(first.outcome(), Outcome::UpstreamNotFound);
    tokio::time::advance(60 * SECOND).await;
    let second = ask(&negative).await.expect_err("remembered");
    assert_eq!((second.kind(), second.outcome()), (ErrorKind::NotFound, Outcome::Negative));
    assert_eq!(second.message(), first.message());
    assert_eq!(below.calls(), 1);
    tokio::time::advance(SECOND).await;
    *below.kind.lock() = None;
    ask(&negative).await.expect("asked again, and now it exists");
    assert_eq!(below.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_remembered_no_is_not_renewed_by_those_who_ask() {
    let (negative, below) = Below::failing(ErrorKind::NotFound);
    for _ in 0..4 {
        ask(&negative).await.expect_err("not found");
        tokio::time::advance(25 * SECOND).await;
    }
    assert_eq!(below.calls(), 2, "asked again after 75 s, although somebody asked each 25 s");
}

#[tokio::test(start_paused = true)]
async fn every_kind_is_remembered_or_not_as_the_table_says() {
    for kind in ErrorKind::ALL {
        let (negative, below) = Below::failing(*kind);
        ask(&negative).await.expect_err("fails");
        ask(&negative).await.expect_err("fails");
        use ErrorKind::{ChecksumMismatch, InvalidPath, NotFound, PrivateChecksum};
        let lasting = matches!(kind, NotFound | ChecksumMismatch | PrivateChecksum | InvalidPath);
        assert_eq!(below.calls(), if lasting { 1 } else { 2 }, "{kind:?}");
    }
}

#[test]
fn nothing_that_may_pass_is_permanent() {
    for kind in ErrorKind::ALL {
        assert!(!(kind.is_permanent() && kind.is_transient()), "{kind:?}");
        if kind.row().status.is_server_error() || kind.row().status == 429 {
            assert!(!kind.is_permanent(), "{kind:?}: could not find out is not no");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn files_versions_and_modules_are_remembered_apart() {
    let (negative, below) = Below::failing(ErrorKind::NotFound);
    ask(&negative).await.expect_err("not found");
    let mut other = missed("v1.0.0", FileKind::Mod);
    other.request.module = module("example.com/other");
    for miss in [missed("v1.0.0", FileKind::Info), missed("v1.0.1", FileKind::Mod), other] {
        let failed = call(&negative, miss).await.expect_err("not found");
        assert_eq!(failed.outcome(), Outcome::UpstreamNotFound);
    }
    assert_eq!(below.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_remembered() {
    let (negative, below) = Below::failing(ErrorKind::NotFound);
    *below.kind.lock() = None;
    ask(&negative).await.expect("answered");
    ask(&negative).await.expect("answered");
    assert_eq!(below.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged_the_first_time() {
    for kind in [ErrorKind::NotFound, ErrorKind::UpstreamFailed] {
        let negative = NegativeLayer::new(60 * SECOND).layer(failing(kind));
        assert_passes_unchanged(&negative, missed("v1.0.0", FileKind::Mod), kind).await;
    }
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_what_is_remembered() {
    let layer = NegativeLayer::new(60 * SECOND);
    ask(&layer.layer(failing(ErrorKind::NotFound))).await.expect_err("not found");
    let answers = leaf(|missed: Missed| {
        Ok(file_answer(missed.request.kind, "v1.0.0", "bytes", Outcome::MissLeader))
    });
    let remembered = ask(&layer.layer(answers)).await.expect_err("the other was told");
    assert_eq!(remembered.outcome(), Outcome::Negative);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_nothing_is_remembered() {
    let (layer, held) = (NegativeLayer::new(60 * SECOND), Held::default());
    let negative = layer.layer(held.service());
    for _ in 0..2 {
        held.assert_ends_with_its_caller(&negative, missed("v1.0.0", FileKind::Mod)).await;
    }
}
