//! Which versions a list shows. Pure.

use std::collections::HashSet;

use bytes::Bytes;
use dipylon_protocol::list::render_list;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::version::Version;

/// Upstream's versions in its order, then those only stored; pseudo-versions are not listed.
pub(super) fn merge(upstream: Vec<Version>, stored: Vec<Version>) -> Vec<Version> {
    let mut seen: HashSet<Version> = upstream.iter().cloned().collect();
    let mut merged = upstream;
    merged.extend(releases(stored).into_iter().filter(|version| seen.insert(version.clone())));
    merged
}

/// Two bodies of lists as one: the lines of the first, then those that only the second has.
pub(super) fn bodies(first: &Bytes, second: &Bytes) -> Bytes {
    let seen: HashSet<&[u8]> = lines(first).collect();
    let mut both = first.to_vec();
    both.extend(lines(second).filter(|line| !seen.contains(line)).flatten());
    both.into()
}

fn lines(body: &Bytes) -> impl Iterator<Item = &[u8]> {
    body.split_inclusive(|byte| *byte == b'\n')
}

/// Without pseudo-versions.
pub(super) fn releases(versions: Vec<Version>) -> Vec<Version> {
    versions.into_iter().filter(|version| !version.is_pseudo()).collect()
}

/// The body of a list.
pub(super) fn body(versions: &[Version]) -> Bytes {
    render_list(versions).into()
}

/// The newest stored version that a query such as `v1` or `v1.2` can stand for.
pub(super) fn newest_matching(query: &VersionQuery, stored: &[Version]) -> Option<Version> {
    let prefix = format!("{}.", query.as_str());
    let matching: Vec<_> =
        stored.iter().filter(|version| version.as_str().starts_with(&prefix)).cloned().collect();
    newest(&matching)
}

/// The highest release, else the highest pre-release, else the highest pseudo-version.
pub(super) fn newest(versions: &[Version]) -> Option<Version> {
    let rank = |version: &&Version| (!version.is_pseudo(), !version.is_prerelease());
    versions.iter().max_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b))).cloned()
}
