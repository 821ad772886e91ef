use std::sync::Arc;

use dipylon_protocol::route::FileKind;
use parking_lot::Mutex;
use tower::Layer as _;

use super::{Lookup, LookupLayer};
use crate::error::{Error, ErrorKind};
use crate::explain::Tells as _;
use crate::request::Missed;
use crate::response::{Answer, ModuleResponse};
use crate::stack::Stage;
use crate::telemetry::{Outcome, Phase, StorageOperation};
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::release::Release;
use crate::testing::storage::MemoryStorage;
use crate::testing::{
    answered_file, asking, call, error, file_answer, file_request, foretold, leaf, subject,
    telemetry,
};

const EARLY_MOD: &str = "early/example.com/m/@/v2.0.0+incompatible/mod";

type Misses = Arc<Mutex<Vec<String>>>;

/// A lookup over a leaf that notes its misses and answers them as "not found".
fn lookup(
    storage: &Arc<MemoryStorage>,
) -> (Lookup<impl Stage<Missed, Reply = ModuleResponse>>, Misses) {
    let misses = Misses::default();
    let noted = Arc::clone(&misses);
    let inner = leaf(move |Missed { request }: Missed| {
        noted.lock().push(format!("{}.{}", request.version, request.kind));
        Err::<ModuleResponse, _>(error(ErrorKind::NotFound))
    });
    (LookupLayer::new(storage.handle(&telemetry()), &telemetry()).layer(inner), misses)
}

#[tokio::test(start_paused = true)]
async fn a_whole_version_is_a_hit_for_all_its_files() {
    let storage = MemoryStorage::with(&["v1.0.0"]);
    let (lookup, misses) = lookup(&storage);
    for kind in FileKind::ALL {
        let response = call(&lookup, file_request("v1.0.0", kind)).await.expect("stored");
        assert_eq!(response.outcome, Outcome::HitStorage);
        assert!(!answered_file(&response).await.is_empty());
    }
    assert!(misses.lock().is_empty());
    assert_eq!(storage.calls(StorageOperation::ReadExtra), 0, "a hit costs one call");
}

#[tokio::test(start_paused = true)]
async fn what_storage_does_not_have_goes_down_as_a_miss() {
    let (lookup, misses) = lookup(&MemoryStorage::with(&["v1.0.0"]));
    for kind in FileKind::ALL {
        call(&lookup, file_request("v1.0.1", kind)).await.expect_err("the leaf says not found");
    }
    assert_eq!(*misses.lock(), ["v1.0.1.info", "v1.0.1.mod", "v1.0.1.zip"]);
}

