//! Verification with the checksum database.

use std::sync::Arc;

use dipylon::fetch::ExtraStore;
use dipylon::fetch::checksum::ChecksumDatabase;
use dipylon::fetch::environment::{GoSettings, SettingsSource, SumDbSetting};
use dipylon::fetch::sumdb_source::{Carriers, DatabaseSite, SumDbSource, SumDbSourceConfig};
use dipylon_middleware::ports::{Decision, Expected, Mode, Verifier as _};
use dipylon_middleware::telemetry::Telemetry;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::dirhash::Hash1;
use dipylon_protocol::sumdb::TreeHead;
use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};

use crate::support::{MODULE, MemoryStore, VERSION, context, http, module, version};

const NAME: &str = "sum.test";
const HEAD: &str = "sumdb/sum.test/head";

async fn settings(vars: &[(&str, &str)]) -> GoSettings {
    let vars: Vec<(String, String)> =
        vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    GoSettings::resolve(&SettingsSource {
        go_binary_env_vars: &vars,
        environment: &|_| None,
        go_binary: "/nowhere/go",
        no_sum_patterns: &[],
        own_port: None,
    })
    .await
    .unwrap()
}

fn verifier(settings: &GoSettings, store: &Arc<MemoryStore>) -> ChecksumDatabase {
    let databases = match &settings.sumdb {
        SumDbSetting::Off => Vec::new(),
        SumDbSetting::Database(database) => vec![DatabaseSite::of_database(database).unwrap()],
    };
    let store: Arc<dyn ExtraStore> = Arc::<MemoryStore>::clone(store);
    let config = SumDbSourceConfig {
        http: http(),
        proxies: settings.proxies.clone(),
        carriers: Carriers::default(),
        databases,
        store: Arc::clone(&store),
        policy: Arc::new(Decision::new(Mode::Sync, "")),
        offline: false,
    };
    let source = SumDbSource::new(config, &Telemetry::new().unwrap());
    ChecksumDatabase::new(settings, source, store)
}

/// An upstream that carries a database of many records, and a gateway's verifier.
struct Fixture {
    upstream: Upstream,
    database: ChecksumDb,
    store: Arc<MemoryStore>,
    module: FakeModule,
}

impl Fixture {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let module = FakeModule::new(MODULE, VERSION);
        upstream.add(module.clone());
        let database = ChecksumDb::new(NAME, 1);
        upstream.attach(&database);
        database.pad(700);
        Self { upstream, database, store: Arc::default(), module }
    }

    async fn verifier(&self) -> ChecksumDatabase {
        let goproxy = self.upstream.url();
        let vars = [("GOPROXY", goproxy.as_str()), ("GOSUMDB", self.database.verifier_key())];
        verifier(&settings(&vars).await, &self.store)
    }

    fn hashes(&self) -> Expected {
        Expected::Hashes {
            zip: Hash1::parse(&self.module.h1()).unwrap(),
            go_mod: Hash1::parse(&self.module.go_mod_h1()).unwrap(),
        }
    }
}

async fn expected(verifier: &ChecksumDatabase, path: &str, text: &str) -> Result<Expected, Error> {
    verifier.expected(&context(), &module(path), &version(text)).await
}

async fn error(verifier: &ChecksumDatabase, path: &str, text: &str) -> Error {
    expected(verifier, path, text).await.unwrap_err()
}

#[tokio::test]
async fn a_record_is_proven_through_the_upstream_that_carries_the_database() {
    let fixture = Fixture::new().await;
    let verifier = fixture.verifier().await;
    assert_eq!(expected(&verifier, MODULE, VERSION).await.unwrap(), fixture.hashes());
    assert_eq!(fixture.upstream.count("/sumdb/sum.test/supported"), 1);
    let stored = String::from_utf8(fixture.store.file(HEAD).unwrap().to_vec()).unwrap();
    assert_eq!(TreeHead::parse(&stored).unwrap().size, 701);
    let kept = fixture.store.keys();
    assert!(
        kept.contains(&format!("sumdb/sum.test/lookup/example.com/a/!b@{VERSION}")),
        "{kept:?}"
    );
    assert!(kept.iter().any(|key| key.starts_with("sumdb/sum.test/tile/8/0/")), "{kept:?}");
}

#[tokio::test]
async fn what_is_kept_needs_no_database_even_in_another_process() {
    let fixture = Fixture::new().await;
    expected(&fixture.verifier().await, MODULE, VERSION).await.unwrap();
    fixture.upstream.stop();
    let other = fixture.verifier().await;
    assert_eq!(expected(&other, MODULE, VERSION).await.unwrap(), fixture.hashes());
}

