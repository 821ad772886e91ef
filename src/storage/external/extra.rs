//! Extras: files of ours, at a server of ours. Any other has no place for them, so there the youngest are
//! kept in memory. What they hold can be had again: a `.mod` or `.info` before its zip, what the checksum
//! database said, why a version was refused.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use dipylon_middleware::error::Error;
use http::{Method, StatusCode};
use parking_lot::Mutex;

use super::super::extra_key::{self, MAX_EXTRA_BYTES};
use super::Engine;
use super::wire::extra_path;

/// Bytes of extras, keys included, that are kept for a server without a place for them.
pub const MAX_KEPT_EXTRA_BYTES: usize = 16 << 20;
/// What an entry takes beside its key and its bytes.
const ENTRY_BYTES: usize = 128;

impl Engine {
    pub(super) async fn read_extra(&self, key: &str) -> Result<Option<Bytes>, Error> {
        if extra_key::is_unstorable(key) {
            return Ok(None);
        }
        extra_key::check(key, &[])?;
        if !self.is_ours().await? {
            return Ok(self.kept.get(key));
        }
        let (what, path) = ("read an extra", extra_path(key));
        let asked = self.link.get(what, &path, None).await;
        let reply = asked.map_err(|failure| self.link.failed(what, &path, &failure))?;
        match reply.status {
            StatusCode::OK => reply.bytes(MAX_EXTRA_BYTES).await.map(Some),
            _ if reply.is_absent() => Ok(None),
            _ => Err(reply.refusal().await),
        }
    }

    pub(super) async fn write_extra(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        extra_key::check(key, &[])?;
        if bytes.len() > MAX_EXTRA_BYTES {
            let said = format!("it is larger than {MAX_EXTRA_BYTES} bytes");
            return Err(self.link.wrong("write an extra", &extra_path(key), &said));
        }
        if !self.is_ours().await? {
            self.kept.put(key, &bytes);
            return Ok(());
        }
        self.change("write an extra", Method::PUT, key, bytes).await
    }

    pub(super) async fn remove_extra(&self, key: &str) -> Result<(), Error> {
        extra_key::check(key, &[])?;
        if !self.is_ours().await? {
            self.kept.remove(key);
            return Ok(());
        }
        self.change("remove an extra", Method::DELETE, key, Bytes::new()).await
    }

    async fn change(
        &self,
        what: &str,
        method: Method,
        key: &str,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let path = extra_path(key);
        let called = self.link.call(what, method, &path, bytes).await;
        let reply = called.map_err(|failure| self.link.failed(what, &path, &failure))?;
        if reply.status == StatusCode::OK { Ok(()) } else { Err(reply.refusal().await) }
    }
}

/// The youngest extras, up to [`MAX_KEPT_EXTRA_BYTES`].
#[derive(Default)]
pub(super) struct Kept(Mutex<State>);

#[derive(Default)]
struct State {
    bytes: usize,
    entries: HashMap<String, (u64, Bytes)>,
    /// Keys by the number of their last write: the oldest first.
    order: BTreeMap<u64, String>,
    writes: u64,
}

impl Kept {
    pub(super) fn get(&self, key: &str) -> Option<Bytes> {
        self.0.lock().entries.get(key).map(|(_, bytes)| bytes.clone())
    }

    pub(super) fn remove(&self, key: &str) {
        self.0.lock().remove(key);
    }

    pub(super) fn put(&self, key: &str, bytes: &Bytes) {
        let mut state = self.0.lock();
        state.remove(key);
        let size = size(key, bytes);
        if size > MAX_KEPT_EXTRA_BYTES {
            return;
        }
        while state.bytes + size > MAX_KEPT_EXTRA_BYTES {
            let Some(oldest) = state.order.values().next().cloned() else { break };
            state.remove(&oldest);
        }
        state.writes += 1;
        let number = state.writes;
        state.bytes += size;
        // A copy: a slice would hold on to all of what it was cut from.
        let bytes = Bytes::copy_from_slice(bytes);
        state.entries.insert(key.to_owned(), (number, bytes));
        state.order.insert(number, key.to_owned());
    }
}

impl State {
    fn remove(&mut self, key: &str) {
        if let Some((number, bytes)) = self.entries.remove(key) {
            self.bytes -= size(key, &bytes);
            self.order.remove(&number);
        }
    }
}

fn size(key: &str, bytes: &Bytes) -> usize {
    2 * key.len() + bytes.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_extras_are_kept() {
        let kept = Kept::default();
        let value = Bytes::from(vec![1; MAX_KEPT_EXTRA_BYTES / 4]);
        for number in 0..20 {
            kept.put(&number.to_string(), &value);
        }
        assert_eq!(kept.get("16"), None);
        for number in 17..20 {
            assert_eq!(kept.get(&number.to_string()), Some(value.clone()), "{number}");
        }
        let state = kept.0.lock();
        assert!(state.bytes <= MAX_KEPT_EXTRA_BYTES && state.order.len() == 3);
    }

    #[test]
    fn one_extra_written_over_and_over_takes_the_room_of_one() {
        let kept = Kept::default();
        for number in 0..10_000_u32 {
            kept.put("key", &Bytes::copy_from_slice(&number.to_le_bytes()));
        }
        assert_eq!(kept.get("key").as_deref(), Some(&9_999_u32.to_le_bytes()[..]));
        assert_eq!(kept.0.lock().order.len(), 1);
        kept.remove("key");
        assert_eq!((kept.get("key"), kept.0.lock().bytes), (None, 0));
    }

    #[test]
    fn an_extra_larger_than_all_the_room_is_not_kept() {
        let kept = Kept::default();
        kept.put("large", &Bytes::from(vec![0; MAX_KEPT_EXTRA_BYTES]));
        assert_eq!(kept.get("large"), None);
    }
}
