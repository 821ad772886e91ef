//! Objects that are written, replaced and removed on conditions, in S3 and in Google Cloud Storage.

use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::LockError;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::clock::age;
use super::wire::{Call, Lane, Wire, code_of, in_path, in_query, refused};
use crate::storage::object::{Answer, Dialect};

/// Tells one writing of an object from another: an `ETag`, or a generation.
pub(super) type Tag = String;

/// What a conditional write came to. A server that is busy is an error, and none of these.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// It is written.
    Done(Tag),
    /// The condition does not hold.
    Refused,
    /// Another writes it at this moment.
    Contended,
    /// The server does not know such conditions.
    Unknown,
}

/// What a removal came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Removal {
    Done,
    Refused,
    Contended,
    Unknown,
}

/// An object as it was read.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) tag: Tag,
    pub(super) body: Bytes,
    /// How long ago it was written, by the store's clock.
    pub(super) age: Duration,
}

/// The part of Google's description of an object that is its tag.
#[derive(Deserialize)]
struct Described {
    generation: String,
}

/// The objects of a bucket.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) wire: Wire,
}

impl Objects {
    fn is_s3(&self) -> bool {
        self.wire.access.dialect == Dialect::S3
    }

    /// The URL of an object.
    fn url(&self, name: &str) -> String {
        let access = &self.wire.access;
        match self.is_s3() {
            true => format!("{}/{}", access.base, in_path(name)),
            false => {
                let (base, bucket) = (&access.base, in_query(&access.bucket));
                format!("{base}/storage/v1/b/{bucket}/o/{}", in_query(name))
            }
        }
    }

    /// Writes an object where there is none.
    pub(super) async fn create(
        &self,
        lane: Lane,
        name: &str,
        body: Bytes,
    ) -> Result<Write, LockError> {
        let call = match self.is_s3() {
            true => Call::new(Method::PUT, self.url(name)).with(IF_NONE_MATCH.as_str(), "*"),
            false => self.upload(name, "0"),
        };
        self.write(lane, Call { body, ..call }).await
    }

    /// Writes an object in place of the one that has `tag`.
    pub(super) async fn replace(
        &self,
        lane: Lane,
        name: &str,
        body: Bytes,
        tag: &str,
    ) -> Result<Write, LockError> {
        let call = match self.is_s3() {
            true => Call::new(Method::PUT, self.url(name)).with(IF_MATCH.as_str(), tag),
            false => self.upload(name, tag),
        };
        self.write(lane, Call { body, ..call }).await
    }

    fn upload(&self, name: &str, generation: &str) -> Call {
        let access = &self.wire.access;
        let (base, bucket) = (&access.base, in_query(&access.bucket));
        let (name, generation) = (in_query(name), in_query(generation));
        let url = format!(
            "{base}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}\
             &ifGenerationMatch={generation}"
        );
        Call::new(Method::POST, url)
    }

    async fn write(&self, lane: Lane, call: Call) -> Result<Write, LockError> {
        let call = call.with(CONTENT_TYPE.as_str(), "application/json");
        let answer = self.wire.send(lane, &call).await?;
        match answer.status {
            status if status.is_success() => self.tag(&answer, true).map(Write::Done),
            StatusCode::PRECONDITION_FAILED => Ok(Write::Refused),
            StatusCode::CONFLICT => Ok(Write::Contended),
            // What was to be replaced is gone.
            StatusCode::NOT_FOUND if is_of_an_object(&answer) => Ok(Write::Refused),
            StatusCode::NOT_IMPLEMENTED => Ok(Write::Unknown),
            _ => Err(refused("write a lock", &answer)),
        }
    }

    /// An object; `None` where there is none.
    pub(super) async fn read(&self, lane: Lane, name: &str) -> Result<Option<Seen>, LockError> {
        let url = match self.is_s3() {
            true => self.url(name),
            false => format!("{}?alt=media", self.url(name)),
        };
        let answer = self.wire.send(lane, &Call::new(Method::GET, url)).await?;
        match answer.status {
            StatusCode::OK => {
                let (tag, age) = (self.tag(&answer, false)?, age(&answer.headers));
                Ok(Some(Seen { tag, age: age.unwrap_or_default(), body: answer.body }))
            }
            StatusCode::NOT_FOUND if is_of_an_object(&answer) => Ok(None),
            _ => Err(refused("read a lock", &answer)),
        }
    }

    /// Removes an object that has `tag`, or whatever lies there.
    pub(super) async fn remove(
        &self,
        lane: Lane,
        name: &str,
        tag: Option<&str>,
    ) -> Result<Removal, LockError> {
        let url = self.url(name);
        let call = match (self.is_s3(), tag) {
            (_, None) => Call::new(Method::DELETE, url),
            (true, Some(tag)) => Call::new(Method::DELETE, url).with(IF_MATCH.as_str(), tag),
            (false, Some(tag)) => {
                let url = format!("{url}?ifGenerationMatch={}", in_query(tag));
                Call::new(Method::DELETE, url)
            }
        };
        let answer = self.wire.send(lane, &call).await?;
        match answer.status {
            status if status.is_success() => Ok(Removal::Done),
            StatusCode::PRECONDITION_FAILED => Ok(Removal::Refused),
            StatusCode::NOT_FOUND if is_of_an_object(&answer) => Ok(match tag {
                Some(_) => Removal::Refused,
                None => Removal::Done,
            }),
            StatusCode::CONFLICT => Ok(Removal::Contended),
            StatusCode::NOT_IMPLEMENTED | StatusCode::BAD_REQUEST if tag.is_some() => {
                Ok(Removal::Unknown)
            }
            _ => Err(refused("remove a lock", &answer)),
        }
    }

    fn tag(&self, answer: &Answer, is_written: bool) -> Result<Tag, LockError> {
        let header = |name: &str| {
            let value = answer.headers.get(name).and_then(|value| value.to_str().ok());
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let tag = match (self.is_s3(), is_written) {
            (true, _) => header(ETAG.as_str()),
            (false, true) => {
                serde_json::from_slice(&answer.body).ok().map(|seen: Described| seen.generation)
            }
            (false, false) => header("x-goog-generation"),
        };
        tag.ok_or_else(|| LockError::new("the store does not say which writing of a lock it is"))
    }
}

/// Whether a 404 is about the object, and not about the bucket or the user.
fn is_of_an_object(answer: &Answer) -> bool {
    match code_of(&answer.body) {
        Some(code) => matches!(code.as_str(), "NoSuchKey" | "NoSuchVersion" | "NotFound"),
        // Google says it in a sentence alone.
        None => !String::from_utf8_lossy(&answer.body).contains("bucket does not exist"),
    }
}
