//! Whether the server is one of ours: asked before the first call, and again by each check.

use std::sync::atomic::{AtomicU8, Ordering};

use dipylon_middleware::error::Error;
use dipylon_protocol::path::ModulePath;
use http::StatusCode;

use super::Engine;
use super::link::Reply;
use super::wire::{CHECK_PATH, list_path};

const UNKNOWN: u8 = 0;
const FOREIGN: u8 = 1;
const OURS: u8 = 2;

/// A module that nobody has: the top-level name is reserved for that (RFC 2606).
const NOBODYS_MODULE: &str = "dipylon.invalid/check";

const WHAT: &str = "look at the server";

/// What is known of the server.
#[derive(Debug, Default)]
pub(super) struct Peer(AtomicU8);

/// What a look at the server may find.
pub(super) enum Trouble {
    /// It does not answer, or says that it cannot now.
    Unreachable(Error),
    /// It refuses us.
    Refused(Error),
}

impl Engine {
    /// Whether the server has the extension.
    pub(super) async fn is_ours(&self) -> Result<bool, Error> {
        if self.peer.0.load(Ordering::Relaxed) == UNKNOWN {
            self.probe().await.map_err(|trouble| match trouble {
                Trouble::Unreachable(error) | Trouble::Refused(error) => error,
            })?;
        }
        Ok(self.peer.0.load(Ordering::Relaxed) == OURS)
    }

    /// Looks at the server, and remembers whether it is one of ours.
    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        let reply = self.ask(CHECK_PATH).await?;
        if reply.is_of_ours() {
            self.peer.0.store(OURS, Ordering::Relaxed);
            return match reply.status {
                StatusCode::OK => Ok(()),
                _ => Err(Trouble::Unreachable(reply.refusal().await)),
            };
        }
        // A balancer may answer in place of its servers: that says nothing of what they are.
        if reply.status.is_server_error() && reply.status != StatusCode::NOT_IMPLEMENTED {
            return Err(Trouble::Unreachable(reply.refusal().await));
        }
        self.works_as_foreign().await?;
        if self.peer.0.swap(FOREIGN, Ordering::Relaxed) != FOREIGN {
            tracing::info!(
                server = %self.link.base(),
                "the external storage server is not one of ours: no catalogue, and extras in memory"
            );
        }
        Ok(())
    }

    /// Whether a server that does not know our paths knows Athens's.
    async fn works_as_foreign(&self) -> Result<(), Trouble> {
        let module = ModulePath::parse(NOBODYS_MODULE).expect("the constant is a module path");
        let reply = self.ask(&list_path(&module)).await?;
        match reply.status {
            // None of its lists could be believed.
            StatusCode::OK if reply.ends_by_close => {
                Err(Trouble::Unreachable(reply.without_an_end()))
            }
            StatusCode::OK => Ok(()),
            _ if reply.is_absent() => Ok(()),
            status if status.is_server_error() => Err(Trouble::Unreachable(reply.refusal().await)),
            _ => Err(Trouble::Refused(reply.refusal().await)),
        }
    }

    async fn ask(&self, path: &str) -> Result<Reply, Trouble> {
        let asked = self.link.get(WHAT, path, None).await;
        asked.map_err(|failure| Trouble::Unreachable(self.link.failed(WHAT, path, &failure)))
    }
}
