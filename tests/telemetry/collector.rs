//! A real OpenTelemetry collector that writes what it receives to a file.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// What `cargo xtask stack otelcol` builds.
const PROGRAM: &str = "otelcol-0.160.0";
const START_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// A running collector, killed by pid when dropped.
pub(crate) struct Collector {
    child: Child,
    folder: TempDir,
    grpc: u16,
    http: u16,
    /// The certificate that signs its own, where it speaks TLS.
    certificate: Option<PathBuf>,
}

/// One span as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a span without a parent.
    pub(crate) parent: String,
    pub(crate) json: Value,
}

impl Span {
    /// An attribute as text; empty where there is none.
    pub(crate) fn attribute(&self, name: &str) -> String {
        attribute(&self.json, name)
    }

    /// Nanoseconds from its beginning to its end.
    pub(crate) fn lasted(&self) -> u64 {
        let at = |name: &str| self.json[name].as_str().and_then(|text| text.parse::<u64>().ok());
        at("endTimeUnixNano").expect("a time") - at("startTimeUnixNano").expect("a time")
    }
}

impl Collector {
    /// Starts it on two free ports of loopback.
    ///
    /// # Panics
    /// When it is not built, or not up in time.
    pub(crate) async fn start() -> Self {
        Self::start_as(false).await
    }

    /// The same with TLS, under a certificate that nobody knows.
    pub(crate) async fn start_with_tls() -> Self {
        Self::start_as(true).await
    }

    async fn start_as(tls: bool) -> Self {
        let program = program();
        assert!(program.is_file(), "{} is missing: cargo xtask stack otelcol", program.display());
        let folder = TempDir::with_prefix("dipylon-otelcol-").expect("a temporary folder");
        let [grpc, http] = free_ports();
        let config = folder.path().join("config.yaml");
        let certificate = tls.then(|| certificate(folder.path()));
        std::fs::write(&config, configuration(folder.path(), grpc, http, tls))
            .expect("its configuration");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file for its log");
        let child = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the collector can be started");
        let mut collector = Self { child, folder, grpc, http, certificate };
        collector.until_up().await;
        collector
    }

    async fn until_up(&mut self) {
        let began = Instant::now();
        for port in [self.grpc, self.http] {
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                let log =
                    std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                let ended = self.child.try_wait().expect("a child of ours can be waited for");
                assert!(ended.is_none(), "the collector ended at its start:\n{log}");
                assert!(began.elapsed() < START_LIMIT, "the collector is not up:\n{log}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// The variables that send a gateway's traces here, over `grpc` or `http`.
    pub(crate) fn variables(&self, protocol: &str) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("ATHENS_TRACE_EXPORTER", "otlp".to_owned()),
            ("ATHENS_TRACE_EXPORTER_URL", self.url(protocol)),
            ("DIPYLON_OTLP_PROTOCOL", protocol.to_owned()),
        ];
        if let Some(certificate) = &self.certificate {
            let path = certificate.display().to_string();
            variables.push(("OTEL_EXPORTER_OTLP_CERTIFICATE", path));
        }
        variables
    }

    /// Where it takes traces over `grpc` or `http`.
    pub(crate) fn url(&self, protocol: &str) -> String {
        let port = if protocol == "http" { self.http } else { self.grpc };
        match self.certificate {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        }
    }

    /// Ends it at once. What it has written stays.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child of ours can be waited for");
    }

    /// What the senders say of themselves, one for each batch.
    pub(crate) fn resources(&self) -> Vec<Value> {
        let text = self.text();
        let batches = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let each = batches.flat_map(|batch| batch["resourceSpans"].as_array().cloned());
        each.flatten().map(|spans| spans["resource"].clone()).collect()
    }

    /// Everything received so far, as it was written.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("spans.jsonl")).unwrap_or_default()
    }

    /// The spans received so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        let text = self.text();
        // The last line may be half-written.
        for batch in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let resources = batch["resourceSpans"].as_array().cloned().unwrap_or_default();
            let scopes = resources.iter().flat_map(|resource| {
                resource["scopeSpans"].as_array().cloned().unwrap_or_default()
            });
            spans.extend(
                scopes.flat_map(|scope| scope["spans"].as_array().cloned().unwrap_or_default()),
            );
        }
        spans.into_iter().map(span).collect()
    }

    /// Waits until the file has not grown for a while, `at_least` spans are there, and hands them over.
    pub(crate) async fn received(&self, at_least: usize) -> Vec<Span> {
        let began = Instant::now();
        let mut before = usize::MAX;
        loop {
            // The collector flushes five times a second.
            tokio::time::sleep(Duration::from_millis(600)).await;
            let spans = self.spans();
            if spans.len() >= at_least && spans.len() == before {
                return spans;
            }
            before = spans.len();
            assert!(began.elapsed() < START_LIMIT, "{before} spans, not {at_least}: {spans:#?}");
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An attribute of a span or a resource as text; empty where there is none.
pub(crate) fn attribute(of: &Value, name: &str) -> String {
    let all = of["attributes"].as_array().into_iter().flatten();
    let found = all.filter(|attribute| attribute["key"] == name).map(|found| &found["value"]);
    let text = |value: &Value| {
        let value = value.as_object().and_then(|value| value.values().next().cloned());
        value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    found.filter_map(text).next().unwrap_or_default()
}

/// Makes a certificate and its key for `localhost`, beside which the configuration finds them.
fn certificate(folder: &Path) -> PathBuf {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let path = folder.join("cert.pem");
    std::fs::write(&path, made.cert.pem()).expect("a file for the certificate");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())
        .expect("a file for its key");
    path
}

fn span(json: Value) -> Span {
    let field = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    let (name, trace) = (field("name"), field("traceId"));
    Span { name, trace, id: field("spanId"), parent: field("parentSpanId"), json }
}

/// Where `cargo xtask stack` keeps what it builds.
fn program() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.expect("XDG_CACHE_HOME or HOME is set").join("dipylon-stack").join(PROGRAM)
}

fn configuration(folder: &Path, grpc: u16, http: u16, tls: bool) -> String {
    let file = folder.join("spans.jsonl");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let tls = match tls {
        true => {
            format!(", tls: {{cert_file: \"{}\", key_file: \"{}\"}}", cert.display(), key.display())
        }
        false => String::new(),
    };
    format!(
        "receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: \"127.0.0.1:{grpc}\"{tls}}}\n      \
         http: {{endpoint: \"127.0.0.1:{http}\"{tls}}}\n\
         processors:\n  batch: {{timeout: 100ms}}\n\
         exporters:\n  file: {{path: \"{}\", flush_interval: 200ms}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
         traces: {{receivers: [otlp], processors: [batch], exporters: [file]}}\n",
        file.display()
    )
}

/// Two ports that were free a moment ago.
fn free_ports() -> [u16; 2] {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let listeners = [bind(), bind()];
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
