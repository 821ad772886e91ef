//! Keys and signed notes.

use dipylon_protocol::sumdb::note::{MAX_NOTE_BYTES, PUBLIC_DATABASE, generate, sign};
use dipylon_protocol::sumdb::{Note, NoteError, Signer, Verifier};

fn keys(name: &str, seed: u8) -> (Signer, Verifier) {
    let (signer, verifier) = generate(name, [seed; 32]);
    (Signer::parse(&signer).unwrap(), Verifier::parse(&verifier).unwrap())
}

#[test]
fn the_key_of_the_public_database_prints_as_it_parses() {
    let verifier = Verifier::parse(PUBLIC_DATABASE).unwrap();
    assert_eq!(verifier.name(), "sum.golang.org");
    assert_eq!(verifier.key_hash(), 0x033d_e0ae);
    assert_eq!(verifier.to_string(), PUBLIC_DATABASE);
}

#[test]
fn a_note_signed_by_the_public_database_opens() {
    let lookup = include_str!("../testdata/sumdb/sum.golang.org/lookup/golang.org/x/mod@v0.30.0");
    let signed = lookup.split_once("\n\n").unwrap().1;
    let note = Note::open(signed.as_bytes(), &[Verifier::parse(PUBLIC_DATABASE).unwrap()]).unwrap();
    assert!(note.text.starts_with("go.sum database tree\n"));
    assert_eq!(note.signed_by, ["sum.golang.org"]);
}

#[test]
fn every_change_in_a_key_is_noticed() {
    for at in 0..PUBLIC_DATABASE.len() {
        let mut key = PUBLIC_DATABASE.as_bytes().to_vec();
        key[at] = if key[at] == b'A' { b'B' } else { b'A' };
        let key = String::from_utf8(key).unwrap();
        // The hash's digits may be in either case, as for golang/mod.
        let is_same_digit = PUBLIC_DATABASE.as_bytes()[at] == b'a' && (15..23).contains(&at);
        assert_eq!(Verifier::parse(&key).is_ok(), is_same_digit, "{key}");
    }
}

#[test]
fn what_is_no_key_is_refused() {
    for key in [
        "",
        "+",
        "a+b",
        "name+00000000+",
        "na me+00000000+AQ==",
        "name+0000000g+AQ==",
        "name+0+AQ==",
    ] {
        assert_eq!(Verifier::parse(key), Err(NoteError::MalformedKey), "{key}");
    }
    assert_eq!(Verifier::parse("name+00000000+Ag=="), Err(NoteError::KeyHash));
    assert_eq!(Verifier::parse("name+ab853caf+Ag=="), Err(NoteError::UnknownAlgorithm(2)));
    assert!(matches!(Signer::parse(PUBLIC_DATABASE), Err(NoteError::MalformedKey)));
    let (signer, verifier) = generate("a", [1; 32]);
    assert!(Verifier::parse(&signer).is_err());
    assert!(Signer::parse(&verifier).is_err());
    assert!(matches!(Signer::parse(&signer.replace("+a+", "+b+")), Err(NoteError::KeyHash)));
}

#[test]
fn a_signed_note_opens_with_its_text() {
    let (signer, verifier) = keys("sum.test", 1);
    for text in [
        "one line\n",
        "two\nlines\n",
        "a blank\n\nline\n",
        "\n",
        "ends with a blank line\n\n",
        "h\u{e9}\u{4e16}\n",
    ] {
        let note = sign(text, std::slice::from_ref(&signer));
        let opened = Note::open(note.as_bytes(), std::slice::from_ref(&verifier)).unwrap();
        assert_eq!(opened, Note { text: text.to_owned(), signed_by: vec!["sum.test".to_owned()] });
    }
}

#[test]
fn every_changed_byte_of_a_note_is_refused() {
    let (signer, verifier) = keys("sum.test", 1);
    let note = sign("go.sum database tree\n5\nhash\n", &[signer]);
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut changed = note.clone().into_bytes();
            changed[at] ^= 1 << bit;
            assert!(
                Note::open(&changed, std::slice::from_ref(&verifier)).is_err(),
                "byte {at} bit {bit}"
            );
        }
        assert!(
            Note::open(&note.as_bytes()[..at], std::slice::from_ref(&verifier)).is_err(),
            "first {at} bytes"
        );
    }
}

