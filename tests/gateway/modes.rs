//! Download modes and network modes.

use dipylon_testkit::module::FakeModule;

use crate::world::{
    MODULE, Setup, VERSION, file, latest, list, outcome, path_of, sick, stocked, until,
};

#[tokio::test]
async fn mode_async_says_404_and_stores_the_version_in_the_background() {
    let world = Setup::disk().env("ATHENS_DOWNLOAD_MODE", "async").start().await;
    let module = world.add_module();
    let first = world.get_refused(&file("mod"), 404, &[VERSION, "being fetched"]).await;
    assert_eq!(
        (outcome(&first), first.header("cache-control")),
        ("async_accepted", Some("no-store"))
    );
    world.until_stored(MODULE, VERSION).await;
    assert_eq!(world.get_ok(&file("mod")).await.body, module.go_mod_bytes());
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    for kind in ["info", "mod", "zip"] {
        assert_eq!(world.asked(&file(kind)), 1, "{kind}");
    }
    // What does not exist stays a 404, and costs the client no wait.
    world.get_refused(&path_of(MODULE, "v1.9.0", "zip"), 404, &["v1.9.0"]).await;
    world.until_idle().await;
    assert!(world.logged("a background fetch failed"));
}

#[tokio::test]
async fn mode_async_redirect_sends_the_client_away_and_stores_the_version() {
    let world = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", "async_redirect")
        .env("ATHENS_DOWNLOAD_URL", "http://objects.test")
        .start()
        .await;
    world.add_module();
    let answer = world.get(&file("zip")).await;
    assert_eq!(answer.status, 302);
    world.until_stored(MODULE, VERSION).await;
    assert_eq!(outcome(&world.get_ok(&file("zip")).await), "hit_storage");
}

#[tokio::test]
async fn mode_none_says_404_and_still_serves_what_is_stored() {
    let mut world = stocked(Setup::disk()).await;
    world.set("ATHENS_DOWNLOAD_MODE", "none").await;
    world.add(FakeModule::new(MODULE, "v1.3.0"));
    for kind in ["info", "mod", "zip"] {
        world.get_ok(&file(kind)).await;
        let path = path_of(MODULE, "v1.3.0", kind);
        let refused = world.get_refused(&path, 404, &["v1.3.0", "DownloadMode"]).await;
        assert_eq!(outcome(&refused), "not_stored");
        assert_eq!(world.asked(&path), 0);
    }
    // List and latest do not look at the mode unless they are told to.
    assert_eq!(world.get_ok(&list()).await.text(), "v1.2.3\nv1.3.0\n");
    world.set("DIPYLON_LIST_FOLLOWS_MODE", "true").await;
    world.upstream.clear_requests();
    assert_eq!(world.get_ok(&list()).await.text(), "v1.2.3\n");
    assert!(world.get_ok(&latest()).await.text().contains("v1.2.3"));
    assert_eq!(world.module_requests(), 0);
}

#[tokio::test]
async fn a_redirect_leaves_out_the_path_prefix_escapes_the_path_and_keeps_the_query() {
    let world = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", "redirect")
        .env("ATHENS_DOWNLOAD_URL", "http://objects.test/base")
        .env("ATHENS_PATH_PREFIX", "/prefix")
        .start()
        .await;
    for (asked, want) in [
        ("/prefix/example.com/lib/@v/v1.0.0.zip", "/example.com/lib/@v/v1.0.0.zip"),
        (
            "/prefix/github.com/%21azure/x/@v/v1.0.0.mod?go-get=1",
            "/github.com/!azure/x/@v/v1.0.0.mod?go-get=1",
        ),
        (
            "/prefix/example.com/lib/@v/v2.0.0+incompatible.info",
            "/example.com/lib/@v/v2.0.0+incompatible.info",
        ),
    ] {
        let answer = world.get(asked).await;
        let location = format!("http://objects.test/base{want}");
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (302, Some(location.as_str()))
        );
    }
}

