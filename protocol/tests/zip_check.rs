//! Which module zips are accepted and why others are refused.

mod zip_files;

use std::io::Write as _;

use dipylon_protocol::zip::MAX_NAME_BYTES;
use proptest::prelude::*;
use zip_files::*;

/// Three files, one of them empty, one incompressible.
fn files() -> [(&'static str, Vec<u8>); 3] {
    let noise: Vec<u8> =
        (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    [
        ("go.mod", b"module example.com/m\n".to_vec()),
        ("empty", Vec::new()),
        ("pkg/noise.bin", noise),
    ]
}

fn items() -> Vec<Item> {
    files().into_iter().map(|(name, content)| Item::new(name, content)).collect()
}

fn files_h1() -> String {
    let files = files();
    plain_h1(&files.each_ref().map(|(name, content)| (*name, &content[..])))
}

#[test]
fn a_zip_made_by_another_library_is_accepted() {
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        let mut seekable = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let mut streamed = zip::ZipWriter::new_stream(Vec::new());
        for (name, content) in files() {
            seekable.start_file(format!("{PREFIX}{name}"), options).unwrap();
            seekable.write_all(&content).unwrap();
            streamed.start_file(format!("{PREFIX}{name}"), options).unwrap();
            streamed.write_all(&content).unwrap();
        }
        let seekable = seekable.finish().unwrap().into_inner();
        let streamed = streamed.finish().unwrap().into_inner();
        for zip in [seekable, streamed] {
            let summary = check(&zip).unwrap();
            assert_eq!(summary.h1.to_string(), files_h1(), "{method}");
            assert_eq!((summary.files, summary.compressed_bytes), (3, zip.len() as u64));
            assert_eq!(summary.uncompressed_bytes, 5021);
            assert_eq!(summary.go_mod.as_deref(), Some(&b"module example.com/m\n"[..]));
        }
    }
}

#[test]
fn every_shape_of_descriptor_is_understood() {
    for descriptor in DESCRIPTORS {
        for stored in [false, true] {
            let streamed =
                |item: Item| if stored { item.stored() } else { item }.streamed(descriptor);
            let zip = Archive::of(items().into_iter().map(streamed).collect()).build();
            let summary = check(&zip)
                .unwrap_or_else(|error| panic!("{descriptor:?} stored={stored}: {error}"));
            assert_eq!(summary.h1.to_string(), files_h1());
        }
    }
}

#[test]
fn sizes_may_stand_in_the_header_although_a_descriptor_follows() {
    for item in [Item::new("a", *b"aaaa"), Item::new("a", *b"aaaa").stored()] {
        let item = Item { flags: 8, descriptor: Descriptor::Signed32, ..item };
        assert_eq!(reason_of(vec![item.clone()]), "accepted");
        let wrong = Item { local: Some([1, 0, 0]), ..item };
        assert_eq!(reason_of(vec![wrong]), "crc_mismatch");
    }
}

#[test]
fn a_descriptor_that_lies_is_refused() {
    for descriptor in DESCRIPTORS {
        for item in [Item::new("a", *b"aaaa"), Item::new("b", *b"bbbb").stored()] {
            let item = item.streamed(descriptor);
            let end = item.local_bytes().len();
            let zip = Archive::of(vec![item]).build();
            for at in end - 12..end {
                let mut zip = zip.clone();
                zip[at] ^= 1;
                assert_ne!(reason(&zip), "accepted", "{descriptor:?} byte {}", end - at);
            }
        }
    }
}

#[test]
fn what_looks_like_a_descriptor_inside_stored_content_does_not_end_it() {
    let mut content = b"0123PK\x07\x08".to_vec();
    content.extend([9; 12]);
    content.extend(b"PK\x03\x04 and more");
    content.extend(
        Archive::of(
            items().into_iter().map(|item| item.stored().streamed(Descriptor::Bare32)).collect(),
        )
        .build(),
    );
    let item = Item::new("nested.zip", content.clone()).stored().streamed(Descriptor::Signed32);
    let summary = check(&Archive::of(vec![item]).build()).unwrap();
    assert_eq!(summary.h1.to_string(), plain_h1(&[("nested.zip", &content)]));
}

#[test]
fn stored_content_that_describes_its_own_early_end_is_refused() {
    // The stream ends the entry where the content says so; the directory has the real size: readers
    // would differ.
    let mut content = b"abcd".to_vec();
    content.extend(b"PK\x07\x08\x11\xcd\x82\xed\x04\0\0\0\x04\0\0\0PK\x03\x04");
    let item = Item::new("a", content).stored().streamed(Descriptor::Signed32);
    assert_ne!(reason_of(vec![item]), "accepted");
}

#[test]
fn zip64_records_are_understood() {
    let mut sizes = vec![1, 0, 16, 0];
    sizes.extend(4_u64.to_le_bytes());
    sizes.extend(4_u64.to_le_bytes());
    let item = Item::new("a", *b"aaaa").stored();
    let crc = 0xad98_e545;
    let local = Item { local: Some([crc, u32::MAX, u32::MAX]), local_extra: sizes.clone(), ..item };
    assert_eq!(reason_of(vec![local.clone()]), "accepted");
    assert_eq!(
        reason_of(vec![Item { local_extra: sizes[..12].to_vec(), ..local.clone() }]),
        "bad_record"
    );
    assert_eq!(reason_of(vec![Item { local_extra: Vec::new(), ..local.clone() }]), "bad_record");
    assert_eq!(reason_of(vec![Item { local_extra: sizes.repeat(2), ..local }]), "bad_record");
    for saturated in [false, true] {
        let archive = Archive { zip64: true, saturated, ..Archive::of(items()) };
        assert_eq!(check(&archive.build()).unwrap().h1.to_string(), files_h1());
        assert_eq!(reason(&Archive { extra_count: 1, ..archive.clone() }.build()), "bad_record");
        assert_eq!(reason(&Archive { extra_offset: 1, ..archive }.build()), "bad_record");
    }
    assert_eq!(reason(&Archive { saturated: true, ..Archive::of(items()) }.build()), "bad_record");
}

#[test]
fn a_wrong_zip64_end_record_or_locator_is_refused() {
    let zip = Archive { zip64: true, ..Archive::of(items()) }.build();
    let end64 = zip.windows(4).position(|window| window == b"PK\x06\x06").unwrap();
    for at in (end64 + 4..end64 + 12).chain(end64 + 16..end64 + 76) {
        let mut zip = zip.clone();
        zip[at] ^= 1;
        assert_ne!(reason(&zip), "accepted", "byte {}", at - end64);
    }
}

#[test]
fn a_zip_without_entries_has_the_empty_hash() {
    let summary = check(&Archive::default().build()).unwrap();
    assert_eq!(summary.h1.to_string(), plain_h1(&[]));
    assert_eq!((summary.files, summary.go_mod), (0, None));
}

#[test]
fn what_is_no_zip_is_said_so() {
    assert_eq!(reason(b"<!DOCTYPE html><html>Please log in</html>"), "not_a_zip");
    assert_eq!(reason(b"{\"Version\":\"v1.0.0\"}"), "not_a_zip");
    assert_eq!(
        reason(&Archive { preamble: b"#!/bin/sh\n".to_vec(), ..Archive::of(items()) }.build()),
        "not_a_zip"
    );
    assert_eq!(reason(b""), "truncated");
    assert_eq!(reason(b"PK"), "truncated");
}

#[test]
fn bytes_that_belong_to_nothing_are_refused() {
    let mut with_gap = items();
    with_gap[1].gap = b"gap!".to_vec();
    assert_eq!(reason_of(with_gap), "unknown_record");
    let trailing = Archive { trailing: vec![0], ..Archive::of(items()) };
    assert_eq!(reason(&trailing.build()), "trailing_bytes");
    let twice = Archive { trailing: Archive::of(items()).build(), ..Archive::of(items()) };
    assert_eq!(reason(&twice.build()), "trailing_bytes");
}

#[test]
fn a_comment_is_read_over_unless_it_holds_an_end_record() {
    let comment =
        |comment: &[u8]| Archive { comment: comment.to_vec(), ..Archive::of(items()) }.build();
    assert_eq!(reason(&comment(b"made by hand")), "accepted");
    assert_eq!(reason(&comment(&vec![b'x'; 65535])), "accepted");
    assert_eq!(reason(&comment(b"..PK\x05\x06..")), "bad_record");
}

#[test]
fn an_entry_the_directory_hides_is_refused() {
    let mut hidden = items();
    hidden[2].in_directory = 0;
    assert_eq!(reason_of(hidden), "entry_mismatch");
    let mut only_listed = items();
    only_listed[1].in_stream = false;
    assert_eq!(reason_of(only_listed), "entry_mismatch");
    let mut listed_twice = items();
    listed_twice[1].in_directory = 2;
    assert_eq!(reason_of(listed_twice), "entry_mismatch");
}

#[test]
fn the_directory_may_be_in_any_order() {
    let archive = Archive { reversed_directory: true, ..Archive::of(items()) };
    assert_eq!(check(&archive.build()).unwrap().h1.to_string(), files_h1());
}

#[test]
fn a_directory_record_that_differs_is_refused() {
    // Offsets in a directory record: flags, method, CRC, sizes, disk, offset of the header, first
    // byte of the name.
    for (at, byte) in [
        (8, 8),
        (10, 8),
        (16, 1),
        (20, 99),
        (24, 99),
        (34, 1),
        (42, 1),
        (46, b'E'),
        (46 + 21, b'z'),
    ] {
        let item = Item { central_edit: Some((at, byte)), ..Item::new("abc", *b"abc").stored() };
        assert!(matches!(reason_of(vec![item]), "entry_mismatch" | "bad_record"), "byte {at}");
    }
}

#[test]
fn only_files_and_directories_are_accepted() {
    let with_mode = |name: &str, mode| reason_of(vec![Item::new(name, "").stored().mode(mode)]);
    assert_eq!(with_mode("file", 0o100_644), "accepted");
    assert_eq!(with_mode("file", 0o644), "accepted");
    assert_eq!(with_mode("dir/", 0o040_755), "accepted");
    assert_eq!(with_mode("link", 0o120_777), "symlink");
    assert_eq!(with_mode("link/", 0o120_777), "symlink");
    assert_eq!(with_mode("dir", 0o040_755), "irregular_file");
    assert_eq!(with_mode("fifo", 0o010_644), "irregular_file");
    assert_eq!(with_mode("socket", 0o140_644), "irregular_file");
    assert_eq!(with_mode("device", 0o020_644), "irregular_file");
    let dos = |name: &str| reason_of(vec![Item { external: 0x10, ..Item::new(name, "").stored() }]);
    assert_eq!((dos("dir/"), dos("dir")), ("accepted", "irregular_file"));
}

#[test]
fn a_directory_entry_counts_in_the_hash_but_not_as_a_file() {
    let entries =
        vec![Item::new("", "").stored(), Item::new("d/", "").stored(), Item::new("d/f", *b"f")];
    let summary = check(&Archive::of(entries).build()).unwrap();
    assert_eq!(summary.files, 1);
    assert_eq!(summary.h1.to_string(), plain_h1(&[("", b""), ("d/", b""), ("d/f", b"f")]));
}

#[test]
fn a_directory_has_no_content() {
    assert_eq!(reason_of(vec![Item::new("d/", *b"x").stored()]), "size_mismatch");
    assert_eq!(
        reason_of(vec![Item::new("d/", *b"x").streamed(Descriptor::Signed32)]),
        "size_mismatch"
    );
    // Some tools deflate the nothing of a directory.
    assert_eq!(reason_of(vec![Item::new("d/", "")]), "accepted");
}

#[test]
fn the_rules_for_names_are_those_of_the_go_command() {
    let long = "a/".repeat(MAX_NAME_BYTES / 2);
    let cases: &[(&[&str], &str)] = &[
        (
            &["a.go", "A/b.go", "a b", "日本語/é.go", ".hidden", "-dash", "x~", "vendor/v/v.go"],
            "accepted",
        ),
        (&["go.mod"], "accepted"),
        (&["Go.mod"], "go_mod_case"),
        (&["GO.MOD"], "go_mod_case"),
        (&["sub/go.mod"], "nested_go_mod"),
        (&["sub/GO.mod"], "nested_go_mod"),
        (&["go.mod/"], "accepted"),
        (&["go.mod/x"], "accepted"),
        (&["a", "a"], "duplicate"),
        (&["d/", "d/", "d/x"], "accepted"),
        (&["a", "A"], "case_clash"),
        (&["dir/x", "Dir/y"], "case_clash"),
        (&["dir/x", "DIR"], "case_clash"),
        (&["K", "\u{212a}"], "case_clash"),
        (&["ſs", "SS"], "case_clash"),
        (&["Straße", "STRASSE"], "accepted"),
        (&["a", "a/b"], "file_and_directory"),
        (&["a/b", "a"], "file_and_directory"),
        (&["a/", "a"], "file_and_directory"),
        (&["../a"], "bad_name"),
        (&["a/../b"], "bad_name"),
        (&["./a"], "bad_name"),
        (&["a//b"], "bad_name"),
        (&["/a"], "bad_name"),
        (&["a//"], "bad_name"),
        (&["a\\b"], "bad_name"),
        (&["a:b"], "bad_name"),
        (&["con"], "bad_name"),
        (&["x/aux.txt"], "bad_name"),
        (&["dot."], "bad_name"),
        (&["new\nline"], "bad_name"),
        (&["nul\0"], "bad_name"),
        (&[long.trim_end_matches('/')], "accepted"),
        (&[&format!("{long}xyz")], "bad_name"),
    ];
    for (names, want) in cases {
        let items = names.iter().map(|name| Item::new(name, "").stored()).collect();
        assert_eq!(reason_of(items), *want, "{names:.40?}");
    }
}

#[test]
fn names_of_another_module_or_version_are_refused() {
    for name in [
        "",
        "a",
        "/",
        "example.com/m@v1.0.0",
        "example.com/m@v1.0.1/a",
        "example.com/M@v1.0.0/a",
        "../x",
    ] {
        let item = Item { name: name.into(), ..Item::new("", "").stored() };
        assert_eq!(reason_of(vec![item]), "foreign_prefix", "{name}");
    }
    let item = Item { name: [PREFIX.as_bytes(), b"\xff"].concat(), ..Item::new("", "").stored() };
    assert_eq!(reason_of(vec![item]), "bad_name");
}

/// A small zip with every kind of record.
fn varied() -> Vec<u8> {
    let items = vec![
        Item::new("go.mod", "module example.com/m\n"),
        Item::new("a", "stored").stored(),
        Item::new("b", "streamed").streamed(Descriptor::Signed32),
        Item::new("c", "bare").stored().streamed(Descriptor::Bare64),
        Item::new("d/", "").stored().mode(0o040_755),
    ];
    Archive { zip64: true, comment: b"end".to_vec(), ..Archive::of(items) }.build()
}

#[test]
fn a_zip_cut_anywhere_is_refused() {
    let zip = varied();
    assert_eq!(reason(&zip), "accepted");
    for len in 0..zip.len() {
        assert_eq!(reason(&zip[..len]), "truncated", "{len} of {} bytes", zip.len());
    }
}

#[test]
fn a_changed_byte_is_refused_or_changes_nothing_that_counts() {
    let zip = varied();
    let summary = check(&zip).unwrap();
    let mut accepted = 0;
    for at in 0..zip.len() {
        for bit in 0..8 {
            let mut zip = zip.clone();
            zip[at] ^= 1 << bit;
            if let Ok(changed) = check(&zip) {
                assert_eq!(changed, summary, "byte {at} bit {bit}");
                accepted += 1;
            }
        }
    }
    // Times, versions, attributes and the comment are not looked at, and they are few.
    assert!(accepted < zip.len() * 8 / 4, "{accepted} of {} changes went unnoticed", zip.len() * 8);
}

#[test]
fn after_an_error_every_call_repeats_it() {
    let mut check = new_check();
    let first = check.push(b"<html>").unwrap_err();
    assert_eq!(check.push(&varied()).unwrap_err(), first);
    assert_eq!(check.finish().unwrap_err(), first);
}

#[test]
fn one_byte_at_a_time_gives_the_same_as_all_at_once() {
    for zip in [
        varied(),
        Archive::of(items()).build(),
        Archive { trailing: vec![1], ..Archive::of(items()) }.build(),
    ] {
        assert_eq!(check_pieces(zip.chunks(1)), check(&zip));
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        (any::<u8>(), 0..200_000_usize).prop_map(|(byte, len)| vec![byte; len]),
        prop::collection::vec(
            prop::sample::select(b"PK\x03\x04\x07\x08\x01\x02\0".to_vec()),
            0..3000
        ),
    ];
    let shape = prop::sample::select(vec![None, Some(0), Some(1), Some(2), Some(3)]);
    ("[a-z]{1,3}(/[a-z]{1,3}){0,2}", content, any::<bool>(), shape).prop_map(
        |(name, content, stored, shape)| {
            let item = Item::new(&name, content);
            let item = if stored { item.stored() } else { item };
            shape.map_or(item.clone(), |at: usize| item.streamed(DESCRIPTORS[at]))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_zip_has_its_plain_hash_however_it_is_cut(
        items in prop::collection::vec(any_item(), 0..6),
        zip64: bool,
        sizes in prop::collection::vec(1..5000_usize, 1..40),
    ) {
        let zip = Archive { zip64, ..Archive::of(items.clone()) }.build();
        let whole = check(&zip);
        let mut rest = &zip[..];
        let mut sizes = sizes.iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next()?));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(&check_pieces(pieces), &whole);
        if let Ok(summary) = whole {
            let name = |item: &Item| String::from_utf8(item.name[PREFIX.len()..].to_vec()).unwrap();
            let names: Vec<String> = items.iter().map(name).collect();
            let contents = items.iter().map(|item| &item.content[..]);
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| &name[..]).zip(contents).collect();
            prop_assert_eq!(summary.h1.to_string(), plain_h1(&files));
        } else {
            let reason = whole.unwrap_err().reason();
            let expected = ["duplicate", "file_and_directory", "bad_name"];
            prop_assert!(expected.contains(&reason), "{reason}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        items in prop::collection::vec(any_item(), 0..3),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        piece in 1..300_usize,
    ) {
        let mut zip = Archive::of(items).build();
        for (at, byte) in changes {
            let at = at.index(zip.len());
            zip[at] = byte;
        }
        let result = check_pieces(zip.chunks(piece));
        prop_assert_eq!(result, check(&zip));
    }
}
