//! The reference page is what the catalogue says.

#[test]
fn the_reference_page_is_made_from_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/telemetry.md");
    let made = dipylon::telemetry::reference::page();
    dipylon_testkit::bless::assert_page(path, &made, "cargo test --test telemetry");
}
