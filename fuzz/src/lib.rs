//! What must hold for any bytes at all, one function for each reader of foreign bytes.
//!
//! A function panics when its property is broken; a reader that panics breaks it as well. Two
//! drivers feed them: `tests/mutated.rs`, which changes the samples of `protocol/testdata` by a
//! seeded generator on every run of the suites, and libFuzzer, one target for each function, which
//! is guided by coverage: `cargo +nightly fuzz run --features libfuzzer NAME`.

use std::cmp::Ordering;

use bytes::Bytes;
use dipylon_protocol::path::{escape, unescape};
use dipylon_protocol::sumdb::{Database, Lookup, Missing, Note, Step, Tile, TreeHead, Verifier};
use dipylon_protocol::zip::ZipCheck;
use dipylon_protocol::{GoMod, Info, ListFilter, ModulePath, Route, Version, VersionQuery};
use dipylon_protocol::{pattern, pseudo, semver};

/// Steps after which a lookup that has not ended never will.
const MAX_LOOKUP_STEPS: usize = 8;

/// A property and the name of its target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("route", route),
    ("names", names),
    ("info", info),
    ("list", list),
    ("gomod", gomod),
    ("note", note),
    ("tree", tree),
    ("lookup", lookup),
    ("zip", zip),
    ("pattern", pattern),
];

