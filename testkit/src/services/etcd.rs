//! etcd: `etcd` of the machine, as one member or as a cluster.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tempfile::TempDir;

use super::{folder_in_memory, free_address, program, spawn, wait_until_up};
use crate::metrics::Metrics;
use crate::process::Process;

/// Says where the program is, where it is not on `PATH`.
const PROGRAM: &str = "DIPYLON_PROGRAM_ETCD";
/// How long a probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// The most of an answer that a probe reads, in bytes.
const PROBE_BYTES: u64 = 1 << 20;

/// A cluster of members on this machine.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    folder: TempDir,
    client: SocketAddr,
    peer: SocketAddr,
    process: Option<Process>,
}

impl EtcdCluster {
    /// Starts so many members and waits until they have a leader; blocks the thread meanwhile.
    ///
    /// # Panics
    /// When there is no `etcd`, or it does not start.
    pub fn start(members: usize) -> Self {
        let member = || Member {
            folder: folder_in_memory("testkit-etcd-"),
            client: free_address(),
            peer: free_address(),
            process: None,
        };
        let mut cluster = Self { members: (0..members).map(|_| member()).collect() };
        cluster.restart();
        cluster
    }

    /// Starts again every member that does not run, with what it had stored.
    pub fn restart(&mut self) {
        let peers: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(number, member)| format!("m{number}=http://{}", member.peer))
            .collect();
        let peers = peers.join(",");
        for (number, member) in self.members.iter_mut().enumerate() {
            if member.process.is_none() {
                member.process = Some(member.spawn(number, &peers));
            }
        }
        for member in &mut self.members {
            let (client, folder) = (member.client, member.folder.path());
            if let Some(process) = &mut member.process {
                wait_until_up(process, folder, || is_healthy(client));
            }
        }
    }

    /// Kills every member.
    pub fn stop(&mut self) {
        for member in &mut self.members {
            drop(member.process.take());
        }
    }

    /// Kills the member that leads; its number.
    ///
    /// # Panics
    /// When none of them leads.
    pub fn kill_leader(&mut self) -> usize {
        let leads = |member: &Member| {
            let metrics = get(member.client, "/metrics").unwrap_or_default();
            metrics.lines().any(|line| line == "etcd_server_is_leader 1")
        };
        let leader = self.members.iter().position(leads).expect("a member that leads");
        drop(self.members[leader].process.take());
        leader
    }

    /// How often a leader was elected since the members started, as those that run have seen it.
    pub fn elections(&self) -> usize {
        let seen = |member: &Member| {
            let metrics = Metrics::parse(&get(member.client, "/metrics").unwrap_or_default());
            metrics.metric("etcd_server_leader_changes_seen_total").sum() as usize
        };
        let running = self.members.iter().filter(|member| member.process.is_some());
        running.map(seen).max().unwrap_or_default()
    }

    /// The URLs of all members, with commas between.
    pub fn endpoints(&self) -> String {
        urls(self.members.iter())
    }

    /// The same of those that run.
    pub fn running(&self) -> String {
        urls(self.members.iter().filter(|member| member.process.is_some()))
    }
}

fn urls<'a>(members: impl Iterator<Item = &'a Member>) -> String {
    let urls: Vec<String> = members.map(|member| format!("http://{}", member.client)).collect();
    urls.join(",")
}

impl Member {
    fn spawn(&self, number: usize, peers: &str) -> Process {
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        let folder = self.folder.path().join("data").display().to_string();
        let args = [
            ("--name", format!("m{number}")),
            ("--data-dir", folder),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", peers.to_owned()),
            ("--logger", "zap".to_owned()),
            ("--log-level", "error".to_owned()),
        ];
        let args: Vec<String> =
            args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        spawn(&program(PROGRAM, "etcd"), &args, self.folder.path())
    }
}

/// Whether the member has a leader and takes part.
fn is_healthy(client: SocketAddr) -> io::Result<bool> {
    Ok(get(client, "/health")?.contains("\"health\":\"true\""))
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_LIMIT)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    // As old as it is, so that the answer comes in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: etcd\r\n\r\n");
    stream.write_all(request.as_bytes())?;

    let mut answer = String::new();
    stream.take(PROBE_BYTES).read_to_string(&mut answer)?;
    let (_head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}
