use std::sync::Arc;

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use http::Response;
use parking_lot::Mutex;

use super::{AdminPages, Route};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::ports::BoxFuture;
use crate::render::{self, Served};
use crate::request::{Ask, EdgeRequest, ModuleRequest, SumDbRequest};
use crate::response::{Answer, Content, ModuleResponse, SumDbResponse};
use crate::spool::Spools;
use crate::stack::Border;
use crate::telemetry::{Outcome, RouteName};
use crate::testing::below::{Held, error_from_below};
use crate::testing::{
    call, edge, edge_with, error, file_answer, header, leaf, query, telemetry, text_of, version,
};

/// One admin page, and one that fails.
struct Pages;

impl AdminPages for Pages {
    fn route(&self, path: &str) -> Option<RouteName> {
        matches!(path, "/healthz" | "/catalog").then_some(RouteName::Admin)
    }

    fn serve<'a>(
        &'a self,
        path: &'a str,
        _: &'a EdgeRequest,
    ) -> BoxFuture<'a, Result<Response<Body>, Error>> {
        Box::pin(async move {
            match path {
                "/healthz" => Ok(render::whole("text/plain; charset=utf-8", "well\n")),
                _ => Err(error(ErrorKind::Unsupported)),
            }
        })
    }
}

/// A route over stacks that note what reaches them.
#[derive(Clone)]
struct Bench {
    route: Route,
    seen: Arc<Mutex<Vec<String>>>,
}

type Answering = Arc<dyn Fn(&ModuleRequest) -> Result<ModuleResponse, Error> + Send + Sync>;

fn bench(
    answer: impl Fn(&ModuleRequest) -> Result<ModuleResponse, Error> + Send + Sync + 'static,
) -> Bench {
    bench_with("", Arc::new(answer))
}

/// With this `CacheControl`.
fn bench_with(cache_control: &str, answer: Answering) -> Bench {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (modules, sumdb) = (Arc::clone(&seen), Arc::clone(&seen));
    let modules = leaf(move |request: ModuleRequest| {
        let text = match &request.ask {
            Ask::List => format!("list {}", request.module),
            Ask::Latest => format!("latest {}", request.module),
            Ask::File(version, kind) => format!("{kind} {}@{version}", request.module),
        };
        modules.lock().push(text);
        answer(&request)
    });
    let sumdb = leaf(move |request: SumDbRequest| {
        sumdb.lock().push(format!("sumdb {} {}", request.name, request.path));
        let (body, outcome) = (Bytes::from_static(b"note"), Outcome::HitStorage);
        Ok(SumDbResponse::new(body, outcome))
    });
    let (modules, sumdb) = (Border::new(modules), Border::new(sumdb));
    let route = Route::new(modules, sumdb, Arc::new(Pages), cache_control);
    Bench { route, seen }
}

fn answering() -> Bench {
    bench(whatever)
}

/// An answer to everything.
fn whatever(request: &ModuleRequest) -> Result<ModuleResponse, Error> {
    match &request.ask {
        Ask::List => Ok(ModuleResponse::new(
            Answer::List(Bytes::from_static(b"v1.0.0\n")),
            Outcome::HitMemory,
        )),
        Ask::Latest => {
            Ok(ModuleResponse::new(Answer::Latest(Bytes::from_static(b"{}")), Outcome::HitMemory))
        }
        Ask::File(_, kind) => Ok(file_answer(*kind, "v1.0.0", "content", Outcome::HitStorage)),
    }
}

impl Bench {
    async fn send(&self, request: EdgeRequest) -> Response<Body> {
        call(&self.route, request).await.expect("never an error")
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.send(edge("GET", path)).await
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }
}

fn served(response: &Response<Body>) -> Served {
    response.extensions().get::<Served>().expect("every answer says what it is").clone()
}

