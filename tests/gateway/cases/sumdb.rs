//! Cases 20, 21 and 30: the checksum database, and the toolchain that must be verified.

use dipylon_testkit::module::FakeModule;

use crate::world::{DATABASE, MODULE, Setup, VERSION, assert_refusal, file, outcome, path_of};

const TOOLCHAIN: &str = "golang.org/toolchain";
const GO_VERSION: &str = "v0.0.1-go1.21.0.linux-amd64";

fn lookup(module: &str, version: &str) -> String {
    format!("/sumdb/{DATABASE}/lookup/{module}@{version}")
}

#[tokio::test]
async fn case_20_supported_is_answered_here_and_what_is_kept_outlives_the_database() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.add(FakeModule::new(MODULE, "v1.3.0"));
    let known = lookup(MODULE, VERSION);
    let tile = format!("/sumdb/{DATABASE}/tile/8/0/000.p/1");
    let record = world.get_ok(&known).await;
    assert!(record.text().contains(&format!("{MODULE} {VERSION} h1:")), "{}", record.text());
    assert!(record.header("cache-control").is_some_and(|value| value.contains("immutable")));
    let hashes = world.get_ok(&tile).await;
    assert_eq!(hashes.body.len(), 32);

    world.database.down(true);
    let requests = world.upstream.total();
    let supported = world.get_ok(&format!("/sumdb/{DATABASE}/supported")).await;
    assert!(supported.body.is_empty());
    assert_eq!(world.get_ok(&known).await.body, record.body);
    assert_eq!(world.get_ok(&tile).await.body, hashes.body);
    assert_eq!(world.upstream.total(), requests, "answered here");
    let down = world.get_refused(&lookup(MODULE, "v1.3.0"), 503, &[DATABASE]).await;
    assert_eq!(outcome(&down), "checksum_unavailable");

    world.database.down(false);
    world.get_ok(&lookup(MODULE, "v1.3.0")).await;
    world.get_refused("/sumdb/other.test/supported", 404, &["other.test"]).await;
    world.get_refused(&lookup(MODULE, "v1.9.9"), 404, &["not found"]).await;
}

#[tokio::test]
async fn case_20_a_version_that_cannot_be_verified_is_refused_and_can_be_had_later() {
    let world = Setup::disk().start().await;
    let module = world.add_module();
    world.database.down(true);
    for kind in ["mod", "zip"] {
        let refused = world.get_refused(&file(kind), 503, &[DATABASE]).await;
        assert_eq!(outcome(&refused), "checksum_unavailable");
    }
    world.until_idle().await;
    assert!(world.stored_files().is_empty());
    world.database.down(false);
    crate::world::until("the database is asked again", async || {
        world.get(&file("zip")).await.status == 200
    })
    .await;
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    world.until_stored(MODULE, VERSION).await;
}

#[tokio::test]
async fn case_21_a_private_path_is_never_looked_up() {
    let world = Setup::disk()
        .env("ATHENS_GONOSUM_PATTERNS", "example.com/private/*,github.com/Secret")
        .start()
        .await;
    for module in ["example.com/private/x", "example.com/private/x/v2", "github.com/!secret/y"] {
        let version = if module.ends_with("v2") { "v2.0.0" } else { "v1.0.0" };
        let refused = world
            .get_refused(&lookup(module, version), 403, &["private", "GONOSUMDB", "GOPRIVATE"])
            .await;
        assert_eq!(outcome(&refused), "deny_private", "{module}");
    }
    assert_eq!((world.upstream.total(), world.database.requests().len()), (0, 0));

    // Fetching one asks the upstream for its files, and nobody for its checksum.
    let private = world.add(FakeModule::new("example.com/private/x", "v1.0.0"));
    let zip = world.get_ok(&path_of("example.com/private/x", "v1.0.0", "zip")).await;
    assert_eq!(zip.body, private.zip());
    world.until_stored("example.com/private/x", "v1.0.0").await;
    assert_eq!(world.database.requests().len(), 0);
}

#[tokio::test]
async fn case_30_the_toolchain_is_verified_whatever_the_settings_exempt() {
    let world = Setup::disk()
        .env("GONOSUMDB", "golang.org/*")
        .env("GOPRIVATE", "golang.org/nothing")
        .start()
        .await;
    let toolchain = world.add(FakeModule::new(TOOLCHAIN, GO_VERSION).no_go_mod());
    let zip = world.get_ok(&path_of(TOOLCHAIN, GO_VERSION, "zip")).await;
    assert_eq!(zip.body, toolchain.zip());
    assert!(world.database.count("/lookup/golang.org/toolchain@") >= 1);
    world.until_stored(TOOLCHAIN, GO_VERSION).await;
}

#[tokio::test]
async fn case_30_without_a_checksum_database_the_toolchain_is_refused_by_name() {
    let world = Setup::disk().env("GOSUMDB", "off").start().await;
    world.add(FakeModule::new(TOOLCHAIN, GO_VERSION).no_go_mod());
    world.add_module();
    let path = path_of(TOOLCHAIN, GO_VERSION, "zip");
    let refused = world.get_refused(&path, 503, &[TOOLCHAIN, "GOSUMDB"]).await;
    assert_eq!(outcome(&refused), "checksum_unavailable");
    world.get_ok(&file("zip")).await;
}

#[tokio::test]
async fn case_30_a_filter_that_denies_all_holds_for_the_toolchain_until_a_rule_names_it() {
    let list = format!("/{TOOLCHAIN}/@v/list");
    let zip = path_of(TOOLCHAIN, GO_VERSION, "zip");
    let filtered = async |rules: &str| {
        let setup = Setup::disk().env("ATHENS_FILTER_FILE", "{folder}/filter");
        let world = setup.with_file("filter", rules).start().await;
        world.add(FakeModule::new(TOOLCHAIN, GO_VERSION).no_go_mod());
        world.add_module();
        world
    };
    let denied = filtered("-\n").await;
    for path in [&list, &zip] {
        let refused = denied.get_refused(path, 403, &[TOOLCHAIN]).await;
        assert_eq!(outcome(&refused), "deny_filter", "{path}");
    }
    assert_eq!(denied.upstream.total(), 0);

    let named = filtered("-\n+ golang.org/toolchain\n").await;
    named.get_ok(&list).await;
    named.get_ok(&zip).await;
    named.until_stored(TOOLCHAIN, GO_VERSION).await;
    named.get_refused(&file("zip"), 403, &[MODULE]).await;
}

#[tokio::test]
async fn case_30_a_mode_that_forbids_fetching_holds_for_the_toolchain_too() {
    let world = Setup::disk().env("ATHENS_DOWNLOAD_MODE", "none").start().await;
    world.add(FakeModule::new(TOOLCHAIN, GO_VERSION).no_go_mod());
    let path = path_of(TOOLCHAIN, GO_VERSION, "zip");
    let refused = world.get(&path).await;
    assert_refusal(&refused, 404, &[TOOLCHAIN, "DownloadMode"]);
    assert_eq!((outcome(&refused), world.module_requests()), ("not_stored", 0));
    // Lists do not follow the mode, as in Athens.
    world.get_ok("/golang.org/toolchain/@v/list").await;
}
