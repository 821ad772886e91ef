//! Files of ours under `.dipylon/`, which Athens never looks at.

use bytes::Bytes;
use dipylon_middleware::error::Error;

use super::super::extra_key::{self, MAX_ELEMENT_BYTES, MAX_EXTRA_BYTES};
use super::Engine;
use super::layout::OURS;

/// First elements of keys that the store itself uses.
const IN_USE: &[&str] = &["saving"];

/// Longest name of an object in bytes, in every store.
const MAX_NAME_BYTES: usize = 1024;

impl Engine {
    /// The bytes of an extra.
    pub(super) async fn read_extra(&self, key: &str) -> Result<Option<Bytes>, Error> {
        if is_unstorable(key) {
            return Ok(None);
        }
        extra_key::check(key, IN_USE)?;
        let read = self.client.get(&format!("{OURS}{key}"), MAX_EXTRA_BYTES).await?;
        Ok(read.map(|(bytes, _)| bytes))
    }

    /// Writes an extra; a store shows the old bytes or the new ones.
    pub(super) async fn write_extra(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        extra_key::check(key, IN_USE)?;
        let name = format!("{OURS}{key}");
        if bytes.len() > MAX_EXTRA_BYTES {
            let text = format!("would be larger than {MAX_EXTRA_BYTES} bytes");
            return Err(self.client.wrong(&name, &text));
        }
        if is_unstorable(key) {
            let text = format!(
                "is longer than {MAX_NAME_BYTES} bytes, or an element than {MAX_ELEMENT_BYTES}"
            );
            return Err(self.client.wrong(&name, &text));
        }
        self.client.put(&name, bytes.into()).await.map(drop)
    }

    /// Removes an extra; one that is not there is removed already.
    pub(super) async fn remove_extra(&self, key: &str) -> Result<(), Error> {
        extra_key::check(key, IN_USE)?;
        self.client.delete(&format!("{OURS}{key}")).await
    }
}

fn is_unstorable(key: &str) -> bool {
    OURS.len() + key.len() > MAX_NAME_BYTES || extra_key::is_unstorable(key)
}
