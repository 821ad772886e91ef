//! Files of ours in a collection of ours, which Athens never looks at.

use bytes::Bytes;
use dipylon_middleware::error::Error;
use mongodb::bson::doc;

use super::super::extra_key::{self, MAX_ELEMENT_BYTES, MAX_EXTRA_KEY_BYTES};
use super::Engine;
use super::failure::Failure;
use super::layout::{MAX_DOCUMENT_BYTES, binary, take_bytes};
use super::place::call;

/// Tries of one write. Two writers of a key that is new both want to insert it; one of them is refused
/// and then finds something to replace.
const MAX_TRIES: usize = 3;

impl Engine {
    /// The bytes of an extra.
    pub(super) async fn read_extra(&self, key: &str) -> Result<Option<Bytes>, Error> {
        if extra_key::is_unstorable(key) {
            return Ok(None);
        }
        extra_key::check(key, &[])?;
        let found = call(self.place.extras.find_one(doc! { "_id": key })).await;
        let found = found.map_err(|failure| self.extra_failed("read", key, &failure))?;
        let Some(mut document) = found else { return Ok(None) };
        match take_bytes(&mut document, "bytes") {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(self.place.wrong(&format!("the extra {key} has no bytes; remove it"))),
        }
    }

    /// Writes an extra; a reader finds the old bytes or the new ones.
    pub(super) async fn write_extra(&self, key: &str, bytes: &Bytes) -> Result<(), Error> {
        extra_key::check(key, &[])?;
        if bytes.len() + key.len() > MAX_DOCUMENT_BYTES {
            let what = format!(
                "there is no room for the extra {key}: it has {} bytes, and a document of MongoDB \
                 holds {MAX_DOCUMENT_BYTES}",
                bytes.len()
            );
            return Err(self.place.wrong(&what));
        }
        if extra_key::is_unstorable(key) {
            let what = format!(
                "the key of an extra is longer than {MAX_EXTRA_KEY_BYTES} bytes, or an element of it \
                 than {MAX_ELEMENT_BYTES}: {key}"
            );
            return Err(self.place.wrong(&what));
        }
        let mut tries = 1;
        loop {
            let document = doc! { "_id": key, "bytes": binary(bytes) };
            let replace = self.place.extras.replace_one(doc! { "_id": key }, document).upsert(true);
            match call(replace).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.is_duplicate() && tries < MAX_TRIES => tries += 1,
                Err(failure) => return Err(self.extra_failed("write", key, &failure)),
            }
        }
    }

    /// Removes an extra; one that is not there is removed already.
    pub(super) async fn remove_extra(&self, key: &str) -> Result<(), Error> {
        extra_key::check(key, &[])?;
        let removed = call(self.place.extras.delete_one(doc! { "_id": key })).await;
        removed.map(drop).map_err(|failure| self.extra_failed("remove", key, &failure))
    }

    fn extra_failed(&self, what: &str, key: &str, failure: &Failure) -> Error {
        self.place.failed(&format!("{what} the extra {key}"), failure)
    }
}
