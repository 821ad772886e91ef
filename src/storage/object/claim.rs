//! The right to write one version: an object under `.dipylon/saving/` that exactly one saver can make.
//!
//! A version is three objects, and a store commits one at a time. Who holds the claim writes all three,
//! so no version is ever put together of two savers' files. The holder renews its claim while it works;
//! a claim that has not changed for a lease belongs to a process that is gone, and whoever waits takes it
//! over by a conditional write. Time is measured by each process alone, so clocks need not agree.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::BoxFuture;
use object_store::{ObjectMeta, UpdateVersion};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::Client;

/// How long a claim that is not renewed stands.
pub const CLAIM_LEASE: Duration = Duration::from_secs(15);
/// How often a holder renews its claim.
const RENEWAL: Duration = Duration::from_secs(4);
/// Longest wait for another saver, who may be sending a large zip over a slow line.
pub const CLAIM_WAIT_MAX: Duration = Duration::from_secs(240);
/// The first pause between two looks at somebody else's claim.
const POLL: Duration = Duration::from_millis(20);
/// The longest pause between two looks at somebody else's claim.
const POLL_MAX: Duration = Duration::from_millis(500);
/// Largest claim that is read; ours have some 50 bytes.
const MAX_CLAIM_BYTES: usize = 4_096;

/// A claim that was taken.
pub(super) struct Claim {
    client: Client,
    key: String,
    token: Bytes,
    held: Mutex<Held>,
}

struct Held {
    version: UpdateVersion,
    renewed: Instant,
    renewals: u32,
}

/// What a wait for a claim ended with.
pub(super) enum Turn<T> {
    /// The claim is ours.
    Ours(Box<Claim>),
    /// Somebody else has done the work meanwhile.
    Done(T),
}

