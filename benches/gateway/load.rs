//! A client that keeps its connections, and what a process has used of the CPU.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Connections, each with one request in hand: as many as share a wake-up of a server with some load, which is how
/// it is spoken to from behind a load balancer.
pub(crate) const CONNECTIONS: usize = 16;
/// An answer's head is shorter than this, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The longest that a server may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Open connections to one server.
pub(crate) struct Load {
    streams: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, connections: usize) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nodelay(true).expect("an open socket");
            stream.set_read_timeout(Some(SILENCE_MAX)).expect("an open socket");
            stream
        };
        Self { streams: (0..connections).map(connect).collect(), buffer: vec![0; 256 * 1024] }
    }

    /// So many GETs, each of which must be a whole 200. Every connection has one in hand all the time, as
    /// a server under load sees it.
    pub(crate) fn get(&mut self, path: &str, requests: usize) {
        self.get_each(|_| path, requests);
    }

    /// The same, each of its own path: by the number of the request.
    pub(crate) fn get_each<'a>(&mut self, path: impl Fn(usize) -> &'a str, requests: usize) {
        let ask = |stream: &mut TcpStream, number| {
            let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path(number));
            stream.write_all(request.as_bytes()).expect("the server listens");
        };
        let streams = requests.min(self.streams.len());
        for (number, stream) in self.streams[..streams].iter_mut().enumerate() {
            ask(stream, number);
        }
        for answered in 0..requests {
            let next = answered % streams;
            read_answer(&mut self.streams[next], &mut self.buffer);
            if answered + streams < requests {
                ask(&mut self.streams[next], answered + streams);
            }
        }
    }
}

impl Load {
    /// One GET while no other is under way: how long it takes until the last byte of its answer.
    pub(crate) fn one(&mut self, path: &str) -> Duration {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let began = Instant::now();
        self.streams[0].write_all(request.as_bytes()).expect("the server listens");
        read_answer(&mut self.streams[0], &mut self.buffer);
        began.elapsed()
    }
}

fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    let (body_at, length) = loop {
        let read = stream.read(&mut buffer[filled..]).expect("an answer");
        assert!(read > 0 && filled < HEAD_BYTES_MAX, "the server ends the connection");
        filled += read;
        if let Some(head) = head_of(&buffer[..filled]) {
            break head;
        }
    };
    let mut left = length - (filled - body_at) as u64;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = stream.read(&mut buffer[..room]).expect("the rest of the answer");
        assert!(read > 0, "the server ends the connection");
        left -= read as u64;
    }
}

/// Where the body begins, and its length; nothing before the head is whole.
fn head_of(bytes: &[u8]) -> Option<(usize, u64)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.unwrap_or_else(|| panic!("no length: {head}"));
    Some((end, length.trim().parse().expect("a length")))
}

/// CPU time used by each thread of a process so far (Linux's `schedstat`): on a machine that has more to do,
/// the time on the wall would say more of the others than of us.
pub(crate) struct Used(BTreeMap<String, u64>);

impl Used {
    pub(crate) fn now(pid: u32) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
        let of_task = |task: std::io::Result<std::fs::DirEntry>| {
            let task = task.ok()?;
            // A thread may end between the two looks.
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanos = stat.split(' ').next()?.parse().ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), nanos))
        };
        Self(tasks.filter_map(of_task).collect())
    }

    /// Of this process. The kernel brings a thread's count up to date when it yields or waits.
    pub(crate) fn here() -> Self {
        std::thread::yield_now();
        Self::now(std::process::id())
    }

    /// From `before` until this.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let of = |(task, nanos): (&String, &u64)| {
            nanos.saturating_sub(before.0.get(task).copied().unwrap_or(0))
        };
        Duration::from_nanos(self.0.iter().map(of).sum())
    }
}