#[tokio::test(start_paused = true)]
async fn each_route_reaches_its_stack_with_decoded_names() {
    for (path, seen, name) in [
        ("/github.com/!azure/sdk/@v/list", "list github.com/Azure/sdk", RouteName::List),
        ("/example.com/m/@latest", "latest example.com/m", RouteName::Latest),
        ("/example.com/m/@v/v1.0.0.info", "info example.com/m@v1.0.0", RouteName::Info),
        ("/example.com/m/@v/v1.0.0.mod", "mod example.com/m@v1.0.0", RouteName::Mod),
        ("/example.com/m/@v/v1.0.0.zip", "zip example.com/m@v1.0.0", RouteName::Zip),
        ("/example.com/m/@v/main.info", "info example.com/m@main", RouteName::Info),
        ("/example.com/%21m/@v/list", "list example.com/M", RouteName::List),
        ("/sumdb/sum.golang.org/latest", "sumdb sum.golang.org latest", RouteName::SumDb),
    ] {
        let bench = answering();
        let response = bench.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(bench.seen(), [seen]);
        assert_eq!(served(&response).route, name, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_request_travels_with_its_answer() {
    let response = answering().get("/example.com/m/@v/v1.0.0.mod").await;
    let served = served(&response);
    assert_eq!(served.module.as_deref(), Some("example.com/m"));
    assert_eq!(served.version.as_deref(), Some("v1.0.0"));
    assert_eq!(served.outcome, Outcome::HitStorage);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_becomes_an_answer_with_its_route_module_and_version() {
    let failing = bench(|_| Err(error_from_below(ErrorKind::UpstreamTimeout)));
    let response = failing.get("/example.com/m/@v/v1.0.1.zip").await;
    assert_eq!(response.status(), 504);
    assert_eq!(header(&response, "retry-after"), Some("7"));
    let served = served(&response);
    assert_eq!(served.route, RouteName::Zip);
    assert_eq!(served.module.as_deref(), Some("example.com/m"));
    assert_eq!(served.version.as_deref(), Some("v1.0.1"));
    assert_eq!(served.outcome, Outcome::UpstreamTimeout);
    assert_eq!(served.error.as_deref(), Some("UpstreamTimeout on purpose"));
    assert_eq!(text_of(response).await, "UpstreamTimeout on purpose\n");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_names_nothing_is_404_with_a_reason_and_touches_no_stack() {
    for (path, reason) in [
        ("/nothing/here", "404 page not found: /nothing/here"),
        ("/example.com/M/@v/list", "not found: "),
        ("/example.com//m/@v/list", "not found: "),
        ("/example.com/m/@v/v1.0.0.exe", "not found: "),
        ("/example.com/../m/@v/list", "not found: "),
        ("/example.com/%2e%2e/m/@v/list", "not found: "),
        ("/example.com/m%00/@v/list", "not found: "),
        ("/example.com/m/v2/@v/v1.0.0+incompatible.mod", "not found: "),
    ] {
        let bench = answering();
        let response = bench.get(path).await;
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(served(&response).outcome, Outcome::Invalid, "{path}");
        assert_eq!(served(&response).route, RouteName::Unknown, "{path}");
        let text = text_of(response).await;
        assert!(text.starts_with(reason) && text.len() > reason.len(), "{path}: {text}");
        assert!(bench.seen().is_empty(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_module_path_too_short_for_its_forge_never_reaches_the_module_stack() {
    for path in [
        "/github.com/@v/list",
        "/github.com/owner/@v/list",
        "/github.com/owner/@latest",
        "/gitlab.com/owner/@v/v1.0.0.mod",
    ] {
        let bench = answering();
        let response = bench.get(path).await;
        assert_eq!(response.status(), 404, "{path}");
        assert_ne!(served(&response).route, RouteName::Unknown);
        assert!(served(&response).module.is_some(), "the log names the module");
        let text = text_of(response).await;
        assert!(text.contains("this code host has no modules so near its root"), "{text}");
        assert!(bench.seen().is_empty(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_outside_the_prefix_is_404() {
    let bench = answering();
    let mut request = edge("GET", "/elsewhere/example.com/m/@v/list");
    request.path = None;
    let response = bench.send(request).await;
    assert_eq!(response.status(), 404);
    assert!(text_of(response).await.contains("/elsewhere/"));
    assert!(bench.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn other_methods_than_get_and_head_are_405() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let bench = answering();
        let response = bench.send(edge(method, "/example.com/m/@v/list")).await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(header(&response, "allow"), Some("GET, HEAD"));
        assert!(text_of(response).await.contains(method));
        assert!(bench.seen().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn head_has_the_length_of_get_and_no_body() {
    for path in [
        "/example.com/m/@v/list",
        "/example.com/m/@latest",
        "/example.com/m/@v/v1.0.0.info",
        "/example.com/m/@v/v1.0.0.zip",
        "/sumdb/sum.golang.org/latest",
        "/healthz",
        "/nothing/here",
    ] {
        let (get, head) = (answering().get(path).await, answering().send(edge("HEAD", path)).await);
        assert_eq!(head.status(), get.status(), "{path}");
        let length = header(&head, "content-length").map(str::to_owned);
        let kind = header(&head, "content-type").map(str::to_owned);
        assert_eq!(kind.as_deref(), header(&get, "content-type"), "{path}");
        assert_eq!(text_of(head).await, "", "{path}");
        let sent = text_of(get).await.len().to_string();
        assert_eq!(length, Some(sent), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_of_a_file_of_unknown_length_says_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let spools = Spools::new(directory.path(), 1 << 20, &telemetry());
    let (mut writer, spool) = spools.create(None, 0).expect("a spool");
    spool.permit_release();
    writer.write(b"0123456789").expect("written");
    let arriving = bench(move |_| {
        let content = Content::Spooled(spool.clone());
        let answer = Answer::File { kind: FileKind::Zip, version: version("v1.0.0"), content };
        Ok(ModuleResponse::new(answer, Outcome::MissLeader))
    });
    let response = arriving.send(edge("HEAD", "/example.com/m/@v/v1.0.0.zip")).await;
    assert_eq!((response.status().as_u16(), header(&response, "content-length")), (200, None));
    drop(writer);
}

#[tokio::test(start_paused = true)]
async fn head_of_a_known_file_is_304_without_a_length_of_zero() {
    let path = "/example.com/m/@v/v1.0.0.mod";
    let response = answering().send(edge_with("HEAD", path, &[("if-none-match", "*")])).await;
    assert_eq!(response.status(), 304);
    assert_eq!(header(&response, "content-length"), None);
}

#[tokio::test(start_paused = true)]
async fn headers_of_the_client_reach_the_file() {
    let path = "/example.com/m/@v/v1.0.0.zip";
    let response = answering().send(edge_with("GET", path, &[("range", "bytes=0-2")])).await;
    assert_eq!(response.status(), 206);
    assert_eq!(served(&response).outcome, Outcome::HitStorage);
    assert_eq!(text_of(response).await, "con");
}

#[tokio::test(start_paused = true)]
async fn a_configured_cache_control_replaces_that_of_files_and_of_nothing_else() {
    let bench = bench_with("public, max-age=600", Arc::new(whatever));
    for (path, configured) in [
        ("/example.com/m/@v/v1.0.0.info", true),
        ("/example.com/m/@v/v1.0.0.mod", true),
        ("/example.com/m/@v/v1.0.0.zip", true),
        ("/example.com/m/@v/list", false),
        ("/example.com/m/@latest", false),
        ("/nothing/here", false),
    ] {
        let response = bench.get(path).await;
        let is_ours = header(&response, "cache-control") == Some("public, max-age=600");
        assert_eq!(is_ours, configured, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_by_query_is_logged_with_the_version_it_stands_for() {
    let queried = bench(|_| {
        let mut answer = file_answer(FileKind::Info, "v1.2.3", "{}", Outcome::MissLeader);
        answer.asked = Some(query("main"));
        Ok(answer)
    });
    let response = queried.get("/example.com/m/@v/main.info").await;
    assert_eq!(served(&response).version.as_deref(), Some("v1.2.3"));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_takes_the_query_along() {
    let bench = bench(|_| {
        let (location, status) = ("https://a.test/x".to_owned(), http::StatusCode::FOUND);
        Ok(ModuleResponse::new(Answer::Redirect { location, status }, Outcome::Redirected))
    });
    for (query, want) in
        [("?go-get=1&x=%2F", "https://a.test/x?go-get=1&x=%2F"), ("", "https://a.test/x")]
    {
        let path = "/example.com/m/@v/v1.0.0.zip";
        let mut request = edge("GET", &format!("{path}{query}"));
        request.path = Some(path.to_owned());
        assert_eq!(header(&bench.send(request).await, "location"), Some(want));
    }
}

#[tokio::test(start_paused = true)]
async fn admin_pages_are_served_by_themselves() {
    let bench = answering();
    let response = bench.get("/healthz").await;
    assert_eq!(served(&response).route, RouteName::Admin);
    assert_eq!(text_of(response).await, "well\n");
    let failed = bench.get("/catalog").await;
    assert_eq!((failed.status().as_u16(), served(&failed).route), (501, RouteName::Admin));
    assert!(bench.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_the_first_byte_of_a_spool_is_a_status() {
    let directory = tempfile::tempdir().expect("a directory");
    let spools = Spools::new(directory.path(), 1 << 20, &telemetry());
    let (writer, spool) = spools.create(Some(10), 100).expect("a spool");
    writer.fail(error(ErrorKind::ChecksumMismatch));
    let refused = bench(move |_| {
        let content = Content::Spooled(spool.clone());
        let answer = Answer::File { kind: FileKind::Zip, version: version("v1.0.0"), content };
        Ok(ModuleResponse::new(answer, Outcome::MissLeader))
    });
    let response = refused.get("/example.com/m/@v/v1.0.0.zip").await;
    assert_eq!(response.status(), 403);
    assert_eq!(served(&response).outcome, Outcome::ChecksumMismatch);
    assert_eq!(served(&response).route, RouteName::Zip);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let (modules, sumdb) = (held.service(), held.service());
    let route = Route::new(modules, sumdb, Arc::new(Pages), "");
    for path in ["/example.com/m/@v/list", "/sumdb/sum.golang.org/latest"] {
        held.assert_ends_with_its_caller(&route, edge("GET", path)).await;
    }
}
