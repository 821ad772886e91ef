//! What stands between one gateway and its lock service, so that the service can be kept from that one alone.

use crate::line::Line;
use crate::relay::Relay;
use crate::service::Service;

/// Where in a store locks lie: Azure's leases are asked about by a query.
const LOCKS: &str = "/lock/";
const LEASES: &str = "/lease/";

/// The way of one gateway to its lock service.
pub(crate) enum Leash {
    /// To each address of a service of its own.
    Lines(Vec<(String, Line)>),
    /// To a store, whose versions go on to be reached when its locks are not.
    Relay(String, Relay),
}

impl Leash {
    pub(crate) async fn to(service: &Service) -> Self {
        let mut addresses = service.addresses();
        if service.is_store() {
            let address = addresses.remove(0);
            let relay = Relay::to(&address).await;
            return Self::Relay(address, relay);
        }
        let mut lines = Vec::new();
        for address in addresses {
            let line = Line::to(&address).await;
            lines.push((address, line));
        }
        Self::Lines(lines)
    }

    /// What the gateway is told of the service.
    pub(crate) fn variables(&self, service: &Service) -> Vec<(&'static str, String)> {
        let through = |value: String| match self {
            Self::Lines(lines) => lines.iter().fold(value, |value, (address, line)| {
                value.replace(address, &line.address.to_string())
            }),
            Self::Relay(address, relay) => value.replace(address, &relay.address.to_string()),
        };
        let variables = service.variables().into_iter();
        variables.map(|(name, value)| (name, through(value))).collect()
    }

    /// From now on no question about a lock reaches the service, and none is answered.
    pub(crate) fn hold(&self) {
        match self {
            Self::Lines(lines) => lines.iter().for_each(|(_, line)| line.hold()),
            Self::Relay(_, relay) => relay.hold(LOCKS),
        }
    }

    /// As [`Leash::hold`], for a store that has leases.
    pub(crate) fn hold_leases(&self) {
        match self {
            Self::Lines(_) => panic!("no store"),
            Self::Relay(_, relay) => relay.hold(LEASES),
        }
    }

    /// The service comes to all that was asked meanwhile.
    pub(crate) fn let_go(&self) {
        match self {
            Self::Lines(_) => panic!("a line loses what it held"),
            Self::Relay(_, relay) => relay.let_go(),
        }
    }
}
