//! Redis behind sentinels: a server, its replica where one is wanted, and who watches them.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::redis::{PASSWORD, RedisServer};
use super::{free_address, program, spawn, wait_until_up};
use crate::process::Process;

/// The name of the server, and the password of the sentinels: Athens's defaults.
pub const MASTER: &str = "redis-1";
/// The password of every sentinel.
pub const SENTINEL_PASSWORD: &str = "sekret";

/// Says where the program is, where it is not on `PATH`.
const PROGRAM: &str = "DIPYLON_PROGRAM_REDIS";
/// How long a probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// The longest that sentinels may take to find each other and the replica.
const AGREE_LIMIT: Duration = Duration::from_secs(30);
/// The most of an answer that is read, in bytes.
const ANSWER_BYTES: usize = 4_096;

/// A server that can fail over.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    /// The server that leads first, then its replica.
    servers: Vec<RedisServer>,
}

#[derive(Debug)]
struct Sentinel {
    _folder: TempDir,
    address: SocketAddr,
    _process: Process,
}

impl Sentinels {
    /// So many sentinels before a server, which has a replica where there is more than one of them.
    ///
    /// # Panics
    /// When there is no `redis-server`, or they do not agree in time.
    pub fn start(sentinels: usize) -> Self {
        let mut servers = vec![RedisServer::start()];
        if sentinels > 1 {
            servers.push(RedisServer::replica_of(&servers[0]));
        }
        let quorum = sentinels / 2 + 1;
        let leader = servers[0].address();
        let sentinels = (0..sentinels).map(|_| Sentinel::start(leader, quorum)).collect();
        let started = Self { sentinels, servers };
        started.wait_until_agreed();
        started
    }

    fn wait_until_agreed(&self) {
        let began = Instant::now();
        let wants_replica = self.servers.len() > 1;
        let agrees = |sentinel: &Sentinel| {
            let quorum = sentinel.ask(&["SENTINEL", "CKQUORUM", MASTER])?;
            let replicas = sentinel.ask(&["SENTINEL", "REPLICAS", MASTER])?;
            let has_replica = replicas.starts_with('*') && !replicas.starts_with("*0");
            Ok::<_, io::Error>(quorum.starts_with("+OK") && (has_replica || !wants_replica))
        };
        while !self.sentinels.iter().all(|sentinel| agrees(sentinel).unwrap_or(false)) {
            assert!(began.elapsed() < AGREE_LIMIT, "the sentinels do not agree in time");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the server that led first. The sentinels make its replica the leader in a few seconds.
    pub fn kill_leader(&mut self) {
        self.servers[0].stop();
    }

    /// Where the sentinels listen.
    pub fn endpoints(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| sentinel.address.to_string()).collect()
    }

    /// Where the server that led first listens.
    pub fn leader(&self) -> SocketAddr {
        self.servers[0].address()
    }

    /// A sentinel that knows the server by another address, which leads to it, and tells that: where it listens
    /// itself. It is alone, as long as there is no replica.
    ///
    /// # Panics
    /// When it does not start.
    pub fn told_of(&mut self, leader: SocketAddr) -> SocketAddr {
        let sentinel = Sentinel::start(leader, 1);
        let address = sentinel.address;
        self.sentinels.push(sentinel);
        address
    }

    /// The URL of the server that led first.
    pub fn first_url(&self) -> String {
        self.servers[0].url()
    }

    /// The URL of its replica.
    ///
    /// # Panics
    /// When there is none.
    pub fn replica_url(&self) -> String {
        self.servers[1].url()
    }
}

impl Sentinel {
    fn start(leader: SocketAddr, quorum: usize) -> Self {
        let folder = TempDir::with_prefix("testkit-sentinel-").expect("a temporary folder");
        let address = free_address();
        let (host, port) = (leader.ip(), leader.port());
        // Sentinels rewrite their file, so it is theirs alone.
        let lines = [
            format!("port {}", address.port()),
            "bind 127.0.0.1".to_owned(),
            format!("requirepass {SENTINEL_PASSWORD}"),
            format!("sentinel monitor {MASTER} {host} {port} {quorum}"),
            format!("sentinel auth-pass {MASTER} {PASSWORD}"),
            format!("sentinel sentinel-pass {SENTINEL_PASSWORD}"),
            format!("sentinel down-after-milliseconds {MASTER} 1000"),
            format!("sentinel failover-timeout {MASTER} 5000"),
        ];
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, lines.join("\n") + "\n").expect("the sentinel's file");
        let args = [file.display().to_string(), "--sentinel".to_owned()];
        let mut process = spawn(&program(PROGRAM, "redis-server"), &args, folder.path());
        wait_until_up(&mut process, folder.path(), || {
            Ok(ask(address, SENTINEL_PASSWORD, &["PING"])?.starts_with("+PONG"))
        });
        Self { _folder: folder, address, _process: process }
    }

    fn ask(&self, words: &[&str]) -> io::Result<String> {
        ask(self.address, SENTINEL_PASSWORD, words)
    }
}

/// The beginning of the answer to a command.
fn ask(address: SocketAddr, password: &str, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_LIMIT)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    let mut answer = [0; ANSWER_BYTES];
    stream.write_all(format!("AUTH {password}\r\n").as_bytes())?;
    let length = stream.read(&mut answer)?;
    if !answer[..length].starts_with(b"+OK") {
        return Err(io::Error::other(String::from_utf8_lossy(&answer[..length]).into_owned()));
    }
    stream.write_all(format!("{}\r\n", words.join(" ")).as_bytes())?;
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
