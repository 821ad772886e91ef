//! What a look at a zip's directory tells, and what it leaves to the check of all of it.

mod zip_files;

use std::convert::Infallible;

use dipylon_protocol::version::Version;
use dipylon_protocol::zip::{Look, look};
use zip_files::*;

const GO_MOD: &str = "module example.com/m\n";

fn looked_at(zip: &[u8]) -> Option<Look> {
    let read = |at: u64, length: usize| {
        let at = usize::try_from(at).unwrap();
        Ok::<_, Infallible>(zip[at..at + length].to_vec())
    };
    let version = Version::parse("v1.0.0").unwrap();
    let Ok(look) = look(&module(), &version, zip.len() as u64, read);
    look
}

fn items() -> Vec<Item> {
    vec![Item::new("a/b.go", "package b\n".repeat(100)), Item::new("go.mod", GO_MOD)]
}

fn zip_of(items: Vec<Item>) -> Vec<u8> {
    Archive::of(items).build()
}

#[test]
fn a_sound_zip_shows_its_go_mod_and_how_many_entries_it_has() {
    let shapes = [
        items(),
        items().into_iter().map(Item::stored).collect(),
        items().into_iter().map(|item| item.streamed(DESCRIPTORS[0])).collect(),
    ];
    for items in shapes {
        let zip = zip_of(items);
        assert_eq!(check(&zip).unwrap().go_mod.as_deref(), Some(GO_MOD.as_bytes()));
        let look = looked_at(&zip).expect("nothing about it is odd");
        assert_eq!((look.entries, look.go_mod.as_deref()), (2, Some(GO_MOD.as_bytes())));
    }
    let without = zip_of(vec![Item::new("a.go", "package a\n")]);
    assert_eq!(looked_at(&without), Some(Look { entries: 1, go_mod: None }));
}

#[test]
fn whatever_is_odd_is_left_to_the_check() {
    let sound = zip_of(items());
    for cut in [1, 10, 30, sound.len() - 1, sound.len()] {
        assert_eq!(looked_at(&sound[..sound.len() - cut]), None, "{cut} bytes less");
    }
    let behind = [&sound[..], b"x"].concat();
    let before = [b"x", &sound[..]].concat();
    let with = |item: Item| zip_of(items().into_iter().chain([item]).collect());
    let odd = [
        ("a byte behind it", behind),
        ("a byte before it", before),
        ("names that differ in case only", with(Item::new("A/b.go", "package b\n"))),
        ("a nested module", with(Item::new("x/go.mod", GO_MOD))),
        ("a symbolic link", with(Item::new("link", "a").mode(0o120_777))),
        ("a name that leaves its folder", with(Item::new("../x", "a"))),
    ];
    for (what, zip) in odd {
        assert!(check(&zip).is_err(), "{what}");
        assert_eq!(looked_at(&zip), None, "{what}");
    }
    let foreign = zip::write::SimpleFileOptions::default();
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("example.com/other@v1.0.0/a.go", foreign).unwrap();
    assert_eq!(looked_at(&writer.finish().unwrap().into_inner()), None, "another module's");
}

#[test]
fn other_content_than_the_directory_says_is_seen_by_the_check_alone() {
    let zip = zip_of(items().into_iter().map(Item::stored).collect());
    let at = zip.windows(9).position(|bytes| bytes == b"package b").unwrap();
    let mut changed = zip.clone();
    changed[at] = b'P';
    assert!(check(&changed).is_err());
    assert!(looked_at(&changed).is_some(), "this is what has to be checked behind");
    let at = zip.windows(6).position(|bytes| bytes == b"module").unwrap();
    let mut changed = zip;
    changed[at] = b'M';
    assert_eq!(looked_at(&changed), None, "the go.mod is read");
}

#[test]
fn no_bytes_make_a_look_panic() {
    let sound = zip_of(items());
    for at in 0..sound.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut changed = sound.clone();
            changed[at] = byte;
            let _ = looked_at(&changed);
        }
    }
}
