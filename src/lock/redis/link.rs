//! The one connection on which questions travel, made when needed and again after an error.

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::ports::LockError;
use dipylon_middleware::redact::redact_prose;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisFuture, RedisResult,
    ScriptInvocation, Value,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::address::Servers;

/// How long the server may take to answer; less than what the layer waits, so that a connection that
/// does not answer is given up.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long one server may take to be connected to.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long connecting may take in all: every sentinel may have to be asked.
const CONNECT_ALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What connecting came to, for all that wait for it.
type Connected = Result<Live, LockError>;

/// A connection to whatever servers are configured.
pub(super) struct Link {
    servers: Servers,
    state: Mutex<State>,
}

enum State {
    Idle,
    Connecting(watch::Receiver<Option<Connected>>),
    Live(Live),
}

/// A connection and its number, so that who saw it fail does not close the next one.
#[derive(Clone)]
struct Live {
    number: u64,
    connection: Connection,
}

impl Link {
    /// Connects to nothing yet.
    pub(super) fn new(servers: Servers) -> Self {
        Self { servers, state: Mutex::new(State::Idle) }
    }

    /// Runs a script.
    pub(super) async fn run<T: FromRedisValue>(
        self: &Arc<Self>,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, LockError> {
        let mut live = self.live().await?;
        match call.invoke_async(&mut live.connection).await {
            Ok(value) => Ok(value),
            Err(error) => {
                // Whatever it is, a new connection can only be better: the server may have become a
                // replica, or have changed its mind about our rights.
                self.give_up(live.number);
                Err(lock_error(&error))
            }
        }
    }

    /// A connection of its own that hears one channel.
    pub(super) async fn subscribe(&self, channel: &str) -> RedisResult<PubSub> {
        let client = self.servers.client().await?;
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        Ok(subscription)
    }

    async fn live(self: &Arc<Self>) -> Connected {
        let mut connected = match &mut *self.state.lock() {
            State::Live(live) => return Ok(live.clone()),
            State::Connecting(connected) => connected.clone(),
            state @ State::Idle => {
                let connected = self.connect_in_background();
                *state = State::Connecting(connected.clone());
                connected
            }
        };
        match connected.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(|| Err(cut_off())),
            Err(_) => Err(cut_off()),
        }
    }

    /// On a task of its own: who stops waiting does not undo a connection that is half made.
    fn connect_in_background(self: &Arc<Self>) -> watch::Receiver<Option<Connected>> {
        let (sender, receiver) = watch::channel(None);
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let connected = timeout(CONNECT_ALL_TIMEOUT, link.servers.connect()).await;
            let result = match connected {
                Ok(Ok(connection)) => Ok(Live { number: next_number(), connection }),
                Ok(Err(error)) => Err(lock_error(&error)),
                Err(_) => Err(LockError::new("connecting takes too long")),
            };
            *link.state.lock() = match &result {
                Ok(live) => State::Live(live.clone()),
                Err(_) => State::Idle,
            };
            sender.send_replace(Some(result));
        });
        receiver
    }

    fn give_up(&self, number: u64) {
        let mut state = self.state.lock();
        if matches!(&*state, State::Live(live) if live.number == number) {
            *state = State::Idle;
        }
    }
}

fn next_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn cut_off() -> LockError {
    LockError::new("connecting was cut off")
}

fn lock_error(error: &redis::RedisError) -> LockError {
    LockError::new(redact_prose(&error.to_string()))
}

impl Servers {
    /// A new connection.
    async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Self::Cluster { cluster, .. } => {
                cluster.get_async_connection().await.map(Connection::Cluster)
            }
            Self::Single(_) | Self::Sentinel(_) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(RESPONSE_TIMEOUT));
                let client = self.client().await?;
                let connected = client.get_multiplexed_async_connection_with_config(&config);
                connected.await.map(Connection::Single)
            }
        }
    }

    /// The server itself, the one that the sentinels name, or any of a cluster.
    async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Single(client) => Ok(client.clone()),
            Self::Cluster { any, .. } => Ok(any.clone()),
            Self::Sentinel(sentinels) => sentinels.lock().await.async_get_client().await,
        }
    }
}

/// Either kind of connection.
#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
