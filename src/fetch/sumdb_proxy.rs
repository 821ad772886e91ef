//! Serves checksum databases to clients under `/sumdb/NAME/`.
//!
//! Only the configured names are carried. Nothing of a client's request but its path goes upstream,
//! and no lookup of a private module ever does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::Policy;
use dipylon_middleware::request::SumDbRequest;
use dipylon_middleware::response::SumDbResponse;
use dipylon_middleware::stack::Stage;
use dipylon_middleware::telemetry::{Outcome, Phase};
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Patterns;
use dipylon_protocol::route::SumDbPath;
use dipylon_protocol::version::Version;

use super::sumdb_prover::Failure;
use super::sumdb_source::{Found, Freshness, SumDbSource};

/// How long a client waits for our own proof of what it looked up.
const MAX_PROOF_WAIT: Duration = Duration::from_secs(5);

/// The leaf behind `/sumdb/…`.
#[derive(Clone)]
pub struct SumDbProxy {
    source: SumDbSource,
    names: Arc<[String]>,
    private: Patterns,
    policy: Arc<dyn Policy>,
}

impl SumDbProxy {
    /// Serves the databases `names` (those of the configuration's `SumDBs`), except lookups of modules
    /// that match `private` (GONOSUMDB and `NoSumPatterns`; the decoded module path is matched) or whose
    /// name `policy` keeps from every upstream.
    pub fn new(
        source: SumDbSource,
        names: &[String],
        private: Patterns,
        policy: Arc<dyn Policy>,
    ) -> Self {
        Self { source, names: names.into(), private, policy }
    }

    fn is_private(&self, module: &ModulePath) -> bool {
        self.private.matches(module.as_str()) || self.policy.decide(module).is_secret()
    }

    /// Whether what is looked up is nobody's business but the client's.
    fn refuse_private(&self, name: &str, path: &SumDbPath) -> Result<(), Error> {
        match path.module() {
            Some(module) if self.is_private(module) => {
                let text = format!(
                    "{module} is private here and is not looked up in {name}: set GONOSUMDB or GOPRIVATE \
                     to cover it on the client"
                );
                Err(Error::new(ErrorKind::PrivateChecksum, text))
            }
            _ => Ok(()),
        }
    }

    async fn answer(self, request: SumDbRequest) -> Result<SumDbResponse, Error> {
        let SumDbRequest { context, name, path } = request;
        if !self.names.contains(&name) {
            let text = format!(
                "checksum database {name} is not carried here (SumDBs has: {})",
                self.names.join(", ")
            );
            return Err(Error::new(ErrorKind::InvalidPath, text));
        }
        // Answered here and never forwarded: the database itself has no such path.
        if path == SumDbPath::Supported {
            return Ok(SumDbResponse::new(Bytes::new(), Outcome::Ok));
        }
        self.refuse_private(&name, &path)?;
        let _waits = context.timings.enter(Phase::Verify);
        let mut found = match self.source.get(&name, &path, Freshness::Kept).await {
            Ok(found) => found,
            // A reload may have made it private meanwhile: "not found" would end a client's command.
            Err(error) => return self.refuse_private(&name, &path).and(Err(error)),
        };
        let mut stored = false;
        if matches!(found.outcome, Outcome::MissLeader | Outcome::MissFollower) {
            stored = self.source.hold(&name, &path, &found.bytes);
            if let SumDbPath::Lookup { module, version } = &path {
                found.proven = self.prove(&name, module, version).await;
            }
        }
        // A cache in between must not keep for ever what a later proof may contradict.
        let Found { bytes: body, outcome, proven: immutable, forward } = found;
        // Who shares a fetch keeps nothing: who leads it does.
        stored = (stored || immutable) && outcome == Outcome::MissLeader;
        Ok(SumDbResponse { body, immutable, stored, outcome, forward })
    }
}

impl SumDbProxy {
    /// Proves a record that was fetched for a client, and so keeps it and its tiles for ever; whether
    /// that went well. The client makes its own proof: whatever comes of ours, it gets its answer.
    async fn prove(&self, name: &str, module: &ModulePath, version: &Version) -> bool {
        let Some(prover) = self.source.prover(name) else { return false };
        let proving = prover.lookup(module, version, Freshness::Kept);
        match tokio::time::timeout(MAX_PROOF_WAIT, proving).await {
            Ok(Ok(_)) => return true,
            Ok(Err(Failure::Proof(error))) => {
                tracing::error!(
                    database = name, %module, %version, %error,
                    "SECURITY: an answer of the checksum database is not proven and is not kept"
                );
            }
            Ok(Err(Failure::Fetch(error))) => {
                tracing::warn!(database = name, %module, %version, %error, "not proven, not kept");
            }
            Err(_) => {
                tracing::warn!(database = name, %module, %version, "proof takes long, not kept");
            }
        }
        false
    }
}

impl fmt::Debug for SumDbProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SumDbProxy({:?})", self.names)
    }
}

impl Stage<SumDbRequest> for SumDbProxy {
    type Reply = SumDbResponse;

    fn run(
        &self,
        request: SumDbRequest,
    ) -> impl Future<Output = Result<SumDbResponse, Error>> + Send {
        self.clone().answer(request)
    }
}
