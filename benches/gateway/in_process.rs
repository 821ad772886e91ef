//! Calls of the edge stack without a network: what the gateway's own code costs a request.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use dipylon::adapters::Adapters;
use dipylon::app::App;
use dipylon::config::{Config, LoadArgs};
use dipylon_middleware::telemetry::Telemetry;
use dipylon_testkit::measure::files::{FILES, LARGE, MODULE, SMALL, upstream};
use dipylon_testkit::measure::used::Used;
use dipylon_testkit::upstream::Upstream;
use http::Request;
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};

/// The longest that the store may take to be filled.
const FILL_MAX: Duration = Duration::from_secs(60);

/// Settings of a gateway before this upstream: answers stay fresh for as long as a bench lasts.
pub(crate) fn settings(upstream: &Upstream, root: &str) -> BTreeMap<String, String> {
    let pairs = [
        ("GOPROXY", upstream.url()),
        ("GOSUMDB", "off".to_owned()),
        ("GO_BINARY_PATH", "there-is-no-go".to_owned()),
        ("GO_ENV", "bench".to_owned()),
        ("ATHENS_STORAGE_TYPE", "disk".to_owned()),
        ("ATHENS_DISK_STORAGE_ROOT", root.to_owned()),
        ("ATHENS_LOG_LEVEL", "info".to_owned()),
        ("ATHENS_LOG_FORMAT", "json".to_owned()),
        ("DIPYLON_FRESH_FOR", "86400".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn open(upstream: &Upstream, root: &str) -> App {
    let env = settings(upstream, root);
    let args = LoadArgs { config_file: None, cwd: "/".into() };
    let config = Config::load(args, &env).expect("the settings are valid").config;
    // As the program does where no collector is named: every request has ids, none is recorded.
    let telemetry = Telemetry::new().expect("the catalogue names no metric twice");
    let adapters = Adapters::open(&config, &env, &telemetry).await.expect("all can be opened");
    App::new(&config, adapters, telemetry)
}

/// One request, its answer read to the end. Answers how long it was.
async fn get(app: &App, path: &str, status: u16) -> usize {
    let request = Request::get(path).header("host", "localhost").body(()).expect("a request");
    let answer = app.edge.send(request.into()).await.expect("the edge answers whatever happens");
    assert_eq!(answer.status(), status, "{path}");
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.expect("a whole body").data_ref().map_or(0, bytes::Bytes::len);
    }
    length
}

/// Asks for every file once, and waits until all of them come from the store.
async fn fill(app: &App, root: &std::path::Path) {
    for (_, path) in FILES {
        get(app, path, 200).await;
    }
    let stored = |version| root.join(MODULE).join(version).join("source.zip").is_file();
    let began = Instant::now();
    while !(stored(SMALL) && stored(LARGE)) {
        assert!(began.elapsed() < FILL_MAX, "the store is not filled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn gateway(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().to_str().expect("a UTF-8 path");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (app, _upstream) = runtime.block_on(async {
        let upstream = upstream().await;
        let app = open(&upstream, root).await;
        fill(&app, folder.path()).await;
        (app, upstream)
    });
    let mut group = criterion.benchmark_group("gateway in process");
    for (name, path) in FILES {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|calls| time(&runtime, &app, path, 200, calls));
        });
    }
    for (name, path, status) in [
        ("not found, remembered", "/example.com/lib/text/@v/v9.9.9.info", 404),
        ("no such path", "/Example.com/lib/text/@v/list", 404),
        ("health check", "/healthz", 200),
        ("metrics", "/metrics", 200),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|calls| time(&runtime, &app, path, status, calls));
        });
    }
}

fn time(runtime: &Runtime, app: &App, path: &str, status: u16, calls: u64) -> Duration {
    runtime.block_on(async {
        let before = Used::here();
        for _ in 0..calls {
            black_box(get(app, path, status).await);
        }
        Used::here().since(&before)
    })
}
