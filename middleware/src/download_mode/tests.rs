use std::sync::Arc;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use parking_lot::Mutex;
use tower::Layer as _;

use super::DownloadModeLayer;
use crate::error::ErrorKind;
use crate::ports::{Decision, Mode, Policy};
use crate::request::{Missed, Plan, Planned};
use crate::response::ModuleResponse;
use crate::telemetry::Outcome;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{asking, call, error, file_request, foretold, leaf, missed, module, query};

const BASE: &str = "https://downloads.example/go";

/// What a miss is planned as.
async fn planned(policy: Arc<dyn Policy>, missed: Missed) -> Planned {
    let seen: Arc<Mutex<Option<Planned>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let inner = leaf(move |planned: Planned| {
        *keep.lock() = Some(planned);
        Err::<ModuleResponse, _>(error(ErrorKind::NotFound))
    });
    let service = DownloadModeLayer::new(policy).layer(inner);
    let failed = call(&service, missed).await.expect_err("what lies below fails");
    assert_eq!(failed.kind(), ErrorKind::NotFound, "its errors pass unchanged");
    seen.lock().take().expect("every miss goes down")
}

fn always(mode: Mode) -> Arc<dyn Policy> {
    Arc::new(Decision::new(mode, BASE))
}

#[tokio::test(start_paused = true)]
async fn each_mode_has_its_plan() {
    let location = format!("{BASE}/example.com/m/@v/v1.0.0.mod");
    for (mode, plan) in [
        (Mode::Sync, Plan::Stash),
        (Mode::Async, Plan::StashInBackground),
        (Mode::None, Plan::Refuse),
        (Mode::Redirect, Plan::Redirect(location.clone())),
        (Mode::AsyncRedirect, Plan::RedirectAndStash(location)),
    ] {
        let planned = planned(always(mode), missed("v1.0.0", FileKind::Mod)).await;
        assert_eq!(planned.plan, plan, "{mode:?}");
        assert_eq!(planned.request.version, query("v1.0.0"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_goes_to_the_escaped_path_of_the_same_file() {
    let mut request = file_request("v1.0.0-Beta", FileKind::Zip);
    request.module = module("github.com/Azure/sdk");
    let planned = planned(always(Mode::Redirect), Missed { request }).await;
    let location = format!("{BASE}/github.com/!azure/sdk/@v/v1.0.0-!beta.zip");
    assert_eq!(planned.plan, Plan::Redirect(location));
}

struct ByModule;

impl Policy for ByModule {
    fn decide(&self, module: &ModulePath) -> Arc<Decision> {
        let mode = if module.as_str() == "example.com/m" { Mode::None } else { Mode::Sync };
        Arc::new(Decision::new(mode, ""))
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_is_asked_for_each_module() {
    let refused = planned(Arc::new(ByModule), missed("v1.0.0", FileKind::Info)).await;
    assert_eq!(refused.plan, Plan::Refuse);
    let mut request = file_request("v1.0.0", FileKind::Info);
    request.module = module("example.com/other");
    assert_eq!(planned(Arc::new(ByModule), Missed { request }).await.plan, Plan::Stash);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let service = DownloadModeLayer::new(always(Mode::Sync)).layer(failing(ErrorKind::NotFound));
    let miss = missed("v1.0.0", FileKind::Mod);
    assert_passes_unchanged(&service, miss, ErrorKind::NotFound).await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_plan_by_the_same_policy() {
    let layer = DownloadModeLayer::new(Arc::new(ByModule));
    let refuses = leaf(|planned: Planned| {
        assert_eq!(planned.plan, Plan::Refuse);
        Err::<ModuleResponse, _>(error(ErrorKind::NotStored))
    });
    for service in [layer.layer(refuses.clone()), layer.layer(refuses)] {
        let refused = call(&service, missed("v1.0.0", FileKind::Info)).await.expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::NotStored);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let service = DownloadModeLayer::new(always(Mode::Sync)).layer(held.service());
    held.assert_ends_with_its_caller(&service, missed("v1.0.0", FileKind::Zip)).await;
}

#[tokio::test(start_paused = true)]
async fn what_each_mode_answers_itself_is_foretold() {
    for (mode, want) in [
        (Mode::Sync, None),
        (Mode::Async, Some(Outcome::AsyncAccepted)),
        (Mode::None, Some(Outcome::NotStored)),
        (Mode::Redirect, Some(Outcome::Redirected)),
        (Mode::AsyncRedirect, Some(Outcome::Redirected)),
    ] {
        let layer = DownloadModeLayer::new(always(mode));
        assert_eq!(foretold(&layer, &asking("v1.0.0", FileKind::Zip)).await, want, "{mode:?}");
    }
}
