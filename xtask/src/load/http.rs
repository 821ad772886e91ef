//! Questions over HTTP to what runs on loopback, and to a Prometheus that a person names.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Time for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// The body of an answer of 200 to a GET, from a port of this machine.
///
/// # Errors
/// One line: the address, and what is wrong.
pub(super) fn get(port: u16, path: &str) -> Result<String, String> {
    ask(&format!("127.0.0.1:{port}"), "GET", path, "")
}

/// Sends a request with a body of JSON; the body of its answer of 2xx.
///
/// # Errors
/// One line: the address, and what is wrong.
pub(super) fn ask(host: &str, method: &str, path: &str, json: &str) -> Result<String, String> {
    let told = |error: std::io::Error| format!("http://{host}{path}: {error}");
    let mut addresses = host.to_socket_addrs().map_err(told)?;
    let address = addresses.next().ok_or_else(|| format!("http://{host}: it has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT).map_err(told)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(told)?;
    stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(told)?;
    // 1.0: the body ends with the connection, and never comes in chunks.
    let asked = format!(
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{json}",
        json.len()
    );
    stream.write_all(asked.as_bytes()).map_err(told)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).map_err(told)?;
    let answer = String::from_utf8_lossy(&answer);
    body(&answer).map_err(|status| format!("http://{host}{path} is answered with {status}"))
}

/// The body of an answer of 2xx, else what stands in place of it.
fn body(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') {
        return Ok(body.to_owned());
    }
    Err(format!("{status}: {}", body.lines().next().unwrap_or_default()))
}

/// A text in the query of a URL.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_of_2xx_has_a_body() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\nyes").as_deref(), Ok("yes"));
        assert_eq!(body("HTTP/1.0 204 OK\r\n\r\n").as_deref(), Ok(""));
        assert_eq!(body("HTTP/1.0 503 no\r\n\r\nbusy\nmore"), Err("503: busy".to_owned()));
        assert!(body("HTTP/1.0 200 OK\r\nA: b").is_err());
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(encoded("sum(a{b=\"c\"})"), "sum%28a%7Bb%3D%22c%22%7D%29");
    }
}
