//! The real program as a child process.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{Client, Response};
use crate::metrics::Metrics;
use crate::process::Process;

/// The longest that a start may take.
const START_LIMIT: Duration = Duration::from_secs(20);
/// One look at whether it is up.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// The pause between looks.
const PROBE_PAUSE: Duration = Duration::from_millis(10);
/// Starts on a new port after another process took the one that was free a moment before.
const MAX_PORT_TRIES: usize = 5;
/// How long a log must be silent to be looked at, and how long that is waited for where it never is.
const LOG_QUIET: Duration = Duration::from_millis(40);
const LOG_SETTLES_MAX: Duration = Duration::from_secs(1);

/// The longest that [`Gateway::terminate`] waits unless told otherwise.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Ports for gateways: below those of Linux for who asks for any (32768 and up).
const PORTS: Range<u16> = 18_000..32_000;
/// Test programs that run at the same time begin so far apart, times the difference of their ids.
const PORTS_BETWEEN_PROCESSES: u32 = 997;

/// How to start the program.
#[derive(Clone, Debug)]
pub struct Builder {
    program: PathBuf,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    config: Option<String>,
    ready_path: Option<String>,
    start_limit: Duration,
}

/// A running gateway, killed by pid when it is dropped.
///
/// It inherits nothing but PATH, has a temporary folder as HOME and working directory, and listens
/// on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Gateway {
    folder: TempDir,
    process: Process,
    address: SocketAddr,
}

impl Builder {
    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it a configuration file with this TOML text.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// The path whose answer, of any status, means that it is up; `/healthz` by default.
    #[must_use]
    pub fn ready_path(mut self, path: &str) -> Self {
        self.ready_path = Some(path.to_owned());
        self
    }

    /// It is up as soon as the port accepts connections: for TLS.
    #[must_use]
    pub fn ready_by_connect(mut self) -> Self {
        self.ready_path = None;
        self
    }

    /// Changes the bound on the start, 20 s.
    #[must_use]
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.start_limit = limit;
        self
    }

    /// Starts it and waits until it is up.
    ///
    /// # Panics
    /// When it ends or is not up within the limit, with what it said.
    pub async fn start(self) -> Gateway {
        match self.try_start().await {
            Ok(gateway) => gateway,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`Builder::start`], for starts that are expected to fail.
    ///
    /// # Errors
    /// How it ended and what it wrote to standard error, or that it was not up in time.
    pub async fn try_start(self) -> Result<Gateway, String> {
        for _ in 1..MAX_PORT_TRIES {
            match self.start_once().await {
                Err(why) if why.to_lowercase().contains("in use") => {}
                ended => return ended,
            }
        }
        self.start_once().await
    }

    async fn start_once(&self) -> Result<Gateway, String> {
        let folder = TempDir::with_prefix("testkit-gateway-").expect("a temporary folder");
        let address = free_address();
        let mut command = self.command(folder.path(), address);
        let process = Process::spawn(&mut command)
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        let mut gateway = Gateway { folder, process, address };
        gateway.wait_until_up(self).await?;
        Ok(gateway)
    }

    fn command(&self, folder: &Path, address: SocketAddr) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(toml) = &self.config {
            let path = folder.join("config.toml");
            write_private(&path, toml);
            command.arg("-config_file").arg(path);
        }
        command.args(&self.args).current_dir(folder).env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.env("HOME", folder).env("TMPDIR", folder).env("ATHENS_PORT", address.to_string());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(std::process::Stdio::null());
        command.stdout(File::create(folder.join("stdout")).expect("a file for standard output"));
        command.stderr(File::create(folder.join("stderr")).expect("a file for standard error"));
        command
    }
}

impl Gateway {
    /// Begins a start of the program at `program`, e.g. `env!("CARGO_BIN_EXE_dipylon")`.
    pub fn builder(program: impl Into<PathBuf>) -> Builder {
        Builder {
            program: program.into(),
            args: Vec::new(),
            environment: Vec::new(),
            config: None,
            ready_path: Some("/healthz".to_owned()),
            start_limit: START_LIMIT,
        }
    }

    /// `http://127.0.0.1:PORT`, without a final slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its HOME and working directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// GET, to the end.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Response {
        self.client().get(path).await
    }

    /// Scrapes `/metrics`.
    ///
    /// # Panics
    /// When the scrape is not 200 or cannot be read.
    pub async fn metrics(&self) -> Metrics {
        let scrape = self.get("/metrics").await;
        assert_eq!(scrape.status, 200, "/metrics says {}", scrape.text());
        Metrics::parse(scrape.text())
    }

    /// Resident memory in KiB, as the kernel counts it.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn rss_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most that it ever had resident, in KiB, as the kernel counts it.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// Files and sockets that it has open, as the kernel counts them.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.pid()));
        open.unwrap_or_else(|error| panic!("it has ended ({error}): {}", self.stderr())).count()
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let kib = memory_kib(self.process.pid(), name);
        kib.unwrap_or_else(|| panic!("it has ended: {}", self.stderr()))
    }

    /// Standard output so far. A thread of the program's writes its log: what was said a moment ago is waited for,
    /// until nothing has come for [`LOG_QUIET`].
    pub fn stdout(&self) -> String {
        let began = Instant::now();
        let mut seen = self.printed("stdout");
        while began.elapsed() < LOG_SETTLES_MAX {
            std::thread::sleep(LOG_QUIET);
            let now = self.printed("stdout");
            if now.len() == seen.len() {
                break;
            }
            seen = now;
        }
        seen
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.printed("stderr")
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end within 30 s, with what it said.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(STOP_LIMIT).await.unwrap_or_else(|| {
            panic!("no end within {STOP_LIMIT:?} of SIGTERM; it said:\n{}", self.stderr())
        })
    }

    /// Kills it without a warning, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends any signal, e.g. `Signal::STOP` and `Signal::CONT` for a replica that freezes.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end; `None` when `limit` passes first.
    pub async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.ended() {
                return Some(status);
            }
            if began.elapsed() >= limit {
                return None;
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    fn printed(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn wait_until_up(&mut self, how: &Builder) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.ended() {
                return Err(format!("it ended at its start ({status}):\n{}", self.stderr()));
            }
            if self.is_up(how.ready_path.as_deref()).await {
                return Ok(());
            }
            if began.elapsed() >= how.start_limit {
                let said = self.stderr();
                return Err(format!("not up within {:?}; it said:\n{said}", how.start_limit));
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    async fn is_up(&self, ready_path: Option<&str>) -> bool {
        let probe = async {
            match ready_path {
                Some(path) => {
                    let ask = self.client().limit(START_LIMIT);
                    ask.try_request(Method::GET, path, &[], Bytes::new()).await.is_ok()
                }
                None => tokio::net::TcpStream::connect(self.address).await.is_ok(),
            }
        };
        tokio::time::timeout(PROBE_LIMIT, probe).await.unwrap_or(false)
    }
}

/// A port that was free a moment ago, each time another one. It is none that the kernel gives to who asks for any, so
/// no fake of another test can take it meanwhile and answer in the gateway's place.
fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(PORTS_BETWEEN_PROCESSES);
    for _ in 0..count {
        let number = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + u16::try_from(number).expect("fewer than 65,536 ports");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {PORTS:?} is free on loopback");
}

/// Athens refuses a configuration that others may write or run; so may the program.
fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("the configuration file");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("the configuration file's mode");
}

fn memory_kib(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
