//! More versions than any page has; how they come into the store is each kind's own.

use std::collections::HashSet;
use std::sync::Arc;

use dipylon_middleware::ports::Storage;
use dipylon_protocol::path::ModulePath;

use super::MAX_PAGES;

/// The module whose versions are `v1.0.0`, `v1.0.1`, and so on.
pub const MODULE: &str = "example.com/many";

/// The name of one of the versions.
pub fn version(number: u32) -> String {
    format!("v1.0.{number}")
}

/// Fails unless the list has each of this many versions once, and the catalogue too, in pages of at most
/// `page` entries.
///
/// # Panics
/// Where it is not so.
pub async fn list_and_catalogue_are_whole(storage: &Arc<dyn Storage>, versions: u32, page: usize) {
    let want: HashSet<String> = (0..versions).map(version).collect();
    let module = ModulePath::parse(MODULE).expect("a module path");
    let listed = storage.list(&module).await.expect("a list");
    assert_eq!(listed.len(), want.len());
    assert!(listed.iter().all(|version| want.contains(version.as_str())));
    let distinct: HashSet<&str> = listed.iter().map(|version| version.as_str()).collect();
    assert_eq!(distinct.len(), want.len(), "each once");

    let (mut left, mut token) = (want, None::<String>);
    for _ in 0..MAX_PAGES {
        let found = storage.catalog(token.as_deref(), page).await.expect("a page");
        assert!(found.entries.len() <= page, "{} entries", found.entries.len());
        for entry in found.entries {
            assert_eq!(entry.module, MODULE);
            assert!(left.remove(&entry.version), "{} again, or never saved", entry.version);
        }
        token = found.next;
        if token.is_none() {
            break;
        }
    }
    assert!(token.is_none(), "the catalogue goes on for ever");
    assert!(left.is_empty(), "{} of {versions} are not in the catalogue", left.len());
}
