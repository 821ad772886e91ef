//! Pages that are made from the program or from a test's own table: held to what they are made from, or written anew.

/// Whether what differs is to be written anew (`DIPYLON_BLESS=1`).
pub fn is_asked_for() -> bool {
    std::env::var_os("DIPYLON_BLESS").is_some_and(|value| value == "1")
}

/// The file at `path` is `made`, or becomes it where that [`is_asked_for`]. `by` is the command that writes it.
///
/// # Panics
/// When it differs, or cannot be written.
pub fn assert_page(path: &str, made: &str, by: &str) {
    if is_asked_for() {
        std::fs::write(path, made).expect("the page is written");
        return;
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == made, "{path} differs: DIPYLON_BLESS=1 {by} writes it anew");
}
