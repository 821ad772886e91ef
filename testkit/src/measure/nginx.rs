//! nginx with files of our choice: what the budgets compare with.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that a start may take.
const START_MAX: Duration = Duration::from_secs(10);
/// Connections at a time, and some.
const CONNECTIONS_MAX: usize = 16_384;

/// A running nginx, ended when it is dropped.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Nginx {
    /// Whether this machine has it.
    pub fn is_there() -> bool {
        let version = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    }

    /// Serves the files below `folder/root`, with a log of requests, as the gateway has one. `None` where
    /// there is no nginx.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path) -> Option<Self> {
        Self::serving(folder, &folder.join("root"), "", "")
    }

    /// Serves the files below `root`, and has its own in `folder`; with more settings for all of HTTP, and for the
    /// one server.
    ///
    /// # Panics
    /// When it does not start.
    pub fn serving(folder: &Path, root: &Path, http: &str, server: &str) -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a bound socket");
        drop(free);
        let (at, root) = (folder.display(), root.display());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {at}/{name};\n"))
            .collect();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{ worker_connections {CONNECTIONS_MAX}; }}\n\
             http {{\n{temporary}access_log {at}/access.log;\nsendfile on;\ntcp_nopush on;\n\
             keepalive_requests 1000000000;\n{http}\n\
             server {{ listen {address}; root {root};\n{server}\n}}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).expect("a configuration");
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.join("error.log"))
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let nginx = Self { child, address };
        nginx.wait();
        Some(nginx)
    }

    fn wait(&self) {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(began.elapsed() < START_MAX, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself, which the requests have noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
