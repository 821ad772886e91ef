//! Cases 1 to 5, 31 to 33 and 35: what a path may look like, and what it names.

use dipylon_testkit::client::raw_get;
use dipylon_testkit::module::FakeModule;
use http::Method;

use crate::world::{Setup, assert_refusal, outcome, path_of};

#[tokio::test]
async fn case_01_both_spellings_of_a_capital_are_one_object() {
    let world = Setup::disk().start().await;
    let module = world.add(FakeModule::new("github.com/Azure/sdk", "v1.0.0-RC1"));
    let bang = "/github.com/!azure/sdk/@v/v1.0.0-!r!c1";
    let percent = "/github.com/%21azure/sdk/@v/v1.0.0-%21r%21c1";

    let first = world.get_ok(&format!("{bang}.info")).await;
    let second = world.get_ok(&format!("{percent}.info")).await;
    assert_eq!(first.body, module.info());
    assert_eq!(first.body, second.body);
    assert_eq!((outcome(&first), outcome(&second)), ("miss_leader", "hit_memory"));
    assert_eq!(world.asked(&format!("{bang}.info")), 1);

    let zip = world.get_ok(&format!("{percent}.zip")).await;
    assert_eq!(zip.body, module.zip());
    world.until_stored("github.com/Azure/sdk", "v1.0.0-RC1").await;
    let again = world.get_ok(&format!("{bang}.zip")).await;
    assert_eq!(outcome(&again), "hit_storage");
    assert_eq!(world.asked(&format!("{bang}.zip")), 1);
}

#[tokio::test]
async fn case_01_a_plus_may_be_percent_encoded_too() {
    let world = Setup::disk().start().await;
    world.add(FakeModule::new("example.com/m", "v2.0.0+incompatible").no_go_mod());
    let raw = world.get_ok("/example.com/m/@v/v2.0.0+incompatible.mod").await;
    let encoded = world.get_ok("/example.com/%6d/@v/v2.0.0%2Bincompatible.mod").await;
    assert_eq!((&raw.body, outcome(&encoded)), (&encoded.body, "hit_memory"));
    assert_eq!(world.asked("/example.com/m/@v/v2.0.0+incompatible.mod"), 1);
}

#[tokio::test]
async fn case_02_a_raw_capital_is_refused() {
    let world = Setup::disk().start().await;
    world.add(FakeModule::new("github.com/Azure/sdk", "v1.0.0"));
    for path in [
        "/github.com/Azure/sdk/@v/list",
        "/github.com/Azure/sdk/@latest",
        "/github.com/Azure/sdk/@v/v1.0.0.zip",
        "/github.com/!azure/sdk/@v/V1.0.0.info",
    ] {
        let refused = world.get_refused(path, 404, &["not found", "escaped"]).await;
        assert_eq!(outcome(&refused), "invalid", "{path}");
    }
    assert_eq!(world.upstream.total(), 0);
    assert!(world.stored_files().is_empty() && world.our_files().is_empty());
}

#[tokio::test]
async fn case_03_a_path_that_could_leave_its_place_never_reaches_storage() {
    let world = Setup::disk().start().await;
    world.add_module();
    let before = (world.stored_files(), world.our_files());
    for path in [
        "/example.com//lib/@v/list",
        "//example.com/lib/@v/list",
        "/example.com/lib//@v/list",
        "/example.com/lib/@v//v1.0.0.info",
        "/example.com/lib/@v/list/",
        "/example.com/lib/@v/",
        "/example.com/lib/@v",
        "/example.com/../lib/@v/list",
        "/../../etc/passwd/@v/list",
        "/example.com/%2e%2e/lib/@v/list",
        "/example.com/%2E%2E/%2e%2e/@v/v1.0.0.zip",
        "/example.com/./lib/@v/list",
        "/example.com%2Flib/@v/list",
        "/example.com/lib/@v/v1.0.0%2f..%2fx.info",
        "/example.com/lib%00/@v/list",
        "/example.com/lib/@v/v1.0.0%00.info",
        "/example.com/lib%5Ctext/@v/list",
        "/.dipylon/early/@v/list",
        "/sumdb/sum.test/../../@v/list",
        "/sumdb/sum.test/lookup/../x@v1.0.0",
    ] {
        let response = world.get(path).await;
        assert!(matches!(response.status.as_u16(), 400 | 404), "{path}: {}", response.status);
        assert_refusal(&response, response.status.as_u16(), &["not found"]);
    }
    assert_eq!(world.module_requests(), 0);
    assert_eq!(before, (world.stored_files(), world.our_files()));
    let reads = world.metrics().await;
    assert_eq!(
        reads.metric("dipylon_storage_operations_total").label("operation", "read").sum(),
        0.0
    );
}

/// Escaped, a capital takes two bytes, and all names of files of ours have a longest length.
#[tokio::test]
async fn case_03_a_path_of_a_thousand_capitals_is_absent() {
    let world = Setup::disk().start().await;
    let path = format!("/example.com{}", "/!a!b!c!d!e!f!g!h".repeat(130));
    for file in ["info", "mod", "zip"] {
        world.get_refused(&format!("{path}/@v/v1.0.0.{file}"), 404, &["not found"]).await;
    }
    assert_eq!(world.get(&format!("{path}/@v/list")).await.status.as_u16(), 404);
}

