//! How long each of many requests takes while others are in hand: one thread, which sleeps until an answer is there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// A small answer with its head is shorter than this, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// What `connections` clients measure, each of which sends `requests` GETs one after the other; sorted.
///
/// # Panics
/// When an answer is no whole 200 that says its length.
pub fn latencies(
    address: SocketAddr,
    path: &str,
    connections: usize,
    requests: usize,
) -> Vec<Duration> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut all = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            clients.spawn(client(address, path.to_owned(), requests));
        }
        clients.join_all().await.concat()
    });
    all.sort_unstable();
    all
}

/// What this share of them takes at most.
///
/// # Panics
/// When there are none.
pub fn at_most(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

async fn client(address: SocketAddr, path: String, requests: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("an open socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let mut all = Vec::with_capacity(requests);
    for _ in 0..requests {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("the server listens");
        let mut filled = 0;
        while !is_whole(&buffer[..filled]) {
            let read = stream.read(&mut buffer[filled..]).await.expect("an answer");
            assert!(read > 0, "the server ends the connection, or its answer is too long");
            filled += read;
        }
        all.push(began.elapsed());
    }
    all
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.unwrap_or_else(|| panic!("no length: {head}"));
    bytes.len() == end + 4 + length.trim().parse::<usize>().expect("a length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_ninety_nine_are_at_most_that() {
        let all: Vec<_> = (1..=101).map(Duration::from_millis).collect();
        assert_eq!(at_most(&all, 0.99), Duration::from_millis(100));
        assert_eq!(at_most(&all, 0.5), Duration::from_millis(51));
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert!(is_whole(answer));
        assert!(!is_whole(&answer[..answer.len() - 1]));
        assert!(!is_whole(b""));
    }
}
