//! The catalogue of everything stored.

use std::collections::BTreeSet;

use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::ports::CatalogEntry;

use super::Subject;
use crate::module::FakeModule;

/// Chosen so that a walk that compares versions across modules, or paths as plain text, gets lost:
/// `-` sorts before `/`, and the versions of later modules are smaller than those of earlier ones.
const STORED: &[(&str, &str)] = &[
    ("example.com/a", "v1.9.0"),
    ("example.com/a", "v1.10.0"),
    ("example.com/a-b", "v0.1.0"),
    ("example.com/a/sub", "v0.0.1"),
    ("example.com/a/v2", "v2.0.0"),
    ("example.com/Capital", "v1.0.0"),
    ("example.com/z", "v0.0.0-20240102030405-abcdefabcdef"),
    ("example.com/z", "v2.0.0+incompatible"),
    ("example.net/~user/tool", "v1.0.0"),
];

async fn fill(subject: &Subject) -> BTreeSet<(String, String)> {
    for (path, version) in STORED {
        subject.create(&FakeModule::new(path, version)).await;
    }
    STORED.iter().map(|(path, version)| (path.to_string(), version.to_string())).collect()
}

fn pairs(entries: &[CatalogEntry]) -> Vec<(String, String)> {
    entries.iter().map(|entry| (entry.module.clone(), entry.version.clone())).collect()
}

/// A backend that has no catalogue says so; the cases below are not for it.
async fn is_unsupported(subject: &Subject) -> bool {
    if !subject.has_catalog {
        let error = subject.storage().catalog(None, 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    !subject.has_catalog
}

/// No entries and no token.
pub async fn an_empty_store_has_an_empty_catalogue(subject: Subject) {
    if is_unsupported(&subject).await {
        return;
    }
    let page = subject.storage().catalog(None, 10).await.unwrap();
    assert_eq!((page.entries, page.next), (Vec::new(), None));
}

/// Whatever the size of the pages, every version comes exactly once.
pub async fn pages_of_any_size_visit_everything_once(subject: Subject) {
    if is_unsupported(&subject).await {
        return;
    }
    let stored = fill(&subject).await;
    for limit in [1, 2, 3, 4, 9, 10] {
        let visited = pairs(&subject.catalog(limit).await);
        let distinct: BTreeSet<_> = visited.iter().cloned().collect();
        assert_eq!(visited.len(), distinct.len(), "pages of {limit}: {visited:?}");
        assert_eq!(distinct, stored, "pages of {limit}");
    }
}

/// A limit of 0 is no limit.
pub async fn no_limit_is_everything(subject: Subject) {
    if is_unsupported(&subject).await {
        return;
    }
    let stored = fill(&subject).await;
    let page = subject.storage().catalog(None, 0).await.unwrap();
    assert_eq!(page.entries.len(), stored.len());
    assert_eq!(page.next, None);
}

/// Names are plain: neither escaped nor encoded.
pub async fn every_version_of_every_module_is_there(subject: Subject) {
    if is_unsupported(&subject).await {
        return;
    }
    let stored = fill(&subject).await;
    let visited: BTreeSet<_> = pairs(&subject.catalog(1_000).await).into_iter().collect();
    assert_eq!(visited, stored);
}

/// A token that the backend can tell from its own is the client's mistake.
pub async fn a_malformed_token_is_refused(subject: Subject) {
    if is_unsupported(&subject).await {
        return;
    }
    fill(&subject).await;
    let Some(token) = subject.bad_token else { return };
    let error = subject.storage().catalog(Some(token), 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
}

/// The store changes while somebody reads its catalogue.
pub async fn an_entry_saved_between_two_pages_hides_no_other(subject: Subject) {
    if is_unsupported(&subject).await {
        return;
    }
    let stored = fill(&subject).await;
    let first = subject.storage().catalog(None, 4).await.unwrap();
    subject.create(&FakeModule::new("example.com/a", "v1.0.0")).await;
    subject.create(&FakeModule::new("example.org/later", "v1.0.0")).await;
    let mut visited = pairs(&first.entries);
    let mut token = first.next;
    for _ in 0..STORED.len() + 2 {
        let Some(last) = token else { break };
        let page = subject.storage().catalog(Some(&last), 4).await.unwrap();
        visited.extend(pairs(&page.entries));
        token = page.next;
    }
    let distinct: BTreeSet<_> = visited.iter().cloned().collect();
    assert_eq!(visited.len(), distinct.len(), "nothing comes twice: {visited:?}");
    assert!(distinct.is_superset(&stored), "{distinct:?}");
}
