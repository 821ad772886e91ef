//! Saving and reading one version.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{NewVersion, SaveResult};
use dipylon_protocol::route::FileKind;
use futures::stream::{self, StreamExt as _};

use super::{Subject, module_path, new_version, read_range, version};
use crate::module::FakeModule;

/// Saves under way at once where a case needs many versions.
const SAVES_AT_ONCE: usize = 16;

fn sample() -> FakeModule {
    FakeModule::new("example.com/sample", "v1.2.3").file("a/b.go", "package a\n")
}

/// An unknown module has an empty list, which is no error.
pub async fn an_unknown_module_lists_nothing(subject: Subject) {
    assert!(subject.list("example.com/unknown").await.is_empty());
}

/// All three files of an unknown version are absent, also beside a known one.
pub async fn an_unknown_version_is_absent(subject: Subject) {
    subject.assert_absent(&sample()).await;
    subject.create(&sample()).await;
    subject.assert_absent(&sample().with_version("v1.2.4")).await;
}

/// The three files come back as they went in.
pub async fn a_saved_version_reads_back_byte_for_byte(subject: Subject) {
    subject.create(&sample()).await;
    subject.assert_stored(&sample()).await;
}

/// A saved version is in the list at once.
pub async fn a_saved_version_is_listed(subject: Subject) {
    subject.create(&sample()).await;
    assert_eq!(subject.list("example.com/sample").await, ["v1.2.3"]);
}

/// Other bytes under a name that is taken change nothing.
pub async fn the_first_save_of_a_version_stays(subject: Subject) {
    let other = sample().file("c.go", "package c\n").go_mod("module example.com/sample\n");
    subject.create(&sample()).await;
    let saved = subject.save(&other).await.unwrap();
    assert_eq!(saved, SaveResult::Existed { same: false });
    subject.assert_stored(&sample()).await;
}

/// `same` compares the `.mod` and the zip's length.
pub async fn an_equal_second_save_is_told_from_another(subject: Subject) {
    subject.create(&sample()).await;
    let longer = sample().filler(100);
    let other_mod = sample().go_mod("module example.com/sample // other\n\ngo 1.21\n");
    assert_eq!(subject.save(&sample()).await.unwrap(), SaveResult::Existed { same: true });
    assert_eq!(subject.save(&longer).await.unwrap(), SaveResult::Existed { same: false });
    assert_eq!(subject.save(&other_mod).await.unwrap(), SaveResult::Existed { same: false });
}

/// The `.info` is bytes, not values.
pub async fn an_info_with_other_keys_and_blanks_keeps_its_bytes(subject: Subject) {
    let info = "{ \"Origin\": {\"VCS\":\"git\"},\t\"Time\":\"2024-01-02T03:04:05Z\",\n\"Version\":\"v1.2.3\"}\n\n";
    let module = sample().info_json(info);
    subject.create(&module).await;
    subject.assert_stored(&module).await;
}

/// Versions from before modules have a `.mod` of one line.
pub async fn a_module_without_a_go_mod_keeps_the_made_up_one(subject: Subject) {
    let module = sample().no_go_mod();
    subject.create(&module).await;
    subject.assert_stored(&module).await;
}

/// A zip that no backend takes in one piece.
pub async fn a_zip_of_20_mib_reads_back(subject: Subject) {
    let module = sample().filler(20 << 20);
    assert!(module.zip().len() > 20 << 20);
    subject.create(&module).await;
    subject.assert_stored(&module).await;
}

/// Any part of a zip can be had, the empty one included.
pub async fn a_range_is_read_from_the_middle(subject: Subject) {
    let module = sample().filler(300_000);
    subject.create(&module).await;
    let (path, version) = (module_path(module.path()), version(module.version()));
    let blob = subject.storage().read(&path, &version, FileKind::Zip).await.unwrap().unwrap();
    let zip = module.zip();
    assert_eq!(blob.length(), zip.len() as u64);
    let last = zip.len() - 1;
    for (start, end) in [(0, 1), (1, 1), (70_000, 200_001), (last, last + 1), (0, last + 1)] {
        let part = read_range(&blob, start as u64..end as u64).await.unwrap();
        assert!(part == zip.slice(start..end), "{start}..{end}");
    }
}

/// A store that says since when it has a zip says when it was saved.
pub async fn since_when_a_zip_is_stored_is_told_truly_or_not_at_all(subject: Subject) {
    subject.create(&sample()).await;
    let stored_at = subject.since_when(&sample()).await;
    assert!(stored_at.is_none_or(is_now), "{stored_at:?}");
}

/// Whether a time is of now; a server's clock may be another.
pub(super) fn is_now(at: SystemTime) -> bool {
    let apart = at.elapsed().unwrap_or_else(|ahead| ahead.duration());
    apart < Duration::from_secs(120)
}

