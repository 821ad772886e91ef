//! A client that takes one file at its own pace and keeps nothing of it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until};

/// An answer's head is shorter than this, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What a client that is not slow reads at a time.
const READ_BYTES: usize = 64 * 1024;
/// What the kernel takes in for a slow client, in bytes: little, so that its slowness is the server's.
const SLOW_RECEIVE_BYTES: u32 = 16 * 1024;
/// How often a slow client reads.
const TICK: Duration = Duration::from_millis(100);

/// An answer whose head has been read.
pub(super) struct Taking {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the body came with the head.
    early: Vec<u8>,
    length: usize,
}

impl Taking {
    /// Asks for a file, and reads the head of a 200 with a length.
    pub(super) async fn begin(address: SocketAddr, path: &str, is_slow: bool) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if is_slow {
            socket.set_recv_buffer_size(SLOW_RECEIVE_BYTES)?;
        }
        let mut stream = socket.connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
        let end = loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if head.len() >= HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
                return Err(io::Error::other("no whole head"));
            }
        };
        let early = head.split_off(end);
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok());
        match length {
            Some(length) if head.starts_with("http/1.1 200 ") => {
                Ok(Self { stream, buffer: vec![0; READ_BYTES], early, length })
            }
            _ => Err(io::Error::other(format!("no 200 with a length: {head}"))),
        }
    }

    /// Takes all of it as fast as it comes; it must be `want`, byte for byte.
    pub(super) async fn all(mut self, want: &[u8]) -> io::Result<()> {
        let mut seen = self.early.len();
        let mut is_right = self.length == want.len() && want.starts_with(&self.early);
        while is_right && seen < self.length {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            is_right = want.get(seen..seen + read) == Some(&self.buffer[..read]);
            seen += read;
        }
        if is_right { Ok(()) } else { Err(io::Error::other(format!("other bytes before {seen}"))) }
    }

    /// Takes so many bytes a second until the end or `until`, each of which must be that of `want`. Answers how many
    /// it has got.
    pub(super) async fn slowly(
        mut self,
        bytes_per_second: usize,
        want: &[u8],
        until: impl Future<Output = ()>,
    ) -> io::Result<usize> {
        let mut until = std::pin::pin!(until);
        let a_tick = bytes_per_second * TICK.as_millis() as usize / 1_000;
        let mut seen = self.early.len();
        let mut next = Instant::now();
        while seen < self.length {
            next += TICK;
            tokio::select! {
                () = &mut until => break,
                () = sleep_until(next) => {}
            }
            let read = self.stream.read(&mut self.buffer[..a_tick]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if want.get(seen..seen + read) != Some(&self.buffer[..read]) {
                return Err(io::Error::other(format!("other bytes at {seen}")));
            }
            seen += read;
        }
        Ok(seen)
    }
}
