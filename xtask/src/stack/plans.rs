//! The plan of each server. Ports are all the kernel's choice, so every default port is moved.

use super::probe::Probe;
use super::services::{Place, Plan, Start};

/// The account of every server that asks for one.
const USER: &str = "dipylon";
/// Its password; some servers refuse fewer than eight characters.
const PASSWORD: &str = "dipylon-stack";
/// The password of the sentinels themselves, another one, so that a mix-up is seen.
const SENTINEL_PASSWORD: &str = "dipylon-sentinel";
/// The name under which the sentinels know their server.
const SENTINEL_NAME: &str = "dipylon";
/// The bucket or container for people; suites make their own.
const BUCKET: &str = "dipylon";
/// Any region will do, but a client must name one.
const REGION: &str = "us-east-1";
/// Stores that take the bucket in the host's name, as MinIO stands for each of them.
const S3_DOMAINS: [&str; 3] = [
    "s3.eu-central-1.amazonaws.com",
    "ams3.digitaloceanspaces.com",
    "oss-eu-central-1.aliyuncs.com",
];
/// Base64 of 32 bytes: Azure's keys have that form.
const AZURE_KEY: &str = "ZGlweWxvbi1zdGFjay1rZXktZm9yLWxvb3BiYWNrLTE=";
/// Makes and runs a server of PostgreSQL.
const POSTGRES: &str = include_str!("../../sh/postgres.sh");
/// Traces that Jaeger keeps in memory.
const JAEGER_TRACES_MAX: u32 = 20_000;

pub(super) fn minio(place: &Place) -> Plan {
    let (host, data) = (place.host(0), place.path("data"));
    let args = ["server", "--quiet", "--address", &host, &data];
    let mut server = place.start("minio", place.ports[0], &args);
    server.env = vec![
        ("MINIO_ROOT_USER", USER.to_owned()),
        ("MINIO_ROOT_PASSWORD", PASSWORD.to_owned()),
        ("MINIO_BROWSER", "off".to_owned()),
        ("MINIO_DOMAIN", S3_DOMAINS.join(",")),
        ("MINIO_PROMETHEUS_AUTH_TYPE", "public".to_owned()),
    ];
    let mut env = vec![
        ("DIPYLON_TEST_MINIO", format!("http://{USER}:{PASSWORD}@{host}")),
        ("ATHENS_MINIO_ENDPOINT", format!("http://{host}")),
        ("ATHENS_MINIO_ACCESS_KEY_ID", USER.to_owned()),
        ("ATHENS_MINIO_SECRET_ACCESS_KEY", PASSWORD.to_owned()),
        ("ATHENS_MINIO_USE_SSL", "false".to_owned()),
        ("ATHENS_MINIO_BUCKET_NAME", BUCKET.to_owned()),
        ("ATHENS_MINIO_REGION", REGION.to_owned()),
    ];
    env.extend(s3_env(&host));
    Plan {
        // A folder of the data folder is a bucket.
        folders: vec![place.folder.join("data").join(BUCKET)],
        files: vec![place.target("minio", &host, "/minio/v2/metrics/cluster")],
        processes: vec![server],
        probes: vec![Probe::get(place.ports[0], "/minio/health/live")],
        env,
    }
}

pub(super) fn versitygw(place: &Place) -> Plan {
    let (host, data, sidecar) = (place.host(0), place.path("data"), place.path("sidecar"));
    // What follows `posix` is read by that back end, what stands before it by the server.
    let args =
        ["--port", &host, "--health", "/health", "--quiet", "posix", "--sidecar", &sidecar, &data];
    let mut server = place.start("versitygw", place.ports[0], &args);
    server.env =
        vec![("ROOT_ACCESS_KEY", USER.to_owned()), ("ROOT_SECRET_KEY", PASSWORD.to_owned())];
    let mut env = vec![("DIPYLON_TEST_VERSITYGW", format!("http://{USER}:{PASSWORD}@{host}"))];
    env.extend(s3_env(&host));
    Plan {
        folders: vec![place.folder.join("data").join(BUCKET), place.folder.join("sidecar")],
        processes: vec![server],
        probes: vec![Probe::get(place.ports[0], "/health")],
        env,
        ..Plan::default()
    }
}

