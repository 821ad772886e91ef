//! Scenes in which an upstream, or the checksum database, is in trouble; and one in which nothing is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::breaker::state::UPSTREAM_FAILURES_TO_OPEN;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};

use super::scene::{PAUSE, Scene, ask_well};
use crate::load::{fresh, path};
use crate::store::Store;
use crate::world::World;

/// Who is throttled is left alone for so many seconds: half as long again as its alert waits.
const RETRY_AFTER: u64 = 12;
/// A module name under which upstream fails.
const ILL: &str = "ill";

fn broken() -> Fault {
    Fault::Status(500, "text/plain", Bytes::from_static(b"out of order\n"))
}

/// Nothing is ever broken: it is no scene, and goes on for as long as the scenes do.
pub(super) struct Quiet(World);

impl Quiet {
    pub(super) const JOB: &'static str = "quiet";

    pub(super) async fn start() -> Self {
        Self(World::start(&[]).await)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.gateway.address()
    }

    /// What is stored, what is not, and what does not exist: all of it right answers.
    pub(super) async fn go_on(&self) -> Infallible {
        for round in 0.. {
            ask_well(&self.0).await;
            let new = fresh(&self.0, "new", round);
            assert_eq!(self.0.gateway.get(&path(&new, "zip")).await.status, 200);
            assert_eq!(self.0.gateway.get("/example.com/none/@v/v1.0.0.info").await.status, 404);
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("the rounds do not end")
    }
}

/// Half of what upstream is asked fails.
pub(super) struct Failing(World);

impl Failing {
    pub(super) async fn start() -> Self {
        Self(World::start(&[("DIPYLON_UPSTREAM_ATTEMPTS", "1")]).await)
    }
}

impl Scene for Failing {
    const JOB: &'static str = "failing";
    const ALERTS: &'static [&'static str] =
        &["DipylonUpstreamFails", "DipylonErrorBudgetBurnsFast", "DipylonErrorBudgetBurnsSlowly"];

    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    async fn well(&self, _: usize) {
        ask_well(&self.0).await;
    }

    async fn spoil(&mut self) {
        self.0.upstream.fault(When::prefix(&format!("/example.com/{ILL}/")), broken());
    }

    async fn ill(&self, round: usize) {
        let (ill, well) = (fresh(&self.0, ILL, round), fresh(&self.0, "well", round));
        assert_eq!(self.0.gateway.get(&path(&ill, "info")).await.status, 502);
        assert_eq!(self.0.gateway.get(&path(&well, "info")).await.status, 200);
    }

    async fn mend(&mut self) {
        self.0.upstream.clear_faults();
    }
}

/// Upstream fails every time, and is left alone.
pub(super) struct Breaker(World);

impl Breaker {
    pub(super) async fn start() -> Self {
        Self(World::start(&[("DIPYLON_UPSTREAM_ATTEMPTS", "1")]).await)
    }
}

impl Scene for Breaker {
    const JOB: &'static str = "breaker";
    const ALERTS: &'static [&'static str] = &["DipylonBreakerOpen"];

    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    async fn well(&self, round: usize) {
        ask_well(&self.0).await;
        // Only who is asked can be found well again. Its first answer may still be that it is left alone.
        let new = fresh(&self.0, "new", round);
        self.0.gateway.get(&path(&new, "info")).await;
    }

    async fn spoil(&mut self) {
        self.0.upstream.fault(When::any(), broken());
        for round in 0..UPSTREAM_FAILURES_TO_OPEN as usize {
            self.ill(round).await;
        }
    }

    async fn ill(&self, round: usize) {
        let ill = fresh(&self.0, ILL, round);
        let answer = self.0.gateway.get(&path(&ill, "info")).await;
        assert!(answer.status.is_server_error(), "{}", answer.status);
    }

    async fn mend(&mut self) {
        self.0.upstream.clear_faults();
    }
}

/// Upstream wants to be left alone.
pub(super) struct Throttled(World);

impl Throttled {
    pub(super) async fn start() -> Self {
        Self(World::start(&[("DIPYLON_UPSTREAM_ATTEMPTS", "1")]).await)
    }
}

impl Scene for Throttled {
    const JOB: &'static str = "throttled";
    const ALERTS: &'static [&'static str] = &["DipylonUpstreamThrottles"];

    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    async fn well(&self, _: usize) {
        ask_well(&self.0).await;
    }

    async fn spoil(&mut self) {
        self.0.upstream.fault(When::any(), Fault::RetryAfter(429, RETRY_AFTER));
    }

    async fn ill(&self, round: usize) {
        let ill = fresh(&self.0, ILL, round);
        let answer = self.0.gateway.get(&path(&ill, "info")).await;
        assert!([429, 503].contains(&answer.status.as_u16()), "{}", answer.status);
    }

    async fn mend(&mut self) {
        self.0.upstream.clear_faults();
    }
}

/// An upstream sends what the checksum database does not know, the database is down, and another replica stored
/// other bytes.
pub(super) struct Integrity {
    world: World,
    store: Store,
}

impl Integrity {
    pub(super) async fn start() -> Self {
        let store = Store::start().await;
        let settings = [
            ("ATHENS_STORAGE_TYPE", "external"),
            ("ATHENS_EXTERNAL_STORAGE_URL", &store.url()),
            ("DIPYLON_TIERED_DIRECTORY", ""),
        ];
        Self { world: World::start(&settings).await, store }
    }
}

impl Scene for Integrity {
    const JOB: &'static str = "integrity";
    const ALERTS: &'static [&'static str] = &[
        "DipylonChecksumMismatch",
        "DipylonStoredBytesDiffer",
        "DipylonChecksumDatabaseUnavailable",
    ];

    fn gateway(&self) -> &Gateway {
        &self.world.gateway
    }

    async fn well(&self, _: usize) {
        ask_well(&self.world).await;
    }

    /// One version of which the database knows other bytes, one that is stored with other bytes while it is
    /// fetched; then the database is gone.
    async fn spoil(&mut self) {
        let world = &self.world;
        let lied = fresh(world, "lied", 0);
        let other = FakeModule::new("example.com/other", "v1.0.0").h1();
        world.database.lie(lied.path(), lied.version(), &other);
        assert_eq!(world.gateway.get(&path(&lied, "zip")).await.status, 403);
        let raced = fresh(world, "raced", 0);
        let zip = path(&raced, "zip");
        world.upstream.fault(When::path(&zip), Fault::Delay(Duration::from_millis(900)));
        let client = world.gateway.client();
        let racing = tokio::spawn(async move { client.get(&zip).await.status });
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.store.lay(&FakeModule::new(raced.path(), raced.version()).filler(30_000));
        assert_eq!(racing.await.expect("the request is not aborted"), 200);
        world.database.down(true);
    }

    async fn ill(&self, round: usize) {
        let unknown = fresh(&self.world, "unknown", round);
        assert_eq!(self.world.gateway.get(&path(&unknown, "zip")).await.status, 503);
    }

    async fn mend(&mut self) {
        self.world.database.down(false);
        self.world.upstream.clear_faults();
    }
}