#[tokio::test(start_paused = true)]
async fn a_small_file_that_was_stored_before_its_zip_is_a_hit() {
    let storage = MemoryStorage::new();
    storage.put_extra(EARLY_MOD, "module example.com/m\n");
    let (lookup, misses) = lookup(&storage);
    let request = file_request("v2.0.0+incompatible", FileKind::Mod);
    let response = call(&lookup, request).await.expect("kept early");
    assert_eq!(response.outcome, Outcome::HitStorage);
    assert_eq!(answered_file(&response).await, "module example.com/m\n");
    for kind in [FileKind::Info, FileKind::Zip] {
        call(&lookup, file_request("v2.0.0+incompatible", kind)).await.expect_err("not kept");
    }
    assert_eq!(misses.lock().len(), 2, "the other files are misses");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_stored_between_the_two_looks_is_a_hit() {
    let storage = MemoryStorage::new();
    storage.store_at(StorageOperation::ReadExtra, Release::new("example.com/m", "v1.0.0"));
    let (lookup, misses) = lookup(&storage);
    let request = file_request("v1.0.0", FileKind::Mod);
    let response = call(&lookup, request).await.expect("stored meanwhile");
    assert_eq!(response.outcome, Outcome::HitStorage);
    assert!(misses.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_zip_is_never_looked_for_among_the_early_files() {
    let storage = MemoryStorage::new();
    let (lookup, _) = lookup(&storage);
    call(&lookup, file_request("v1.0.0", FileKind::Zip)).await.expect_err("a miss");
    assert_eq!(storage.calls(StorageOperation::ReadExtra), 0);
}

/// A lookup in a storage that is down, over a leaf that ends so.
async fn without_storage(
    ending: impl Fn() -> Result<ModuleResponse, Error> + Clone + Send + Sync + 'static,
) -> Result<ModuleResponse, Error> {
    let storage = MemoryStorage::with(&["v1.0.0"]);
    storage.down();
    let inner = leaf(move |_: Missed| ending());
    let lookup = LookupLayer::new(storage.handle(&telemetry()), &telemetry()).layer(inner);
    call(&lookup, file_request("v1.0.0", FileKind::Mod)).await
}

#[tokio::test(start_paused = true)]
async fn while_storage_fails_upstream_answers_and_the_answer_says_so() {
    for outcome in [Outcome::MissLeader, Outcome::MissFollower, Outcome::MissDegraded] {
        let answered = move || Ok(file_answer(FileKind::Mod, "v1.0.0", "module m\n", outcome));
        let response = without_storage(answered).await.expect("upstream has it");
        assert_eq!(response.outcome, Outcome::MissDegraded);
        assert_eq!(answered_file(&response).await, "module m\n");
    }
    let redirected = || {
        let location = "http://elsewhere".to_owned();
        let answer = Answer::Redirect { location, status: http::StatusCode::FOUND };
        Ok(ModuleResponse::new(answer, Outcome::Redirected))
    };
    let response = without_storage(redirected).await.expect("sent elsewhere");
    assert_eq!(response.outcome, Outcome::Redirected);
}

#[tokio::test(start_paused = true)]
async fn while_storage_fails_no_answer_says_that_a_version_does_not_exist() {
    for kind in ErrorKind::ALL {
        let failed = without_storage(|| Err(error(*kind))).await.expect_err("upstream says no");
        let status = failed.kind().row().status;
        assert!(status.is_server_error() || status == 429, "{kind:?}: {status}");
        let own = kind.row().status;
        if own.is_server_error() || own == 429 {
            assert_eq!(failed.kind(), *kind, "upstream could not find out");
        } else {
            assert_eq!(failed.kind(), ErrorKind::StorageUnavailable, "{kind:?}");
            let text = format!("read: it is down; and upstream: {kind:?} on purpose");
            assert_eq!(failed.message(), text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_at_either_look_is_replaced_by_upstream() {
    for (operation, kind) in
        [(StorageOperation::Read, FileKind::Zip), (StorageOperation::ReadExtra, FileKind::Mod)]
    {
        let storage = MemoryStorage::new();
        storage.fail(operation);
        let (lookup, misses) = lookup(&storage);
        let failed = call(&lookup, file_request("v1.0.0", kind)).await.expect_err("storage fails");
        assert_eq!(failed.kind(), ErrorKind::Storage, "upstream's \"not found\" is no answer");
        assert_eq!(misses.lock().len(), 1, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_is_a_miss_without_a_look_at_storage() {
    let storage = MemoryStorage::with(&["v1.0.0"]);
    let (lookup, misses) = lookup(&storage);
    call(&lookup, file_request("main", FileKind::Info)).await.expect_err("a miss");
    assert_eq!(*misses.lock(), ["main.info"]);
    assert_eq!(storage.calls(StorageOperation::Read), 0);
    assert_eq!(storage.calls(StorageOperation::ReadExtra), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_in_storage_is_the_phase_storage() {
    let (lookup, _) = lookup(&MemoryStorage::with(&["v1.0.0"]));
    let request = file_request("v1.0.0", FileKind::Mod);
    let timings = Arc::clone(&request.context.timings);
    call(&lookup, request).await.expect("stored");
    let spent = timings.spent(std::time::Instant::now());
    assert!(!spent.of(Phase::Storage).is_zero(), "{spent:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let storage = MemoryStorage::new().handle(&telemetry());
    let lookup = LookupLayer::new(storage, &telemetry()).layer(failing(ErrorKind::UpstreamFailed));
    let request = file_request("v1.0.0", FileKind::Mod);
    assert_passes_unchanged(&lookup, request, ErrorKind::UpstreamFailed).await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_look_in_the_same_storage() {
    let storage = MemoryStorage::with(&["v1.0.0"]);
    let layer = LookupLayer::new(storage.handle(&telemetry()), &telemetry());
    for below in [ErrorKind::NotFound, ErrorKind::UpstreamFailed] {
        let lookup = layer.layer(failing::<Missed, ModuleResponse>(below));
        let hit = call(&lookup, file_request("v1.0.0", FileKind::Mod)).await.expect("stored");
        assert_eq!(hit.outcome, Outcome::HitStorage);
    }
    assert_eq!(storage.calls(StorageOperation::Read), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let storage = MemoryStorage::new().handle(&telemetry());
    let lookup = LookupLayer::new(storage, &telemetry()).layer(held.service());
    held.assert_ends_with_its_caller(&lookup, file_request("v1.0.0", FileKind::Zip)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_told_and_foretold() {
    let storage = MemoryStorage::with(&["v1.0.0"]);
    let layer = LookupLayer::new(storage.handle(&telemetry()), &telemetry());
    for kind in FileKind::ALL {
        let want = Some(Outcome::HitStorage);
        assert_eq!(foretold(&layer, &asking("v1.0.0", kind)).await, want, "{kind}");
        assert_eq!(foretold(&layer, &asking("v1.0.1", kind)).await, None, "{kind}");
    }
    let files =
        |told: &serde_json::Value| told["files"]["bytes"].as_object().map(|files| files.len());
    let (there, absent) =
        (layer.tell(&subject("v1.0.0")).await, layer.tell(&subject("v1.0.1")).await);
    assert_eq!((files(&there), &there["files"]["whole"]), (Some(3), &true.into()), "{there}");
    assert_eq!((files(&absent), &absent["files"]["whole"]), (Some(0), &false.into()), "{absent}");
}
