//! Asking upstreams: module proxies natively, repositories through the `go` command, and the checksum
//! database.
//!
//! * [`environment`] says which upstreams there are ([`goproxy_setting`] is the grammar).
//! * [`goproxy_list`] walks the list; each entry is a [`proxy_client`], a [`file_tree`] or the
//!   [`go_command`].
//! * [`http_client`] is the one HTTP client; every wait and every buffer is bounded there.
//! * [`checksum`] proves what a version's bytes must be; [`sumdb_source`] fetches and keeps what that
//!   takes, and [`sumdb_proxy`] serves it to clients.
//!
//! Nothing here retries, breaks circuits or counts slots: the layers around each entry do.

pub mod base_url;
pub mod by_policy;
pub mod checksum;
mod content;
pub mod environment;
pub mod file_tree;
pub mod go_command;
pub mod go_env;
pub mod goproxy_list;
pub mod goproxy_setting;
mod http_body;
pub mod http_client;
pub(crate) mod http_connector;
pub(crate) mod http_redirect;
mod http_status;
pub(crate) mod http_tls;
pub mod proxy_client;
mod sumdb_answer;
mod sumdb_cache;
mod sumdb_prover;
pub mod sumdb_proxy;
pub(crate) mod sumdb_route;
mod sumdb_site;
pub mod sumdb_source;
mod trusted_head;

use bytes::Bytes;
use dipylon_middleware::Error;
use dipylon_middleware::ports::BoxFuture;

/// Files of ours beside the stored versions, below `.dipylon/`: where what the checksum database
/// answered is kept. A key is a relative path of plain elements.
pub trait ExtraStore: Send + Sync + 'static {
    /// A file, or `None` where there is none.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>>;
    /// Writes a file, atomically; the last write stays.
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>>;
}
