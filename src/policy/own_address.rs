//! Where this gateway itself listens: a client that is sent there, or an upstream that is there, would
//! lead around in a circle.

use std::net::{IpAddr, UdpSocket};

use crate::config::Config;
use crate::fetch::base_url::{BaseUrl, is_loopback};

/// The address that the gateway listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// An IP address without brackets, a host name, or empty for all addresses.
    pub(super) host: String,
    pub(super) port: u16,
}

impl OwnAddress {
    /// Of this configuration; `None` where it is a Unix socket, or the system chooses the port.
    pub fn of(config: &Config) -> Option<Self> {
        let listen = &config.port;
        let known = config.unix_socket.is_none() && listen.port > 0;
        known.then(|| Self { host: listen.host.clone(), port: listen.port })
    }

    /// Whether a URL leads here, as far as that can be told without asking anybody: a public name that a
    /// balancer has is not known.
    pub fn is(&self, base: &BaseUrl) -> bool {
        if base.port() != self.port {
            return false;
        }
        let named = base.host_name().trim_start_matches('[').trim_end_matches(']');
        let listens_everywhere = self.host.is_empty()
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        if listens_everywhere { is_this_machine(named) } else { self.is_same_host(named) }
    }

    fn is_same_host(&self, named: &str) -> bool {
        named.eq_ignore_ascii_case(&self.host) || (is_loopback(named) && is_loopback(&self.host))
    }
}

/// An address can be bound where, and only where, it is one of this machine's.
fn is_this_machine(host: &str) -> bool {
    is_loopback(host)
        || host.parse::<IpAddr>().is_ok_and(|address| UdpSocket::bind((address, 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads_here(host: &str, port: u16, url: &str) -> bool {
        let (base, _) = BaseUrl::read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        OwnAddress { host: host.to_owned(), port }.is(&base)
    }

    #[test]
    fn all_addresses_of_this_machine_lead_here_where_the_gateway_listens_on_all() {
        for host in ["", "0.0.0.0", "::"] {
            for url in ["http://localhost:3000/x", "https://127.0.0.1:3000", "http://[::1]:3000"] {
                assert!(leads_here(host, 3000, url), "{url} from {host:?}");
            }
            for url in ["http://localhost:3001", "http://192.0.2.1:3000", "http://a.test:3000"] {
                assert!(!leads_here(host, 3000, url), "{url} from {host:?}");
            }
        }
        assert!(
            leads_here("", 443, "https://127.0.0.1/x") && leads_here("", 80, "http://localhost")
        );
        assert!(leads_here("", 3000, "http://0.0.0.0:3000"), "it can be bound, so it can be met");
    }

    #[test]
    fn only_its_own_address_leads_here_where_the_gateway_listens_on_one() {
        assert!(leads_here("127.0.0.1", 3000, "http://localhost:3000"));
        assert!(leads_here("10.0.0.5", 3000, "http://10.0.0.5:3000/go"));
        assert!(leads_here("Go.Corp", 3000, "http://go.corp:3000"));
        assert!(!leads_here("10.0.0.5", 3000, "http://127.0.0.1:3000"), "another's");
    }
}
