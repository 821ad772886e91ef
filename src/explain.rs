//! `dipylon explain`: asks a running gateway what it knows of a module or a version, and prints that for people.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use crate::config::Config;
use crate::fetch::base_url::{BaseUrl, is_loopback};
use crate::fetch::http_tls;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long each step of the question may take: the gateway itself asks its store.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be explained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// `MODULE` or `MODULE@VERSION`.
    pub what: String,
    /// The gateway, where it is not that of the configuration.
    pub url: Option<String>,
}

/// What a gateway said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// For people.
    pub text: String,
    /// Whether each request for it that came now would be answered with what was asked for, or sent to it.
    pub is_had: bool,
}

/// Asks the gateway of this configuration, or the one of the question.
///
/// # Errors
/// Why there is no answer; never with a token.
pub fn explain(config: &Config, question: &Question) -> Result<Explained, String> {
    let (module, version) = match question.what.split_once('@') {
        Some((module, version)) => (module, Some(version)),
        None => (question.what.as_str(), None),
    };
    let version = version.map(|version| format!("&version={}", percent(version)));
    let path = format!("/-/explain?module={}{}", percent(module), version.unwrap_or_default());
    let answer = match &question.url {
        Some(url) => at_url(config, url, &path)?,
        None => here(config, &path)?,
    };
    let told: Value = serde_json::from_slice(&answer)
        .map_err(|error| format!("the answer is no JSON, so it is no gateway's: {error}"))?;
    Ok(Explained { text: text_of(&told), is_had: is_had(&told) })
}

