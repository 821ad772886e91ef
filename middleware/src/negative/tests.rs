use std::sync::Arc;

use dipylon_protocol::route::FileKind;
use parking_lot::Mutex;
use tower::Layer as _;

use super::{Negative, NegativeLayer};
use crate::error::{Error, ErrorKind};
use crate::explain::Tells as _;
use crate::missing_paths::{MissingPaths, Question};
use crate::ports::{Decision, Mode};
use crate::purge::{Era, Modules, Purge};
use crate::request::Missed;
use crate::response::ModuleResponse;
use crate::stack::Stage;
use crate::telemetry::Outcome;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{
    SECOND, asking, call, error, fetches_all, file_answer, foretold, leaf, missed, module,
    purge_of, query, subject, telemetry,
};

/// Remembers for a minute over a leaf that fails with `kind` or answers; and the count of its calls.
#[derive(Clone)]
struct Below {
    kind: Arc<Mutex<Option<ErrorKind>>>,
    calls: Arc<Mutex<usize>>,
}

impl Below {
    fn failing(kind: ErrorKind) -> (Negative<impl Stage<Missed, Reply = ModuleResponse>>, Self) {
        Self::under(&layer(), kind)
    }

    fn under(
        layer: &NegativeLayer,
        kind: ErrorKind,
    ) -> (Negative<impl Stage<Missed, Reply = ModuleResponse> + use<>>, Self) {
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
        (layer.layer(inner), below)
    }

    fn calls(&self) -> usize {
        *self.calls.lock()
    }
}

/// Versions for a minute, paths for ten.
fn layer() -> NegativeLayer {
    layer_over(MissingPaths::new(600 * SECOND))
}

