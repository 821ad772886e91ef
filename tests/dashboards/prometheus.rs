//! A real Prometheus with the real rules, and promtool.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use dipylon_testkit::client::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::folder;

const START_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// The scrape interval of the check, in milliseconds: thirty times as fast as that of a deployment.
const SCRAPE_MILLIS: u64 = 500;
/// The jobs of gateways, and of what is scraped beside them, as in the compose file.
pub(crate) const JOB: &str = "dipylon";
const FOREIGN_JOB: &str = "prometheus";

/// A running Prometheus, killed by pid when dropped.
pub(crate) struct Prometheus {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it on a free port of loopback; it scrapes `targets` as the job `dipylon`, and itself as
    /// another job, which no panel may take for a gateway.
    ///
    /// # Panics
    /// When it cannot be run, or is not up in time.
    pub(crate) async fn start(targets: &[SocketAddr]) -> Self {
        Self::start_with(|address| configuration(targets, address)).await
    }

    /// Starts it with another configuration, which may have its own address.
    ///
    /// # Panics
    /// As [`Prometheus::start`].
    pub(crate) async fn start_with(configuration: impl Fn(SocketAddr) -> String) -> Self {
        let folder = TempDir::with_prefix("dipylon-prometheus-").expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, configuration(address)).expect("its configuration");
        let log = File::create(folder.path().join("log")).expect("a file for its log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed (Debian: prometheus)");
        let mut prometheus = Self { child, folder, address };
        prometheus.until_ready().await;
        prometheus
    }

    async fn until_ready(&mut self) {
        let began = Instant::now();
        let client = Client::new(&format!("http://{}", self.address));
        loop {
            let ready = client.try_request(http::Method::GET, "/-/ready", &[], "").await;
            if ready.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let ended = self.child.try_wait().expect("a child of ours can be waited for");
            assert!(ended.is_none(), "prometheus ended at its start:\n{log}");
            assert!(began.elapsed() < START_LIMIT, "prometheus is not up:\n{log}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks its API; answers `data`.
    ///
    /// # Panics
    /// When it says anything but success.
    async fn ask(&self, path: &str) -> Value {
        let answer = Client::new(&format!("http://{}", self.address)).get(path).await;
        let mut json: Value = serde_json::from_str(answer.text()).expect("the API speaks JSON");
        assert_eq!(json["status"], "success", "{path}: {}", answer.text());
        json["data"].take()
    }

    /// What `expr` is now, one value for each of its series that has a number.
    pub(crate) async fn values(&self, expr: &str) -> Vec<f64> {
        let data = self.ask(&format!("/api/v1/query?query={}", escaped(expr))).await;
        let result = data["result"].as_array().expect("a query of ours is a vector");
        let value = |one: &Value| one["value"][1].as_str()?.parse::<f64>().ok();
        result.iter().filter_map(value).filter(|value| !value.is_nan()).collect()
    }

    /// The traces that the exemplars of a selector name, of the last ten minutes.
    pub(crate) async fn exemplars(&self, selector: &str) -> Vec<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let (end, selector) = (now.as_secs() + 1, escaped(selector));
        let begin = end - 600;
        let path = format!("/api/v1/query_exemplars?query={selector}&start={begin}&end={end}");
        let data = self.ask(&path).await;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let exemplars = list(&data).into_iter().flat_map(|series| list(&series["exemplars"]));
        let trace = |one: Value| one["labels"]["trace_id"].as_str().map(str::to_owned);
        exemplars.filter_map(trace).collect()
    }

    /// How many series `expr` has now whose value is a number.
    pub(crate) async fn series(&self, expr: &str) -> usize {
        self.values(expr).await.len()
    }

    /// The values of `label` among the series that `selector` finds, sorted.
    pub(crate) async fn label_values(&self, selector: &str, label: &str) -> Vec<String> {
        let path = format!("/api/v1/label/{label}/values?match%5B%5D={}", escaped(selector));
        let data = self.ask(&path).await;
        let values = data.as_array().expect("the values of a label are a list");
        values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Waits until it has scraped so many gateways, and itself.
    ///
    /// # Panics
    /// When it does not in time.
    pub(crate) async fn until_scraped(&self, gateways: usize) {
        let began = Instant::now();
        let job = |job: &str| format!("up{{job=\"{job}\"}} == 1");
        while self.series(&job(JOB)).await < gateways || self.series(&job(FOREIGN_JOB)).await == 0 {
            assert!(began.elapsed() < START_LIMIT, "not everything is scraped: {:?}", self.folder);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until `expr` has so many series.
    ///
    /// # Panics
    /// When it has not in time.
    pub(crate) async fn until(&self, expr: &str, series: usize) {
        let began = Instant::now();
        while self.series(expr).await < series {
            assert!(began.elapsed() < START_LIMIT, "not {series} series yet: {expr}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until it has an exemplar of the selector's series; the newest.
    ///
    /// # Panics
    /// When it has none in time.
    pub(crate) async fn until_exemplar(&self, selector: &str) -> Value {
        let began = Instant::now();
        let path =
            format!("/api/v1/query_exemplars?start=0&end=4102444800&query={}", escaped(selector));
        loop {
            let data = self.ask(&path).await;
            let series = data.as_array().cloned().unwrap_or_default();
            let exemplars = series.iter().filter_map(|series| series["exemplars"].as_array());
            if let Some(newest) = exemplars.flatten().next_back() {
                return newest.clone();
            }
            assert!(began.elapsed() < START_LIMIT, "no exemplar yet: {selector}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Every rule it has loaded.
    pub(crate) async fn rules(&self) -> Vec<Value> {
        let data = self.ask("/api/v1/rules").await;
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules = |group: Value| group["rules"].as_array().cloned().unwrap_or_default();
        groups.into_iter().flat_map(rules).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(targets: &[SocketAddr], itself: SocketAddr) -> String {
    let rules = folder().join("rules").display().to_string();
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    format!(
        "global: {{scrape_interval: {SCRAPE_MILLIS}ms, scrape_timeout: {SCRAPE_MILLIS}ms, \
         evaluation_interval: 1s}}\n\
         rule_files: [\"{rules}/recording.yml\", \"{rules}/alerts.yml\"]\n\
         scrape_configs:\n\
         - {{job_name: {JOB}, static_configs: [{{targets: [{}]}}]}}\n\
         - {{job_name: {FOREIGN_JOB}, static_configs: [{{targets: [\"{itself}\"]}}]}}\n",
        targets.join(", ")
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Runs promtool among the rules.
///
/// # Errors
/// What it said, when it is not content.
pub(crate) fn promtool(args: &[&str]) -> Result<(), String> {
    promtool_of(args, "")
}

/// Runs promtool among the rules, with a text to read.
///
/// # Errors
/// As [`promtool`].
pub(crate) fn promtool_of(args: &[&str], text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("promtool (Debian: prometheus): {error}");
    let mut command = Command::new("promtool");
    command.args(args).current_dir(folder()).stdin(Stdio::piped());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let mut input = child.stdin.take().ok_or("promtool takes no text")?;
    // It reads all before it says anything.
    let written = input.write_all(text.as_bytes());
    drop(input);
    let output = child.wait_with_output().map_err(failed)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if !output.status.success() {
        return Err(said);
    }
    written.map_err(failed)
}