#[tokio::test]
async fn case_03_bytes_that_no_path_may_have_are_refused_by_the_server() {
    let world = Setup::disk().start().await;
    for path in ["/example.com/lib\u{0}/@v/list", "/example.com/a b/@v/list", "example.com/@v/list"]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = raw_get(world.gateway.address(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path:?}: {answer}");
    }
    // A raw backslash is one more character that no module path has.
    let request = "GET /example.com/a\\b/@v/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw_get(world.gateway.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
    assert_eq!(world.upstream.total(), 0);
}

#[tokio::test]
async fn case_04_a_path_too_near_the_root_of_a_code_host_costs_no_upstream_call() {
    let world = Setup::disk().start().await;
    for path in [
        "/github.com/@v/list",
        "/github.com/owner/@v/list",
        "/github.com/@v/v1.0.0.info",
        "/github.com/owner/@latest",
        "/gitlab.com/group/@v/v1.0.0.zip",
    ] {
        let refused = world.get_refused(path, 404, &["not found"]).await;
        assert_eq!(outcome(&refused), "invalid", "{path}");
        assert_eq!(refused.header("cache-control"), Some("public, max-age=86400"));
    }
    assert_eq!(world.upstream.total(), 0);
    let metrics = world.metrics().await;
    assert_eq!(metrics.metric("dipylon_storage_operations_total").sum(), 0.0);
}

#[tokio::test]
async fn case_05_the_bare_host_of_a_vanity_domain_is_asked_once_and_then_remembered() {
    let world = Setup::disk().start().await;
    for path in ["/go.example.com/@v/list", "/go.example.com/@v/v1.0.0.info"] {
        let first = world.get_refused(path, 404, &["not found"]).await;
        assert_eq!(outcome(&first), "upstream_not_found", "{path}");
        for _ in 0..3 {
            let again = world.get_refused(path, 404, &["not found"]).await;
            assert_eq!(outcome(&again), "negative", "{path}");
            assert_eq!(again.text(), first.text());
        }
        assert_eq!(world.asked(path), 1, "{path}");
    }
    assert!(world.stored_files().is_empty() && world.our_files().is_empty());
}

#[tokio::test]
async fn case_31_incompatible_does_not_fit_a_path_with_a_major_version() {
    let world = Setup::disk().start().await;
    world.add(FakeModule::new("example.com/m/v2", "v2.0.0+incompatible"));
    world.add(FakeModule::new("example.com/m", "v2.0.0+incompatible").no_go_mod());
    for kind in ["info", "mod", "zip"] {
        let path = path_of("example.com/m/v2", "v2.0.0+incompatible", kind);
        world.get_refused(&path, 404, &["not found", "example.com/m/v2"]).await;
        assert_eq!(world.asked(&path), 0);
        let fitting = path_of("example.com/m", "v2.0.0+incompatible", kind);
        world.get_ok(&fitting).await;
    }
    world.until_stored("example.com/m", "v2.0.0+incompatible").await;
    assert!(!world.is_stored("example.com/m/v2", "v2.0.0+incompatible"));
}

#[tokio::test]
async fn case_32_gopkg_in_v1_takes_old_pseudo_versions() {
    let world = Setup::disk().start().await;
    let (path, version) = ("gopkg.in/yaml.v1", "v0.0.0-20240102030405-abcdefabcdef");
    let module = world.add(FakeModule::new(path, version).no_go_mod());
    assert_eq!(world.get_ok(&path_of(path, version, "info")).await.body, module.info());
    assert_eq!(world.get_ok(&path_of(path, version, "zip")).await.body, module.zip());
    world.until_stored(path, version).await;
    world.get_refused(&path_of("gopkg.in/yaml.v2", version, "info"), 404, &["not found"]).await;
}

#[tokio::test]
async fn case_33_unusual_but_valid_paths_are_served() {
    let world = Setup::disk().start().await;
    for path in [
        "git.sr.ht/~user/mod",
        "gitlab.com/x/y.git",
        "gitlab.com/x/y.git/sub",
        "example.com/a.b/c_d",
        "example.com/a-b/C~d",
        "xn--bcher-kva.example.com/_x",
    ] {
        let module = world.add(FakeModule::new(path, VERSION));
        assert_eq!(world.get_ok(&path_of(path, VERSION, "mod")).await.body, module.go_mod_bytes());
        assert_eq!(world.get_ok(&path_of(path, VERSION, "zip")).await.body, module.zip(), "{path}");
        world.until_stored(path, VERSION).await;
    }
    const VERSION: &str = "v0.3.0";
}

#[tokio::test]
async fn case_35_paths_that_differ_in_case_are_two_modules() {
    let world = Setup::disk().start().await;
    let paths = ["github.com/Sirupsen/logrus", "github.com/sirupsen/logrus"];
    for path in paths {
        let module = world.add(FakeModule::new(path, "v1.0.0").file("which.txt", path));
        for kind in ["info", "mod", "zip"] {
            world.get_ok(&path_of(path, "v1.0.0", kind)).await;
        }
        world.until_stored(path, "v1.0.0").await;
        let zip = world.get_ok(&path_of(path, "v1.0.0", "zip")).await;
        assert_eq!((outcome(&zip), &zip.body), ("hit_storage", &module.zip()));
    }
    for path in paths {
        assert_eq!(world.asked(&path_of(path, "v1.0.0", "zip")), 1);
        let listed = world.request(Method::GET, &path_of(path, "v1.0.0", "mod"), &[]).await;
        assert!(listed.text().contains(path), "{}", listed.text());
    }
}
