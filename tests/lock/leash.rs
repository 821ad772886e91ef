//! What stands between one gateway and its lock service, so that the service can be kept from that one alone.

use std::net::SocketAddr;

use crate::line::Line;
use crate::relay::Relay;
use crate::service::Service;

/// The way of one gateway to its lock service.
pub(crate) enum Leash {
    /// To each address of a service of its own.
    Lines(Vec<(String, Line)>),
    /// To a store, whose versions go on to be reached when its locks are not.
    Relay { address: String, relay: Relay, locks: &'static str },
    /// Told by a sentinel of its own, in place of those before.
    Sentinel { before: String, told: SocketAddr, line: Line },
}

impl Leash {
    pub(crate) async fn to(service: &mut Service) -> Self {
        if let Service::Sentinel(sentinels) = service {
            // Whoever asks this sentinel is told of the line.
            let before = sentinels.endpoints().join(",");
            let line = Line::to(&sentinels.leader().to_string()).await;
            let told = sentinels.told_of(line.address);
            return Self::Sentinel { before, told, line };
        }
        let mut addresses = service.addresses();
        if service.is_store() {
            let address = addresses.remove(0);
            let relay = Relay::to(&address).await;
            let locks = service.lock_paths();
            return Self::Relay { address, relay, locks };
        }
        let mut lines = Vec::new();
        for address in addresses {
            let line = Line::to(&address).await;
            lines.push((address, line));
        }
        Self::Lines(lines)
    }

    /// What the gateway is told of the service, where the others are told this.
    pub(crate) fn variables(
        &self,
        others: &[(&'static str, String)],
    ) -> Vec<(&'static str, String)> {
        let through = |value: String| match self {
            Self::Lines(lines) => lines.iter().fold(value, |value, (address, line)| {
                value.replace(address, &line.address.to_string())
            }),
            Self::Relay { address, relay, .. } => {
                value.replace(address, &relay.address.to_string())
            }
            Self::Sentinel { before, told, .. } => value.replace(before, &told.to_string()),
        };
        others.iter().map(|(name, value)| (*name, through(value.clone()))).collect()
    }

    /// From now on no question about a lock reaches the service, and none is answered.
    pub(crate) fn hold(&self) {
        match self {
            Self::Lines(lines) => lines.iter().for_each(|(_, line)| line.hold()),
            Self::Relay { relay, locks, .. } => relay.hold(locks),
            Self::Sentinel { line, .. } => line.hold(),
        }
    }

    /// The service comes to all that was asked meanwhile.
    pub(crate) fn let_go(&self) {
        match self {
            Self::Lines(_) | Self::Sentinel { .. } => panic!("a line loses what it held"),
            Self::Relay { relay, .. } => relay.let_go(),
        }
    }
}