/// A request path that is accepted has one canonical form, which reads back as the same route.
pub fn route(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Route::parse(text) {
        Ok(route) => {
            let path = route.path();
            assert_eq!(Route::parse(&path).as_ref(), Ok(&route), "{path}");
            assert!(!path.contains("/../") && !path.contains('\0'), "{path:?}");
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// Paths, versions and queries survive their escaping; versions have one order.
pub fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (left, right) = text.split_once('\n').unwrap_or((&text, "v1.0.0"));
    if let Ok(plain) = unescape(left) {
        assert_eq!(escape(&plain), left);
    }
    if let Ok(module) = ModulePath::parse(left) {
        assert_eq!(ModulePath::from_escaped(&module.escaped()).as_ref(), Ok(&module));
        let (prefix, major) = module.split_major();
        assert_eq!(format!("{prefix}{major}"), module.as_str());
    }
    if let Ok(version) = Version::parse(left) {
        assert_eq!(Version::from_escaped(&version.escaped()).as_ref(), Ok(&version));
        assert!(semver::is_valid(version.as_str()), "{version}");
    }
    if let Ok(query) = VersionQuery::parse(left) {
        assert_eq!(VersionQuery::from_escaped(&query.escaped()).as_ref(), Ok(&query));
    }
    if let Some(canonical) = semver::canonical(left) {
        assert_eq!(semver::canonical(&canonical).as_ref(), Some(&canonical));
        assert_eq!(semver::compare(left, &canonical), Ordering::Equal);
    }
    if let Ok(pseudo) = pseudo::Pseudo::parse(left) {
        assert!(pseudo::is_pseudo(left), "{left:?}");
        // It may name a day that no calendar has.
        let _ = pseudo.rfc3339();
    }
    assert_eq!(semver::compare(left, right), semver::compare(right, left).reverse());
    assert_eq!(semver::compare(left, left), Ordering::Equal);
}

/// An `.info` that is accepted is accepted again, and means the same, as we write it.
pub fn info(bytes: &[u8]) {
    match Info::parse(bytes) {
        Ok(info) => {
            let ours = Info::render(&info.version, info.time.as_deref());
            assert_eq!(Info::parse(&ours).as_ref(), Ok(&info));
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// A list reads the same however its bytes arrive, and what is kept is kept when read again.
pub fn list(bytes: &[u8]) {
    let module = sample_module();
    let read = |pieces: &[&[u8]]| {
        let mut filter = ListFilter::new(&module);
        pieces.iter().try_for_each(|piece| filter.push(piece))?;
        filter.finish()
    };
    let whole = read(&[bytes]);
    let (head, tail) = cut(bytes);
    assert_eq!(whole, read(&[head, tail]));
    if let Ok(versions) = whole {
        let ours = dipylon_protocol::list::render_list(&versions);
        assert_eq!(read(&[ours.as_bytes()]).as_ref(), Ok(&versions));
    }
}

/// Any go.mod is read or refused, in one line.
pub fn gomod(bytes: &[u8]) {
    match GoMod::parse(bytes) {
        Ok(read) => {
            // A version that is retracted has a retraction to show for it.
            let version = Version::parse("v1.0.0").expect("a version");
            assert_eq!(read.retracts(&version), read.retraction_of(&version).is_some());
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// No bytes but signed ones open as a note.
pub fn note(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(verifier) = Verifier::parse(&text) {
        assert!(Note::open(b"forged\n\n", &[verifier]).is_err());
    }
    if let Ok(note) = Note::open(bytes, &[sample_database().verifier]) {
        let begins = bytes.starts_with(note.text.as_bytes());
        assert!(begins, "the signed text is the beginning of the bytes");
    }
}

/// Heads and the names of tiles have one form each.
pub fn tree(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(head) = TreeHead::parse(&text) {
        assert_eq!(TreeHead::parse(&head.format()).ok(), Some(head));
    }
    if let Ok(tile) = Tile::parse(&text) {
        assert_eq!(tile.to_string(), text);
        assert!(!tile.full().is_full() || tile.full().len_bytes() >= tile.len_bytes());
    }
}

/// A lookup that hostile answers are given ends, and never with a record that nobody signed.
pub fn lookup(bytes: &[u8]) {
    let version = Version::parse("v0.30.0").expect("a version");
    let module = ModulePath::parse("golang.org/x/mod").expect("a path");
    let mut lookup = Lookup::new(&sample_database(), None, &module, &version);
    for _ in 0..MAX_LOOKUP_STEPS {
        match lookup.step() {
            Ok(Step::Fetch(paths)) => {
                for (index, path) in paths.iter().enumerate() {
                    let at = index * 31 % bytes.len().max(1);
                    let answer = Bytes::copy_from_slice(bytes.get(at..).unwrap_or_default());
                    let answer = if index % 7 == 6 { Err(Missing) } else { Ok(answer) };
                    lookup.provide(path, answer);
                }
            }
            // The tiles would have to hash to what the key of the database signed.
            Ok(Step::Done(_)) => panic!("a lookup was proven without its tiles"),
            Err(error) => return assert_one_line(&error.to_string()),
        }
    }
    panic!("a lookup does not end");
}

/// A zip is taken, with the same hash, or refused however its bytes arrive. Where an entry has two
/// faults, which one is named first may depend on the pieces: content that is too long and then broken.
pub fn zip(bytes: &[u8]) {
    let version = Version::parse("v1.0.0").expect("a version");
    let read = |pieces: &[&[u8]]| {
        let mut check = ZipCheck::new(&sample_module(), &version);
        for piece in pieces {
            // What a push refuses, the end refuses with the same words.
            if check.push(piece).is_err() {
                break;
            }
        }
        check.finish().map_err(|error| error.to_string())
    };
    let whole = read(&[bytes]);
    let (head, tail) = cut(bytes);
    let pieces = read(&[head, tail]);
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok());
    for error in [whole, pieces].into_iter().filter_map(Result::err) {
        assert_one_line(&error);
    }
}

/// A pattern list and a glob answer for any text, and a malformed glob is told of.
pub fn pattern(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (globs, name) = text.split_once('\n').unwrap_or((&text, "example.com/a"));
    let patterns = pattern::Patterns::parse(globs);
    assert_eq!(patterns.matches(name), pattern::match_prefix_patterns(globs, name));
    if pattern::path_match(globs, name).is_err() {
        assert!(!globs.is_empty(), "an empty pattern is well formed");
    }
}

/// Errors go to people and to logs: one line, without control characters.
fn assert_one_line(text: &str) {
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
}

/// Two parts; the first byte says where they meet.
fn cut(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.first().map_or(0, |&byte| usize::from(byte) * bytes.len() / 256);
    bytes.split_at(at)
}

fn sample_module() -> ModulePath {
    ModulePath::parse("example.com/mod").expect("a path")
}

fn sample_database() -> Database {
    Database::parse("sum.golang.org").expect("the database whose key go knows")
}
