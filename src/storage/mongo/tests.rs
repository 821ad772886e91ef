use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, doc};

use super::chunks::holdable;
use super::layout::{NOT_YET, ZipFile, file_name, is_unsettled, number};

#[test]
fn a_zip_has_the_name_that_athens_gives_it() {
    assert_eq!(file_name("github.com/Azure/a_b", "v1.0.0"), "github.com_Azure_a_b_v1.0.0.zip");
    let (one, other) = (file_name("x.y/a/b_c", "v1.0.0"), file_name("x.y/a_b/c", "v1.0.0"));
    assert_eq!(
        one, other,
        "Athens's names clash, which is why a zip is found by more than its name"
    );
}

#[test]
fn a_record_that_no_zip_can_have_is_none() {
    let id = ObjectId::new();
    let record =
        |length: Bson, chunk: Bson| doc! { "_id": id, "length": length, "chunkSize": chunk };
    let of = |length, chunk| ZipFile::of(&record(length, chunk)).map(|file| file.chunks());
    assert_eq!(of(Bson::Int64(261_120), Bson::Int32(261_120)), Some(1));
    assert_eq!(of(Bson::Int64(261_121), Bson::Int32(261_120)), Some(2));
    assert_eq!(of(Bson::Int32(22), Bson::Int64(8)), Some(3), "other programs write other widths");
    for (length, chunk) in [
        (Bson::Int64(0), Bson::Int32(261_120)),
        (Bson::Int64(21), Bson::Int32(261_120)),
        (Bson::Int64(-1), Bson::Int32(261_120)),
        (Bson::Int64(100), Bson::Int32(0)),
        (Bson::Int64(100), Bson::Int32(i32::MAX)),
        (Bson::String("100".to_owned()), Bson::Int32(10)),
    ] {
        assert_eq!(of(length.clone(), chunk.clone()), None, "{length} {chunk}");
    }
}

#[test]
fn each_chunk_but_the_last_is_full() {
    let file = ZipFile { id: Bson::Null, length: 25, chunk_bytes: 10 };
    assert_eq!([0, 1, 2, 3].map(|chunk| file.bytes_of(chunk)), [10, 10, 5, 0]);
}

#[test]
fn one_question_brings_small_zips_only_and_not_too_many_bytes() {
    let file = |length| ZipFile { id: Bson::Null, length, chunk_bytes: 261_120 };
    let taken = |files: &[ZipFile]| holdable(files.iter());
    assert_eq!(taken(&vec![file(900); 1_500]), 1_000);
    assert_eq!(taken(&vec![file(261_120); 20]), 16, "4 MiB");
    assert_eq!(taken(&[file(900), file(261_121), file(900)]), 1, "one of two chunks ends it");
    assert_eq!(taken(&[file(261_121)]), 0);
}

#[test]
fn a_zip_without_its_date_belongs_to_no_version_yet() {
    assert!(is_unsettled(&doc! { "uploadDate": NOT_YET }));
    assert!(!is_unsettled(&doc! { "uploadDate": DateTime::now() }));
    assert!(!is_unsettled(&doc! {}));
}

#[test]
fn numbers_of_any_width_are_read() {
    assert_eq!(number(&Bson::Double(5.0)), Some(5));
    for odd in [Bson::Double(0.5), Bson::Double(-1.0), Bson::Double(f64::NAN), Bson::Null] {
        assert_eq!(number(&odd), None, "{odd}");
    }
}
