//! Readiness: what a server must answer before it counts as up.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Time for one question.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Bytes of an answer that are looked at.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// One question; whether its answer is the right one is all that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The port accepts a connection.
    Connect { port: u16 },
    /// HTTP answers 2xx, or 409 to what was made already.
    Http { port: u16, request: String },
    /// Redis's answer to one command, given after the password, contains a text.
    Redis { port: u16, password: &'static str, command: String, expected: &'static str },
}

impl Probe {
    pub(crate) fn get(port: u16, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        Self::Http { port, request }
    }

    pub(super) fn post(port: u16, path: &str, json: &str) -> Self {
        let request = format!(
            "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{json}",
            json.len()
        );
        Self::Http { port, request }
    }

    pub(super) fn redis(
        port: u16,
        password: &'static str,
        command: &str,
        expected: &'static str,
    ) -> Self {
        Self::Redis { port, password, command: command.to_owned(), expected }
    }

    /// Asks once: the right answer within [`ANSWER_LIMIT`].
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Connect { port } => connect(*port).is_ok(),
            Self::Http { port, request } => says(*port, request, good_status),
            Self::Redis { port, password, command, expected } => {
                let asked = format!("AUTH {password}\r\n{command}\r\n");
                says(*port, &asked, |answer| {
                    String::from_utf8_lossy(answer).contains(expected).then_some(true)
                })
            }
        }
    }
}

/// Asks, and reads until `judge` knows; an answer that ends or stops before that is wrong.
fn says(port: u16, asked: &str, judge: impl Fn(&[u8]) -> Option<bool>) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = connect(port)?;
        stream.write_all(asked.as_bytes())?;
        let mut answer = Vec::new();
        let mut piece = [0; 2048];
        while answer.len() < MAX_ANSWER_BYTES {
            let read = stream.read(&mut piece)?;
            answer.extend_from_slice(&piece[..read]);
            if let Some(verdict) = judge(&answer) {
                return Ok(verdict);
            }
            if read == 0 {
                break;
            }
        }
        Ok(false)
    };
    ask().unwrap_or(false)
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    Ok(stream)
}

/// `None` until the first line is whole.
fn good_status(answer: &[u8]) -> Option<bool> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let line = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    Some(status.is_some_and(|status| (200..300).contains(&status) || status == 409))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers one connection with these bytes.
    fn answering(bytes: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 512];
            let _ = stream.read(&mut asked).unwrap();
            stream.write_all(bytes).unwrap();
        });
        port
    }

    #[test]
    fn only_a_good_status_is_ready() {
        assert_eq!(good_status(b"HTTP/1.1 20"), None);
        assert_eq!(good_status(b"HTTP/1.1 204 No Content\r\n"), Some(true));
        assert_eq!(good_status(b"HTTP/1.1 503 \r\n"), Some(false));
        assert_eq!(good_status(b"nonsense\n"), Some(false));
    }

    #[test]
    fn a_server_that_answers_well_is_ready() {
        assert!(Probe::get(answering(b"HTTP/1.0 200 OK\r\n\r\n"), "/").holds());
        assert!(!Probe::get(answering(b"HTTP/1.0 500 no\r\n\r\n"), "/").holds());
        assert!(!Probe::get(answering(b"HTTP/1.0"), "/").holds());
    }

    #[test]
    fn redis_must_say_what_is_expected() {
        assert!(Probe::redis(answering(b"+OK\r\n+PONG\r\n"), "p", "PING", "+PONG").holds());
        assert!(!Probe::redis(answering(b"-ERR no\r\n"), "p", "PING", "+PONG").holds());
    }

    #[test]
    fn a_closed_port_is_not_ready() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(!Probe::Connect { port }.holds());
    }
}
