//! Proves records of one checksum database, and keeps what is proven.
//!
//! The proofs are made by [`dipylon_protocol::sumdb::client`]; this module does their I/O.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::SumDbPath;
use dipylon_protocol::sumdb::client::{Lookup, Missing, Record, Step};
use dipylon_protocol::sumdb::{Database, SumError, TreeHead};
use dipylon_protocol::version::Version;
use futures::future::join_all;

use super::sumdb_source::{Freshness, SumDbSource};
use super::trusted_head::TrustedHead;

/// Most rounds of fetching in one lookup; three are the protocol's most.
const MAX_ROUNDS: usize = 8;
/// How often a proof is made again because other lookups have advanced the tree head.
const MAX_RACES: usize = 32;

/// Proves what one database says, against the one trusted head.
pub(crate) struct Prover {
    pub(crate) database: Database,
    pub(crate) head: Arc<TrustedHead>,
    pub(crate) source: SumDbSource,
}

/// Why a lookup failed.
pub(crate) enum Failure {
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

/// What is looked up.
#[derive(Clone, Copy)]
struct Asked<'a> {
    module: &'a ModulePath,
    version: &'a Version,
    freshness: Freshness,
}

impl Prover {
    /// Proves the record against every head known, advances the trusted one, and keeps what is proven.
    pub(crate) async fn lookup(
        &self,
        module: &ModulePath,
        version: &Version,
        freshness: Freshness,
    ) -> Result<Record, Failure> {
        let asked = Asked { module, version, freshness };
        for _ in 0..MAX_RACES {
            let known = self.head.known().await?;
            let mut record = self.prove(asked, known.trusted).await?;
            if known.other.is_some() {
                let other = self.prove(asked, known.other).await?;
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

    async fn prove(&self, asked: Asked<'_>, known: Option<TreeHead>) -> Result<Record, Failure> {
        let mut lookup = Lookup::new(&self.database, known, asked.module, asked.version);
        let mut answers: Vec<(SumDbPath, String, Bytes)> = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let paths = match lookup.step()? {
                Step::Done(record) => {
                    self.keep(&record, &answers).await;
                    return Ok(record);
                }
                Step::Fetch(paths) => paths,
            };
            for (text, path, answer) in join_all(paths.into_iter().map(|text| {
                let path = asked.path(&text);
                async move {
                    let answer = self.fetch(&path, asked.freshness).await;
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
        path: &SumDbPath,
        freshness: Freshness,
    ) -> Result<Option<Bytes>, Failure> {
        match self.source.get(&self.database.name, path, freshness).await {
            Ok(found) => Ok(Some(found.bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::Fetch(error)),
        }
    }

    /// Only what is proven is kept.
    async fn keep(&self, record: &Record, answers: &[(SumDbPath, String, Bytes)]) {
        let name = &self.database.name;
        let proven = answers.iter().filter(|(_, text, _)| record.proven.contains(text));
        join_all(proven.map(|(path, _, bytes)| self.source.keep(name, path, bytes))).await;
    }
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
}
