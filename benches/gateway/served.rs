//! The program and nginx as processes with the same files: CPU time of the server for each request, the
//! client's aside. The gateway runs as it comes: metered, logged, and traced at a ratio of 0.01.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::upstream::Upstream;
use tokio::runtime::Builder;

use crate::collector;
use crate::in_process::{FILES, settings, upstream};
use crate::load::{Load, Used};
use crate::nginx::Nginx;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// The share of traces that is kept.
const TRACED: &str = "0.01";

/// A server to be measured.
struct Server {
    name: &'static str,
    pid: u32,
    address: SocketAddr,
}

impl Server {
    fn of(name: &'static str, gateway: &Gateway) -> Self {
        Self { name, pid: gateway.pid(), address: gateway.address() }
    }

    fn bench(&self, group: &mut BenchmarkGroup<'_, WallTime>, path: &str) {
        let mut load = Load::new(self.address);
        group.bench_function(self.name, |bencher| {
            bencher.iter_custom(|requests| {
                let before = Used::now(self.pid);
                load.get(path, requests);
                let used = Used::now(self.pid).since(&before);
                // A request or two may cost less than the clock can tell.
                used.max(Duration::from_nanos(requests))
            });
        });
    }
}

/// Without metrics, events and traces: what they cost is the difference.
const SILENT: [(&str, &str); 2] =
    [("ATHENS_STATS_EXPORTER", "none"), ("DIPYLON_LOG_ACCESS", "false")];

async fn gateway(
    upstream: &Upstream,
    root: &Path,
    collector: Option<&str>,
    more: &[(&str, &str)],
) -> Gateway {
    std::fs::create_dir_all(root).expect("a folder for the store");
    let mut builder = Gateway::builder(PROGRAM);
    for (name, value) in settings(upstream, &root.display().to_string()) {
        builder = builder.env(&name, &value);
    }
    if let Some(url) = collector {
        builder = builder
            .env("ATHENS_TRACE_EXPORTER", "otlp")
            .env("ATHENS_TRACE_EXPORTER_URL", url)
            .env("DIPYLON_OTLP_PROTOCOL", "http")
            .env("ATHENS_TRACE_SAMPLING_FRACTION", TRACED);
    }
    for (name, value) in more {
        builder = builder.env(name, value);
    }
    let gateway = builder.start().await;
    for (_, path) in FILES {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
    gateway
}

/// Writes what the gateway answers below `root`, under the names of the paths.
async fn copy_for_nginx(gateway: &Gateway, root: &Path) {
    for (_, path) in FILES {
        let file = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().expect("a file has a folder")).expect("a folder");
        std::fs::write(file, gateway.get(path).await.body).expect("a file");
    }
}

pub(crate) fn beside_nginx(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let collector = collector::start();
    let (traced, untraced, silent, _upstream) = runtime.block_on(async {
        let upstream = upstream().await;
        let [one, two, three] = ["one", "two", "three"].map(|name| folder.path().join(name));
        let traced = gateway(&upstream, &one, Some(&collector), &[]).await;
        let untraced = gateway(&upstream, &two, None, &[]).await;
        let silent = gateway(&upstream, &three, None, &SILENT).await;
        copy_for_nginx(&traced, &folder.path().join("root")).await;
        (traced, untraced, silent, upstream)
    });
    let nginx = Nginx::start(folder.path());
    if nginx.is_none() {
        eprintln!("no nginx (Debian: apt-get install nginx-light): its rows are left out");
    }
    let rival = nginx.as_ref();
    let rival =
        rival.map(|nginx| Server { name: "nginx", pid: nginx.pid(), address: nginx.address });
    for (name, path) in FILES {
        let mut group = criterion.benchmark_group(format!("served {name}"));
        if name.ends_with("MB") {
            // Some milliseconds each: fewer will do.
            group.sample_size(10);
        }
        if let Some(rival) = &rival {
            rival.bench(&mut group, path);
        }
        Server::of("gateway", &traced).bench(&mut group, path);
        if name == "info" {
            Server::of("gateway, untraced", &untraced).bench(&mut group, path);
            Server::of("gateway, silent", &silent).bench(&mut group, path);
        }
    }
}
