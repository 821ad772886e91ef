use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tower::{Layer as _, service_fn};

use super::{CALLS_MAX, Validate, ValidateLayer};
use crate::error::{Error, ErrorKind};
use crate::ports::{BoxFuture, Validator};
use crate::request::{Ask, ModuleRequest, RequestContext};
use crate::response::{Answer, Content, ModuleResponse};
use crate::stack::Stage;
use crate::telemetry::Outcome;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{call, settle};

const SECOND: Duration = Duration::from_secs(1);

/// Refuses v6.6.6, breaks on v5.0.3, takes `delay` for each answer.
#[derive(Default)]
struct Hook {
    delay: Duration,
    asked: Mutex<Vec<String>>,
}

impl Validator for Hook {
    fn validate<'a>(
        &'a self,
        context: &'a RequestContext,
        module: &'a ModulePath,
        version: &'a VersionQuery,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.asked.lock().push(format!("{module}@{}", version.as_str()));
        Box::pin(async move {
            tokio::time::sleep_until((Instant::now() + self.delay).min(context.deadline)).await;
            match version.as_str() {
                "v6.6.6" => Err(Error::new(ErrorKind::DeniedByValidator, "has a bad licence")),
                "v5.0.3" => Err(Error::new(ErrorKind::ValidatorFailed, "down")),
                _ if Instant::now() >= context.deadline => {
                    Err(Error::new(ErrorKind::ValidatorFailed, "too slow"))
                }
                _ => Ok(()),
            }
        })
    }
}

/// Validates before a stack that answers with the asked version, and `master` with v6.6.6.
fn stack(
    hook: &Arc<Hook>,
    served: &Arc<AtomicUsize>,
) -> impl Stage<ModuleRequest, Reply = ModuleResponse> + use<> {
    let served = Arc::clone(served);
    let inner = service_fn(move |request: ModuleRequest| {
        served.fetch_add(1, Ordering::SeqCst);
        async move {
            let Ask::File(version, kind) = request.ask else {
                return Ok(ModuleResponse::new(Answer::List(Bytes::new()), Outcome::Ok));
            };
            let bad = Version::parse("v6.6.6").unwrap();
            let version = version.canonical().cloned().unwrap_or(bad);
            let content = Content::Bytes(Bytes::from_static(b"x"));
            let answer = Answer::File { kind, version, content };
            Ok::<_, Error>(ModuleResponse::new(answer, Outcome::HitStorage))
        }
    });
    let validator: Arc<dyn Validator> = hook.clone();
    let service: Validate<_> =
        ValidateLayer::new(validator, 5 * SECOND, TaskTracker::new()).layer(inner);
    service
}

fn request(ask: Ask) -> ModuleRequest {
    let context = RequestContext::detached(Instant::now() + 60 * SECOND);
    ModuleRequest { context, module: ModulePath::parse("example.com/Mod").unwrap(), ask }
}

fn file(version: &str) -> ModuleRequest {
    request(Ask::File(VersionQuery::parse(version).unwrap(), FileKind::Info))
}

