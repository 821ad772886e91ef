use super::*;

fn invalid(path: &str) -> bool {
    matches!(Route::parse(path), Err(RouteError::Invalid { .. }))
}

#[test]
fn both_spellings_of_a_capital_are_one_route() {
    let raw = Route::parse("/github.com/!azure/sdk/@v/v1.0.0.info").unwrap();
    let encoded = Route::parse("/github.com/%21azure/sdk/@v/v1.0.0.info").unwrap();
    assert_eq!(raw, encoded);
    assert_eq!(raw.path(), "/github.com/!azure/sdk/@v/v1.0.0.info");
}

#[test]
fn paths_of_other_handlers_are_not_ours() {
    for path in
        ["/", "", "/healthz", "/catalog", "/github.com/a/b", "/a.io/@x", "/a.io/@v", "/sumdb"]
    {
        assert_eq!(Route::parse(path), Err(RouteError::NotModule), "{path}");
    }
}

#[test]
fn malformed_paths_are_refused() {
    for path in [
        "/github.com/Azure/sdk/@v/list",
        "/a.io//m/@v/list",
        "//a.io/m/@v/list",
        "/@v/list",
        "/a.io/m/@v/",
        "/a.io/m/@v/list/",
        "/a.io/m/@v//list",
        "/a.io/m/@latest/",
        "/a.io/m/@latestx",
        "/a.io/../m/@v/list",
        "/a.io/%2e%2e/m/@v/list",
        "/a.io/./m/@v/list",
        "/a.io%2Fm/@v/list",
        "/a.io%2fm/@v/list",
        "/a.io/m%00/@v/list",
        "/a.io%5Cm/@v/list",
        "/a.io\\m/@v/list",
        "/a.io/m/@v/v1.0.0%2F.info",
        "/a.io/m/@v/../v1.0.0.info",
        "/a.io/m/@v/v1.0.0",
        "/a.io/m/@v/v1.0.0.ziphash",
        "/a.io/m/@v/.info",
        "/a.io/m/@v/latest.info",
        "/a.io/m/@v/-x.info",
        "/-a.io/m/@v/list",
        "/noDot/m/@v/list",
        "/a.io/m/@v/%zz.info",
        "/a.io/m/@v/@v/list",
    ] {
        assert!(invalid(path), "{path}: {:?}", Route::parse(path));
    }
}

#[test]
fn a_version_that_does_not_fit_the_path_is_refused() {
    for path in [
        "/a.io/m/v2/@v/v2.0.0+incompatible.info",
        "/a.io/m/@v/v2.0.0.zip",
        "/a.io/m/v2/@v/v1.0.0.mod",
        "/sumdb/sum.golang.org/lookup/a.io/m@v2.0.0",
    ] {
        assert!(invalid(path), "{path}");
    }
    assert!(Route::parse("/gopkg.in/check.v1/@v/v0.0.0-20161208181325-20d25e280405.mod").is_ok());
}

#[test]
fn an_overlong_path_is_refused_by_its_length() {
    let path = format!("/a.io/{}/@v/list", "x".repeat(MAX_ROUTE_BYTES));
    assert_eq!(Route::parse(&path), Err(RouteError::TooLong(path.len())));
}

#[test]
fn every_error_is_one_short_printable_line() {
    let long = "\u{7}".repeat(1000);
    for path in [
        format!("/{long}/@v/list"),
        format!("/a.io/{}/@v/v9.0.0.info", "x".repeat(900)),
        format!("/a.io/m/@v/v2.0.0-{}.info", "x".repeat(240)),
        format!("/a.io/{}/@v/v2.0.0-{}.info", "x".repeat(900), "x".repeat(240)),
        format!("/a.io/m/@v/{}", "y".repeat(3000)),
        format!("/sumdb/{}/x", "z".repeat(3000)),
        format!("/sumdb/sum.golang.org/{}", "z".repeat(3000)),
        "/healthz".to_owned(),
    ] {
        let text = Route::parse(&path).unwrap_err().to_string();
        assert!(text.len() <= 600, "{} bytes: {text}", text.len());
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

#[test]
fn tiles_have_one_spelling() {
    let tile = |tile: &str| Route::parse(&format!("/sumdb/sum.golang.org/{tile}"));
    for good in [
        "tile/8/0/000",
        "tile/8/0/x001/234.p/5",
        "tile/8/63/x001/x234/067",
        "tile/8/data/012.p/255",
        "tile/8/1/x999/x999/x999/x999/x999/999",
    ] {
        let route = tile(good).unwrap();
        assert_eq!(route.path(), format!("/sumdb/sum.golang.org/{good}"));
    }
    for bad in [
        "tile/8/0",
        "tile/8/0/",
        "tile/7/0/000",
        "tile/08/0/000",
        "tile/8/64/000",
        "tile/8/00/000",
        "tile/8/-1/000",
        "tile/8/+1/000",
        "tile/8/0/0000",
        "tile/8/0/00",
        "tile/8/0/x000/001",
        "tile/8/0/x001",
        "tile/8/0/001/002",
        "tile/8/0/000.p/0",
        "tile/8/0/000.p/256",
        "tile/8/0/000.p/05",
        "tile/8/0/000.p/",
        "tile/8/0/000.p/1/",
        "tile/8/0/000.p/1.p/2",
        "tile/8/0/x001/x999/x999/x999/x999/x999/999",
        "tile/8/0/000/",
        "Tile/8/0/000",
    ] {
        assert!(tile(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_database_name_is_a_host_name() {
    assert!(Route::parse("/sumdb/localhost:8080/supported").is_ok());
    for name in ["", ".", "..", "-x", "a..b", "a%20b", "a+b", "a@b"] {
        assert!(invalid(&format!("/sumdb/{name}/supported")), "{name}");
    }
}

#[test]
fn a_lookup_names_module_and_version() {
    let route = Route::parse("/sumdb/sum.golang.org/lookup/github.com/!azure/x@v1.0.0").unwrap();
    assert_eq!(route.module().map(ModulePath::as_str), Some("github.com/Azure/x"));
    assert_eq!(route.path(), "/sumdb/sum.golang.org/lookup/github.com/!azure/x@v1.0.0");
}

#[test]
fn odd_characters_of_a_query_are_encoded_again() {
    let route = Route::parse("/a.io/m/@v/a%25b%23c%5Bd%5D.info").unwrap();
    assert_eq!(route.path(), "/a.io/m/@v/a%25b%23c%5Bd%5D.info");
    assert_eq!(Route::parse(&route.path()), Ok(route));
}