/// As `healthcheck` finds it.
fn here(config: &Config, path: &str) -> Result<Vec<u8>, String> {
    if config.tls_cert_file.is_some() && config.unix_socket.is_none() {
        return Err(
            "this gateway speaks TLS: say how it is called, -url https://NAME:PORT".to_owned()
        );
    }
    let prefix = config.path_prefix.as_str().trim_end_matches('/');
    let request = request_of(config, "localhost", &format!("{prefix}{path}"));
    let io = |error: std::io::Error| error.to_string();
    if let Some(socket) = &config.unix_socket {
        let stream = std::os::unix::net::UnixStream::connect(socket)
            .map_err(|error| format!("cannot connect to {}: {error}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(io)?;
        return ask(stream, &request);
    }
    let address = config.port.to_string();
    let address = if address.starts_with(':') { format!("localhost{address}") } else { address };
    ask(connected(&address)?, &request)
}

fn at_url(config: &Config, url: &str, path: &str) -> Result<Vec<u8>, String> {
    let base = BaseUrl::parse(url).map_err(|error| format!("-url is refused: {error}"))?;
    let is_secure = base.origin().starts_with("https://");
    let has_secret =
        !config.dipylon.admin_token.expose().is_empty() || credentials(config).is_some();
    if has_secret && !is_secure && !is_loopback(base.host_name()) {
        let text = "-url is refused: AdminToken and BasicAuthPass are only sent over https, or to this very host";
        return Err(text.to_owned());
    }
    let target = base.join(path).ok_or("-url is refused: no path can be put behind it")?;
    let target = target.path_and_query().map_or("/", |target| target.as_str());
    let request = request_of(config, base.host(), target);
    let name = base.host_name().trim_start_matches('[').trim_end_matches(']');
    let stream = connected(&format!("{}:{}", base.host_name(), base.port()))?;
    if !is_secure {
        return ask(stream, &request);
    }
    let settings = http_tls::trusting(&[]).map_err(|error| error.message().to_owned())?;
    let server = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let session =
        ClientConnection::new(Arc::new(settings), server).map_err(|error| error.to_string())?;
    ask(StreamOwned::new(session, stream), &request)
}

fn connected(address: &str) -> Result<TcpStream, String> {
    let cannot = |error: std::io::Error| format!("cannot connect to {address}: {error}");
    let stream = TcpStream::connect(address).map_err(cannot)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(cannot)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(cannot)?;
    Ok(stream)
}

fn credentials(config: &Config) -> Option<String> {
    let (user, password) = (&config.basic_auth_user, config.basic_auth_pass.expose());
    let is_set = !user.is_empty() && !password.is_empty();
    is_set.then(|| STANDARD.encode(format!("{user}:{password}")))
}

/// By HTTP/1.0 an answer comes in one piece, and its end is that of the connection.
fn request_of(config: &Config, host: &str, target: &str) -> String {
    let mut request = format!("GET {target} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n");
    let token = config.dipylon.admin_token.expose();
    let is_sendable = |text: &str| !text.is_empty() && !text.contains(['\r', '\n']);
    if is_sendable(token) {
        let _ = write!(request, "X-Dipylon-Token: {token}\r\n");
    }
    if let Some(credentials) = credentials(config) {
        let _ = write!(request, "Authorization: Basic {credentials}\r\n");
    }
    request + "\r\n"
}

/// The body of a 200.
fn ask(mut stream: impl Read + Write, request: &str) -> Result<Vec<u8>, String> {
    let io = |error: std::io::Error| format!("the gateway does not answer: {error}");
    stream.write_all(request.as_bytes()).map_err(io)?;
    stream.flush().map_err(io)?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    // Who ends a TLS connection without a word has still said all that the head announces.
    let Some(end) = end else {
        return Err(
            read.map_or_else(io, |_| "the gateway's answer has no end of its head".to_owned())
        );
    };
    let (head, body) = (String::from_utf8_lossy(&answer[..end]).into_owned(), &answer[end + 4..]);
    let status = head.lines().next().unwrap_or_default();
    match status.split_ascii_whitespace().nth(1) {
        Some("200") => Ok(body.to_vec()),
        _ => {
            let text = String::from_utf8_lossy(body);
            let (status, text) = (printable(status), printable(text.trim()));
            Err(format!("the gateway answered {status:?}: {text}"))
        }
    }
}

fn percent(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// What a terminal would take for an order is shown and not obeyed.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect()
}

fn is_had(told: &Value) -> bool {
    const GOOD: [&str; 8] = [
        "hit_memory",
        "hit_storage",
        "stale_revalidate",
        "stale_error",
        "miss_leader",
        "miss_follower",
        "miss_degraded",
        "redirected",
    ];
    let is_good =
        |row: &Value| row["outcome"].as_str().is_some_and(|outcome| GOOD.contains(&outcome));
    told["now"].as_object().is_some_and(|rows| !rows.is_empty() && rows.values().all(is_good))
}

/// The facts as an outline; what would happen comes first, what happened last.
fn text_of(told: &Value) -> String {
    let mut text = String::new();
    let named = |name: &str| told[name].as_str().map(printable).unwrap_or_default();
    match named("version") {
        version if version.is_empty() => text.push_str(&named("module")),
        version => {
            let _ = write!(text, "{}@{version}", named("module"));
        }
    }
    text.push_str("\n\na request now\n");
    for (file, row) in told["now"].as_object().into_iter().flatten() {
        let [outcome, why] = ["outcome", "why"].map(|name| row[name].as_str().map(printable));
        let _ = writeln!(
            text,
            "  {:<7} {}: {}",
            printable(file),
            outcome.unwrap_or_default(),
            why.unwrap_or_default()
        );
    }
    const ELSEWHERE: [&str; 4] = ["module", "version", "now", "events"];
    for (name, value) in told.as_object().into_iter().flatten() {
        if !ELSEWHERE.contains(&name.as_str()) && !is_empty(value) {
            text.push('\n');
            outline(&mut text, 0, name, value);
        }
    }
    text.push_str("\nlast events\n");
    let events = told["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    if events.is_empty() {
        text.push_str("  none is kept\n");
    }
    for event in events {
        let word = |name: &str| match &event[name] {
            Value::String(word) => printable(word),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let [at, what, version, outcome] = ["at", "what", "version", "outcome"].map(word);
        let [duration, trace, error] = ["duration_ms", "trace_id", "error"].map(word);
        let from = match &event["upstream"] {
            Value::String(upstream) => format!(" from {}", printable(upstream)),
            _ => String::new(),
        };
        let line =
            format!("  {at}  {what} {version} {outcome}{from} {duration} ms {trace} {error}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(rows) => rows.is_empty(),
        Value::Object(rows) => rows.values().all(is_empty),
        _ => false,
    }
}

fn outline(text: &mut String, depth: usize, name: &str, value: &Value) {
    let (indent, name) = ("  ".repeat(depth), printable(name));
    match value {
        _ if is_empty(value) => {}
        Value::Object(rows) => {
            let _ = writeln!(text, "{indent}{name}");
            for (name, value) in rows {
                outline(text, depth + 1, name, value);
            }
        }
        Value::Array(rows) => {
            for row in rows {
                outline(text, depth, &name, row);
            }
        }
        Value::String(word) => {
            let _ = writeln!(text, "{indent}{name}: {}", printable(word));
        }
        other => {
            let _ = writeln!(text, "{indent}{name}: {other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(outcome: &str) -> Value {
        json!({
            "module": "example.com/m",
            "version": "v1.0.0",
            "now": { "zip": { "outcome": outcome, "why": "so it is" } },
            "filter": null,
            "storage": { "info": { "Version": "v1.0.0\u{1b}[31m" }, "quarantine": null },
            "events": [{ "at": "now", "what": "zip", "version": "v1.0.0", "outcome": "hit_memory",
                         "error": null, "duration_ms": 0.5, "trace_id": null }],
        })
    }

    #[test]
    fn facts_are_an_outline_and_nothing_in_them_is_an_order_to_a_terminal() {
        let text = text_of(&told("hit_memory"));
        let want = "example.com/m@v1.0.0\n\na request now\n  zip     hit_memory: so it is\n\nstorage\n  info\n    \
                    Version: v1.0.0\u{fffd}[31m\n\nlast events\n  now  zip v1.0.0 hit_memory 0.5 ms\n";
        assert_eq!(text, want);
    }

    #[test]
    fn what_cannot_be_had_is_told_apart() {
        for (outcome, want) in [("hit_memory", true), ("redirected", true), ("negative", false)] {
            assert_eq!(is_had(&told(outcome)), want, "{outcome}");
        }
        assert!(!is_had(&json!({})));
    }

    #[test]
    fn a_name_is_no_part_of_a_url_but_itself() {
        assert_eq!(percent("example.com/A&b=c d#"), "example.com/A%26b%3Dc%20d%23");
    }
}