fn layer_over(missing: MissingPaths) -> NegativeLayer {
    NegativeLayer::new(60 * SECOND, missing, fetches_all(), &telemetry())
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

/// What list or latest said of the path of all requests here.
fn no_path(missing: &MissingPaths, asked: &[Question]) {
    for asked in asked {
        missing.missing(&module("example.com/m"), *asked, &error(ErrorKind::NotFound));
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_of_a_path_without_a_list_is_remembered_as_long_as_the_path() {
    let missing = MissingPaths::new(600 * SECOND);
    no_path(&missing, &[Question::List]);
    let layer = layer_over(missing);
    let (negative, below) = Below::under(&layer, ErrorKind::NotFound);
    let first = ask(&negative).await.expect_err("asked once all the same");
    assert_eq!(first.outcome(), Outcome::UpstreamNotFound);
    tokio::time::advance(599 * SECOND).await;
    assert_eq!(ask(&negative).await.expect_err("told").outcome(), Outcome::Negative);
    assert_eq!(below.calls(), 1);
    tokio::time::advance(2 * SECOND).await;
    ask(&negative).await.expect_err("asked again");
    assert_eq!(below.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_list_and_latest_are_missing_no_version_is_asked_for_until_one_of_them_is_too_old() {
    let missing = MissingPaths::new(600 * SECOND);
    no_path(&missing, &[Question::List, Question::Latest]);
    let layer = layer_over(missing);
    let (negative, below) = Below::under(&layer, ErrorKind::NotFound);
    for version in ["v1.0.0", "v1.0.1", "main"] {
        let failed = call(&negative, missed(version, FileKind::Info)).await.expect_err("nothing");
        assert_eq!((failed.kind(), failed.outcome()), (ErrorKind::NotFound, Outcome::Negative));
    }
    assert_eq!(below.calls(), 0);
    tokio::time::advance(601 * SECOND).await;
    *below.kind.lock() = None;
    ask(&negative).await.expect("asked again, and now it exists");
}

#[tokio::test(start_paused = true)]
async fn a_version_is_asked_for_again_in_its_own_time_once_its_path_has_a_list() {
    let missing = MissingPaths::new(600 * SECOND);
    no_path(&missing, &[Question::List]);
    let (negative, below) = Below::under(&layer_over(missing.clone()), ErrorKind::NotFound);
    ask(&negative).await.expect_err("neither list nor version");
    tokio::time::advance(59 * SECOND).await;
    missing.exists(&module("example.com/m"));
    ask(&negative).await.expect_err("remembered as any version");
    assert_eq!(below.calls(), 1);
    tokio::time::advance(2 * SECOND).await;
    ask(&negative).await.expect_err("asked again");
    assert_eq!(below.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_upstream_does_not_have_is_still_redirected_to() {
    for (mode, calls) in
        [(Mode::Sync, 0), (Mode::Async, 0), (Mode::Redirect, 1), (Mode::AsyncRedirect, 1)]
    {
        let missing = MissingPaths::new(600 * SECOND);
        no_path(&missing, &[Question::List, Question::Latest]);
        let policy = Arc::new(Decision::new(mode, "https://elsewhere.test"));
        let layer = NegativeLayer::new(60 * SECOND, missing, policy, &telemetry());
        layer.learns().learn(
            &module("example.com/m"),
            &query("v1.0.0"),
            &error(ErrorKind::NotFound),
            Era::default(),
        );
        assert!(layer.learns().knows(&module("example.com/m"), &query("v1.0.0")), "{mode:?}");
        let (negative, below) = Below::under(&layer, ErrorKind::NotFound);
        ask(&negative).await.expect_err("the leaf fails");
        assert_eq!(below.calls(), calls, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_background_found_out_is_remembered_of_all_files() {
    let layer = layer();
    let (negative, below) = Below::under(&layer, ErrorKind::NotFound);
    let (learns, m) = (layer.learns(), module("example.com/m"));
    learns.learn(&m, &query("v1.0.0"), &error(ErrorKind::NotFound), Era::default());
    learns.learn(&m, &query("v1.1.0"), &error(ErrorKind::UpstreamTimeout), Era::default());
    assert!(learns.knows(&m, &query("v1.0.0")) && !learns.knows(&m, &query("v1.1.0")));
    for kind in [FileKind::Info, FileKind::Mod, FileKind::Zip] {
        let failed = call(&negative, missed("v1.0.0", kind)).await.expect_err("remembered");
        assert_eq!(failed.outcome(), Outcome::Negative, "{kind}");
    }
    assert_eq!(below.calls(), 0);
    call(&negative, missed("v1.1.0", FileKind::Mod)).await.expect_err("asked: it may pass");
    assert_eq!(below.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_no_from_before_a_purge_is_not_remembered_after_it() {
    let missing = MissingPaths::new(600 * SECOND);
    let layer = layer_over(missing.clone());
    let purge = purge_of("example.com/m");
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let negative = layer.layer(leaf(move |_: Missed| -> Result<ModuleResponse, Error> {
        *counted.lock() += 1;
        // Somebody publishes and purges while upstream still says no.
        missing.forgets().forget(&purge);
        Err(error(ErrorKind::NotFound))
    }));
    for asked in [1, 2] {
        ask(&negative).await.expect_err("not yet");
        assert_eq!(*calls.lock(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_background_asked_before_a_purge_is_not_learned_after_it() {
    let missing = MissingPaths::new(600 * SECOND);
    let learns = layer_over(missing.clone()).learns();
    let (m, version) = (module("example.com/m"), query("v1.0.0"));
    let before = learns.era(&m);
    let purge = purge_of("example.com/m");
    missing.forgets().forget(&purge);
    learns.learn(&m, &version, &error(ErrorKind::NotFound), before);
    assert!(!learns.knows(&m, &version));
    learns.learn(&m, &version, &error(ErrorKind::NotFound), learns.era(&m));
    assert!(learns.knows(&m, &version));
}

#[tokio::test(start_paused = true)]
async fn only_what_does_not_exist_is_remembered_as_long_as_its_path() {
    let missing = MissingPaths::new(600 * SECOND);
    no_path(&missing, &[Question::List]);
    let layer = layer_over(missing);
    let (negative, below) = Below::under(&layer, ErrorKind::ChecksumMismatch);
    ask(&negative).await.expect_err("a mismatch");
    tokio::time::advance(61 * SECOND).await;
    ask(&negative).await.expect_err("asked again");
    assert_eq!(below.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_file_shows_that_there_is_something_at_the_path() {
    let missing = MissingPaths::new(600 * SECOND);
    no_path(&missing, &[Question::List]);
    let layer = layer_over(missing.clone());
    let (negative, below) = Below::under(&layer, ErrorKind::NotFound);
    *below.kind.lock() = None;
    ask(&negative).await.expect("a file");
    assert!(!missing.is_unlisted(&module("example.com/m"), 600 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn what_a_purge_is_about_is_asked_for_again_and_nothing_else() {
    let layer = layer();
    let (negative, below) = Below::under(&layer, ErrorKind::NotFound);
    for version in ["v1.0.0", "v1.0.1"] {
        call(&negative, missed(version, FileKind::Mod)).await.expect_err("not found");
    }
    let path = "example.com/m".to_owned();
    let purge = Purge { modules: Modules::Exactly(path), version: Some(query("v1.0.0")) };
    assert_eq!((layer.forgets().forget(&purge), layer.forgets().forget(&purge)), (1, 0));
    for version in ["v1.0.0", "v1.0.1"] {
        call(&negative, missed(version, FileKind::Mod)).await.expect_err("not found");
    }
    assert_eq!(below.calls(), 3);
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
        let negative = layer().layer(failing(kind));
        assert_passes_unchanged(&negative, missed("v1.0.0", FileKind::Mod), kind).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_is_remembered_as_long_as_the_policy_says() {
    let hour = Some(3600 * SECOND);
    let policy = Arc::new(Decision { negative_for: hour, ..Decision::new(Mode::Sync, "") });
    let (missing, unlisted) = (MissingPaths::new(600 * SECOND), MissingPaths::new(600 * SECOND));
    no_path(&unlisted, &[Question::List]);
    for missing in [missing, unlisted] {
        let layer =
            NegativeLayer::new(60 * SECOND, missing, Arc::clone(&policy) as _, &telemetry());
        let negative = layer.layer(failing(ErrorKind::NotFound));
        ask(&negative).await.expect_err("not found");
        for (after, outcome) in [(3600, Outcome::Negative), (1, Outcome::UpstreamNotFound)] {
            tokio::time::advance(after * SECOND).await;
            assert_eq!(ask(&negative).await.expect_err("not found").outcome(), outcome);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_what_is_remembered() {
    let layer = layer();
    ask(&layer.layer(failing(ErrorKind::NotFound))).await.expect_err("not found");
    let answers = leaf(|missed: Missed| {
        Ok(file_answer(missed.request.kind, "v1.0.0", "bytes", Outcome::MissLeader))
    });
    let remembered = ask(&layer.layer(answers)).await.expect_err("the other was told");
    assert_eq!(remembered.outcome(), Outcome::Negative);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_nothing_is_remembered() {
    let (layer, held) = (layer(), Held::default());
    let negative = layer.layer(held.service());
    for _ in 0..2 {
        held.assert_ends_with_its_caller(&negative, missed("v1.0.0", FileKind::Mod)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_told_with_its_age_and_foretold_as_long_as_it_counts() {
    let layer = layer();
    let (negative, _) = Below::under(&layer, ErrorKind::NotFound);
    ask(&negative).await.expect_err("not found");
    tokio::time::advance(20 * SECOND).await;
    let request = asking("v1.0.0", FileKind::Mod);
    let told = layer.tell(&subject("v1.0.0")).await;
    let no = &told["mod"];
    assert_eq!(
        (&no["age_seconds"], &no["for_another_seconds"]),
        (&20.into(), &40.into()),
        "{told}"
    );
    assert!(told["info"].is_null() && told["path"].is_null(), "{told}");
    assert_eq!(foretold(&layer, &request).await, Some(Outcome::Negative));
    tokio::time::advance(41 * SECOND).await;
    assert!(layer.tell(&subject("v1.0.0")).await.is_null());
    assert_eq!(foretold(&layer, &request).await, None);
}