#[tokio::test]
async fn without_a_carrying_proxy_the_database_is_asked_directly() {
    // `supported` is 404 at the first proxy and fails at the second, which a bar lets pass; `direct`
    // then ends the search.
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    second.fault(When::any(), Fault::Status(500, "text/plain", "".into()));
    let goproxy = format!("{},{}|direct", first.url(), second.url());
    let settings = settings(&[
        ("GOPROXY", &goproxy),
        ("GOSUMDB", ChecksumDb::new("127.0.0.1", 1).verifier_key()),
    ])
    .await;
    // Nothing listens on port 443 there, so that the way taken shows in the error.
    let error = error(&verifier(&settings, &Arc::default()), MODULE, VERSION).await;
    assert_eq!(error.kind(), ErrorKind::ChecksumUnavailable);
    assert!(error.message().contains("https://127.0.0.1/lookup/"), "{error}");
    assert_eq!((first.total(), second.total()), (1, 1));
}

#[tokio::test]
async fn a_failing_proxy_before_a_comma_is_not_passed_over() {
    let fixture = Fixture::new().await;
    let broken = Upstream::start().await;
    broken.fault(When::any(), Fault::Status(400, "text/plain", "no".into()));
    let goproxy = format!("{},{}", broken.url(), fixture.upstream.url());
    let vars = [("GOPROXY", goproxy.as_str()), ("GOSUMDB", fixture.database.verifier_key())];
    let verifier = verifier(&settings(&vars).await, &Arc::default());
    let error = error(&verifier, MODULE, VERSION).await;
    assert_eq!(error.kind(), ErrorKind::ChecksumUnavailable);
    assert!(error.message().contains(&broken.url()), "{error}");
    assert_eq!(fixture.database.requests().len(), 0);
}

#[tokio::test]
async fn a_url_in_gosumdb_goes_past_all_proxies() {
    let fixture = Fixture::new().await;
    let running = fixture.database.start().await;
    let gosumdb = format!("{} {}", fixture.database.verifier_key(), running.url());
    let goproxy = fixture.upstream.url();
    let vars = [("GOPROXY", goproxy.as_str()), ("GOSUMDB", gosumdb.as_str())];
    let verifier = verifier(&settings(&vars).await, &fixture.store);
    assert_eq!(expected(&verifier, MODULE, VERSION).await.unwrap(), fixture.hashes());
    assert_eq!(fixture.upstream.total(), 0);
}

#[tokio::test]
async fn exempt_modules_are_never_looked_up() {
    let fixture = Fixture::new().await;
    let (goproxy, key) = (fixture.upstream.url(), fixture.database.verifier_key());
    for vars in [
        [("GOPROXY", goproxy.as_str()), ("GOSUMDB", key), ("GONOSUMDB", "example.com/a")],
        [("GOPROXY", goproxy.as_str()), ("GOSUMDB", key), ("GOPRIVATE", "example.com/*/B")],
        [("GOPROXY", goproxy.as_str()), ("GOSUMDB", "off"), ("GOVCS", "")],
    ] {
        let verifier = verifier(&settings(&vars).await, &fixture.store);
        assert_eq!(expected(&verifier, MODULE, VERSION).await.unwrap(), Expected::Exempt);
    }
    assert_eq!(fixture.upstream.total(), 0);
}

// Case 30.
#[tokio::test]
async fn a_toolchain_is_verified_whatever_the_settings_say() {
    let fixture = Fixture::new().await;
    let toolchain = FakeModule::new("golang.org/toolchain", "v0.0.1-go1.99.0.linux-amd64");
    fixture.database.register(&toolchain);
    let (path, text) = (toolchain.path(), toolchain.version());
    let (goproxy, key) = (fixture.upstream.url(), fixture.database.verifier_key());
    let exempt = [("GOPROXY", goproxy.as_str()), ("GOSUMDB", key), ("GONOSUMDB", "golang.org")];
    let known = expected(&verifier(&settings(&exempt).await, &fixture.store), path, text).await;
    assert!(matches!(known.unwrap(), Expected::Hashes { .. }));
    let off =
        verifier(&settings(&[("GOPROXY", &goproxy), ("GOSUMDB", "off")]).await, &fixture.store);
    let refused = error(&off, path, text).await;
    assert_eq!(refused.kind(), ErrorKind::ChecksumUnavailable);
    assert!(refused.message().contains("GOSUMDB=off"), "{refused}");
    let tree = settings(&[("GOPROXY", "file:///srv/mirror"), ("GOSUMDB", "off")]).await;
    let tree = verifier(&tree, &fixture.store);
    assert_eq!(expected(&tree, path, text).await.unwrap(), Expected::Exempt);
}

