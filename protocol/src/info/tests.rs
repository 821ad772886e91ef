use super::*;

fn parse(body: &str) -> Result<Info, InfoError> {
    Info::parse(body.as_bytes())
}

#[test]
fn keys_in_any_case_are_read_and_others_ignored() {
    let info = parse(r#"{"version":"v1.0.0","TIME":"2024-02-29T01:02:03.5Z","Name":7}"#).unwrap();
    assert_eq!(info.version.as_str(), "v1.0.0");
    assert_eq!(info.time.as_deref(), Some("2024-02-29T01:02:03.5Z"));
}

#[test]
fn the_last_of_equal_keys_wins_even_under_unicode_folding() {
    let info = parse("{\"Version\":\"v1.0.0\",\"ver\u{17f}ion\":\"v9.0.0\"}").unwrap();
    assert_eq!(info.version.as_str(), "v9.0.0");
}

#[test]
fn an_absent_or_zero_time_is_unknown() {
    for body in [
        r#"{"Version":"v1.0.0"}"#,
        r#"{"Version":"v1.0.0","Time":null}"#,
        r#"{"Version":"v1.0.0","Time":"0001-01-01T00:00:00Z"}"#,
    ] {
        assert_eq!(parse(body).unwrap().time, None, "{body}");
    }
}

#[test]
fn a_web_page_is_named_as_one() {
    assert_eq!(parse(" \n<!DOCTYPE html>"), Err(InfoError::WebPage));
}

#[test]
fn a_blank_body_is_empty() {
    assert_eq!(parse(""), Err(InfoError::Empty));
    assert_eq!(parse(" \r\n"), Err(InfoError::Empty));
}

#[test]
fn truncated_trailing_and_non_object_bodies_are_refused() {
    for body in [
        r#"{"Version":"v1.0.0""#,
        r#"{"Version":"v1.0.0"} x"#,
        r#"["v1.0.0"]"#,
        r#""v1.0.0""#,
        r#"{"Version":1}"#,
        r#"{"Version":"v1.0.0","Origin":"git"}"#,
        "null",
        "not found",
    ] {
        assert!(matches!(parse(body), Err(InfoError::Malformed(_))), "{body}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let body = vec![b' '; MAX_INFO_BYTES + 1];
    assert_eq!(Info::parse(&body), Err(InfoError::TooLarge(MAX_INFO_BYTES + 1)));
}

#[test]
fn a_canonical_version_must_be_echoed_exactly() {
    let module = ModulePath::parse("a.io/m").unwrap();
    let info = parse(r#"{"Version":"v1.0.1"}"#).unwrap();
    let check = |asked| info.check(&VersionQuery::parse(asked).unwrap(), &module);
    assert!(matches!(check("v1.0.0"), Err(InfoError::Mismatch { .. })));
    assert_eq!(check("v1.0.1"), Ok(()));
    assert_eq!(check("master"), Ok(()));
}

#[test]
fn a_query_must_not_resolve_to_another_major_version() {
    let module = ModulePath::parse("a.io/m").unwrap();
    let info = parse(r#"{"Version":"v2.0.0"}"#).unwrap();
    let asked = VersionQuery::parse("master").unwrap();
    assert!(matches!(info.check(&asked, &module), Err(InfoError::Foreign { .. })));
}

#[test]
fn what_is_rendered_is_read_back() {
    let version = Version::parse("v1.0.0-RC1").unwrap();
    let body = Info::render(&version, Some("2024-02-01T00:00:00Z"));
    assert_eq!(body, br#"{"Version":"v1.0.0-RC1","Time":"2024-02-01T00:00:00Z"}"#);
    assert_eq!(Info::parse(&body).unwrap().time.as_deref(), Some("2024-02-01T00:00:00Z"));
    assert_eq!(Info::render(&version, None), br#"{"Version":"v1.0.0-RC1"}"#);
}

#[test]
fn times_off_the_calendar_are_refused() {
    for time in [
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01t00:00:00Z",
        "2024-01-01T00:00:00z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00,5Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+0100",
        "2024-01-01 00:00:00Z",
        "",
        "é024-01-01T00:00:00Z",
    ] {
        assert!(!is_rfc3339(time), "{time}");
    }
    assert!(is_rfc3339("2000-02-29T23:59:59.123456789-07:30"));
}
