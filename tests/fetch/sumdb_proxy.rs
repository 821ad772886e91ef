//! `/sumdb/NAME/…` for clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dipylon::fetch::ExtraStore;
use dipylon::fetch::goproxy_setting::GoProxyList;
use dipylon::fetch::sumdb_proxy::SumDbProxy;
use dipylon::fetch::sumdb_source::{Carriers, DatabaseSite, SumDbSource, SumDbSourceConfig};
use dipylon_middleware::forward::Forward;
use dipylon_middleware::ports::{Decision, ListSource, Mode, Policy};
use dipylon_middleware::request::SumDbRequest;
use dipylon_middleware::response::SumDbResponse;
use dipylon_middleware::stack::Stage as _;
use dipylon_middleware::telemetry::{Outcome, Telemetry};
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Patterns;
use dipylon_protocol::route::{Route, SumDbPath};
use dipylon_protocol::sumdb::Database;
use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Recorded, Upstream, When};

use crate::support::{MODULE, MemoryStore, VERSION, context, http, module, version};

const NAME: &str = "sum.test";

/// Keeps one module's name from every upstream.
struct Policies;

const SECRET: &str = "example.com/secret";

impl Policy for Policies {
    fn decide(&self, module: &ModulePath) -> Arc<Decision> {
        let mut decision = Decision::new(Mode::None, "");
        if module.as_str() == SECRET {
            (decision.list, decision.latest) = (ListSource::Storage, ListSource::Storage);
        }
        Arc::new(decision)
    }
}

/// A reload comes between the first look at a name and the second: from then on it is kept from every upstream.
#[derive(Default)]
struct Turning {
    asked: AtomicUsize,
}

impl Policy for Turning {
    fn decide(&self, _: &ModulePath) -> Arc<Decision> {
        let mut decision = Decision::new(Mode::None, "");
        if self.asked.fetch_add(1, Ordering::Relaxed) > 0 {
            (decision.list, decision.latest) = (ListSource::Storage, ListSource::Storage);
        }
        Arc::new(decision)
    }
}

struct Fixture {
    upstream: Upstream,
    database: ChecksumDb,
    store: Arc<MemoryStore>,
}

impl Fixture {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        upstream.add(FakeModule::new(MODULE, VERSION));
        let database = ChecksumDb::new(NAME, 2);
        upstream.attach(&database);
        database.pad(300);
        Self { upstream, database, store: Arc::default() }
    }

    /// A proxy that does not know the database's key.
    fn proxy(&self, private: &str, offline: bool) -> SumDbProxy {
        let site = DatabaseSite::of_url("https://sum.test/ignored").unwrap();
        self.proxy_to(site, private, offline)
    }

    /// A proxy that knows it.
    fn proving(&self, offline: bool) -> SumDbProxy {
        let database = Database::parse(self.database.verifier_key()).unwrap();
        self.proxy_to(DatabaseSite::of_database(&database).unwrap(), "", offline)
    }

    fn proxy_to(&self, site: DatabaseSite, private: &str, offline: bool) -> SumDbProxy {
        self.proxy_by(Arc::new(Policies), site, private, offline)
    }

    fn proxy_by(
        &self,
        policy: Arc<dyn Policy>,
        site: DatabaseSite,
        private: &str,
        offline: bool,
    ) -> SumDbProxy {
        let store: Arc<dyn ExtraStore> = Arc::<MemoryStore>::clone(&self.store);
        let config = SumDbSourceConfig {
            http: http(),
            proxies: GoProxyList::parse(&self.upstream.url()).unwrap(),
            carriers: Carriers::default(),
            databases: vec![site],
            store,
            policy: Arc::clone(&policy),
            offline,
        };
        let source = SumDbSource::new(config, &Telemetry::new().unwrap());
        SumDbProxy::new(source, &[NAME.to_owned()], Patterns::parse(private), policy)
    }
}

