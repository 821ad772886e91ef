//! Verifies with the checksum database what a version's bytes must be, as the `go` command would.
//!
//! Source followed: the `go` command's `modfetch.useSumDB` and golang/mod `sumdb.Client`; the proofs are
//! made by [`dipylon_protocol::sumdb::client`], this module does its I/O.

use std::sync::Arc;

use dipylon_middleware::explain::{Facts, Subject, Tells};
use dipylon_middleware::ports::{BoxFuture, Expected, Verifier};
use dipylon_middleware::request::RequestContext;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Patterns;
use dipylon_protocol::route::SumDbPath;
use dipylon_protocol::sumdb::{Database, SumError};
use dipylon_protocol::version::Version;
use serde_json::json;

use super::ExtraStore;
use super::environment::{GoSettings, SumDbSetting};
use super::sumdb_prover::{Failure, Prover};
use super::sumdb_source::{Freshness, SumDbSource};
use super::trusted_head::TrustedHead;

/// The module that toolchains are downloaded as: no go.sum can list it, so it is always verified.
const TOOLCHAIN: &str = "golang.org/toolchain";

/// The checksum database as a [`Verifier`].
pub struct ChecksumDatabase {
    prover: Option<Prover>,
    exempt: Patterns,
    toolchain_is_exempt: bool,
}

impl ChecksumDatabase {
    /// A verifier by the Go settings. `source` must know the database they name.
    pub fn new(settings: &GoSettings, source: SumDbSource, store: Arc<dyn ExtraStore>) -> Self {
        let database = match &settings.sumdb {
            SumDbSetting::Off => None,
            SumDbSetting::Database(database) => Some((**database).clone()),
        };
        let prover = database.map(|database| {
            // One head for a database in one process, whoever looks something up.
            let head = source.head_of(&database.name);
            let head = head.unwrap_or_else(|| Arc::new(TrustedHead::new(&database.name, store)));
            Prover { database, head, source }
        });
        Self {
            prover,
            exempt: settings.no_sum.clone(),
            toolchain_is_exempt: settings.proxies.is_only_tree(),
        }
    }

    async fn verify(&self, module: &ModulePath, version: &Version) -> Result<Expected, Error> {
        let is_toolchain = module.as_str() == TOOLCHAIN && !self.toolchain_is_exempt;
        if !is_toolchain && (self.prover.is_none() || self.exempt.matches(module.as_str())) {
            return Ok(Expected::Exempt);
        }
        let Some(prover) = &self.prover else {
            let text = format!(
                "{module}@{version} must be verified and GOSUMDB=off forbids it: set GOSUMDB on the \
                 gateway"
            );
            return Err(Error::new(ErrorKind::ChecksumUnavailable, text));
        };
        let asked = Asked { database: &prover.database, module, version };
        let record = match prover.lookup(module, version, Freshness::Kept).await {
            // What was kept may be damaged; the database itself has the last word.
            Err(Failure::Proof(error)) if !matches!(error, SumError::NotFound { .. }) => {
                tracing::warn!(%error, %module, %version, "lookup failed, asking afresh");
                prover.lookup(module, version, Freshness::Fetched).await
            }
            other => other,
        };
        let record = record.map_err(|failure| asked.explain(failure))?;
        match (record.zip, record.go_mod) {
            (Some(zip), Some(go_mod)) => Ok(Expected::Hashes { zip, go_mod }),
            _ => {
                let why = "its record lacks the hash of the zip or of the go.mod";
                Err(asked.unavailable(&why))
            }
        }
    }
}

impl Verifier for ChecksumDatabase {
    fn expected<'a>(
        &'a self,
        _: &'a RequestContext,
        module: &'a ModulePath,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<Expected, Error>> {
        Box::pin(self.verify(module, version))
    }
}

impl Tells for ChecksumDatabase {
    /// What has been said before; nobody is asked.
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        Box::pin(async {
            let is_exempt = self.exempt.matches(about.module.as_str());
            let Some(prover) = &self.prover else { return json!({ "database": "off" }) };
            let name = prover.database.name.as_str();
            let mut told = json!({ "database": name, "exempt": is_exempt });
            let version = about.version.as_ref().and_then(|version| version.canonical());
            let Some(version) = version.filter(|_| !is_exempt) else { return told };
            let path = SumDbPath::Lookup { module: about.module.clone(), version: version.clone() };
            if let Some((record, proven)) = prover.source.known(name, &path).await {
                let record = String::from_utf8_lossy(&record);
                let names = [about.module.as_str(), version.as_str()];
                told["zip"] = hash_of(&record, names, "").into();
                told["go_mod"] = hash_of(&record, names, "/go.mod").into();
                told["proven"] = proven.into();
            }
            told
        })
    }
}

/// The hash in the line of a record that is about a file of this module and version.
fn hash_of(record: &str, [module, version]: [&str; 2], file: &str) -> Option<String> {
    let named = format!("{module} {version}{file} ");
    record.lines().find_map(|line| line.strip_prefix(&named)).map(str::to_owned)
}

struct Asked<'a> {
    database: &'a Database,
    module: &'a ModulePath,
    version: &'a Version,
}

impl Asked<'_> {
    fn explain(&self, failure: Failure) -> Error {
        let Self { database: Database { name, .. }, module, version, .. } = self;
        match failure {
            Failure::Fetch(error) if error.kind() == ErrorKind::ChecksumUnavailable => error,
            // The database must not be told the name any more, which says nothing of it.
            Failure::Fetch(error) if error.kind() == ErrorKind::NotStored => error,
            Failure::Fetch(error) => self.unavailable(&error),
            Failure::Proof(SumError::NotFound { .. }) => {
                let text = format!(
                    "checksum database {name} does not know {module}@{version}: if it is private, \
                     set GONOSUMDB or NoSumPatterns on the gateway and GONOSUMDB on the client"
                );
                Error::new(ErrorKind::PrivateChecksum, text)
            }
            Failure::Proof(error @ (SumError::Fork { .. } | SumError::BadProof { .. })) => {
                tracing::error!(
                    database = %name, %module, %version, %error,
                    "SECURITY: the checksum database contradicts itself"
                );
                let text = format!("SECURITY: {module}@{version}: {name}: {error}");
                Error::new(ErrorKind::ChecksumMismatch, text)
            }
            Failure::Proof(error) => self.unavailable(&error),
        }
    }

    fn unavailable(&self, why: &dyn std::fmt::Display) -> Error {
        let Self { database: Database { name, .. }, module, version, .. } = self;
        let text = format!("{module}@{version} cannot be verified with {name}: {why}");
        Error::new(ErrorKind::ChecksumUnavailable, text)
    }
}
