//! Where the servers are, from Athens's keys.

use std::time::Duration;

use dipylon_middleware::error::{Error, ErrorKind};
use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};
use tokio::sync::Mutex;

use crate::config::{RedisLock as Keys, RedisSentinelLock as SentinelKeys};

/// The most nodes of a cluster, or sentinels, that are named.
const MAX_ADDRESSES: usize = 64;
/// How long a node of a cluster may take to answer, and to be connected to.
const NODE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The port of a sentinel that names none.
const SENTINEL_PORT: u16 = 26_379;

/// Which servers are connected to, and how.
pub enum Servers {
    /// One server.
    Single(Client),
    /// A cluster.
    Cluster {
        /// The cluster.
        cluster: Box<ClusterClient>,
        /// Any node of it: what one publishes, all nodes hear.
        any: Client,
    },
    /// The server that sentinels name at the time.
    Sentinel(Mutex<SentinelClient>),
}

impl Servers {
    /// `[SingleFlight.Redis]`: a URL, or host and port; a list of them where it is a cluster, of which
    /// the first says user, password and whether TLS is spoken.
    ///
    /// # Errors
    /// `Unsupported`: an address that is none, or two passwords that differ.
    pub fn of(keys: &Keys) -> Result<Self, Error> {
        let texts: Vec<&str> = if keys.cluster {
            keys.endpoint
                .as_str()
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .collect()
        } else {
            vec![keys.endpoint.as_str()]
        };
        let Some((first, rest)) = texts.split_first().filter(|_| texts.len() <= MAX_ADDRESSES)
        else {
            return Err(refused("Endpoint", &format!("names no server, or over {MAX_ADDRESSES}")));
        };
        let first = with_password(address(first)?, keys.password.expose())?;
        if !keys.cluster {
            return Client::open(first).map(Self::Single).map_err(|error| wrong(&error));
        }
        let mut nodes = vec![first.clone()];
        for text in rest {
            // Each has its own host and port, all else is the first one's.
            let node = address(text)?;
            let addr = like(first.addr(), node.addr());
            nodes.push(first.clone().set_addr(addr));
        }
        let any = Client::open(first).map_err(|error| wrong(&error))?;
        let cluster = ClusterClient::builder(nodes)
            .connection_timeout(NODE_TIMEOUT)
            .response_timeout(NODE_TIMEOUT)
            .build()
            .map_err(|error| wrong(&error))?;
        Ok(Self::Cluster { cluster: Box::new(cluster), any })
    }

    /// `[SingleFlight.RedisSentinel]`.
    ///
    /// # Errors
    /// `Unsupported`: an address that is none.
    pub fn behind_sentinels(keys: &SentinelKeys) -> Result<Self, Error> {
        if keys.endpoints.len() > MAX_ADDRESSES {
            return Err(sentinel_refused(&format!("names over {MAX_ADDRESSES} sentinels")));
        }
        let sentinels =
            keys.endpoints.iter().map(|text| sentinel(text)).collect::<Result<Vec<_>, _>>()?;
        let (name, master) = (&keys.master_name, SentinelServerType::Master);
        let built = SentinelClientBuilder::new(sentinels, name, master).and_then(|builder| {
            let tcp = TcpSettings::default().set_nodelay(true);
            let mut builder = builder
                .set_client_to_redis_db(i64::from(keys.db))
                .set_client_to_redis_tcp_settings(tcp);
            if !keys.redis_username.is_empty() {
                builder = builder.set_client_to_redis_username(&keys.redis_username);
            }
            if !keys.redis_password.is_empty() {
                builder = builder.set_client_to_redis_password(keys.redis_password.expose());
            }
            if !keys.sentinel_password.is_empty() {
                builder = builder.set_client_to_sentinel_password(keys.sentinel_password.expose());
            }
            builder.build()
        });
        let client = built.map_err(|error| sentinel_refused(&error.to_string()))?;
        Ok(Self::Sentinel(Mutex::new(client)))
    }
}

/// A URL, or host and port.
fn address(text: &str) -> Result<ConnectionInfo, Error> {
    let is_url = text.contains("://");
    let url = if is_url { text.to_owned() } else { format!("redis://{text}") };
    let info = url.as_str().into_connection_info().map_err(|error| wrong(&error))?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// A password of the configuration stands in for one that the URL lacks.
fn with_password(info: ConnectionInfo, password: &str) -> Result<ConnectionInfo, Error> {
    if password.is_empty() {
        return Ok(info);
    }
    match info.redis_settings().password() {
        None => {
            let settings = info.redis_settings().clone().set_password(password);
            Ok(info.set_redis_settings(settings))
        }
        Some(same) if same == password => Ok(info),
        Some(_) => {
            let why = "has another password than the key Password: set one, or make both the same";
            Err(refused("Endpoint", why))
        }
    }
}

/// The host and port of `node`, reached as `first` is.
fn like(first: &ConnectionAddr, node: &ConnectionAddr) -> ConnectionAddr {
    let place = match node {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    };
    match (place, first.clone()) {
        (Some((host, port)), ConnectionAddr::TcpTls { insecure, tls_params, .. }) => {
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        (Some((host, port)), _) => ConnectionAddr::Tcp(host, port),
        (None, _) => node.clone(),
    }
}

fn sentinel(text: &str) -> Result<ConnectionAddr, Error> {
    let text = text.trim();
    let with_port = match text.rsplit_once(':') {
        // The last colon of a bare IPv6 address is not a port's.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            port.parse().ok().map(|port| (host, port))
        }
        Some(_) => None,
        None => Some((text, SENTINEL_PORT)),
    };
    let (host, port) = with_port
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| sentinel_refused(&format!("{text:?} is not a host and port")))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(ConnectionAddr::Tcp(host.to_owned(), port))
}

fn wrong(error: &redis::RedisError) -> Error {
    refused("Endpoint", &format!("cannot be used: {error}"))
}

fn refused(key: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("SingleFlight.Redis.{key} {why}"))
}

fn sentinel_refused(why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("SingleFlight.RedisSentinel.Endpoints: {why}"))
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
