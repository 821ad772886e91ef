//! Uploads in parts: a session of the JSON API takes them in order, and writes the object where there was
//! none.

use async_trait::async_trait;
use http::header::LOCATION;
use http::{Method, StatusCode};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartId, PutPayload, PutResult, Result};

use super::super::object::PART_BYTES;
use super::api::{Call, Refused};
use super::store::{GcsStore, Unexpected, put_result, unexpected};

/// What became of a part, as the engine carries it from the part to the end of the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Kept; the upload has this many bytes by now.
    Kept(u64),
    /// It was the last one, and the object is there.
    Ended,
    /// It was the last one, and there is such an object already.
    Refused,
}

impl Part {
    fn id(self) -> PartId {
        let content_id = match self {
            Self::Kept(bytes) => bytes.to_string(),
            Self::Ended => "ended".to_owned(),
            Self::Refused => "refused".to_owned(),
        };
        PartId { content_id }
    }

    fn last_of(parts: &[PartId]) -> Result<Self> {
        let last = parts.last().map_or("0", |part| part.content_id.as_str());
        match last {
            "ended" => Ok(Self::Ended),
            "refused" => Ok(Self::Refused),
            bytes => bytes.parse().map(Self::Kept).map_err(|_| unexpected("a part of another")),
        }
    }
}

#[async_trait]
impl MultipartStore for GcsStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let url = self.upload_url(path, "resumable", Some("0"));
        let mut call = Call::new(Method::POST, url, path.as_ref());
        call.headers.push(("x-upload-content-type", self.types.of(path.as_ref()).to_owned()));
        let answer = self.api.send(&call).await?;
        let session = answer.headers().get(LOCATION).and_then(|session| session.to_str().ok());
        let session = session.ok_or_else(|| unexpected("the upload has no session"))?;
        Ok(session.to_owned())
    }

    async fn put_part(
        &self,
        path: &Path,
        session: &MultipartId,
        number: usize,
        part: PutPayload,
    ) -> Result<PartId> {
        let start = number as u64 * PART_BYTES;
        let length = part.content_length() as u64;
        let end = start + length;
        // Of an upload whose length is not known yet, whole blocks alone are kept: a short part has to
        // say that it is the last one, and ends the upload.
        let is_last = length < PART_BYTES;
        let total = if is_last { end.to_string() } else { "*".to_owned() };
        let mut call = Call::new(Method::PUT, session.clone(), path.as_ref());
        call.headers.push(("content-range", format!("bytes {start}-{}/{total}", end - 1)));
        call.content_type = Some(self.types.of(path.as_ref()));
        call.body = part;
        let answer = match self.api.send(&call).await {
            Ok(answer) => answer,
            Err(Error::Precondition { .. }) if is_last => return Ok(Part::Refused.id()),
            Err(error) => return Err(error),
        };
        if answer.status().is_success() {
            return Ok(Part::Ended.id());
        }
        let kept = answer.headers().get("range").and_then(|range| range.to_str().ok());
        let kept = kept.and_then(|range| range.rsplit_once('-')?.1.parse::<u64>().ok());
        if is_last || kept.is_none_or(|last| last + 1 != end) {
            return Err(unexpected(format!("of a part that ends at {end} not all was kept")));
        }
        Ok(Part::Kept(end).id())
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        session: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let total = match Part::last_of(&parts)? {
            Part::Kept(total) => total,
            Part::Ended => return Ok(nothing_said()),
            Part::Refused => {
                let (path, source) = (path.to_string(), Box::new(Unexpected("it is there".into())));
                return Err(Error::Precondition { path, source });
            }
        };
        let mut call = Call::new(Method::PUT, session.clone(), path.as_ref());
        call.headers.push(("content-range", format!("bytes */{total}")));
        call.content_type = Some(self.types.of(path.as_ref()));
        let answer = self.api.send(&call).await?;
        if !answer.status().is_success() {
            return Err(unexpected("the upload has not ended"));
        }
        put_result(answer.body())
    }

    async fn abort_multipart(&self, path: &Path, session: &MultipartId) -> Result<()> {
        let call = Call::new(Method::DELETE, session.clone(), path.as_ref());
        match self.api.send(&call).await {
            Ok(_) => Ok(()),
            Err(error) if is_given_up(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The API has a status of its own for a session that was given up.
fn is_given_up(error: &Error) -> bool {
    let Error::Generic { source, .. } = error else { return false };
    let status = source.downcast_ref::<Refused>().map(|refused| refused.status);
    status.is_some_and(|status| status.as_u16() == 499 || status == StatusCode::GONE)
}

fn nothing_said() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: object_store::Extensions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_last_part_is_carried_to_the_end() {
        for part in [Part::Kept(8 << 20), Part::Ended, Part::Refused] {
            let parts = [Part::Kept(1).id(), part.id()];
            assert_eq!(Part::last_of(&parts).unwrap(), part);
        }
        assert!(Part::last_of(&[PartId { content_id: "x".to_owned() }]).is_err());
    }
}