#[tokio::test]
async fn an_unknown_version_is_private_and_the_text_says_what_to_set() {
    let fixture = Fixture::new().await;
    let verifier = fixture.verifier().await;
    let unknown = error(&verifier, "corp.test/secret", "v1.0.0").await;
    assert_eq!(unknown.kind(), ErrorKind::PrivateChecksum);
    assert!(unknown.message().contains("corp.test/secret@v1.0.0"), "{unknown}");
    for word in ["GONOSUMDB", "NoSumPatterns"] {
        assert!(unknown.message().contains(word), "{unknown}");
    }
    // Asked again at once, the answer is remembered; it creates no traffic.
    let before = fixture.upstream.total();
    error(&verifier, "corp.test/secret", "v1.0.0").await;
    assert_eq!(fixture.upstream.total(), before);
}

#[tokio::test]
async fn a_database_that_is_down_is_unavailable_and_not_private() {
    let fixture = Fixture::new().await;
    let verifier = fixture.verifier().await;
    fixture.database.down(true);
    let down = error(&verifier, MODULE, VERSION).await;
    assert_eq!(down.kind(), ErrorKind::ChecksumUnavailable, "{down}");
    fixture.database.down(false);
    assert_eq!(expected(&verifier, MODULE, VERSION).await.unwrap(), fixture.hashes());
}

#[tokio::test]
async fn a_login_page_is_neither_believed_nor_kept() {
    let fixture = Fixture::new().await;
    let verifier = fixture.verifier().await;
    for part in ["/lookup/", "/tile/"] {
        fixture.upstream.fault(When::matching(move |path| path.contains(part)), Fault::HtmlLogin);
        let error = error(&verifier, MODULE, VERSION).await;
        assert_eq!(error.kind(), ErrorKind::ChecksumUnavailable, "{part}: {error}");
        fixture.upstream.clear_faults();
    }
    assert_eq!(expected(&verifier, MODULE, VERSION).await.unwrap(), fixture.hashes());
}

#[tokio::test]
async fn a_fork_is_a_security_error_and_the_head_stays() {
    let fixture = Fixture::new().await;
    expected(&fixture.verifier().await, MODULE, VERSION).await.unwrap();
    let head = fixture.store.file(HEAD).unwrap();
    let fork = fixture.database.fork();
    fork.pad(900);
    fixture.upstream.attach(&fork);
    let other = FakeModule::new("example.com/other", "v1.0.0");
    fixture.upstream.add(other.clone());
    // In the process that knows the head, and in one that finds it stored.
    for _ in 0..2 {
        let error = error(&fixture.verifier().await, other.path(), other.version()).await;
        assert_eq!(error.kind(), ErrorKind::ChecksumMismatch, "{error}");
        assert!(error.message().contains("SECURITY"), "{error}");
    }
    assert_eq!(fixture.store.file(HEAD).unwrap(), head);
}

#[tokio::test]
async fn a_fork_that_another_replica_stored_is_seen() {
    let fixture = Fixture::new().await;
    let fork = fixture.database.fork();
    fixture.database.pad(400);
    let running = fork.start().await;
    let gosumdb = format!("{} {}", fork.verifier_key(), running.url());
    let victim = Arc::<MemoryStore>::default();
    let shown = verifier(&settings(&[("GOPROXY", "off"), ("GOSUMDB", &gosumdb)]).await, &victim);
    fork.register(&fixture.module);
    expected(&shown, MODULE, VERSION).await.unwrap();
    // The replica that was shown the fork shares its head; the other one is shown the true log.
    fixture.store.set(HEAD, victim.file(HEAD).unwrap());
    let verifier = fixture.verifier().await;
    let seen = error(&verifier, MODULE, VERSION).await;
    assert_eq!(seen.kind(), ErrorKind::ChecksumMismatch, "{seen}");
    // Neither head is preferred afterwards: somebody has to look.
    let again = error(&verifier, MODULE, VERSION).await;
    assert_eq!(again.kind(), ErrorKind::ChecksumMismatch, "{again}");
}

