//! One answer of HTTP/1.1 after the other, read from a connection that stays open.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer's head, and a line of a body in pieces, are shorter than this, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// The longest that a server may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// Large enough that a large body costs the client few calls.
const BUFFER_BYTES: usize = 256 * 1024;

/// A connection, and what was read of it and not yet taken.
pub(crate) struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
}

/// How long a body is.
enum Length {
    Known(u64),
    InPieces,
}

impl Reader {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("an open socket");
        stream.set_read_timeout(Some(SILENCE_MAX)).expect("an open socket");
        Self { stream, buffer: vec![0; BUFFER_BYTES], at: 0, filled: 0 }
    }

    pub(crate) fn ask(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).expect("the server listens");
    }

    /// The next answer, which must be a whole 200; `body` is shown its bytes as they come.
    pub(crate) fn answer(&mut self, body: &mut dyn FnMut(&[u8])) {
        match self.head() {
            Length::Known(length) => self.take(length, body),
            Length::InPieces => self.pieces(body),
        }
    }

    fn head(&mut self) -> Length {
        let status = self.line();
        let mut length = None;
        let mut head = status.clone();
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.strip_prefix("content-length:") {
                length = Some(Length::Known(bytes.trim().parse().expect("a length")));
            } else if line.starts_with("transfer-encoding:") && line.ends_with("chunked") {
                length = Some(Length::InPieces);
            }
            head.push('\n');
            head.push_str(&line);
        }
        assert!(status.starts_with("HTTP/1.1 200"), "{head}");
        length.unwrap_or_else(|| panic!("no length: {head}"))
    }

    fn pieces(&mut self, body: &mut dyn FnMut(&[u8])) {
        loop {
            let line = self.line();
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).expect("the size of a piece");
            self.take(size, body);
            // After the last piece there are no trailers that anybody sends us.
            let end = self.line();
            assert!(end.is_empty(), "after a piece: {end}");
            if size == 0 {
                return;
            }
        }
    }

    /// So many bytes of a body.
    fn take(&mut self, mut left: u64, body: &mut dyn FnMut(&[u8])) {
        while left > 0 {
            if self.at == self.filled {
                self.fill();
            }
            let here = self.filled - self.at;
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(here);
            body(&self.buffer[self.at..self.at + taken]);
            self.at += taken;
            left -= taken as u64;
        }
    }

    /// A line without its end.
    fn line(&mut self) -> String {
        loop {
            let held = &self.buffer[self.at..self.filled];
            if let Some(end) = held.windows(2).position(|two| two == b"\r\n") {
                let line = std::str::from_utf8(&held[..end]).expect("a line is text").to_owned();
                self.at += end + 2;
                return line;
            }
            assert!(held.len() < LINE_BYTES_MAX, "the server sends no line");
            self.fill();
        }
    }

    /// Reads more, behind what is not yet taken.
    fn fill(&mut self) {
        if self.at > 0 {
            self.buffer.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.at = 0;
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).expect("an answer");
        assert!(read > 0, "the server ends the connection");
        self.filled += read;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::TcpListener;

    /// Each answer is sent in pieces of `step` bytes.
    fn served(answers: &'static str, step: usize) -> Reader {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in answers.as_bytes().chunks(step) {
                stream.write_all(piece).unwrap();
            }
        });
        Reader::connect(address)
    }

    fn body_of(reader: &mut Reader) -> String {
        let mut body = Vec::new();
        reader.answer(&mut |bytes| body.extend_from_slice(bytes));
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn answers_of_both_kinds_are_read_one_after_the_other() {
        let answers = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\n\
            Transfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3;x=y\r\nond\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\
            content-length: 0\r\n\r\n";
        for step in [1, 7, 1_000] {
            let mut reader = served(answers, step);
            assert_eq!([(); 3].map(|()| body_of(&mut reader)), ["first", "second", ""]);
        }
    }

    #[test]
    #[should_panic(expected = "HTTP/1.1 502")]
    fn another_status_is_no_answer() {
        body_of(&mut served("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", 100));
    }

    #[test]
    #[should_panic(expected = "the server ends the connection")]
    fn half_an_answer_is_none() {
        body_of(&mut served("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfir", 100));
    }
}
