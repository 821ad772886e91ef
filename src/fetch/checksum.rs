//! Verifies with the checksum database what a version's bytes must be, as the `go` command would.
//!
//! Source followed: the `go` command's `modfetch.useSumDB` and golang/mod `sumdb.Client`; the proofs are
//! made by [`dipylon_protocol::sumdb::client`], this module does its I/O.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::ports::{BoxFuture, Expected, Verifier};
use dipylon_middleware::request::RequestContext;
use dipylon_middleware::telemetry::span::traceparent;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Patterns;
use dipylon_protocol::route::SumDbPath;
use dipylon_protocol::sumdb::{Database, SumError, TreeHead};
use dipylon_protocol::sumdb::client::{Lookup, Missing, Record, Step};
use dipylon_protocol::version::Version;
use futures::future::join_all;

use super::ExtraStore;
use super::environment::{GoSettings, SumDbSetting};
use super::sumdb_source::{Freshness, SumDbSource};
use super::trusted_head::TrustedHead;

/// The module that toolchains are downloaded as: no go.sum can list it, so it is always verified.
const TOOLCHAIN: &str = "golang.org/toolchain";
/// Most rounds of fetching in one lookup; three are the protocol's most.
const MAX_ROUNDS: usize = 8;
/// How often a proof is made again because other lookups have advanced the tree head.
const MAX_RACES: usize = 32;

/// The checksum database as a [`Verifier`].
pub struct ChecksumDatabase {
    database: Option<Database>,
    exempt: Patterns,
    toolchain_is_exempt: bool,
    source: SumDbSource,
    head: TrustedHead,
}

impl ChecksumDatabase {
    /// A verifier by the Go settings. `source` must know the database they name.
    pub fn new(settings: &GoSettings, source: SumDbSource, store: Arc<dyn ExtraStore>) -> Self {
        let database = match &settings.sumdb {
            SumDbSetting::Off => None,
            SumDbSetting::Database(database) => Some((**database).clone()),
        };
        let name = database.as_ref().map_or("off", |database| database.name.as_str());
        Self {
            head: TrustedHead::new(name, store),
            database,
            exempt: settings.no_sum.clone(),
            toolchain_is_exempt: settings.proxies.is_only_tree(),
            source,
        }
    }

    async fn verify(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &Version,
    ) -> Result<Expected, Error> {
        let is_toolchain = module.as_str() == TOOLCHAIN && !self.toolchain_is_exempt;
        if !is_toolchain && (self.database.is_none() || self.exempt.matches(module.as_str())) {
            return Ok(Expected::Exempt);
        }
        let Some(database) = &self.database else {
            let text = format!(
                "{module}@{version} must be verified and GOSUMDB=off forbids it: set GOSUMDB on the \
                 gateway"
            );
            return Err(Error::new(ErrorKind::ChecksumUnavailable, text));
        };
        let asked = Asked { database, module, version, traceparent: traceparent(&context.trace) };
        let record = match self.lookup(&asked, Freshness::Kept).await {
            // What was kept may be damaged; the database itself has the last word.
            Err(Failure::Proof(error)) if !matches!(error, SumError::NotFound { .. }) => {
                tracing::warn!(%error, %module, %version, "lookup failed, asking afresh");
                self.lookup(&asked, Freshness::Fetched).await
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

    /// Proves the record against every head known, and advances the trusted one.
    async fn lookup(&self, asked: &Asked<'_>, freshness: Freshness) -> Result<Record, Failure> {
        for _ in 0..MAX_RACES {
            let known = self.head.known().await?;
            let mut record = self.prove(asked, known.trusted, freshness).await?;
            if known.other.is_some() {
                let other = self.prove(asked, known.other, freshness).await?;
                if other.head.size > record.head.size {
                    record.head = other.head;
                }
            }
            if self.head.advance(known, record.head).await {
                return Ok(record);
            }
        }
        let text = format!("the tree head moved {MAX_RACES} times during one lookup: try again");
        Err(Failure::Fetch(Error::new(ErrorKind::ChecksumUnavailable, text)))
    }

    async fn prove(
        &self,
        asked: &Asked<'_>,
        known: Option<TreeHead>,
        freshness: Freshness,
    ) -> Result<Record, Failure> {
        let mut lookup = Lookup::new(asked.database, known, asked.module, asked.version);
        let mut answers: Vec<(SumDbPath, String, Bytes)> = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let paths = match lookup.step()? {
                Step::Done(record) => {
                    self.keep(asked, &record, &answers).await;
                    return Ok(record);
                }
                Step::Fetch(paths) => paths,
            };
            for (text, path, answer) in join_all(paths.into_iter().map(|text| {
                let path = asked.path(&text);
                async move {
                    let answer = self.fetch(asked, &path, freshness).await;
                    (text, path, answer)
                }
            }))
            .await
            {
                match answer? {
                    Some(bytes) => {
                        lookup.provide(&text, Ok(bytes.clone()));
                        answers.push((path, text, bytes));
                    }
                    None => lookup.provide(&text, Err(Missing)),
                }
            }
        }
        let text = format!("one lookup took more than {MAX_ROUNDS} rounds");
        Err(Failure::Fetch(Error::new(ErrorKind::ChecksumUnavailable, text)))
    }

    /// One answer, or `None` where the database has none.
    async fn fetch(
        &self,
        asked: &Asked<'_>,
        path: &SumDbPath,
        freshness: Freshness,
    ) -> Result<Option<Bytes>, Failure> {
        let name = &asked.database.name;
        match self.source.get(name, path, freshness, asked.traceparent.clone()).await {
            Ok(found) => Ok(Some(found.bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::Fetch(error)),
        }
    }

    /// Only what is proven is kept.
    async fn keep(
        &self,
        asked: &Asked<'_>,
        record: &Record,
        answers: &[(SumDbPath, String, Bytes)],
    ) {
        let name = &asked.database.name;
        let proven = answers.iter().filter(|(_, text, _)| record.proven.contains(text));
        join_all(proven.map(|(path, _, bytes)| self.source.keep(name, path, bytes))).await;
    }
}

impl Verifier for ChecksumDatabase {
    fn expected<'a>(
        &'a self,
        context: &'a RequestContext,
        module: &'a ModulePath,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<Expected, Error>> {
        Box::pin(self.verify(context, module, version))
    }
}

/// Why a lookup failed.
enum Failure {
    /// The database was asked and its answers do not add up, or there is no record.
    Proof(SumError),
    /// It could not be asked.
    Fetch(Error),
}

impl From<SumError> for Failure {
    fn from(error: SumError) -> Self {
        Self::Proof(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Fetch(error)
    }
}

struct Asked<'a> {
    database: &'a Database,
    module: &'a ModulePath,
    version: &'a Version,
    traceparent: Option<String>,
}

impl Asked<'_> {
    /// The path that a step asks for, typed. A step asks for its lookup and for tiles only.
    fn path(&self, text: &str) -> SumDbPath {
        let text = text.trim_start_matches('/');
        if text.starts_with("tile/") {
            return SumDbPath::Tile(text.to_owned());
        }
        SumDbPath::Lookup { module: self.module.clone(), version: self.version.clone() }
    }

    fn explain(&self, failure: Failure) -> Error {
        let Self { database: Database { name, .. }, module, version, .. } = self;
        match failure {
            Failure::Fetch(error) if error.kind() == ErrorKind::ChecksumUnavailable => error,
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
