//! Redis: `redis-server` of the machine.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{free_address, program, spawn, wait_until_up};
use crate::process::Process;

/// Says where the program is, where it is not on `PATH`.
const PROGRAM: &str = "DIPYLON_PROGRAM_REDIS";
/// How long a probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// The password of every server of a test.
pub const PASSWORD: &str = "hunter2";

/// A server with a password and without a disk.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    address: SocketAddr,
    process: Option<Process>,
    role: Role,
}

/// What a server is to others.
#[derive(Clone, Copy, Debug)]
enum Role {
    Alone,
    ReplicaOf(SocketAddr),
    /// A node of a cluster, which talks to the others on this port.
    Node(u16),
    /// Speaks TLS alone, with the certificate and the key that lie in its folder.
    OfTls,
}

/// A certificate of a server and its key, in its folder.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

impl RedisServer {
    /// Starts one and waits until it answers; blocks the thread for some milliseconds.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not start.
    pub fn start() -> Self {
        Self::start_as(Role::Alone)
    }

    /// Starts one that repeats what another does.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn replica_of(leader: &Self) -> Self {
        Self::start_as(Role::ReplicaOf(leader.address))
    }

    /// Starts the only node of a cluster, to which no slot belongs yet.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn node() -> Self {
        Self::start_as(Role::Node(free_address().port()))
    }

    /// Starts one that speaks TLS alone, with this certificate and its key, both in PEM.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn with_tls(certificate: &str, key: &str) -> Self {
        let folder = TempDir::with_prefix("testkit-redis-").expect("a temporary folder");
        for (name, text) in [(CERTIFICATE, certificate), (KEY, key)] {
            std::fs::write(folder.path().join(name), text).expect("a file for the server");
        }
        Self::start_in(folder, Role::OfTls)
    }

    fn start_as(role: Role) -> Self {
        let folder = TempDir::with_prefix("testkit-redis-").expect("a temporary folder");
        Self::start_in(folder, role)
    }

    fn start_in(folder: TempDir, role: Role) -> Self {
        let mut server = Self { folder, address: free_address(), process: None, role };
        server.restart();
        server
    }

    /// Starts it again, on the same port and with nothing in it, unless it runs.
    pub fn restart(&mut self) {
        if self.process.is_some() {
            return;
        }
        let port = self.address.port().to_string();
        let args = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--requirepass",
            PASSWORD,
            "--masterauth",
            PASSWORD,
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ];
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        match self.role {
            Role::Alone => {}
            Role::ReplicaOf(leader) => {
                let (host, port) = (leader.ip().to_string(), leader.port().to_string());
                args.extend(["--replicaof".to_owned(), host, port]);
            }
            Role::Node(port) => {
                let words = ["--cluster-enabled", "yes", "--cluster-port", &port.to_string()];
                args.extend(words.map(str::to_owned));
            }
            // Of what is given twice the last counts.
            Role::OfTls => args.extend(
                ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]
                    .into_iter()
                    .chain(["--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY])
                    .chain(["--tls-ca-cert-file", CERTIFICATE])
                    .map(str::to_owned),
            ),
        }
        let mut process = spawn(&program(PROGRAM, "redis-server"), &args, self.folder.path());
        wait_until_up(&mut process, self.folder.path(), || match self.role {
            Role::OfTls => Ok(TcpStream::connect_timeout(&self.address, PROBE_LIMIT).is_ok()),
            Role::Alone | Role::ReplicaOf(_) | Role::Node(_) => answers(self.address),
        });
        self.process = Some(process);
    }

    /// Kills it: connections are cut and refused.
    pub fn stop(&mut self) {
        drop(self.process.take());
    }

    /// Stops it without closing a connection, as a network that swallows everything would.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}", self.address)
    }
}

/// Whether it speaks: with a password set it says so in place of `PONG`.
fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_LIMIT)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"-NOAUTH")
}
