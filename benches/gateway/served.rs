//! The program and nginx as processes with the same files: CPU time of the server for each request, the
//! client's aside. The gateway runs as it comes: metered, logged, and traced at a ratio of 0.01.

use std::path::Path;

use criterion::Criterion;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::measure::collector;
use dipylon_testkit::measure::files::{FILES, upstream};
use dipylon_testkit::measure::in_turn::Server;
use dipylon_testkit::measure::load::CONNECTIONS;
use dipylon_testkit::measure::nginx::Nginx;
use dipylon_testkit::upstream::Upstream;
use tokio::runtime::Builder;

use crate::in_process::settings;
use crate::in_turn::InTurn;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// The share of traces that is kept.
const TRACED: &str = "0.01";

/// Requests to a server in one of its turns: a round of all takes about a second, in which spans are sent once.
const REQUESTS: usize = 4_000;
/// Where there is one connection, most of what is measured are wake-ups.
const REQUESTS_ONE_BY_ONE: usize = 1_000;
/// Where nothing is compared that comes from time to time.
const REQUESTS_OF_A_FILE: usize = 1_000;
/// Some milliseconds each.
const REQUESTS_OF_A_LARGE_FILE: usize = 10;

fn server(name: &'static str, gateway: &Gateway) -> Server {
    Server { name: name.to_owned(), pid: gateway.pid(), address: gateway.address() }
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
    let rival = rival.map(|nginx| Server {
        name: "nginx".to_owned(),
        pid: nginx.pid(),
        address: nginx.address,
    });
    let ours = server("gateway", &traced);
    let beside_it: Vec<_> = [ours.clone()].into_iter().chain(rival.clone()).collect();
    let less = [server("gateway, untraced", &untraced), server("gateway, silent", &silent)];
    let telling: Vec<_> = rival.into_iter().chain([ours]).chain(less).collect();
    for (name, path) in FILES {
        let (servers, requests) = match name {
            "info" => (&telling, REQUESTS),
            large if large.ends_with("MB") => (&beside_it, REQUESTS_OF_A_LARGE_FILE),
            _ => (&beside_it, REQUESTS_OF_A_FILE),
        };
        let group = format!("served {name}");
        let connections = CONNECTIONS;
        InTurn { group, servers, path, connections, requests }.bench(criterion);
        if name == "info" {
            let group = "served info, one by one".to_owned();
            let (connections, requests) = (1, REQUESTS_ONE_BY_ONE);
            InTurn { group, servers, path, connections, requests }.bench(criterion);
        }
    }
}