impl Claim {
    /// Takes the claim `key`, or waits until `done` has an answer because of its holder's work.
    ///
    /// # Errors
    /// `Storage` when the store fails, or somebody holds the claim for longer than [`CLAIM_WAIT_MAX`].
    pub(super) async fn take<'a, T>(
        client: &Client,
        key: &str,
        done: impl Fn() -> BoxFuture<'a, Result<Option<T>, Error>>,
    ) -> Result<Turn<T>, Error> {
        let token = token();
        let begin = Instant::now();
        let mut poll = POLL;
        let mut seen: Option<(UpdateVersion, Instant)> = None;
        loop {
            let asked = Instant::now();
            if let Some(version) = client.create(key, token.clone().into()).await? {
                return Ok(Turn::Ours(Box::new(Self::new(client, key, token, version, asked))));
            }
            if let Some(answer) = done().await? {
                return Ok(Turn::Done(answer));
            }
            // Its holder may let go of it right now; then the next round takes it.
            if let Some((holder, meta)) = client.get(key, MAX_CLAIM_BYTES).await? {
                let version = version_of(&meta);
                if is_held_by(&token, &holder) {
                    // Our own write had succeeded, and was sent again for want of an answer.
                    return Ok(Turn::Ours(Box::new(Self::new(client, key, token, version, asked))));
                }
                let since = since(&mut seen, version.clone());
                if since.elapsed() >= CLAIM_LEASE {
                    let asked = Instant::now();
                    let taken = client.replace(key, token.clone().into(), version).await?;
                    if let Some(version) = taken {
                        return Ok(Turn::Ours(Box::new(Self::new(
                            client, key, token, version, asked,
                        ))));
                    }
                }
            }
            if begin.elapsed() > CLAIM_WAIT_MAX {
                let text = format!("has been held by another saver for {CLAIM_WAIT_MAX:?}");
                return Err(client.wrong(key, &text));
            }
            tokio::time::sleep(poll).await;
            poll = (poll * 2).min(POLL_MAX);
        }
    }

    fn new(
        client: &Client,
        key: &str,
        token: Bytes,
        version: UpdateVersion,
        renewed: Instant,
    ) -> Self {
        let (client, key) = (client.clone(), key.to_owned());
        Self { client, key, token, held: Mutex::new(Held { version, renewed, renewals: 0 }) }
    }

    /// Does `work` while the claim is renewed, and stops it where the claim is lost.
    ///
    /// # Errors
    /// Those of `work`, and `Storage` when the claim is lost.
    pub(super) async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            result = work => result,
            error = self.keep() => Err(error),
        }
    }

    async fn keep(&self) -> Error {
        loop {
            tokio::time::sleep(RENEWAL).await;
            if let Err(error) = self.renew().await {
                return error;
            }
        }
    }

    /// Makes sure that the claim is ours before a step that nobody else could undo.
    ///
    /// # Errors
    /// `Storage` when the claim is lost.
    pub(super) async fn still_held(&self) -> Result<(), Error> {
        if self.held.lock().await.renewed.elapsed() < CLAIM_LEASE / 3 {
            return Ok(());
        }
        self.renew().await
    }

    async fn renew(&self) -> Result<(), Error> {
        let mut held = self.held.lock().await;
        let asked = Instant::now();
        let renewals = held.renewals.saturating_add(1);
        let payload = renewal(&self.token, renewals).into();
        let renewed = self.client.replace(&self.key, payload, held.version.clone()).await?;
        let version = match renewed {
            Some(version) => version,
            None => self.mine_after_all().await?,
        };
        *held = Held { version, renewed: asked, renewals };
        Ok(())
    }

    /// A renewal that was sent twice meets its own first success.
    async fn mine_after_all(&self) -> Result<UpdateVersion, Error> {
        match self.client.get(&self.key, MAX_CLAIM_BYTES).await? {
            Some((holder, meta)) if is_held_by(&self.token, &holder) => Ok(version_of(&meta)),
            _ => Err(self.client.wrong(&self.key, "was taken over: this save took too long")),
        }
    }

    /// Lets go of the claim. Where that fails, the next saver waits for a lease.
    pub(super) async fn release(self) {
        let is_ours = self.held.lock().await.renewed.elapsed() < CLAIM_LEASE;
        let released = match is_ours {
            true => self.client.delete(&self.key).await,
            false => Err(Error::new(ErrorKind::Storage, "it was not renewed in time")),
        };
        if let Err(error) = released {
            tracing::warn!(key = self.key, %error, "a claim is left to its end");
        }
    }
}

fn version_of(meta: &ObjectMeta) -> UpdateVersion {
    UpdateVersion { e_tag: meta.e_tag.clone(), version: meta.version.clone() }
}

/// Since when a claim has been as it is.
fn since(seen: &mut Option<(UpdateVersion, Instant)>, version: UpdateVersion) -> Instant {
    match seen {
        Some((known, since)) if *known == version => *since,
        _ => seen.insert((version, Instant::now())).1,
    }
}

/// What a renewal writes: never what was there before, because the tag that waiters watch is a hash of it
/// in some stores, and would stand still.
fn renewal(token: &Bytes, renewals: u32) -> Bytes {
    let mut text = token.to_vec();
    text.extend_from_slice(format!(" {renewals}").as_bytes());
    text.into()
}

fn is_held_by(token: &Bytes, holder: &[u8]) -> bool {
    holder.strip_prefix(&**token).is_some_and(|rest| rest.is_empty() || rest[0] == b' ')
}

/// A text that no other saver makes: the tag of a claim must tell one holder from the next.
fn token() -> Bytes {
    let random = || RandomState::new().build_hasher().finish();
    Bytes::from(format!("{:016x}{:016x}-{}", random(), random(), std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_renewal_writes_what_was_there_before_and_each_is_its_holders() {
        let (mine, other) = (token(), token());
        let texts = [mine.clone(), renewal(&mine, 1), renewal(&mine, 2), renewal(&mine, 12)];
        for (at, text) in texts.iter().enumerate() {
            assert!(is_held_by(&mine, text) && !is_held_by(&other, text));
            assert!(!texts[..at].contains(text));
        }
        assert!(!is_held_by(&mine, &[&mine[..], b"1"].concat()), "another process's");
    }
}