async fn ask(proxy: &SumDbProxy, name: &str, path: SumDbPath) -> Result<SumDbResponse, Error> {
    let request = SumDbRequest { context: context(), name: name.to_owned(), path };
    proxy.clone().run(request).await
}

fn lookup(path: &str, text: &str) -> SumDbPath {
    SumDbPath::Lookup { module: module(path), version: version(text) }
}

fn tile(text: &str) -> SumDbPath {
    match Route::parse(&format!("/sumdb/{NAME}/{text}")) {
        Ok(Route::SumDb { path, .. }) => path,
        other => panic!("{other:?}"),
    }
}

// Case 20.
#[tokio::test]
async fn supported_is_answered_here_for_carried_names_only() {
    let fixture = Fixture::new().await;
    fixture.upstream.stop();
    let proxy = fixture.proxy("", false);
    let answer = ask(&proxy, NAME, SumDbPath::Supported).await.unwrap();
    assert_eq!((answer.body, answer.immutable), (Bytes::new(), false));
    for path in [SumDbPath::Supported, SumDbPath::Latest, lookup(MODULE, VERSION)] {
        let error = ask(&proxy, "other.test", path).await.unwrap_err();
        assert_eq!(error.kind().row().status, 404, "{error}");
    }
}

// Case 20.
#[tokio::test]
async fn kept_answers_survive_the_database_and_the_process() {
    let fixture = Fixture::new().await;
    // The record is the last of 301: these tiles prove it.
    let paths = [lookup(MODULE, VERSION), tile("tile/8/0/001.p/45"), tile("tile/8/1/000.p/1")];
    let proxy = fixture.proving(false);
    let mut first = Vec::new();
    for path in &paths {
        let answer = ask(&proxy, NAME, path.clone()).await.unwrap();
        assert!(answer.immutable, "{answer:?}");
        first.push(answer.body);
    }
    fixture.database.down(true);
    for (proxy, want) in [
        (proxy.clone(), Outcome::HitMemory),
        (fixture.proving(false), Outcome::HitStorage),
        (fixture.proving(true), Outcome::HitStorage),
    ] {
        for (path, body) in paths.iter().zip(&first) {
            let answer = ask(&proxy, NAME, path.clone()).await.unwrap();
            assert_eq!((&answer.body, answer.outcome), (body, want));
        }
    }
    let error = ask(&proxy, NAME, lookup("example.com/new", "v1.0.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChecksumUnavailable);
    let error = ask(&proxy, NAME, SumDbPath::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChecksumUnavailable);
}

#[tokio::test]
async fn what_is_not_proven_never_reaches_storage_and_answers_from_memory_for_a_while() {
    let fixture = Fixture::new().await;
    let paths = [lookup(MODULE, VERSION), tile("tile/8/0/000")];
    let proxy = fixture.proxy("", false);
    for path in &paths {
        let answer = ask(&proxy, NAME, path.clone()).await.unwrap();
        assert_eq!((answer.outcome, answer.immutable), (Outcome::MissLeader, false));
    }
    assert!(fixture.store.keys().is_empty(), "{:?}", fixture.store.keys());
    fixture.database.down(true);
    for path in &paths {
        let answer = ask(&proxy, NAME, path.clone()).await.unwrap();
        assert_eq!((answer.outcome, answer.immutable), (Outcome::HitMemory, false));
        ask(&fixture.proxy("", true), NAME, path.clone()).await.unwrap_err();
    }
}

#[tokio::test]
async fn what_stands_in_for_a_database_that_fails_says_that_it_was_asked() {
    let fixture = Fixture::new().await;
    let path = lookup(MODULE, VERSION);
    let proxy = fixture.proxy("", false);
    let held = ask(&proxy, NAME, path.clone()).await.unwrap();
    assert_eq!((held.outcome, held.forward), (Outcome::MissLeader, Forward::default()));
    fixture.database.down(true);
    // Longer than what is not proven is held.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(601)).await;
    tokio::time::resume();
    fixture.database.clear_requests();
    fixture.upstream.latency(Duration::from_millis(50));
    let answers = tokio::join!(ask(&proxy, NAME, path.clone()), ask(&proxy, NAME, path));
    let (leads, follows) = (answers.0.unwrap(), answers.1.unwrap());
    let asked = Forward { asked: true, stale: true, ..Forward::default() };
    for (answer, forward) in [(leads, asked), (follows, Forward { collapsed: true, ..asked })] {
        assert_eq!((answer.outcome, answer.forward), (Outcome::StaleError, forward));
        assert_eq!((answer.body, answer.stored), (held.body.clone(), false));
    }
    assert_eq!(fixture.database.count("/lookup/"), 1, "once for both");
}

#[tokio::test]
async fn what_is_kept_says_so_and_the_newest_head_is_not() {
    let fixture = Fixture::new().await;
    for proxy in [fixture.proxy("", false), fixture.proving(false)] {
        for (path, stored) in [
            (lookup(MODULE, VERSION), true),
            (tile("tile/8/0/000"), true),
            (SumDbPath::Latest, false),
        ] {
            let answer = ask(&proxy, NAME, path.clone()).await.unwrap();
            if answer.outcome == Outcome::MissLeader {
                assert_eq!(answer.stored, stored, "{path}");
            }
            let again = ask(&proxy, NAME, path.clone()).await.unwrap();
            assert_eq!(again.outcome != Outcome::MissLeader, stored, "{path}: it is given again");
            assert!(!again.stored, "{path}");
        }
    }
}

#[tokio::test]
async fn a_tile_that_proves_nothing_is_not_kept_although_the_client_gets_it() {
    let fixture = Fixture::new().await;
    let wrong = Bytes::from(vec![7; 45 * 32]);
    let path = format!("/sumdb/{NAME}/tile/8/0/001.p/45");
    fixture.upstream.fault(When::path(&path), Fault::Body(wrong.clone()));
    let proxy = fixture.proving(false);
    let answer = ask(&proxy, NAME, tile("tile/8/0/001.p/45")).await.unwrap();
    assert_eq!((answer.body, answer.immutable), (wrong, false));
    // Its proof fails on that tile.
    ask(&proxy, NAME, lookup(MODULE, VERSION)).await.unwrap();
    assert!(fixture.store.keys().is_empty(), "{:?}", fixture.store.keys());
}

#[tokio::test]
async fn the_newest_head_is_never_kept() {
    let fixture = Fixture::new().await;
    let proxy = fixture.proxy("", false);
    let before = ask(&proxy, NAME, SumDbPath::Latest).await.unwrap();
    fixture.database.pad(1);
    let after = ask(&proxy, NAME, SumDbPath::Latest).await.unwrap();
    assert_ne!(before.body, after.body);
    assert!(!after.immutable);
    assert!(fixture.store.keys().is_empty());
}

// Case 21.
#[tokio::test]
async fn a_private_module_is_refused_without_a_packet() {
    let fixture = Fixture::new().await;
    let table = [
        ("example.com/a/B", true),
        ("example.com/a/*", true),
        ("example.com/a", true),
        ("example.com/a/b", false),
        ("example.com/a/B/v2", false),
    ];
    for (pattern, private) in table {
        fixture.upstream.clear_requests();
        let answer = ask(&fixture.proxy(pattern, false), NAME, lookup(MODULE, VERSION)).await;
        if !private {
            assert!(answer.is_ok(), "{pattern}");
            continue;
        }
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PrivateChecksum, "{pattern}");
        assert!(error.message().contains("GONOSUMDB or GOPRIVATE"), "{error}");
        assert_eq!(fixture.upstream.total(), 0, "{pattern}");
    }
}

#[tokio::test]
async fn a_name_that_the_policy_keeps_from_upstreams_is_not_looked_up() {
    let fixture = Fixture::new().await;
    fixture.upstream.clear_requests();
    let answer = ask(&fixture.proxy("", false), NAME, lookup(SECRET, VERSION)).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::PrivateChecksum);
    assert_eq!(fixture.upstream.total(), 0);
}

