//! How much a module zip may hold, and what stops a bomb.

mod zip_files;

use dipylon_protocol::zip::{
    MAX_CONTENT_BYTES, MAX_ENTRIES, MAX_GO_MOD_BYTES, MAX_NAME_BYTES, MAX_ZIP_BYTES, ZipError,
};
use zip_files::*;

#[test]
fn content_must_be_what_the_header_declares() {
    let item = Item::new("a", *b"aaaa").stored();
    let crc = 0xad98_e545;
    let with = |local| reason_of(vec![Item { local: Some(local), ..item.clone() }]);
    assert_eq!(with([crc, 4, 4]), "accepted");
    assert_eq!(with([crc ^ 1, 4, 4]), "crc_mismatch");
    assert_eq!(with([crc, 4, 5]), "size_mismatch");
    assert_eq!(with([crc, 0, 0]), "crc_mismatch");
    assert_eq!(with([0, 0, 0]), "unknown_record");
    let deflated = Item::new("a", *b"aaaa");
    let len = deflated.local_bytes().len() as u32 - 30 - deflated.name.len() as u32;
    let with = |local| reason_of(vec![Item { local: Some(local), ..deflated.clone() }]);
    assert_eq!(with([crc, len, 4]), "accepted");
    assert_eq!(with([crc, len, 3]), "size_mismatch");
    assert_eq!(with([crc, len, 5]), "size_mismatch");
    assert_eq!(with([crc, len, 0]), "size_mismatch");
    assert_eq!(with([crc, len - 1, 4]), "bad_deflate");
    assert_eq!(with([crc, len + 1, 4]), "size_mismatch");
}

#[test]
fn what_the_go_command_cannot_read_is_refused() {
    let item = Item::new("a", *b"aaaa").stored();
    assert_eq!(reason_of(vec![Item { method: 12, ..item.clone() }]), "unsupported_method");
    assert_eq!(reason_of(vec![Item { method: 8, ..item.clone() }]), "bad_deflate");
    for flag in [1, 1 << 6, 1 << 13] {
        assert_eq!(reason_of(vec![Item { flags: flag, ..item.clone() }]), "encrypted");
    }
    assert_eq!(reason_of(vec![Item { flags: 1 << 5, ..item }]), "bad_record");
}

#[test]
fn go_mod_and_license_have_limits_of_their_own() {
    let limit = MAX_GO_MOD_BYTES as usize;
    for (name, want) in
        [("go.mod", "go_mod_too_large"), ("LICENSE", "license_too_large"), ("other", "accepted")]
    {
        for streamed in [false, true] {
            let item = Item::new(name, vec![b'\n'; limit + 1]);
            let item = if streamed { item.streamed(Descriptor::Signed32) } else { item };
            assert_eq!(reason_of(vec![item]), want, "{name}");
        }
        assert_eq!(reason_of(vec![Item::new(name, vec![b'\n'; limit])]), "accepted", "{name}");
    }
    assert_eq!(reason_of(vec![Item::new("sub/LICENSE", vec![b'\n'; limit + 1])]), "accepted");
}

#[test]
fn a_declared_size_over_the_limit_is_refused_before_any_content() {
    let item = Item { local: Some([0, 1000, MAX_CONTENT_BYTES as u32 + 1]), ..Item::new("a", "") };
    let mut check = new_check();
    let header = item.local_bytes();
    let error = check.push(&header[..30 + item.name.len()]).unwrap_err();
    assert_eq!(error, ZipError::TooLarge { what: "its content", limit: MAX_CONTENT_BYTES });
}

#[test]
fn a_bomb_is_stopped_at_the_limit_on_all_content() {
    // 100 MB of zeros in about 450 kB, six times: the sixth is over 500 MiB and its end is never
    // inflated.
    let item = |n: usize| {
        Item::new(&format!("zeros{n}"), vec![0; 100_000_000]).streamed(Descriptor::Signed32)
    };
    let bomb = item(0).local_bytes();
    let header = 30 + item(0).name.len();
    let mut check = new_check();
    for n in 0..5 {
        check
            .push(
                &Item {
                    content: Vec::new(),
                    deflate: false,
                    descriptor: Descriptor::None,
                    ..item(n)
                }
                .local_bytes(),
            )
            .unwrap();
        check.push(&bomb[header..]).unwrap();
    }
    let mut last =
        Item { content: Vec::new(), deflate: false, descriptor: Descriptor::None, ..item(5) }
            .local_bytes();
    last.extend(&bomb[header..]);
    let mut pieces = last.chunks(1000).enumerate();
    let stopped = pieces.find_map(|(at, piece)| check.push(piece).err().map(|error| (at, error)));
    let (at, error) = stopped.expect("a zip over the limit was accepted");
    assert_eq!(error.reason(), "too_large");
    assert!(at < last.len() / 1000 / 3, "stopped only at piece {at}");
}

#[test]
fn a_bomb_behind_a_small_declared_size_is_stopped_at_that_size() {
    let content = vec![0; 50_000_000];
    let item = Item::new("a", content);
    let len = (item.local_bytes().len() - 30 - item.name.len()) as u32;
    let zip = Item { local: Some([0, len, 10]), ..item }.local_bytes();
    let mut check = new_check();
    let error = check.push(&zip[..200]).unwrap_err();
    assert_eq!(error.reason(), "size_mismatch");
}

#[test]
fn a_zip_over_the_limit_is_refused() {
    let content_bytes = 400 << 20;
    let item =
        Item { local: Some([0, content_bytes, content_bytes]), ..Item::new("a", "").stored() };
    let mut check = new_check();
    // A comment or an extra field could make the zip longer than its content; here the header is
    // longer than told.
    check.push(&item.local_bytes()).unwrap();
    let piece = vec![0; 1 << 20];
    let pushed = (0..501).map(|_| check.push(&piece)).position(|result| result.is_err());
    assert!(pushed.is_some_and(|at| at as u64 <= MAX_ZIP_BYTES >> 20), "{pushed:?}");
}

#[test]
fn the_number_of_entries_is_bounded() {
    let mut check = new_check();
    let pushed = (0..=MAX_ENTRIES).find_map(|n| {
        check
            .push(&Item::new(&n.to_string(), "").stored().local_bytes())
            .err()
            .map(|error| (n, error.reason()))
    });
    assert_eq!(pushed, Some((MAX_ENTRIES, "too_many_entries")));
}

#[test]
fn the_number_of_directories_is_bounded() {
    let deep = "a/".repeat(MAX_NAME_BYTES / 2 - 4);
    let mut check = new_check();
    let pushed = (0..1000).find_map(|n| {
        let item = Item::new(&format!("{n:03}/{deep}b"), "").stored();
        check.push(&item.local_bytes()).err().map(|error| error.reason())
    });
    assert_eq!(pushed, Some("too_many_entries"));
}
