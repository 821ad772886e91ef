//! The members of a cluster: each question goes to the one that answered last, and on to the next when
//! that does not answer.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::LockError;
use dipylon_middleware::redact::redact_prose;
use etcd_client::{Client, ConnectOptions, Error as EtcdError};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::config::EtcdLock as Keys;

/// The most members that are named.
const MAX_MEMBERS: usize = 32;
/// How many members are asked one question.
const MAX_ASKED: usize = 3;
/// How long all members that are asked one question have together: less than what the layer waits, so that the
/// next one is asked before it gives up.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_800);
/// How long connecting to one may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a connection in use is pinged. The server cuts who pings more often than every 5 s.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a pinged connection may take to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// The members, none connected to yet.
pub struct Members {
    members: Vec<Member>,
    /// The one that is asked first.
    current: AtomicUsize,
}

struct Member {
    endpoint: String,
    client: OnceCell<Client>,
}

impl Members {
    /// `[SingleFlight.Etcd]`: host and port, or `http://` and `https://` URLs.
    ///
    /// # Errors
    /// `Unsupported`: an address that is none.
    pub fn of(keys: &Keys) -> Result<Self, Error> {
        let endpoints = &keys.endpoints.0;
        if endpoints.is_empty() || endpoints.len() > MAX_MEMBERS {
            return Err(refused(&format!("names no member, or over {MAX_MEMBERS}")));
        }
        let member = |endpoint: &str| match address(endpoint) {
            Some(endpoint) => Ok(Member { endpoint, client: OnceCell::new() }),
            None => Err(refused("has a member that is not a host and port or such a URL")),
        };
        let members = endpoints.iter().map(|endpoint| member(endpoint.as_str()));
        Ok(Self { members: members.collect::<Result<_, _>>()?, current: AtomicUsize::new(0) })
    }

    /// Asks one member after the other until one answers.
    pub(super) async fn ask<T, F>(&self, question: impl Fn(Client) -> F) -> Result<T, LockError>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        let asked_max = self.members.len().min(MAX_ASKED);
        let each = ANSWER_TIMEOUT / u32::try_from(asked_max).unwrap_or(u32::MAX);
        let mut last = LockError::new("no member was asked");
        for _ in 0..asked_max {
            let number = self.current.load(Ordering::Relaxed);
            let asked = async { question(self.client(number).await?).await };
            last = match timeout(each, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if !is_members_fault(&error) => return Err(lock_error(&error)),
                Ok(Err(error)) => lock_error(&error),
                Err(_) => LockError::new(format!("no answer within {} ms", each.as_millis())),
            };
            self.pass_over(number);
        }
        Err(last)
    }

    /// The member that answered last.
    pub(super) async fn any(&self) -> Result<Client, EtcdError> {
        self.client(self.current.load(Ordering::Relaxed)).await
    }

    async fn client(&self, number: usize) -> Result<Client, EtcdError> {
        let member = &self.members[number % self.members.len()];
        let connect = || {
            let options = ConnectOptions::new()
                .with_connect_timeout(CONNECT_TIMEOUT)
                .with_keep_alive(PING_EVERY, PING_TIMEOUT)
                .with_require_leader(true);
            Client::connect([member.endpoint.as_str()], Some(options))
        };
        member.client.get_or_try_init(connect).await.cloned()
    }

    /// The next one is asked from now on, unless another question has seen to that.
    fn pass_over(&self, number: usize) {
        let next = (number + 1) % self.members.len();
        let order = Ordering::Relaxed;
        let _ = self.current.compare_exchange(number, next, order, order);
    }
}

/// A URL; one without a scheme is plain http, as in Athens.
fn address(text: &str) -> Option<String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: http::Uri = url.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority()?;
    // A member has no user in its address: what stands there would be taken for part of the host.
    (is_web && !authority.as_str().contains('@') && !authority.host().is_empty()).then_some(url)
}

/// Another member may do better: this one cannot be reached, or has no leader.
fn is_members_fault(error: &EtcdError) -> bool {
    match error {
        EtcdError::GRpcStatus(status) => {
            // The numbers of gRPC: cancelled, unknown, deadline exceeded, internal, unavailable.
            matches!(i32::from(status.code()), 1 | 2 | 4 | 13 | 14)
        }
        EtcdError::TransportError(_) | EtcdError::IoError(_) | EtcdError::WatchError(_) => true,
        _ => false,
    }
}

fn lock_error(error: &EtcdError) -> LockError {
    LockError::new(redact_prose(&error.to_string()))
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("SingleFlight.Etcd.Endpoints {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Endpoints, UrlText};

    fn members(texts: &[&str]) -> Result<Members, String> {
        let endpoints = Endpoints(texts.iter().copied().map(UrlText::new).collect());
        Members::of(&Keys { endpoints }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_member_is_a_host_and_port_or_a_web_url() {
        let all = members(&["a.example:2379", "http://b:1", "https://[::1]:2379"]).unwrap();
        let urls: Vec<_> = all.members.iter().map(|member| member.endpoint.as_str()).collect();
        assert_eq!(urls, ["http://a.example:2379", "http://b:1", "https://[::1]:2379"]);
    }

    #[test]
    fn what_is_no_member_is_refused_without_a_secret() {
        for wrong in ["ftp://a:1", "http://", "a b:1", "http://u:hunter2@a:1"] {
            let refused = members(&[wrong]).err().expect(wrong);
            assert!(refused.starts_with("SingleFlight.Etcd.Endpoints "), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        assert!(members(&[]).is_err());
    }

    #[tokio::test]
    async fn a_member_that_fails_is_passed_over_once() {
        let members = members(&["127.0.0.1:1", "127.0.0.1:2"]).unwrap();
        members.pass_over(0);
        members.pass_over(0);
        assert_eq!(members.current.load(Ordering::Relaxed), 1);
        let answer = members.ask(|mut client| async move { client.status().await.map(drop) }).await;
        assert!(answer.is_err());
        assert_eq!(members.current.load(Ordering::Relaxed), 1, "both were asked");
    }
}
