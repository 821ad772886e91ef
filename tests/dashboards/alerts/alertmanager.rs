//! A real Alertmanager, and who is told by it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dipylon_testkit::client::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Says where the program is, where it is not on `PATH`.
const PROGRAM: &str = "DIPYLON_PROGRAM_ALERTMANAGER";
const START_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// The largest message to who is told.
const MESSAGE_MAX: usize = 1 << 20;

/// One alert of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) job: String,
    pub(super) alert: String,
    pub(super) is_resolved: bool,
}

/// A running Alertmanager, killed by pid when dropped.
pub(super) struct Alertmanager {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Alertmanager {
    /// Starts it, and who is told by it.
    ///
    /// # Panics
    /// When it cannot be run, or is not up in time.
    pub(super) async fn start() -> Self {
        let folder = TempDir::with_prefix("dipylon-alertmanager-").expect("a temporary folder");
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let receiver = listener.local_addr().expect("it is bound");
        tokio::spawn(listen(listener, Arc::clone(&told)));
        let free = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, configuration(receiver)).expect("its configuration");
        let log = File::create(folder.path().join("log")).expect("a file for its log");
        let program =
            std::env::var(PROGRAM).unwrap_or_else(|_| "prometheus-alertmanager".to_owned());
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("alertmanager is installed (Debian: prometheus-alertmanager)");
        let mut alertmanager = Self { child, folder, address, told };
        alertmanager.until_ready().await;
        alertmanager
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
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
            assert!(ended.is_none(), "alertmanager ended at its start:\n{log}");
            assert!(began.elapsed() < START_LIMIT, "alertmanager is not up:\n{log}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The alerts of a job that its API has as firing now.
    pub(super) async fn firing(&self, job: &str) -> Vec<String> {
        let path = format!("/api/v2/alerts?active=true&filter=job%3D%22{job}%22");
        let answer = Client::new(&format!("http://{}", self.address)).get(&path).await;
        let alerts: Value = serde_json::from_str(answer.text()).expect("the API speaks JSON");
        let alerts = alerts.as_array().expect("a list of alerts");
        let name = |alert: &Value| Some(alert["labels"]["alertname"].as_str()?.to_owned());
        let mut names: Vec<String> = alerts.iter().filter_map(name).collect();
        names.sort();
        names.dedup();
        names
    }

    /// What it has told of a job, in the order of the telling.
    pub(super) fn told(&self, job: &str) -> Vec<Told> {
        let told = self.told.lock().expect("nobody panics with it");
        told.iter().filter(|told| told.job == job).cloned().collect()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells at once of each alert of each job, and of its end.
fn configuration(receiver: SocketAddr) -> String {
    format!(
        "route: {{receiver: seen, group_by: [alertname, job], group_wait: 100ms, group_interval: 500ms, \
         repeat_interval: 4h}}\n\
         receivers: [{{name: seen, webhook_configs: [{{url: \"http://{receiver}/\", send_resolved: true}}]}}]\n"
    )
}

async fn listen(listener: tokio::net::TcpListener, told: Arc<Mutex<Vec<Told>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let told = Arc::clone(&told);
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Ok(Some(message)) = message(&mut stream).await {
                told.lock().expect("nobody panics with it").extend(alerts(&message));
                let answered =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                if answered.is_err() {
                    return;
                }
            }
        });
    }
}

/// The body of the next request of a connection; `None` at its end.
async fn message(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Value>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        let header = line.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    if length > MESSAGE_MAX {
        return Err(std::io::Error::other("a message that is too large"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    serde_json::from_slice(&body).map(Some).map_err(std::io::Error::other)
}

/// The alerts of a message of Alertmanager's webhook.
fn alerts(message: &Value) -> Vec<Told> {
    let alerts = message["alerts"].as_array().map_or(&[][..], Vec::as_slice);
    let told = |alert: &Value| {
        let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
        Told {
            job: label("job"),
            alert: label("alertname"),
            is_resolved: alert["status"] == "resolved",
        }
    };
    alerts.iter().map(told).collect()
}
