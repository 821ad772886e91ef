//! What a server that is not ours is believed, and what not: answers that were cut, files that were, and
//! saves that another may have won.

use dipylon::config::TieredKeys;
use dipylon_middleware::ports::SaveResult;
use dipylon_middleware::telemetry::Telemetry;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::Subject;

use crate::bench::{client, is_absent, is_stored, list, names, try_read};
use crate::foreign_server::{Fault, Foreign};

fn small() -> FakeModule {
    FakeModule::new("example.com/a", "v1.0.0").filler(300_000)
}

const BASE: &str = "/example.com/a/@v/v1.0.0";

/// HTTP/1.0 without a length: a server that dies in the middle looks like one that has sent everything.
#[tokio::test]
async fn a_zip_that_ends_with_the_connection_is_taken_with_its_own_end_alone() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    for known in [false, true] {
        foreign.fault(".zip", Fault::CutUntilClose);
        let error = try_read(&storage, &small(), FileKind::Zip).await.unwrap_err();
        assert!(error.message().contains("the connection ended before the zip did"), "{error}");
        foreign.fault(".zip", Fault::UntilClose);
        assert!(is_stored(&storage, &small()).await, "known: {known}");
    }
}

#[tokio::test]
async fn texts_and_lists_that_end_with_the_connection_are_refused() {
    for (suffix, kind) in [(".info", FileKind::Info), (".mod", FileKind::Mod)] {
        for fault in [Fault::UntilClose, Fault::CutUntilClose] {
            let foreign = Foreign::start().await;
            let storage = client(&foreign.url()).await;
            foreign.lay_out(&small());
            foreign.fault(suffix, fault);
            let error = try_read(&storage, &small(), kind).await.unwrap_err();
            assert!(error.message().contains("must send Content-Length, or chunks"), "{error}");
        }
    }
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.fault("/list", Fault::UntilClose);
    let (module, _) = names(&small());
    let error = storage.list(&module).await.unwrap_err();
    assert!(error.message().contains("ends with the connection"), "{error}");
    let error = storage.check().await.unwrap_err();
    assert!(error.message().contains("ends with the connection"), "{error}");
}

#[tokio::test]
async fn texts_in_chunks_are_whole() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    for suffix in [".info", ".mod", ".zip"] {
        foreign.fault(suffix, Fault::NoLength);
    }
    assert!(is_stored(&storage, &small()).await);
}

/// What Athens, or a crash, left at the server: its length is right, and its end is missing.
#[tokio::test]
async fn a_zip_that_was_stored_in_part_is_absent_and_the_next_save_mends_it() {
    for knows_ranges in [true, false] {
        let foreign = Foreign::start().await;
        let subject = Subject::new(client(&foreign.url()).await);
        if knows_ranges {
            foreign.fault(".zip", Fault::Ranges);
        }
        let zip = small().zip();
        for length in [zip.len() - 1, zip.len() / 2, 22, 0] {
            foreign.lay_out(&small());
            foreign.put(&format!("{BASE}.zip"), zip.slice(..length));
            let read = try_read(subject.storage(), &small(), FileKind::Zip).await.unwrap();
            assert!(read.is_none(), "{length} bytes, ranges: {knows_ranges}");
            // A server without ranges would send all of the zip for each `.info`: there, only who reads
            // the zip learns that it is torn.
            let is_absent = is_absent(subject.storage(), &small()).await;
            assert!(is_absent || !knows_ranges, "{length} bytes");
            assert_eq!(subject.save(&small()).await.unwrap(), SaveResult::Taken);
            assert!(is_stored(subject.storage(), &small()).await);
            foreign.remove(&format!("{BASE}.info"));
            assert!(try_read(subject.storage(), &small(), FileKind::Info).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_zip_is_looked_at_once_and_again_when_its_length_is_another() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    foreign.fault(".zip", Fault::Ranges);
    foreign.forget_requests();
    assert!(is_stored(&storage, &small()).await);
    let asked: Vec<_> = foreign
        .requests()
        .into_iter()
        .map(|one| (one.path[BASE.len()..].to_owned(), one.headers.contains_key("range")))
        .collect();
    let want =
        [(".info", false), (".mod", false), (".zip", true), (".mod", false), (".zip", false)];
    assert_eq!(asked, want.map(|(path, is_part)| (path.to_owned(), is_part)));

    let zip = small().zip();
    foreign.put(&format!("{BASE}.zip"), zip.slice(..zip.len() - 1_000));
    assert_eq!(try_read(&storage, &small(), FileKind::Zip).await.unwrap(), None);
    let other = small().filler(9_000).zip();
    foreign.put(&format!("{BASE}.zip"), other.clone());
    let read = try_read(&storage, &small(), FileKind::Zip).await.unwrap();
    assert!(read.as_deref() == Some(&other[..]));
}

#[tokio::test]
async fn a_server_that_refuses_ranges_is_asked_for_the_whole() {
    for status in [400, 416] {
        let foreign = Foreign::start().await;
        let storage = client(&foreign.url()).await;
        foreign.lay_out(&small());
        foreign.fault(".zip", Fault::NoRange(status));
        assert!(is_stored(&storage, &small()).await, "{status}");
    }
}

/// Another replica's save may come between our look and our POST, or after it: a 200 is no proof.
#[tokio::test]
async fn a_save_that_another_may_have_won_is_not_called_the_first() {
    let foreign = Foreign::start().await;
    let subject = Subject::new(client(&foreign.url()).await);
    assert_eq!(subject.save(&small()).await.unwrap(), SaveResult::Taken);
    assert_eq!(subject.save(&small()).await.unwrap(), SaveResult::Existed { same: true });
    let theirs = small().altered();
    foreign.lay_out(&theirs);
    assert!(is_stored(subject.storage(), &theirs).await, "what is there is what is read");
    assert_eq!(list(subject.storage(), "example.com/a").await, ["v1.0.0"]);
}

/// A near tier keeps copies of what is certain alone: ours may have lost.
#[tokio::test]
async fn a_near_tier_over_such_a_server_serves_what_the_server_has() {
    let foreign = Foreign::start().await;
    let near = tempfile::tempdir().unwrap();
    let keys = TieredKeys { directory: Some(near.path().to_owned()), max_bytes: 1 << 30 };
    let telemetry = Telemetry::new().unwrap();
    let far = client(&foreign.url()).await;
    let tiered = dipylon::storage::tiered::over(far, "far", &keys, &telemetry).await.unwrap();
    let subject = Subject::new(tiered);
    assert_eq!(subject.save(&small()).await.unwrap(), SaveResult::Taken);
    let theirs = small().altered();
    foreign.lay_out(&theirs);
    for _ in 0..2 {
        assert!(is_stored(subject.storage(), &theirs).await);
    }
}