/// Reading a blob does not use it up.
pub async fn a_blob_can_be_read_twice(subject: Subject) {
    subject.create(&sample()).await;
    for _ in 0..2 {
        subject.assert_stored(&sample()).await;
    }
    let (path, version) = (module_path("example.com/sample"), version("v1.2.3"));
    let blob = subject.storage().read(&path, &version, FileKind::Zip).await.unwrap().unwrap();
    let first = read_range(&blob, 0..blob.length()).await.unwrap();
    assert_eq!(first, read_range(&blob, 0..blob.length()).await.unwrap());
}

/// The spool's file goes with its last handle; what was stored from it does not.
pub async fn a_stored_zip_outlives_its_spool(subject: Subject) {
    let new = new_version(subject.spools(), &sample());
    let spool = new.zip.clone();
    assert_eq!(subject.storage().save(new).await.unwrap(), subject.first());
    let path = spool.path();
    drop(spool);
    assert!(!path.exists(), "the spool is gone");
    subject.assert_stored(&sample()).await;
}

/// A save may begin while the zip still comes in; nothing is there before its end.
pub async fn a_save_waits_for_the_end_of_its_spool(subject: Subject) {
    let zip = sample().zip();
    let (mut writer, spool) = subject.spools().create(Some(zip.len() as u64), 0).unwrap();
    let (head, tail) = zip.split_at(zip.len() / 2);
    writer.write(head).unwrap();
    let new = NewVersion { zip: spool, ..new_version(subject.spools(), &sample()) };
    let storage = subject.storage().clone();
    let save = tokio::spawn(async move { storage.save(new).await });
    subject.assert_absent(&sample()).await;
    writer.write(tail).unwrap();
    subject.assert_absent(&sample()).await;
    writer.finish();
    assert_eq!(save.await.unwrap().unwrap(), subject.first());
    subject.assert_stored(&sample()).await;
}

/// A zip that failed its checks is not stored, and the reason comes back.
pub async fn a_spool_that_fails_stores_nothing(subject: Subject) {
    let (mut writer, spool) = subject.spools().create(None, 0).unwrap();
    writer.write(&sample().zip()).unwrap();
    writer.fail(Error::new(ErrorKind::ChecksumMismatch, "other bytes"));
    let new = NewVersion { zip: spool, ..new_version(subject.spools(), &sample()) };
    let error = subject.storage().save(new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChecksumMismatch);
    subject.assert_absent(&sample()).await;
    assert!(subject.list("example.com/sample").await.is_empty());
}

/// A version that would read as absent, and so be fetched for ever, is refused, and is in nobody's way.
pub async fn what_would_read_as_torn_is_not_stored(subject: Subject) {
    let (spools, whole) = (subject.spools(), || new_version(subject.spools(), &sample()));
    let short = new_version(spools, &sample().raw_zip("PK")).zip;
    let other = sample().with_version("v1.2.4").info().into();
    for (torn, name) in [
        (NewVersion { go_mod: Bytes::new(), ..whole() }, "an empty .mod"),
        (NewVersion { go_mod: Bytes::from_static(&[0; 20]), ..whole() }, "a .mod of zeros"),
        (NewVersion { info: Bytes::from_static(b"{"), ..whole() }, "half an .info"),
        (NewVersion { info: other, ..whole() }, "an .info of another version"),
        (NewVersion { zip: short, ..whole() }, "a zip without an end"),
    ] {
        let error = subject.storage().save(torn).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::BadContent, "{name}: {error}");
        subject.assert_absent(&sample()).await;
        assert!(subject.list("example.com/sample").await.is_empty(), "{name}");
    }
    subject.create(&sample()).await;
    subject.assert_stored(&sample()).await;
}

/// A list does not end where the backend's first page does.
pub async fn a_list_longer_than_a_page_is_whole(subject: Subject) {
    let versions = 0..subject.many_versions;
    let wanted: Vec<String> = versions.map(|patch| format!("v1.0.{patch}")).collect();
    let saves = wanted.iter().map(|version| {
        let module = FakeModule::new("example.com/many", version);
        let subject = &subject;
        async move { subject.create(&module).await }
    });
    stream::iter(saves).buffer_unordered(SAVES_AT_ONCE).collect::<Vec<()>>().await;
    let mut wanted = wanted;
    wanted.sort();
    assert_eq!(subject.list("example.com/many").await, wanted);
    if subject.has_catalog {
        let mut listed: Vec<String> =
            subject.catalog(7).await.into_iter().map(|entry| entry.version).collect();
        listed.sort();
        assert_eq!(listed, wanted);
    }
}

/// The check for `/readyz` passes, before and after a save.
pub async fn a_working_store_says_so(subject: Subject) {
    subject.storage().check().await.unwrap();
    subject.create(&sample()).await;
    subject.storage().check().await.unwrap();
    let key: Bytes = subject.read(&sample(), FileKind::Mod).await.unwrap();
    assert!(!key.is_empty());
}
