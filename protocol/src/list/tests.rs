use super::*;

fn module(path: &str) -> ModulePath {
    ModulePath::parse(path).unwrap()
}

fn filtered(path: &str, body: &str) -> Vec<String> {
    filter_list(&module(path), body.as_bytes()).unwrap().iter().map(Version::to_string).collect()
}

fn latest(versions: &[&str]) -> Option<String> {
    let versions: Vec<Version> = versions.iter().map(|v| Version::parse(v).unwrap()).collect();
    latest_of(&versions).map(Version::to_string)
}

#[test]
fn what_the_go_command_would_trip_over_is_dropped() {
    let body = "v1.0.0\r\nv1.9\nv2.0.0\nv0.0.0-20190718012654-fb15b899a751\n\n\
        \x20 v1.1.0 2024-01-01T00:00:00Z\ngarbage\nv1.0.0\nv1.2.0+meta\nv1.3.0";
    assert_eq!(filtered("a.io/m", body), ["v1.0.0", "v1.1.0", "v1.3.0"]);
}

#[test]
fn incompatible_is_kept_where_the_path_allows_it() {
    assert_eq!(filtered("a.io/m", "v2.0.0+incompatible\n"), ["v2.0.0+incompatible"]);
    assert!(filtered("a.io/m/v2", "v2.0.0+incompatible\n").is_empty());
}

#[test]
fn any_cut_of_the_body_gives_the_same_list() {
    let body = "v1.0.0\r\nv1.1.0 2024-01-01T00:00:00Z\nx\nv1.2.0-RC1";
    let want = filtered("a.io/m", body);
    for size in 1..body.len() {
        let mut filter = ListFilter::new(&module("a.io/m"));
        body.as_bytes().chunks(size).for_each(|chunk| filter.push(chunk).unwrap());
        let got: Vec<String> = filter.finish().unwrap().iter().map(Version::to_string).collect();
        assert_eq!(got, want, "chunks of {size}");
    }
}

#[test]
fn a_web_page_is_an_error_and_so_is_one_behind_blanks() {
    let mut filter = ListFilter::new(&module("a.io/m"));
    filter.push(b" \n").unwrap();
    assert_eq!(filter.push(b"\t<html>"), Err(ListError::WebPage));
}

#[test]
fn an_overlong_line_is_dropped_and_not_held() {
    let mut filter = ListFilter::new(&module("a.io/m"));
    filter.push(b"v1.0.0 ").unwrap();
    for _ in 0..100 {
        filter.push(&[b'x'; 100]).unwrap();
        assert!(filter.line.len() <= MAX_LIST_LINE_BYTES);
    }
    filter.push(b"\nv1.1.0\n").unwrap();
    assert_eq!(filter.finish().unwrap(), [Version::parse("v1.1.0").unwrap()]);
}

#[test]
fn a_body_over_the_limit_is_an_error() {
    let mut filter = ListFilter::new(&module("a.io/m"));
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..MAX_LIST_BYTES >> 20 {
        filter.push(&chunk).unwrap();
    }
    assert_eq!(filter.push(b"\n"), Err(ListError::TooLarge));
}

#[test]
fn two_hundred_thousand_lines_are_filtered() {
    let body: String = (0..200_000).map(|patch| format!("v1.0.{patch}\nv2.0.{patch}\n")).collect();
    assert_eq!(filter_list(&module("a.io/m"), body.as_bytes()).unwrap().len(), 200_000);
}

#[test]
fn latest_prefers_a_release_to_any_prerelease() {
    assert_eq!(latest(&["v1.0.0", "v1.2.0", "v2.0.0-rc1"]).as_deref(), Some("v1.2.0"));
    assert_eq!(latest(&["v1.0.0-a", "v1.0.0-b"]).as_deref(), Some("v1.0.0-b"));
    assert_eq!(latest(&[]), None);
}

#[test]
fn a_rendered_list_is_filtered_to_itself() {
    let versions = filter_list(&module("a.io/m"), b"v1.1.0\nv1.0.0").unwrap();
    assert_eq!(render_list(&versions), "v1.1.0\nv1.0.0\n");
    assert_eq!(render_list(&[]), "");
}
