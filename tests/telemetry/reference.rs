//! The reference page is what the catalogue says.

#[test]
fn the_reference_page_is_made_from_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/telemetry.md");
    let got = dipylon::telemetry::reference::page();
    if std::env::var_os("DIPYLON_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(path, got).expect("the page is written");
        return;
    }
    let want = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        got == want,
        "{path} differs: DIPYLON_BLESS=1 cargo test --test telemetry writes it anew"
    );
}