#[tokio::test]
async fn an_unknown_version_is_404_and_remembered_for_the_repeated_question() {
    let fixture = Fixture::new().await;
    let proxy = fixture.proxy("", false);
    for _ in 0..3 {
        let error = ask(&proxy, NAME, lookup("example.com/none", "v1.0.0")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert_eq!(fixture.database.count("/lookup/example.com/none"), 1);
}

#[tokio::test]
async fn equal_questions_at_one_time_share_one_fetch() {
    let fixture = Fixture::new().await;
    fixture.upstream.latency(Duration::from_millis(50));
    let proxy = fixture.proxy("", false);
    let asks = (0..50).map(|_| ask(&proxy, NAME, lookup(MODULE, VERSION)));
    let answers = futures::future::join_all(asks).await;
    assert!(answers.iter().flatten().all(|answer| {
        let leads = answer.outcome == Outcome::MissLeader;
        answer.stored == leads
    }));
    let leaders = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().outcome == Outcome::MissLeader)
        .count();
    assert_eq!((leaders, fixture.database.count("/lookup/")), (1, 1));
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_fail_those_who_wait_with_it() {
    let fixture = Fixture::new().await;
    fixture.upstream.latency(Duration::from_millis(100));
    let proxy = fixture.proxy("", false);
    let leader = tokio::spawn({
        let proxy = proxy.clone();
        async move { ask(&proxy, NAME, lookup(MODULE, VERSION)).await }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    let follower = tokio::spawn({
        let proxy = proxy.clone();
        async move { ask(&proxy, NAME, lookup(MODULE, VERSION)).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    leader.abort();
    assert!(follower.await.unwrap().is_ok());
    assert_eq!(fixture.database.count("/lookup/"), 1);
    // When everybody has gone, the next one starts anew.
    let alone = tokio::spawn({
        let proxy = proxy.clone();
        async move { ask(&proxy, NAME, tile("tile/8/0/000")).await }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    alone.abort();
    assert!(alone.await.unwrap_err().is_cancelled());
    assert!(ask(&proxy, NAME, tile("tile/8/0/000")).await.is_ok());
}

#[tokio::test]
async fn a_partial_tile_is_cut_from_the_kept_full_one() {
    let fixture = Fixture::new().await;
    let proxy = fixture.proxy("", false);
    let full = ask(&proxy, NAME, tile("tile/8/0/000")).await.unwrap();
    fixture.upstream.stop();
    let partial = ask(&proxy, NAME, tile("tile/8/0/000.p/3")).await.unwrap();
    assert_eq!(partial.body, full.body.slice(..96));
}

#[tokio::test]
async fn a_name_that_a_reload_makes_private_meanwhile_is_private_and_the_database_is_not_asked() {
    let fixture = Fixture::new().await;
    let site = DatabaseSite::of_url("https://sum.test/ignored").unwrap();
    let proxy = fixture.proxy_by(Arc::new(Turning::default()), site, "", false);
    let error = ask(&proxy, NAME, lookup(MODULE, VERSION)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PrivateChecksum, "{error}");
    assert!(error.message().contains("GONOSUMDB"), "{error}");
    let told = |request: &Recorded| request.path.contains(MODULE);
    assert!(!fixture.upstream.requests().iter().any(told));
}

#[tokio::test]
async fn offline_says_not_stored() {
    let fixture = Fixture::new().await;
    let proxy = fixture.proxy("", true);
    let error = ask(&proxy, NAME, lookup(MODULE, VERSION)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStored, "{error}");
    assert_eq!(fixture.upstream.total(), 0);
}

#[tokio::test]
async fn storage_trouble_does_not_stop_a_client() {
    let fixture = Fixture::new().await;
    fixture.store.break_down(true);
    let proxy = fixture.proxy("", false);
    assert!(ask(&proxy, NAME, lookup(MODULE, VERSION)).await.is_ok());
}