#[tokio::test]
async fn a_redirect_holds_nothing_of_the_clients_credentials() {
    let world = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", "redirect")
        .env("ATHENS_DOWNLOAD_URL", "http://objects.test")
        .env("BASIC_AUTH_USER", "user")
        .env("BASIC_AUTH_PASS", "hunter2")
        .start()
        .await;
    let authorization = ("authorization", "Basic dXNlcjpodW50ZXIy");
    let answer = world.request(http::Method::GET, &file("zip"), &[authorization]).await;
    let wanted = format!("http://objects.test{}", file("zip"));
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, Some(wanted.as_str())));
    let said = format!("{:?}{}", answer.headers, answer.text());
    for secret in ["hunter2", "dXNlcjpodW50ZXIy", "uthorization", "ookie"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn offline_calls_no_upstream_of_any_kind() {
    let mut world = stocked(Setup::disk()).await;
    let lookup = format!("/sumdb/{}/lookup/{MODULE}@{VERSION}", crate::world::DATABASE);
    world.set("ATHENS_NETWORK_MODE", "offline").await;
    world.upstream.clear_requests();
    world.database.clear_requests();
    for kind in ["info", "mod", "zip"] {
        world.get_ok(&file(kind)).await;
        let miss = world.get_refused(&path_of(MODULE, "v1.9.0", kind), 404, &["v1.9.0"]).await;
        assert_eq!(outcome(&miss), "not_stored");
    }
    assert_eq!(world.get_ok(&list()).await.text(), format!("{VERSION}\n"));
    assert!(world.get_ok(&latest()).await.text().contains(VERSION));
    assert!(world.get_ok(&path_of(MODULE, "v1", "info")).await.text().contains(VERSION));
    world.get_refused(&path_of(MODULE, "master", "info"), 404, &["master"]).await;
    assert!(world.get_ok("/example.com/unknown/@v/list").await.body.is_empty(), "as in Athens");
    world.get_refused("/example.com/unknown/@latest", 404, &["not found"]).await;
    world.get_ok(&lookup).await;
    world.get_ok("/readyz").await;
    assert_eq!((world.upstream.total(), world.database.requests().len()), (0, 0));
}

#[tokio::test]
async fn strict_takes_upstreams_trouble_for_an_error_and_its_no_for_a_smaller_list() {
    let mut world = stocked(Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1")).await;
    world.add(FakeModule::new(MODULE, "v1.3.0"));
    assert_eq!(world.get_ok(&list()).await.text(), "v1.2.3\nv1.3.0\n");
    world.restart().await;
    for (path, status) in [(list(), 502), (latest(), 502)] {
        world.upstream.fault(path.as_str(), sick());
        let refused = world.get_refused(&path, status, &["the upstream is sick"]).await;
        assert_eq!(outcome(&refused), "upstream_error");
    }
    world.upstream.clear_faults();
    world.upstream.remove_path(MODULE);
    world.restart().await;
    assert_eq!(world.get_ok(&list()).await.text(), "v1.2.3\n");
    assert!(world.get_ok(&latest()).await.text().contains("v1.2.3"));
    world.get_refused("/example.com/unknown/@v/list", 404, &["not found"]).await;
}

#[tokio::test]
async fn fallback_answers_from_storage_when_upstream_is_in_trouble() {
    let setup =
        Setup::disk().env("ATHENS_NETWORK_MODE", "fallback").env("DIPYLON_UPSTREAM_ATTEMPTS", "1");
    let world = stocked(setup).await;
    world.add(FakeModule::new(MODULE, "v1.3.0"));
    world.upstream.fault(list().as_str(), sick());
    world.upstream.fault(latest().as_str(), sick());
    let stored = world.get_ok(&list()).await;
    assert_eq!((stored.text(), outcome(&stored)), ("v1.2.3\n", "hit_storage"));
    assert!(world.get_ok(&latest()).await.text().contains("v1.2.3"));
    // It is no answer of upstream's, so upstream is asked again soon.
    world.upstream.clear_faults();
    let asked_again = async || world.get_ok(&list()).await.text() == "v1.2.3\nv1.3.0\n";
    until("upstream is asked again", asked_again).await;
}

#[tokio::test]
async fn an_older_list_is_given_while_a_newer_one_is_fetched() {
    let world = Setup::disk().env("DIPYLON_FRESH_FOR", "1").start().await;
    world.add_module();
    assert_eq!(outcome(&world.get_ok(&list()).await), "miss_leader");
    let hit = world.get_ok(&list()).await;
    assert_eq!((outcome(&hit), hit.header("age").is_some()), ("hit_memory", true));
    world.add(FakeModule::new(MODULE, "v1.3.0"));
    until("the answer is stale", async || {
        let answer = world.get_ok(&list()).await;
        outcome(&answer) == "stale_revalidate" && answer.text() == "v1.2.3\n"
    })
    .await;
    until("the newer one is there", async || {
        world.get_ok(&list()).await.text() == "v1.2.3\nv1.3.0\n"
    })
    .await;
}

#[tokio::test]
async fn an_older_list_is_given_where_upstream_fails_later() {
    let world = Setup::disk()
        .env("DIPYLON_FRESH_FOR", "1")
        .env("DIPYLON_STALE_WHILE_REVALIDATE", "0")
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
        .start()
        .await;
    world.add_module();
    let fresh = world.get_ok(&list()).await;
    world.upstream.fault(list().as_str(), sick());
    until("the answer is stale", async || outcome(&world.get_ok(&list()).await) == "stale_error")
        .await;
    assert_eq!(world.get_ok(&list()).await.body, fresh.body);
    assert!(world.logged("answered with an older list"));
}
