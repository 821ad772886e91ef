//! A line to a server through toxiproxy, which can be made slow, cut, and swallow what is sent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// How long toxiproxy may take to do what it is told.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The line. It is gone when this is dropped.
#[derive(Debug)]
pub struct Line {
    api: String,
    name: String,
    /// Our end: a host and port.
    pub address: String,
}

impl Line {
    /// To `server`, a host and port.
    ///
    /// # Panics
    /// Where no toxiproxy is named, or it does not do what it is told; so for all of these.
    pub fn to(server: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let variable = "DIPYLON_TEST_TOXIPROXY";
        let url = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is set by cargo xtask test"));
        let api = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("line-{}-{number}", std::process::id());
        let mut line = Self { api, name, address: String::new() };
        let made = json!({
            "name": line.name, "listen": "127.0.0.1:0", "upstream": server, "enabled": true
        });
        let made = line.ask("POST", "/proxies", &made);
        line.address = made["listen"].as_str().expect("where it listens").to_owned();
        line
    }

    /// Cuts every connection and refuses new ones.
    pub fn down(&self) {
        self.enable(false);
    }

    /// Takes connections again.
    pub fn up(&self) {
        self.enable(true);
    }

    fn enable(&self, enabled: bool) {
        self.ask("POST", &format!("/proxies/{}", self.name), &json!({ "enabled": enabled }));
    }

    /// Adds a toxic of toxiproxy to what the server sends (`downstream`) or gets (`upstream`).
    pub fn poison(&self, kind: &str, stream: &str, attributes: &Value) {
        let toxic =
            json!({ "name": kind, "type": kind, "stream": stream, "attributes": attributes });
        self.ask("POST", &format!("/proxies/{}/toxics", self.name), &toxic);
    }

    /// Takes it away.
    pub fn cure(&self, kind: &str) {
        self.ask("DELETE", &format!("/proxies/{}/toxics/{kind}", self.name), &Value::Null);
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(method, path, body).expect("toxiproxy answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> std::io::Result<String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(&self.api)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.api,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // At the end of a test that failed toxiproxy may be gone too.
        let _ = self.send("DELETE", &format!("/proxies/{}", self.name), &Value::Null);
    }
}
