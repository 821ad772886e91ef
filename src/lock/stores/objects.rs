//! Objects that are written, replaced and removed on conditions, in S3 and in Google Cloud Storage.

use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::LockError;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::clock::age;
use super::wire::{Call, Errand, Wire, code_of, in_path, in_query, refused};
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

/// What a write was answered with.
enum Written {
    Known(Write),
    /// There is no such object.
    Missing(LockError),
}

/// What a removal came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Removal {
    Done,
    Refused,
    Contended,
    /// It was sent twice, and the second found nothing to remove: the first may have removed it.
    Unsure,
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
        errand: Errand,
        name: &str,
        body: Bytes,
    ) -> Result<Write, LockError> {
        let call = match self.is_s3() {
            true => Call::new(Method::PUT, self.url(name)).with(IF_NONE_MATCH.as_str(), "*"),
            false => self.upload(name, "0"),
        };
        match self.write(errand, call.with_body(body)).await? {
            // There is nothing that could be missing but the way here.
            Written::Missing(error) => Err(error),
            Written::Known(write) => Ok(write),
        }
    }

    /// Writes an object in place of the one that has `tag`.
    pub(super) async fn replace(
        &self,
        errand: Errand,
        name: &str,
        body: Bytes,
        tag: &str,
    ) -> Result<Write, LockError> {
        let call = match self.is_s3() {
            true => Call::new(Method::PUT, self.url(name)).with(IF_MATCH.as_str(), tag),
            false => self.upload(name, tag),
        };
        match self.write(errand, call.with_body(body)).await? {
            // What was to be replaced is gone.
            Written::Missing(_) => Ok(Write::Refused),
            Written::Known(write) => Ok(write),
        }
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

    async fn write(&self, errand: Errand, call: Call) -> Result<Written, LockError> {
        let call = call.with(CONTENT_TYPE.as_str(), "application/json");
        let answer = self.wire.send(errand, &call).await?;
        match answer.status {
            status if status.is_success() => {
                self.tag(&answer, true).map(|tag| Written::Known(Write::Done(tag)))
            }
            StatusCode::PRECONDITION_FAILED => Ok(Written::Known(Write::Refused)),
            StatusCode::CONFLICT if is_contention(&answer) => Ok(Written::Known(Write::Contended)),
            StatusCode::NOT_FOUND if self.is_of_an_object(&answer) => {
                Ok(Written::Missing(refused("write a lock", &answer)))
            }
            StatusCode::NOT_IMPLEMENTED => Ok(Written::Known(Write::Unknown)),
            _ => Err(refused("write a lock", &answer)),
        }
    }

    /// An object; `None` where there is none.
    pub(super) async fn read(&self, errand: Errand, name: &str) -> Result<Option<Seen>, LockError> {
        let url = match self.is_s3() {
            true => self.url(name),
            false => format!("{}?alt=media", self.url(name)),
        };
        let answer = self.wire.send(errand, &Call::new(Method::GET, url)).await?;
        match answer.status {
            StatusCode::OK => {
                let (tag, age) = (self.tag(&answer, false)?, age(&answer.headers));
                Ok(Some(Seen { tag, age: age.unwrap_or_default(), body: answer.body }))
            }
            StatusCode::NOT_FOUND if self.is_of_an_object(&answer) => Ok(None),
            _ => Err(refused("read a lock", &answer)),
        }
    }

    /// Removes an object that has `tag`, or whatever lies there: that is asked for once.
    pub(super) async fn remove(
        &self,
        errand: Errand,
        name: &str,
        tag: Option<&str>,
    ) -> Result<Removal, LockError> {
        let url = self.url(name);
        let call = match (self.is_s3(), tag) {
            (_, None) => Call::new(Method::DELETE, url).once(),
            (true, Some(tag)) => Call::new(Method::DELETE, url).with(IF_MATCH.as_str(), tag),
            (false, Some(tag)) => {
                let url = format!("{url}?ifGenerationMatch={}", in_query(tag));
                Call::new(Method::DELETE, url)
            }
        };
        let (answer, is_repeat) = self.wire.send_noting(errand, &call).await?;
        let missed = if is_repeat { Removal::Unsure } else { Removal::Refused };
        match answer.status {
            status if status.is_success() => Ok(Removal::Done),
            StatusCode::PRECONDITION_FAILED => Ok(missed),
            StatusCode::NOT_FOUND if self.is_of_an_object(&answer) => Ok(match tag {
                Some(_) => missed,
                None => Removal::Done,
            }),
            StatusCode::CONFLICT if is_contention(&answer) => Ok(Removal::Contended),
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

    /// Whether a 404 is about the object, and not about the bucket, the user, or the way to the store.
    fn is_of_an_object(&self, answer: &Answer) -> bool {
        match code_of(&answer.body) {
            Some(code) => matches!(code.as_str(), "NoSuchKey" | "NoSuchVersion" | "NotFound"),
            // Of S3 each has a code.
            None if self.is_s3() => false,
            None => is_googles(&answer.body, self.wire.access.is_proven),
        }
    }
}

/// Whether a 404 is what Google says of a missing object: a sentence, by itself or in JSON, and no page of
/// what stands before the store. An emulator says less, so who asks Google itself does not believe that.
fn is_googles(body: &[u8], is_google: bool) -> bool {
    #[derive(Deserialize)]
    struct Said {
        error: Sentence,
    }
    #[derive(Deserialize)]
    struct Sentence {
        message: String,
    }
    let said = serde_json::from_slice(body).ok().map(|said: Said| said.error.message);
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    said.starts_with("No such object") || (!is_google && said.trim_end() == "Not Found")
}

/// Whether a conflict is about a write of another at this moment. There are others, of buckets that are being
/// made or removed.
fn is_contention(answer: &Answer) -> bool {
    code_of(&answer.body).is_some_and(|code| code == "ConditionalRequestConflict")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_of_googles_is_told_from_a_missing_bucket_and_from_a_page() {
        let json =
            |message: &str| format!("{{\"error\":{{\"code\":404,\"message\":\"{message}\"}}}}");
        for said in ["No such object: bucket/lock", "Not Found\n"] {
            for body in [said, &json(said.trim())] {
                assert!(is_googles(body.as_bytes(), false), "{body}");
                assert_eq!(is_googles(body.as_bytes(), true), said.contains("object"), "{body}");
            }
        }
        let missing = "The specified bucket does not exist.";
        for said in [missing, &json(missing), "", "<html>Not Found</html>", "404 page not found\n"]
        {
            assert!(!is_googles(said.as_bytes(), false), "{said}");
        }
    }
}
