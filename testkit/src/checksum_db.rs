//! A checksum database in memory: honest by default; it can lie, fork, and be down.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dipylon_protocol::path::unescape;
use dipylon_protocol::sumdb::note::{Signer, generate};
use dipylon_protocol::sumdb::tile::Tile;
use dipylon_protocol::sumdb::tree::Tree;
use http::Request;
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::module::FakeModule;
use crate::server::{Answer, Connection, Handler, Server};
use crate::upstream::{Log, Page, decode_percent, plain};

/// Requests remembered.
const MAX_RECORDED: usize = 1_000_000;

type Source = Arc<dyn Fn(&str, &str) -> Option<FakeModule> + Send + Sync>;

/// A database; clones are the same database.
///
/// A record comes to be when it is first looked up, from what was registered by hand or else from
/// the modules of the upstreams that it is attached to
/// ([`Upstream::attach`](crate::upstream::Upstream::attach)), and then never changes.
#[derive(Clone)]
pub struct ChecksumDb {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    signer_key: String,
    signer: Signer,
    verifier_key: String,
    down: AtomicBool,
    full_tiles_only: AtomicBool,
    state: Mutex<State>,
    asked: Mutex<Vec<String>>,
}

#[derive(Default)]
struct State {
    tree: Tree,
    ids: HashMap<(String, String), u64>,
    registered: BTreeMap<(String, String), (String, String)>,
    /// Wrong zip hashes.
    lies: BTreeMap<(String, String), String>,
    sources: Vec<Source>,
}

impl ChecksumDb {
    /// An empty database. `name` stands in GOSUMDB and in paths (`sumdb.test`); the same seed gives
    /// the same key.
    ///
    /// # Panics
    /// When `name` cannot be a key's name.
    pub fn new(name: &str, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let (signer_key, verifier_key) = generate(name, bytes);
        Self::with_key(name, signer_key, verifier_key, State::default())
    }

