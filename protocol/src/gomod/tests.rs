use super::*;

fn parse(text: &str) -> GoMod {
    GoMod::parse(text.as_bytes()).unwrap()
}

fn retracts(file: &GoMod, version: &str) -> bool {
    file.retracts(&Version::parse(version).unwrap())
}

#[test]
fn a_whole_file_is_read() {
    let file = parse(
        "// Deprecated: use b.io/m instead,\n// please.\nmodule \"a.io/m\" // a comment\n\n\
            go 1.21.0\ntoolchain go1.22.1\n\nrequire b.io/x v1.0.0\n",
    );
    assert_eq!(file.module, "a.io/m");
    assert_eq!(file.go.as_deref(), Some("1.21.0"));
    assert_eq!(file.toolchain.as_deref(), Some("go1.22.1"));
    assert_eq!(file.deprecated.as_deref(), Some("use b.io/m instead,\nplease.\na comment"));
}

#[test]
fn retractions_are_read_alone_as_ranges_and_in_blocks() {
    let file = parse(
        "module a.io/m\nretract v1.0.0 // leaked a key\n\n// Broken build.\nretract (\n\t[v1.1.0, v1.1.9]\n\
            \t// Other reason.\n\n\tv1.2.0-pre\n)\nretract v1.3.0, v1.4.0\n",
    );
    let found: Vec<_> = file
        .retractions
        .iter()
        .map(|range| (range.low.as_str(), range.high.as_str(), &*range.rationale))
        .collect();
    assert_eq!(
        found,
        [
            ("v1.0.0", "v1.0.0", "leaked a key"),
            ("v1.1.0", "v1.1.9", "Broken build."),
            ("v1.2.0-pre", "v1.2.0-pre", "Other reason."),
            ("v1.3.0", "v1.3.0", ""),
        ]
    );
    assert!(retracts(&file, "v1.0.0") && retracts(&file, "v1.1.5") && retracts(&file, "v1.1.9"));
    assert!(!retracts(&file, "v1.1.10") && !retracts(&file, "v1.2.0"));
}

#[test]
fn a_blank_line_cuts_the_deprecation_off() {
    assert_eq!(parse("// Deprecated: no\n\nmodule a.io/m\n").deprecated, None);
    assert_eq!(parse("module a.io/m // Deprecated: yes\n").deprecated.as_deref(), Some("yes"));
    assert_eq!(parse("// Not Deprecated: no\nmodule a.io/m\n").deprecated, None);
}

#[test]
fn a_file_may_have_carriage_returns_and_no_final_newline() {
    let file = parse("module a.io/m\r\n\r\nretract (\r\n\tv1.0.0\r\n)\r\ngo 1.20");
    assert_eq!((file.module.as_str(), file.go.as_deref()), ("a.io/m", Some("1.20")));
    assert!(retracts(&file, "v1.0.0"));
}

#[test]
fn a_faulty_line_does_not_hide_the_others() {
    let file = parse("module a.io/m\nrequire \"unclosed\n/* no */\nretract v1.0.0\n");
    assert!(retracts(&file, "v1.0.0"));
}

#[test]
fn what_is_plainly_no_go_mod_is_refused() {
    assert_eq!(GoMod::parse(b"\n <!DOCTYPE html>"), Err(GoModError::WebPage));
    assert_eq!(GoMod::parse(b"module a\0b"), Err(GoModError::NotText));
    assert_eq!(GoMod::parse(b"PK\x03\x04\xff"), Err(GoModError::NotText));
    for body in ["", "not found: module", "go 1.20\n", "module\n", "module a b\n", "// module x\n"]
    {
        assert_eq!(GoMod::parse(body.as_bytes()), Err(GoModError::NoModule), "{body}");
    }
    let large = vec![b'\n'; MAX_GO_MOD_BYTES + 1];
    assert_eq!(GoMod::parse(&large), Err(GoModError::TooLarge(large.len())));
}

#[test]
fn retractions_are_bounded_and_share_their_rationale() {
    let comment = format!("// {}\n", "é".repeat(MAX_RATIONALE_BYTES));
    let lines = "v1.0.0\n".repeat(MAX_RETRACTIONS);
    let file = parse(&format!("module a.io/m\n{comment}retract (\n{lines})\n"));
    assert!(file.retractions[0].rationale.len() <= MAX_RATIONALE_BYTES);
    assert!(Arc::ptr_eq(&file.retractions[0].rationale, &file.retractions[9].rationale));
    let over = format!("module a.io/m\nretract (\n{lines}v1.0.1\n)\n");
    assert_eq!(GoMod::parse(over.as_bytes()), Err(GoModError::TooManyRetractions));
}

#[test]
fn go_versions_are_read_strictly_first_and_laxly_then() {
    for (text, want) in [
        ("1.21", Some("1.21")),
        ("1.21.3", Some("1.21.3")),
        ("1.21rc2", Some("1.21rc2")),
        ("v1.21.x", Some("1.21")),
        ("1.9.x", Some("1.9")),
        ("v1.21", None),
        ("1", None),
        ("1.01", None),
        ("0.1", None),
    ] {
        assert_eq!(go_version(text).as_deref(), want, "{text}");
    }
}
