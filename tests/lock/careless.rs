//! A small store that does what a test tells it to, in place of what a store should do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dipylon::config::{MinioStorage, Secret, UrlText};
use dipylon::lock::stores::{ObjectLock, Terms};
use dipylon_middleware::ports::Lock;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What becomes of a request.
pub(crate) enum Act {
    /// What its condition says.
    Serve,
    /// It is done, whatever its condition says.
    Ignore,
    /// What its condition says, so much later.
    Late(Duration),
    /// Nothing is done, and this is the answer: a status and the code of an error.
    Answer(u16, &'static str),
    /// Nothing is done, and the connection breaks.
    Break,
    /// It is done, and the connection breaks before the answer.
    BreakAfter,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The name of the object.
    pub(crate) name: String,
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: bool,
    body: Vec<u8>,
}

impl Asked {
    /// Whether it is about a lock, and not about the trial of the store.
    pub(crate) fn is_of_a_lock(&self) -> bool {
        self.name.starts_with("lock/")
    }

    pub(crate) fn is(&self, method: &str) -> bool {
        self.method == method
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    fn read(head: &str, body: &[u8]) -> Self {
        let mut lines = head.lines();
        let mut first = lines.next().expect("a request line").split(' ');
        let method = first.next().expect("a method").to_owned();
        let path = first.next().expect("a path");
        let name = path.strip_prefix("/bucket/").unwrap_or(path).replace("%40", "@");
        let header = |name: &str| {
            let of_name = |line: &str| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            };
            head.lines().skip(1).find_map(of_name)
        };
        let (if_match, if_none_match) = (header("if-match"), header("if-none-match").is_some());
        Self { method, name, if_match, if_none_match, body: body.to_vec() }
    }
}

type Script = Box<dyn Fn(&Asked) -> Act + Send + Sync>;

/// What lies there, and what was asked.
struct Store {
    script: Script,
    objects: Mutex<BTreeMap<String, (String, Vec<u8>)>>,
    asked: Mutex<Vec<Asked>>,
}

pub(crate) struct Careless {
    address: SocketAddr,
    task: AbortHandle,
    store: Arc<Store>,
}

impl Careless {
    /// Answers everything with this status.
    pub(crate) async fn start(status: u16) -> Self {
        Self::told(move |_| Act::Answer(status, "")).await
    }

    /// Does with each request what `script` says.
    pub(crate) async fn told(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (objects, asked) = (Mutex::default(), Mutex::default());
        let store = Arc::new(Store { script: Box::new(script), objects, asked });
        let serving = Arc::clone(&store);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let store = Arc::clone(&serving);
                tokio::spawn(async move { store.serve(client).await });
            }
        });
        Self { address, task: task.abort_handle(), store }
    }

    /// A lock in it, which keeps it running.
    pub(crate) fn lock(self, lease: Duration) -> Kept {
        let config = MinioStorage {
            endpoint: UrlText::new(format!("http://{}", self.address)),
            key: Secret::new("key"),
            secret: Secret::new("secret"),
            enable_ssl: false,
            bucket: "bucket".to_owned(),
            region: String::new(),
        };
        let access = dipylon::storage::minio::access(&config, &|_| None).expect("settings");
        let terms = Terms { lease, foreign: lease, longest: Duration::MAX };
        Kept { lock: Arc::new(ObjectLock::s3(access, terms)), server: self }
    }
}

impl Store {
    /// One request on each connection.
    async fn serve(&self, mut client: TcpStream) {
        let Some(asked) = read(&mut client).await else { return };
        self.asked.lock().push(asked.clone());
        let answer = match (self.script)(&asked) {
            Act::Serve => self.answer(&asked, true),
            Act::Ignore => self.answer(&asked, false),
            Act::Late(late) => {
                tokio::time::sleep(late).await;
                self.answer(&asked, true)
            }
            Act::Answer(status, code) => said(status, "e", &error(code)),
            Act::Break => return,
            Act::BreakAfter => {
                self.answer(&asked, true);
                return;
            }
        };
        // Who has gone away needs no answer.
        let _ = client.write_all(&answer).await;
        let _ = client.shutdown().await;
    }

    fn answer(&self, asked: &Asked, is_careful: bool) -> Vec<u8> {
        let mut objects = self.objects.lock();
        let tag = objects.get(&asked.name).map(|(tag, _)| tag.clone());
        if is_careful && asked.if_match.is_some() && tag.is_none() {
            return said(404, "", &error("NoSuchKey"));
        }
        let is_refused = (asked.if_none_match && tag.is_some())
            || asked.if_match.as_ref().is_some_and(|wanted| Some(wanted) != tag.as_ref());
        if is_careful && is_refused {
            return said(412, "", &error("PreconditionFailed"));
        }
        match asked.method.as_str() {
            "PUT" => {
                let tag = format!("\"{}\"", self.asked.lock().len());
                objects.insert(asked.name.clone(), (tag.clone(), asked.body.clone()));
                said(200, &tag, b"")
            }
            "DELETE" => {
                objects.remove(&asked.name);
                said(204, "", b"")
            }
            _ => match objects.get(&asked.name) {
                Some((tag, body)) => said(200, tag, body),
                None => said(404, "", &error("NoSuchKey")),
            },
        }
    }
}

async fn read(client: &mut TcpStream) -> Option<Asked> {
    let mut seen = Vec::new();
    loop {
        let Ok(1..) = client.read_buf(&mut seen).await else { return None };
        let Some(end) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&seen[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let body = &seen[end + 4..];
        if body.len() >= length.unwrap_or(0) {
            return Some(Asked::read(&head, body));
        }
    }
}

fn error(code: &str) -> Vec<u8> {
    if code.is_empty() { Vec::new() } else { format!("<Code>{code}</Code>").into_bytes() }
}

fn said(status: u16, tag: &str, body: &[u8]) -> Vec<u8> {
    let etag = if tag.is_empty() { String::new() } else { format!("etag: {tag}\r\n") };
    // An answer without content has no length either.
    let length = match status {
        204 => String::new(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    let head = format!("HTTP/1.1 {status} Said\r\n{etag}{length}connection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

impl Drop for Careless {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A lock and the server that it lies in.
pub(crate) struct Kept {
    lock: Arc<dyn Lock>,
    server: Careless,
}

impl Kept {
    /// What was asked about locks, and not to try the store.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let asked = self.server.store.asked.lock();
        asked.iter().filter(|asked| asked.is_of_a_lock()).cloned().collect()
    }

    /// The names of what lies there.
    pub(crate) fn objects(&self) -> Vec<String> {
        self.server.store.objects.lock().keys().cloned().collect()
    }
}

impl std::ops::Deref for Kept {
    type Target = Arc<dyn Lock>;

    fn deref(&self) -> &Arc<dyn Lock> {
        &self.lock
    }
}
