//! The collections of one store, and how they are asked: every wait for the server has an end, and an
//! error says what was tried and where.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::error::{Error, ErrorKind};
use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};
use mongodb::{Client, Collection, Cursor, Database};

use super::failure::Failure;
use super::layout::{CHUNKS, EXTRAS, FILES, SAVING};

/// Longest wait for one answer of the server. A batch of chunks, sent at 40 kB/s, fits in.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The collections of one store.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) database: Database,
    pub(super) modules: Collection<Document>,
    pub(super) files: Collection<Document>,
    pub(super) chunks: Collection<RawDocumentBuf>,
    pub(super) saving: Collection<Document>,
    pub(super) extras: Collection<Document>,
    /// `database.collection`, as messages show it.
    pub(super) shown: Arc<str>,
}

impl Place {
    pub(super) fn new(client: &Client, database: &str, collection: &str) -> Self {
        let database = client.database(database);
        let ours = |suffix: &str| database.collection(&format!("{collection}{suffix}"));
        Self {
            modules: database.collection(collection),
            files: database.collection(FILES),
            chunks: database.collection(CHUNKS),
            saving: ours(SAVING),
            extras: ours(EXTRAS),
            shown: format!("{}.{collection}", database.name()).into(),
            database,
        }
    }

    /// The error for something that could not be done: `what` follows the word "cannot".
    pub(super) fn failed(&self, what: &str, failure: &Failure) -> Error {
        let text = format!("mongo storage cannot {what} in {}: {}", self.shown, failure.told());
        match failure.is_unreachable() {
            true => {
                Error::new(ErrorKind::StorageUnavailable, text).with_cause(failure.told_to_others())
            }
            false => Error::new(ErrorKind::Storage, text),
        }
    }

    /// An error of ours about something stored.
    pub(super) fn wrong(&self, what: &str) -> Error {
        Error::new(ErrorKind::Storage, format!("mongo storage: in {} {what}", self.shown))
    }

    /// The server's clock. Ages are measured by it alone, so the clocks of gateways need not agree.
    pub(super) async fn now(&self) -> Result<DateTime, Failure> {
        let hello = call(self.database.run_command(doc! { "hello": 1 })).await?;
        Ok(hello.get_datetime("localTime").copied().unwrap_or_else(|_| DateTime::now()))
    }
}

/// Waits for one answer.
pub(super) async fn call<T, A>(action: A) -> Result<T, Failure>
where
    A: IntoFuture<Output = mongodb::error::Result<T>>,
{
    match tokio::time::timeout(ANSWER_TIMEOUT, action.into_future()).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Slow(ANSWER_TIMEOUT)),
    }
}

/// Every document that is found, up to a limit.
pub(super) async fn collect<A>(action: A, documents_max: usize) -> Result<Vec<Document>, Failure>
where
    A: IntoFuture<Output = mongodb::error::Result<Cursor<Document>>>,
{
    let mut cursor = call(action).await?;
    let mut found = Vec::new();
    while found.len() < documents_max && call(cursor.advance()).await? {
        found.push(cursor.deserialize_current()?);
    }
    Ok(found)
}