#[tokio::test]
async fn a_damaged_kept_answer_is_fetched_again() {
    let fixture = Fixture::new().await;
    expected(&fixture.verifier().await, MODULE, VERSION).await.unwrap();
    for key in fixture.store.keys().into_iter().filter(|key| key.contains("/tile/")) {
        let mut bytes = fixture.store.file(&key).unwrap().to_vec();
        bytes[0] ^= 1;
        fixture.store.set(&key, bytes);
    }
    let fresh = fixture.verifier().await;
    assert_eq!(expected(&fresh, MODULE, VERSION).await.unwrap(), fixture.hashes());
    fixture.upstream.stop();
    let healed = fixture.verifier().await;
    assert_eq!(expected(&healed, MODULE, VERSION).await.unwrap(), fixture.hashes());
}

#[tokio::test]
async fn the_head_advances_and_never_goes_back() {
    let fixture = Fixture::new().await;
    let size = |store: &MemoryStore| {
        let stored = store.file(HEAD).unwrap();
        TreeHead::parse(std::str::from_utf8(&stored).unwrap()).unwrap().size
    };
    let first = fixture.verifier().await;
    expected(&first, MODULE, VERSION).await.unwrap();
    fixture.database.pad(50);
    let later = FakeModule::new("example.com/later", "v1.0.0");
    fixture.upstream.add(later.clone());
    expected(&fixture.verifier().await, later.path(), later.version()).await.unwrap();
    assert_eq!(size(&fixture.store), 752);
    // A process that starts now and looks up the older record keeps the newer head.
    expected(&fixture.verifier().await, MODULE, VERSION).await.unwrap();
    assert_eq!(size(&fixture.store), 752);
}

#[tokio::test]
async fn many_lookups_at_once_all_prove_their_record() {
    let fixture = Fixture::new().await;
    let modules: Vec<FakeModule> = (0..60)
        .map(|number| FakeModule::new(&format!("example.com/m{number}"), "v1.0.0"))
        .collect();
    for module in &modules {
        fixture.upstream.add(module.clone());
    }
    let verifier = fixture.verifier().await;
    let lookups = modules.iter().map(|module| expected(&verifier, module.path(), module.version()));
    for (module, answer) in modules.iter().zip(futures::future::join_all(lookups).await) {
        let Expected::Hashes { zip, .. } = answer.unwrap() else { panic!("hashes") };
        assert_eq!(zip.to_string(), module.h1());
    }
    assert_eq!(fixture.upstream.count("/sumdb/sum.test/supported"), 1, "one probe for all");
    assert!(fixture.upstream.max_in_flight() <= 32, "{}", fixture.upstream.max_in_flight());
}

#[tokio::test]
async fn partial_tiles_that_are_gone_are_taken_from_full_ones() {
    let fixture = Fixture::new().await;
    // A head of 701 records is proven, then the log grows and its partial tiles go.
    expected(&fixture.verifier().await, MODULE, VERSION).await.unwrap();
    fixture.database.pad(3000);
    fixture.database.full_tiles_only(true);
    let store = Arc::<MemoryStore>::default();
    store.set(HEAD, fixture.store.file(HEAD).unwrap());
    let goproxy = fixture.upstream.url();
    let vars = [("GOPROXY", goproxy.as_str()), ("GOSUMDB", fixture.database.verifier_key())];
    let fresh = verifier(&settings(&vars).await, &store);
    assert_eq!(expected(&fresh, MODULE, VERSION).await.unwrap(), fixture.hashes());
}

#[tokio::test]
async fn storage_trouble_stops_a_verification_only_while_no_head_is_known() {
    let fixture = Fixture::new().await;
    fixture.store.break_down(true);
    let blind = error(&fixture.verifier().await, MODULE, VERSION).await;
    assert_eq!(blind.kind(), ErrorKind::ChecksumUnavailable);
    assert!(blind.message().contains("tree head"), "{blind}");
    fixture.store.break_down(false);
    let verifier = fixture.verifier().await;
    expected(&verifier, MODULE, VERSION).await.unwrap();
    fixture.store.break_down(true);
    let other = FakeModule::new("example.com/other", "v1.0.0");
    fixture.upstream.add(other.clone());
    expected(&verifier, other.path(), other.version()).await.unwrap();
}

#[tokio::test]
async fn a_lie_of_the_database_is_what_is_expected() {
    // Case 12: the comparison is the stash's; here the log's word counts, whatever upstream serves.
    let fixture = Fixture::new().await;
    let wrong = FakeModule::new("example.com/wrong", "v1.0.0").h1();
    fixture.database.lie(MODULE, VERSION, &wrong);
    let Expected::Hashes { zip, .. } =
        expected(&fixture.verifier().await, MODULE, VERSION).await.unwrap()
    else {
        panic!("hashes")
    };
    assert_eq!(zip.to_string(), wrong);
}