    fn with_key(name: &str, signer_key: String, verifier_key: String, state: State) -> Self {
        let signer = Signer::parse(&signer_key)
            .unwrap_or_else(|error| panic!("{name:?} cannot name a database: {error}"));
        let inner = Inner {
            name: name.to_owned(),
            signer_key,
            signer,
            verifier_key,
            down: AtomicBool::new(false),
            full_tiles_only: AtomicBool::new(false),
            state: Mutex::new(state),
            asked: Mutex::new(Vec::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// `name+hash+key`: the value of GOSUMDB. Add a space and [`Running::url`] for a database that
    /// is asked directly.
    pub fn verifier_key(&self) -> &str {
        &self.inner.verifier_key
    }

    /// Makes its hashes known without an upstream.
    pub fn register(&self, module: &FakeModule) {
        let hashes = (module.h1(), module.go_mod_h1());
        self.inner.state.lock().registered.insert(key(module.path(), module.version()), hashes);
    }

    /// The record of this version will hold `wrong_h1` for the zip.
    ///
    /// # Panics
    /// When the record exists already: a log never changes.
    pub fn lie(&self, module: &str, version: &str, wrong_h1: &str) {
        let mut state = self.inner.state.lock();
        let key = key(module, version);
        assert!(!state.ids.contains_key(&key), "{module}@{version} is in the log: lie earlier");
        state.lies.insert(key, wrong_h1.to_owned());
    }

    /// Appends `count` records of modules that nobody asks for, so that tiles fill up.
    ///
    /// # Panics
    /// When the log holds no more.
    pub fn pad(&self, count: usize) {
        let mut state = self.inner.state.lock();
        for _ in 0..count {
            let path = format!("pad.test/n{}", state.tree.size());
            let module = FakeModule::new(&path, "v1.0.0");
            // The hash of the small go.mod will do for both: the zip is never compared.
            state.append(&key(&path, "v1.0.0"), &module.go_mod_h1(), &module.go_mod_h1());
        }
    }

    /// Every answer is 503 until it is up again.
    pub fn down(&self, down: bool) {
        self.inner.down.store(down, Ordering::Release);
    }

    /// A partial tile is 404 once its full tile exists, as a database may answer.
    pub fn full_tiles_only(&self, only: bool) {
        self.inner.full_tiles_only.store(only, Ordering::Release);
    }

    /// Another database with the same name and key whose log disagrees with this one from its first
    /// record on. It knows the same modules and tells the same lies.
    pub fn fork(&self) -> Self {
        let old = self.inner.state.lock();
        let mut state = State {
            registered: old.registered.clone(),
            lies: old.lies.clone(),
            sources: old.sources.clone(),
            ..State::default()
        };
        let other = FakeModule::new("fork.test/first", "v1.0.0");
        let other_key = key(other.path(), other.version());
        state.append(&other_key, &other.h1(), &other.go_mod_h1());
        let mut known: Vec<_> = old.ids.iter().collect();
        known.sort_by_key(|(_, id)| **id);
        for (key, id) in known {
            let text = old.tree.record(*id).expect("a numbered record is in the log");
            state.append_text(key, text);
        }
        drop(old);
        let Inner { name, signer_key, verifier_key, .. } = &*self.inner;
        Self::with_key(name, signer_key.clone(), verifier_key.clone(), state)
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.inner.state.lock().tree.size()
    }

    /// Paths asked below the database's root (`/lookup/…`, `/tile/…`, `/latest`), in order, through
    /// whichever door.
    ///
    /// # Panics
    /// When more were asked than are remembered.
    pub fn requests(&self) -> Vec<String> {
        let asked = self.inner.asked.lock();
        assert!(asked.len() < MAX_RECORDED, "{MAX_RECORDED} requests: clear the record in between");
        asked.clone()
    }

    /// Requests whose path begins so.
    pub fn count(&self, prefix: &str) -> usize {
        self.requests().iter().filter(|path| path.starts_with(prefix)).count()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.inner.asked.lock().clear();
    }

    /// Serves the database at an address of its own, as one that is asked directly.
    pub async fn start(&self) -> Running {
        let handler = Arc::new(Direct { database: self.clone(), log: Arc::default() });
        Running { server: Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), handler) }
    }

    pub(crate) fn attach_source(
        &self,
        source: impl Fn(&str, &str) -> Option<FakeModule> + Send + Sync + 'static,
    ) {
        self.inner.state.lock().sources.push(Arc::new(source));
    }

    /// The answer to a path below the database's root.
    pub(crate) fn page(&self, path: &str) -> Page {
        let mut asked = self.inner.asked.lock();
        if asked.len() < MAX_RECORDED {
            asked.push(path.to_owned());
        }
        drop(asked);
        if self.inner.down.load(Ordering::Acquire) {
            return Page::text(503, "the checksum database is down\n");
        }
        let found = if path == "/latest" {
            Some(self.inner.state.lock().tree.signed_head(&self.inner.signer).into_bytes())
        } else if let Some(asked) = path.strip_prefix("/lookup/") {
            self.lookup(asked)
        } else {
            self.tile(path.trim_start_matches('/'))
        };
        let missing = || Page::text(404, format!("not found: {path}\n"));
        let is_tile = path.starts_with("/tile/");
        let kind = if is_tile { "application/octet-stream" } else { "text/plain; charset=UTF-8" };
        found.map_or_else(missing, |body| Page::ok(kind, body))
    }

    fn lookup(&self, asked: &str) -> Option<Vec<u8>> {
        let (path, version) = asked.split_once('@')?;
        let key = (unescape(path).ok()?, unescape(version).ok()?);
        let mut state = self.inner.state.lock();
        let id = match state.ids.get(&key) {
            Some(id) => *id,
            None => {
                let (h1, go_mod_h1) = state.hashes(&key)?;
                state.append(&key, &h1, &go_mod_h1)
            }
        };
        Some(state.tree.lookup_answer(id, &self.inner.signer)?.into_bytes())
    }

    fn tile(&self, path: &str) -> Option<Vec<u8>> {
        let tile = Tile::parse(path).ok()?;
        let state = self.inner.state.lock();
        let is_dropped = self.inner.full_tiles_only.load(Ordering::Acquire)
            && !tile.is_full()
            && state.tree.tile(&tile.full()).is_some();
        if is_dropped { None } else { state.tree.tile(&tile) }
    }
}

impl State {
    /// What the record of a version will say.
    fn hashes(&self, key: &(String, String)) -> Option<(String, String)> {
        let known = self.registered.get(key).cloned().or_else(|| {
            let module = self.sources.iter().find_map(|source| source(&key.0, &key.1))?;
            Some((module.h1(), module.go_mod_h1()))
        })?;
        let h1 = self.lies.get(key).cloned().unwrap_or(known.0);
        Some((h1, known.1))
    }

    fn append(&mut self, key: &(String, String), h1: &str, go_mod_h1: &str) -> u64 {
        let (path, version) = key;
        let text = format!("{path} {version} {h1}\n{path} {version}/go.mod {go_mod_h1}\n");
        self.append_text(key, &text)
    }

    fn append_text(&mut self, key: &(String, String), text: &str) -> u64 {
        let id = self.tree.append(text).expect("the log holds one more record");
        self.ids.insert(key.clone(), id);
        id
    }
}

fn key(path: &str, version: &str) -> (String, String) {
    (path.to_owned(), version.to_owned())
}

/// A database served at an address of its own; dropping it closes the port.
pub struct Running {
    server: Server,
}

impl Running {
    /// `http://127.0.0.1:PORT`, without a final slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }
}

/// The database's own door. Like the public one, it knows no `/supported`.
struct Direct {
    database: ChecksumDb,
    log: Arc<Log>,
}

impl Handler for Direct {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Connection) -> Answer {
        let raw_path = request.uri().path();
        let path = decode_percent(raw_path);
        let flight = self.log.begin(request.method(), (raw_path, &path), request.headers());
        let response = plain(request.method(), self.database.page(&path), flight);
        // Only the database's own record is asked for; this one must not grow.
        self.log.clear();
        Box::pin(async move { Ok(response) })
    }
}

#[cfg(test)]
#[path = "checksum_db_tests.rs"]
mod tests;