#[tokio::test(start_paused = true)]
async fn what_is_allowed_passes_and_is_asked_about_every_time() {
    let (hook, served) = (Arc::new(Hook::default()), Arc::default());
    let stack = stack(&hook, &served);
    for _ in 0..2 {
        assert!(stack.run(file("v1.0.0")).await.is_ok());
        tokio::task::yield_now().await;
    }
    assert_eq!(*hook.asked.lock(), ["example.com/Mod@v1.0.0", "example.com/Mod@v1.0.0"]);
    assert_eq!(served.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_unknown_goes_no_further() {
    let (hook, served) = (Arc::new(Hook::default()), Arc::default());
    for (version, kind) in
        [("v6.6.6", ErrorKind::DeniedByValidator), ("v5.0.3", ErrorKind::ValidatorFailed)]
    {
        let error = stack(&hook, &served).run(file(version)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{version}");
    }
    assert_eq!(served.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn list_and_latest_are_not_asked_about() {
    let (hook, served) = (Arc::new(Hook::default()), Arc::default());
    for ask in [Ask::List, Ask::Latest] {
        assert!(stack(&hook, &served).run(request(ask)).await.is_ok());
    }
    assert!(hook.asked.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn equal_questions_at_the_same_time_share_one_call() {
    let (hook, served) = (Arc::new(Hook { delay: SECOND, ..Hook::default() }), Arc::default());
    let stack = stack(&hook, &served);
    let calls = (0..50).map(|_| stack.run(file("v1.0.0")));
    let results = futures::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!((hook.asked.lock().len(), served.load(Ordering::SeqCst)), (1, 50));
}

#[tokio::test(start_paused = true)]
async fn a_query_is_asked_about_again_by_the_version_it_names() {
    let (hook, served) = (Arc::new(Hook::default()), Arc::default());
    let error = stack(&hook, &served).run(file("master")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeniedByValidator);
    assert_eq!(*hook.asked.lock(), ["example.com/Mod@master", "example.com/Mod@v6.6.6"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let layer = ValidateLayer::new(Arc::new(Hook::default()), 5 * SECOND, TaskTracker::new());
    let service = layer.layer(failing(ErrorKind::UpstreamFailed));
    for request in [file("v1.0.0"), file("master"), request(Ask::List)] {
        assert_passes_unchanged(&service, request, ErrorKind::UpstreamFailed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_calls_under_way() {
    let hook = Arc::new(Hook { delay: SECOND, ..Hook::default() });
    let validator: Arc<dyn Validator> = hook.clone();
    let layer = ValidateLayer::new(validator, 5 * SECOND, TaskTracker::new());
    let (one, two) =
        (layer.layer(failing(ErrorKind::NotFound)), layer.layer(failing(ErrorKind::NotFound)));
    let (first, second) = tokio::join!(call(&one, file("v1.0.0")), call(&two, file("v1.0.0")));
    for answer in [first, second] {
        assert_eq!(answer.expect_err("both go on").kind(), ErrorKind::NotFound);
    }
    assert_eq!(*hook.asked.lock(), ["example.com/Mod@v1.0.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_no_question_of_others() {
    let (tasks, held) = (TaskTracker::new(), Held::default());
    let layer = ValidateLayer::new(Arc::new(Hook::default()), 5 * SECOND, tasks.clone());
    let service = layer.layer(held.service());
    held.assert_ends_with_its_caller(&service, file("v1.0.0")).await;

    let hook = Arc::new(Hook { delay: SECOND, ..Hook::default() });
    let layer = ValidateLayer::new(hook, 5 * SECOND, tasks.clone());
    let (leaves, stays) = (layer.layer(held.service()), layer.layer(failing(ErrorKind::NotFound)));
    let mut leaving = Box::pin(call(&leaves, file("v1.0.0")));
    assert!(futures::poll!(&mut leaving).is_pending());
    let staying = tokio::spawn(async move { call(&stays, file("v1.0.0")).await });
    settle().await;
    drop(leaving);
    let answer = staying.await.expect("no panic");
    assert_eq!(answer.expect_err("it was allowed, and went on").kind(), ErrorKind::NotFound);
    settle().await;
    assert_eq!(tasks.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_timeout_and_a_request_with_its_deadline() {
    let (hook, served) = (Arc::new(Hook { delay: 60 * SECOND, ..Hook::default() }), Arc::default());
    let stack = stack(&hook, &served);
    let mut hurried = file("v1.0.0");
    hurried.context.deadline = Instant::now() + SECOND;
    let started = Instant::now();
    let (first, second) = tokio::join!(stack.run(hurried), stack.run(file("v1.0.0")));
    assert_eq!(first.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::ValidatorFailed);
    assert_eq!(started.elapsed(), 5 * SECOND);
    assert_eq!(served.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_whose_clients_are_gone_are_bounded_too() {
    let (hook, served) = (Arc::new(Hook { delay: 4 * SECOND, ..Hook::default() }), Arc::default());
    let stack = stack(&hook, &served);
    for minor in 0..CALLS_MAX + 50 {
        let gone = stack.run(file(&format!("v1.{minor}.0")));
        assert!(tokio::time::timeout(SECOND / 1000, gone).await.is_err() || minor >= CALLS_MAX);
    }
    assert_eq!(hook.asked.lock().len(), CALLS_MAX);
    let error = stack.run(file("v2.0.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Overloaded, Some(SECOND)));
    tokio::time::sleep(5 * SECOND).await;
    assert!(stack.run(file("v2.0.0")).await.is_ok());
}