#[test]
fn one_known_signature_is_enough_and_unknown_ones_are_ignored() {
    let ((one, know_one), (two, know_two), (_, know_three)) =
        (keys("one", 1), keys("two", 2), keys("three", 3));
    let note = sign("text\n", &[one, two]);
    let open = |known: &[Verifier]| Note::open(note.as_bytes(), known).map(|note| note.signed_by);
    assert_eq!(open(std::slice::from_ref(&know_two)), Ok(vec!["two".to_owned()]));
    assert_eq!(open(&[know_two, know_one]), Ok(vec!["one".to_owned(), "two".to_owned()]));
    assert_eq!(open(&[know_three]), Err(NoteError::NotSigned));
    assert_eq!(open(&[]), Err(NoteError::NotSigned));
}

#[test]
fn a_known_key_with_a_wrong_signature_is_refused_even_beside_a_good_one() {
    let ((one, know_one), (two, know_two)) = (keys("one", 1), keys("two", 2));
    let good = sign("text\n", &[one]);
    let other = sign("other\n", &[two]);
    let note = format!("{good}{}", other.split_once("\n\n").unwrap().1);
    let want = NoteError::InvalidSignature { name: "two".to_owned(), hash: know_two.key_hash() };
    assert_eq!(Note::open(note.as_bytes(), &[know_one, know_two]), Err(want));
}

#[test]
fn a_key_of_the_same_name_is_another_key() {
    let ((one, _), (_, other)) = (keys("name", 1), keys("name", 2));
    let note = sign("text\n", &[one]);
    assert_eq!(Note::open(note.as_bytes(), &[other]), Err(NoteError::NotSigned));
}

#[test]
fn what_is_no_note_is_refused() {
    let (signer, verifier) = keys("sum.test", 1);
    let good = sign("text\n", &[signer]);
    let line = good.split_once("\n\n").unwrap().1;
    let bad = [
        String::new(),
        "text\n".to_owned(),
        "text\n\n".to_owned(),
        good.trim_end().to_owned(),
        good.replace('\u{2014}', "-"),
        good.replace("text\n", "te\txt\n"),
        good.replace("text\n", "te\rxt\n"),
        format!("{good}\n"),
        format!("{good}junk\n"),
        format!("text\n\n\u{2014} sum.test \n{line}"),
        format!("text\n\n\u{2014} sum.test AAAAAA==\n{line}"),
        format!("text\n\n\u{2014} su+m AAAAAAAA\n{line}"),
        format!("text\n\n\u{2014}  AAAAAAAA\n{line}"),
    ];
    for note in bad {
        let result = Note::open(note.as_bytes(), std::slice::from_ref(&verifier));
        assert!(matches!(result, Err(NoteError::MalformedNote(_))), "{note:?}: {result:?}");
    }
    let invalid = [b"te\xffxt\n\n", line.as_bytes()].concat();
    assert!(matches!(
        Note::open(&invalid, std::slice::from_ref(&verifier)),
        Err(NoteError::MalformedNote(_))
    ));
}

#[test]
fn size_and_number_of_signatures_are_bounded() {
    let (signer, verifier) = keys("sum.test", 1);
    let known = [verifier];
    let long = sign(&"x".repeat(MAX_NOTE_BYTES), std::slice::from_ref(&signer));
    assert_eq!(Note::open(long.as_bytes(), &known), Err(NoteError::TooLarge));
    let good = sign("text\n", &[signer]);
    let others = |count: usize| format!("{good}{}", "\u{2014} other AAAAAAAA\n".repeat(count));
    assert!(Note::open(others(99).as_bytes(), &known).is_ok());
    assert!(matches!(Note::open(others(100).as_bytes(), &known), Err(NoteError::MalformedNote(_))));
}