fn s3_env(host: &str) -> [(&'static str, String); 6] {
    [
        ("AWS_ENDPOINT", format!("http://{host}")),
        ("AWS_ACCESS_KEY_ID", USER.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", PASSWORD.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_FORCE_PATH_STYLE", "true".to_owned()),
        ("ATHENS_S3_BUCKET_NAME", BUCKET.to_owned()),
    ]
}

pub(super) fn redis(place: &Place) -> Plan {
    let host = place.host(0);
    Plan {
        folders: vec![place.folder.join("redis")],
        processes: vec![redis_server(place, "redis", 0, &[])],
        probes: vec![Probe::redis(place.ports[0], PASSWORD, "PING", "+PONG")],
        env: vec![
            ("DIPYLON_TEST_REDIS", format!("redis://:{PASSWORD}@{host}")),
            ("ATHENS_REDIS_ENDPOINT", host),
            ("ATHENS_REDIS_PASSWORD", PASSWORD.to_owned()),
        ],
        ..Plan::default()
    }
}

fn redis_server(place: &Place, name: &str, index: usize, more: &[&str]) -> Start {
    let (port, folder) = (place.ports[index].to_string(), place.path(name));
    let mut args = vec!["--bind", "127.0.0.1", "--port", &port, "--dir", &folder];
    args.extend(["--requirepass", PASSWORD, "--save", "", "--appendonly", "no"]);
    args.extend(more);
    place.start(name, place.ports[index], &args)
}

/// A server, its replica, and three sentinels that watch them. Apart from `redis`, so that a failover
/// changes nothing for the suites that use that one.
pub(super) fn sentinel(place: &Place) -> Plan {
    let primary = place.ports[0].to_string();
    // With the default of five seconds the first write after the start has no second copy.
    let at_once = ["--repl-diskless-sync-delay", "0", "--masterauth", PASSWORD];
    let follow = [&at_once[..], &["--replicaof", "127.0.0.1", &primary]].concat();
    let mut plan = Plan {
        folders: vec![place.folder.join("sentinel-primary"), place.folder.join("sentinel-replica")],
        processes: vec![
            redis_server(place, "sentinel-primary", 0, &at_once),
            redis_server(place, "sentinel-replica", 1, &follow),
        ],
        probes: vec![
            Probe::redis(place.ports[0], PASSWORD, "PING", "+PONG"),
            Probe::redis(place.ports[1], PASSWORD, "INFO replication", "master_link_status:up"),
        ],
        ..Plan::default()
    };
    for number in 1..=3 {
        let port = place.ports[number + 1];
        let name = format!("sentinel-{number}");
        let folder = place.folder.join(&name);
        // Each rewrites its file, so each has its own.
        let file = folder.join("sentinel.conf");
        let text = sentinel_conf(port, &folder.display().to_string(), &primary);
        let path = file.display().to_string();
        plan.folders.push(folder);
        plan.files.push((file, text));
        plan.processes.push(place.start(&name, port, &[&path, "--sentinel"]));
        let asked = format!("SENTINEL CKQUORUM {SENTINEL_NAME}");
        plan.probes.push(Probe::redis(port, SENTINEL_PASSWORD, &asked, "+OK 3"));
    }
    let sentinels: Vec<String> = (2..5).map(|index| place.host(index)).collect();
    plan.env = vec![
        ("DIPYLON_TEST_SENTINEL", sentinels.join(",")),
        ("DIPYLON_TEST_SENTINEL_PASSWORD", SENTINEL_PASSWORD.to_owned()),
        ("DIPYLON_TEST_SENTINEL_NAME", SENTINEL_NAME.to_owned()),
        ("DIPYLON_TEST_SENTINEL_REDIS_PASSWORD", PASSWORD.to_owned()),
        ("ATHENS_REDIS_SENTINEL_ENDPOINTS", sentinels.join(",")),
        ("ATHENS_REDIS_SENTINEL_MASTER_NAME", SENTINEL_NAME.to_owned()),
        ("ATHENS_REDIS_SENTINEL_PASSWORD", SENTINEL_PASSWORD.to_owned()),
        ("ATHENS_REDIS_PASSWORD", PASSWORD.to_owned()),
    ];
    plan
}

fn sentinel_conf(port: u16, folder: &str, primary: &str) -> String {
    let name = SENTINEL_NAME;
    format!(
        "port {port}\nbind 127.0.0.1\ndir {folder}\n\
         requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n\
         sentinel monitor {name} 127.0.0.1 {primary} 2\nsentinel auth-pass {name} {PASSWORD}\n\
         sentinel down-after-milliseconds {name} 1500\nsentinel failover-timeout {name} 6000\n"
    )
}

/// One node.
pub(super) fn etcd(place: &Place) -> Plan {
    let mut plan = etcd_nodes(place, "etcd", 1);
    let client = format!("http://{}", place.host(0));
    plan.files = vec![place.target("etcd", &place.host(0), "/metrics")];
    plan.env = vec![("DIPYLON_TEST_ETCD", client.clone()), ("ATHENS_ETCD_ENDPOINTS", client)];
    plan
}

/// A cluster of three nodes, apart from `etcd`, for suites that stop a leader.
pub(super) fn etcd3(place: &Place) -> Plan {
    let mut plan = etcd_nodes(place, "etcd3", 3);
    let clients: Vec<String> = (0..3).map(|node| format!("http://{}", place.host(node))).collect();
    let clients = clients.join(",");
    plan.env = vec![("DIPYLON_TEST_ETCD3", clients.clone()), ("ATHENS_ETCD_ENDPOINTS", clients)];
    plan
}

/// The first `count` ports are for clients, the next for the nodes among themselves.
fn etcd_nodes(place: &Place, service: &str, count: usize) -> Plan {
    let name = |node: usize| format!("{service}-{}", node + 1);
    let peer = |node: usize| format!("http://{}", place.host(count + node));
    let members: Vec<String> =
        (0..count).map(|node| format!("{}={}", name(node), peer(node))).collect();
    let members = members.join(",");
    let mut plan = Plan::default();
    for node in 0..count {
        let (client, peer, data) =
            (format!("http://{}", place.host(node)), peer(node), place.path(&name(node)));
        let name = name(node);
        let mut args = vec!["--name", &name, "--data-dir", &data];
        args.extend(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        args.extend(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        args.extend(["--initial-cluster", &members, "--initial-cluster-state", "new"]);
        // What is written here is never worth a disk's flush.
        args.push("--unsafe-no-fsync");
        plan.processes.push(place.start(&name, place.ports[node], &args));
        plan.probes.push(Probe::get(place.ports[node], "/health"));
    }
    plan
}

pub(super) fn mongo(place: &Place) -> Plan {
    let host = place.host(0);
    // Both seen: without the folder, or without the slash at its end, it refuses to start.
    let url = format!("file:{}/", place.path("data"));
    let server = place.start("mongo", place.ports[0], &["-listen", &host, "-url", &url]);
    let url = format!("mongodb://{host}");
    Plan {
        folders: vec![place.folder.join("data")],
        processes: vec![server],
        probes: vec![Probe::Connect { port: place.ports[0] }],
        env: vec![("DIPYLON_TEST_MONGO", url.clone()), ("ATHENS_MONGO_STORAGE_URL", url)],
        ..Plan::default()
    }
}

/// The same over PostgreSQL. Both processes begin in a shell, which makes the cluster for the one, and waits
/// for it before it becomes the other.
pub(super) fn mongopg(place: &Place) -> Plan {
    let (host, postgres) = (place.host(0), place.ports[1]);
    let (folder, script) = (place.folder.join("postgres"), place.folder.join("postgres.sh"));
    let server = Start {
        name: "mongopg-postgres".to_owned(),
        port: postgres,
        program: "sh".into(),
        args: [
            script.display().to_string(),
            folder.display().to_string(),
            "127.0.0.1".to_owned(),
            postgres.to_string(),
        ]
        .into(),
        env: Vec::new(),
    };
    let address = format!("postgres://postgres@127.0.0.1:{postgres}/postgres");
    let asked = format!(
        "until pg_isready -q -U postgres -h 127.0.0.1 -p {postgres}; do sleep 0.1; done; exec \"$@\""
    );
    let args = ["-listen", &host, "-handler", "postgresql", "-url", &address];
    let mut front = place.start("mongopg", place.ports[0], &args);
    let program = std::mem::replace(&mut front.program, "sh".into()).display().to_string();
    let shell = ["-c", &asked, "sh", &program].map(str::to_owned);
    front.args = shell.into_iter().chain(front.args).collect();
    let url = format!("mongodb://{host}");
    Plan {
        folders: vec![folder],
        files: vec![(script, POSTGRES.to_owned())],
        processes: vec![server, front],
        probes: vec![Probe::Connect { port: place.ports[0] }],
        env: vec![("DIPYLON_TEST_MONGOPG", url)],
    }
}

pub(super) fn gcs(place: &Place) -> Plan {
    let (host, port) = (place.host(0), place.ports[0].to_string());
    let mut args = vec!["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"];
    // Links for the rest of an upload name the address that clients dial.
    args.extend(["-port", &port, "-public-host", &host, "-log-level", "warn"]);
    let bucket = format!("{{\"name\":\"{BUCKET}\"}}");
    Plan {
        processes: vec![place.start("gcs", place.ports[0], &args)],
        probes: vec![
            Probe::get(place.ports[0], "/_internal/healthcheck"),
            Probe::post(place.ports[0], "/storage/v1/b?project=dipylon", &bucket),
        ],
        env: vec![
            ("DIPYLON_TEST_GCS", format!("http://{host}")),
            ("STORAGE_EMULATOR_HOST", format!("http://{host}")),
            ("ATHENS_STORAGE_GCP_BUCKET", BUCKET.to_owned()),
        ],
        ..Plan::default()
    }
}

pub(super) fn azurite(place: &Place) -> Plan {
    let (host, port) = (place.host(0), place.ports[0].to_string());
    let mut args = vec!["--blobHost", "127.0.0.1", "--blobPort", &port, "--inMemoryPersistence"];
    // Clients may speak a newer version of the protocol than it has heard of.
    args.extend(["--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
    let mut server = place.start("azurite", place.ports[0], &args);
    server.env = vec![("AZURITE_ACCOUNTS", format!("{USER}:{AZURE_KEY}"))];
    Plan {
        processes: vec![server],
        probes: vec![Probe::Connect { port: place.ports[0] }],
        env: vec![
            ("DIPYLON_TEST_AZURITE", format!("http://{host}/{USER}")),
            ("DIPYLON_TEST_AZURITE_KEY", AZURE_KEY.to_owned()),
            ("DIPYLON_AZURE_ENDPOINT", format!("http://{host}/{USER}")),
            ("DIPYLON_AZURE_CREATE_CONTAINER", "true".to_owned()),
            ("ATHENS_AZURE_ACCOUNT_NAME", USER.to_owned()),
            ("ATHENS_AZURE_ACCOUNT_KEY", AZURE_KEY.to_owned()),
            ("ATHENS_AZURE_CONTAINER_NAME", BUCKET.to_owned()),
        ],
        ..Plan::default()
    }
}

/// Jaeger's flags that take an address, in the order of the ports. Agents' ports are UDP.
const JAEGER_ADDRESSES: [&str; 12] = [
    "--query.http-server.host-port",
    "--collector.otlp.grpc.host-port",
    "--collector.otlp.http.host-port",
    "--admin.http.host-port",
    "--collector.grpc-server.host-port",
    "--collector.http-server.host-port",
    "--query.grpc-server.host-port",
    "--processor.jaeger-binary.server-host-port",
    "--processor.jaeger-compact.server-host-port",
    "--processor.zipkin-compact.server-host-port",
    "--http-server.host-port",
    "--collector.zipkin.host-port",
];

pub(super) fn jaeger(place: &Place) -> Plan {
    let mut args: Vec<String> = JAEGER_ADDRESSES
        .iter()
        .enumerate()
        .map(|(index, flag)| format!("{flag}={}", place.host(index)))
        .collect();
    args.push(format!("--memory.max-traces={JAEGER_TRACES_MAX}"));
    args.extend(["--collector.otlp.enabled=true".to_owned(), "--log-level=warn".to_owned()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut server = place.start("jaeger", place.ports[0], &args);
    server.env = vec![("SPAN_STORAGE_TYPE", "memory".to_owned())];
    Plan {
        processes: vec![server],
        probes: vec![Probe::get(place.ports[3], "/")],
        env: vec![
            ("DIPYLON_TEST_JAEGER", format!("http://{}", place.host(0))),
            ("DIPYLON_TEST_JAEGER_OTLP", format!("http://{}", place.host(1))),
            ("ATHENS_TRACE_EXPORTER", "otlp".to_owned()),
            ("ATHENS_TRACE_EXPORTER_URL", format!("http://{}", place.host(1))),
        ],
        ..Plan::default()
    }
}

/// Shows what Prometheus tells it, and tells nobody. The file that says how to scrape it also says to whom alerts go.
pub(super) fn alertmanager(place: &Place) -> Plan {
    let (host, data) = (place.host(0), place.path("data"));
    let file = place.folder.join("alertmanager.yml");
    let text = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n".to_owned();
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.path={data}"),
        format!("--web.listen-address={host}"),
        // Alone, and not on its default port for others.
        "--cluster.listen-address=".to_owned(),
        "--log.level=warn".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Plan {
        files: vec![(file, text), place.target("alertmanager", &host, "/metrics")],
        processes: vec![place.start("alertmanager", place.ports[0], &args)],
        probes: vec![Probe::get(place.ports[0], "/-/ready")],
        env: vec![("DIPYLON_TEST_ALERTMANAGER", format!("http://{host}"))],
        ..Plan::default()
    }
}

/// Scrapes itself, and whatever a JSON file in the folder of targets names: gateways may be added. Its alerts go to
/// the Alertmanager of the stack, if there is one.
pub(super) fn prometheus(place: &Place) -> Plan {
    let (host, data) = (place.host(0), place.path("data"));
    let file = place.folder.join("prometheus.yml");
    let targets = place.targets.display();
    let text = format!(
        "global: {{scrape_interval: 2s}}\n\
         alerting:\n  alertmanagers:\n  \
         - file_sd_configs: [{{files: [\"{targets}/alertmanager.json\"], refresh_interval: 2s}}]\n\
         scrape_configs:\n\
         - job_name: prometheus\n  static_configs: [{{targets: [\"{host}\"]}}]\n\
         - job_name: stack\n  file_sd_configs: [{{files: [\"{targets}/*.json\"], refresh_interval: 2s}}]\n"
    );
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={data}"),
        "--storage.tsdb.retention.size=512MB".to_owned(),
        format!("--web.listen-address={host}"),
        "--web.enable-lifecycle".to_owned(),
        "--log.level=warn".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Plan {
        files: vec![(file, text)],
        processes: vec![place.start("prometheus", place.ports[0], &args)],
        probes: vec![Probe::get(place.ports[0], "/-/ready")],
        env: vec![
            ("DIPYLON_TEST_PROMETHEUS", format!("http://{host}")),
            ("DIPYLON_TEST_PROMETHEUS_TARGETS", targets.to_string()),
        ],
        ..Plan::default()
    }
}

pub(super) fn toxiproxy(place: &Place) -> Plan {
    let port = place.ports[0].to_string();
    let args = ["-host", "127.0.0.1", "-port", &port];
    Plan {
        processes: vec![place.start("toxiproxy", place.ports[0], &args)],
        probes: vec![Probe::get(place.ports[0], "/version")],
        env: vec![("DIPYLON_TEST_TOXIPROXY", format!("http://{}", place.host(0)))],
        ..Plan::default()
    }
}
