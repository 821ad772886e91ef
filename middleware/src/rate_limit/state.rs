//! Who is a client, and what is known of the buckets of some: no clock, no lock, no metrics.
//!
//! A bucket is one number, the time at which it will be full again. What a request does to it is decided
//! by governor's algorithm (GCRA).

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use governor::nanos::Nanos;

/// Leading bits of an IPv6 address that make a client: what one customer is given at least (RFC 6177).
pub const IPV6_CLIENT_BITS: u32 = 64;

/// Whom requests are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client(Option<IpAddr>);

impl Client {
    /// The client at this address. An IPv4 address written as IPv6 is IPv4.
    pub(super) fn new(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let kept = u128::MAX << (Ipv6Addr::BITS - IPV6_CLIENT_BITS);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & kept))
            }
        }))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(IpAddr::V4(address)) => address.fmt(f),
            Some(IpAddr::V6(network)) => write!(f, "{network}/{IPV6_CLIENT_BITS}"),
            None => f.write_str("the unix socket"),
        }
    }
}

/// Whose bucket a request was counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Its client's, which was known.
    Known,
    /// Its client's, which is new.
    New,
    /// That of all clients for which there is no room.
    Together,
}

/// The buckets of some of the clients.
#[derive(Debug)]
pub(super) struct Shard {
    full_at: HashMap<Client, Nanos>,
    clients_max: usize,
    /// The bucket of all clients for which there is no room.
    together_full_at: Option<Nanos>,
}

impl Shard {
    /// Knows nobody, and at most so many clients.
    pub(super) fn new(clients_max: usize) -> Self {
        Self { full_at: HashMap::new(), clients_max, together_full_at: None }
    }

    /// Lets `decide` look at the client's bucket, and keeps what it makes of it. Where it refuses, nothing
    /// changes.
    pub(super) fn decide<T, E>(
        &mut self,
        client: &Client,
        decide: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> (Result<T, E>, Counted) {
        if let Some(full_at) = self.full_at.get_mut(client) {
            let kept = decide(Some(*full_at)).map(|(verdict, next)| {
                *full_at = next;
                verdict
            });
            return (kept, Counted::Known);
        }
        if self.full_at.len() < self.clients_max {
            let kept = decide(None).map(|(verdict, next)| {
                self.full_at.insert(*client, next);
                verdict
            });
            return (kept, Counted::New);
        }
        let kept = decide(self.together_full_at).map(|(verdict, next)| {
            self.together_full_at = Some(next);
            verdict
        });
        (kept, Counted::Together)
    }

    /// Forgets the clients whose buckets are full by then.
    pub(super) fn forget_full(&mut self, by: Nanos) {
        self.full_at.retain(|_, full_at| *full_at > by);
    }

    /// Gives memory back that nobody needs now.
    pub(super) fn shrink_to_fit(&mut self) {
        self.full_at.shrink_to_fit();
    }

    /// Clients that are known.
    pub(super) fn clients(&self) -> usize {
        self.full_at.len()
    }
}
