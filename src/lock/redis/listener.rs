//! Releases as they are published.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use redis::RedisResult;
use tokio::time::{sleep, timeout};

use super::link::Link;
use crate::lock::wakers::Wakers;

/// The channel on which releases are published; the message is the key.
pub(super) const CHANNEL: &str = "dipylon:released";

/// How long connecting and subscribing may take.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a connection may take to say that it lives.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the first new attempt to listen.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts to listen.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Wakes who waits for what is released, until it is aborted. While the channel cannot be listened to,
/// the poll of those who wait finds the release.
pub(super) async fn listen(link: Arc<Link>, wakers: Arc<Wakers>) {
    let mut pause = MIN_PAUSE;
    loop {
        match timeout(SUBSCRIBE_TIMEOUT, link.subscribe(CHANNEL)).await {
            Ok(Ok(subscription)) => {
                pause = MIN_PAUSE;
                // What was released before is not said again.
                wakers.wake_all();
                if let Err(error) = hear(subscription, &wakers).await {
                    tracing::debug!(%error, "the push of released locks broke off");
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the push of released locks cannot be listened to");
            }
            Err(_) => tracing::debug!("the push of released locks cannot be reached"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn hear(subscription: redis::aio::PubSub, wakers: &Wakers) -> RedisResult<()> {
    let (mut sink, mut releases) = subscription.split();
    loop {
        match timeout(PING_EVERY, releases.next()).await {
            Ok(Some(release)) => wakers.wake(&String::from_utf8_lossy(release.get_payload_bytes())),
            Ok(None) => return Ok(()),
            Err(_) => match timeout(PING_TIMEOUT, sink.ping::<redis::Value>()).await {
                Ok(answered) => drop(answered?),
                Err(_) => return Ok(()),
            },
        }
    }
}
