//! A fake upstream: the GOPROXY protocol on loopback, right by default, wrong on demand.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use dipylon_testkit::{module::FakeModule, upstream::{Fault, Upstream, When}};
//! let upstream = Upstream::start().await;
//! upstream.add(FakeModule::new("example.com/a", "v1.0.0"));
//! upstream.fault(When::suffix(".zip").times(1), Fault::TruncateAt(10));
//! # });
//! ```

mod body;
mod catalogue;
mod fault;
mod log;
mod serve;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use self::catalogue::Generator;
pub use self::fault::{Fault, Gate, When};
pub use self::log::{End, Recorded};
pub(crate) use self::{catalogue::Page, log::Log, serve::decode_percent, serve::plain};

use self::serve::Shared;
use crate::checksum_db::ChecksumDb;
use crate::module::FakeModule;
use crate::server::Server;

/// A running fake upstream. Its modules and faults can be changed at any time; dropping it closes
/// its port and every connection.
pub struct Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Mutex<Option<Server>>,
}

impl Upstream {
    /// Starts on a free port of 127.0.0.1, with no modules.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts where it is told to.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn start_on(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let server = Server::start(address, shared.clone());
        Self { shared, address: server.address(), server: Mutex::new(Some(server)) }
    }

    /// `http://127.0.0.1:PORT`, without a final slash: a GOPROXY entry.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and every connection: clients are refused until [`Upstream::restart`].
    pub fn stop(&self) {
        drop(self.server.lock().take());
    }

    /// Listens again on the same port, with the same modules, faults and record.
    pub fn restart(&self) {
        let mut server = self.server.lock();
        if server.is_none() {
            *server = Some(Server::start(self.address, self.shared.clone()));
        }
    }

    // === Modules ===

    /// Adds a module version, or moves its tag when the version is there already.
    pub fn add(&self, module: FakeModule) {
        // The zip is made here, on the test's thread, not while others wait for answers.
        let _ = module.zip();
        self.shared.modules.lock().add(module);
    }

    /// What was never added is made up by `generator`, and made up anew for each request.
    pub fn generate(&self, generator: impl Generator + 'static) {
        self.shared.modules.lock().generate(Box::new(generator));
    }

    /// Makes a module path known that has no versions: an empty list, no latest.
    pub fn add_path(&self, path: &str) {
        self.shared.modules.lock().add_path(path);
    }

    /// Takes a version away.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, path: &str, version: &str) {
        let was_there = self.shared.modules.lock().remove(path, version);
        assert!(was_there, "the upstream has no {path}@{version} to remove");
    }

    /// Takes a module away with all its versions and queries, as when a repository is deleted.
    pub fn remove_path(&self, path: &str) {
        self.shared.modules.lock().remove_path(path);
    }

    /// `.info` of `query` (a branch, a commit prefix, `v1`) answers with `version`, which must have
    /// been added to be found.
    pub fn query(&self, path: &str, query: &str, version: &str) {
        self.shared.modules.lock().query(path, query, version);
    }

    /// Serves `/sumdb/NAME/` of this database, which makes records for this upstream's modules.
    pub fn attach(&self, database: &ChecksumDb) {
        let modules = Arc::downgrade(&self.shared);
        database.attach_source(move |path, version| {
            modules.upgrade()?.modules.lock().get(path, version).cloned()
        });
        *self.shared.database.lock() = Some(database.clone());
    }

    // === Faults ===

    /// Breaks the answers to these requests. Rules are asked in the order given.
    pub fn fault(&self, when: impl Into<When>, fault: Fault) {
        self.shared.rules.lock().add(when.into(), fault);
    }

    /// From now on every answer is right.
    pub fn clear_faults(&self) {
        self.shared.rules.lock().clear();
    }

    /// Every answer is late by so much.
    pub fn latency(&self, latency: Duration) {
        *self.shared.latency.lock() = latency;
    }

    /// Requests must carry exactly this `Authorization`, else they get 401; `None` lifts it.
    pub fn require_authorization(&self, value: Option<&str>) {
        *self.shared.authorization.lock() = value.map(str::to_owned);
    }

    // === The record ===

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.all()
    }

    /// GET requests for this path, with `!` escapes (`/github.com/!azure/x/@v/v1.0.0.zip`).
    pub fn count(&self, path: &str) -> usize {
        self.shared.log.count(|seen| seen.method == http::Method::GET && seen.path == path)
    }

    /// Requests of any kind, for any path.
    pub fn total(&self) -> usize {
        self.shared.log.count(|_| true)
    }

    /// Requests that have not ended.
    pub fn in_flight(&self) -> usize {
        self.shared.log.in_flight()
    }

    /// The most requests that were in flight at one time since the start, or the last clear.
    pub fn max_in_flight(&self) -> usize {
        self.shared.log.max_in_flight()
    }

    /// Forgets the requests seen.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }
}
