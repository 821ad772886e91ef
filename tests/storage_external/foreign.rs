//! A server that has Athens's protocol and nothing more: what holds with it, and how it is asked.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::ports::SaveResult;
use dipylon_middleware::request::RequestContext;
use dipylon_middleware::stack::Border;
use dipylon_middleware::storage_io::{StorageHandle, StorageIo};
use dipylon_middleware::telemetry::Telemetry;
use dipylon_middleware::telemetry::trace::{
    FinishedTrace, KeepRules, Parent, SpanRef, SpanSink, Tracer,
};
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{
    Subject, extras, names as name_cases, new_version, read_range, versions,
};

use crate::bench::{client, is_absent, is_stored, list, names, try_read};
use crate::foreign_server::{Fault, Foreign};

fn small() -> FakeModule {
    FakeModule::new("github.com/Azure/Two", "v1.0.0").filler(300_000)
}

const BASE: &str = "/github.com/!azure/!two/@v/v1.0.0";

async fn subject() -> Subject {
    let foreign = Foreign::start().await;
    let client = client(&foreign.url()).await;
    Subject::new(client).without_catalog().taking_saves().keep(foreign)
}

/// The cases that speak of one writer; what two of them do to one version is the server's affair.
macro_rules! cases {
    ($($group:ident: $case:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            $group::$case(subject().await).await;
        }
    )* };
}

cases! {
    versions: an_unknown_module_lists_nothing,
    versions: an_unknown_version_is_absent,
    versions: a_saved_version_reads_back_byte_for_byte,
    versions: a_saved_version_is_listed,
    versions: the_first_save_of_a_version_stays,
    versions: an_equal_second_save_is_told_from_another,
    versions: an_info_with_other_keys_and_blanks_keeps_its_bytes,
    versions: a_module_without_a_go_mod_keeps_the_made_up_one,
    versions: a_zip_of_20_mib_reads_back,
    versions: a_range_is_read_from_the_middle,
    versions: a_blob_can_be_read_twice,
    versions: a_save_waits_for_the_end_of_its_spool,
    versions: a_spool_that_fails_stores_nothing,
    versions: what_would_read_as_torn_is_not_stored,
    versions: a_list_longer_than_a_page_is_whole,
    versions: a_working_store_says_so,
    name_cases: capitals_are_told_from_small_letters,
    name_cases: capitals_in_versions_are_told_from_small_letters,
    name_cases: a_tilde_stays_a_tilde,
    name_cases: incompatible_and_pseudo_versions_are_stored,
    name_cases: nested_modules_are_not_versions_of_their_parent,
    name_cases: names_that_differ_in_a_slash_stay_apart,
    extras: an_extra_that_was_never_written_is_absent,
    extras: an_extra_reads_back,
    extras: the_last_write_of_an_extra_stays,
    extras: an_extra_that_is_removed_is_absent,
    extras: an_empty_extra_is_not_an_absent_one,
    extras: extras_are_neither_listed_nor_catalogued,
    extras: keys_that_lead_elsewhere_are_refused,
}

#[tokio::test]
async fn there_is_no_catalogue_as_with_athens() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    let error = storage.catalog(None, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains(&foreign.url()), "{error}");
    let asked = foreign.requests().iter().any(|one| one.path == "/catalog");
    assert!(!asked, "a server without the extension is not asked");
}

#[tokio::test]
async fn extras_never_reach_the_server() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.forget_requests();
    storage.write_extra("early/a", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(storage.read_extra("early/a").await.unwrap(), Some(Bytes::from_static(b"x")));
    assert!(foreign.requests().is_empty());
}

#[tokio::test]
async fn a_version_that_is_half_there_is_absent_and_the_next_save_mends_it() {
    for missing in ["info", "mod", "zip"] {
        let foreign = Foreign::start().await;
        let subject = Subject::new(client(&foreign.url()).await);
        foreign.lay_out(&small());
        foreign.remove(&format!("{BASE}.{missing}"));
        assert!(is_absent(subject.storage(), &small()).await, "without {missing}");
        assert_eq!(subject.save(&small()).await.unwrap(), SaveResult::Taken);
        assert!(is_stored(subject.storage(), &small()).await);
    }
}

#[tokio::test]
async fn an_info_of_another_version_and_an_empty_mod_are_absent() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    for (suffix, bytes) in [
        (".info", FakeModule::new("x.test/x", "v1.0.1").info().into_bytes()),
        (".info", b"<html>".to_vec()),
        (".mod", Vec::new()),
        (".zip", b"PK".to_vec()),
    ] {
        foreign.lay_out(&small());
        foreign.put(&format!("{BASE}{suffix}"), bytes);
        assert!(is_absent(&storage, &small()).await, "{suffix}");
    }
}

#[tokio::test]
async fn what_goes_away_after_it_was_seen_is_absent() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    assert!(is_stored(&storage, &small()).await);
    for kind in ["info", "mod", "zip"] {
        foreign.remove(&format!("{BASE}.{kind}"));
    }
    assert!(is_absent(&storage, &small()).await);
}

#[tokio::test]
async fn a_list_may_have_any_lines_and_a_web_page_is_none() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    foreign.put("/github.com/!azure/!two/@v/main.info", "{}");
    assert_eq!(list(&storage, "github.com/Azure/Two").await, ["v1.0.0"]);
    foreign.fault("/list", Fault::Status(404, "unknown module"));
    assert!(list(&storage, "github.com/Azure/Two").await.is_empty());
    foreign.fault("/list", Fault::Status(200, "\n<html>log in</html>"));
    let (module, _) = names(&small());
    let error = storage.list(&module).await.unwrap_err();
    assert!(error.message().contains("a web page"), "{error}");
}

#[tokio::test]
async fn a_zip_without_a_length_is_counted_first() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    foreign.fault(".zip", Fault::NoLength);
    assert!(is_stored(&storage, &small()).await);
    let (module, version) = names(&small());
    let blob = storage.read(&module, &version, FileKind::Zip).await.unwrap().unwrap();
    assert_eq!(blob.length(), small().zip().len() as u64);
    let part = read_range(&blob, 70_000..200_001).await.unwrap();
    assert!(part == small().zip().slice(70_000..200_001));
    let saved = Subject::new(storage).save(&small()).await.unwrap();
    assert_eq!(saved, SaveResult::Existed { same: true });
}

#[tokio::test]
async fn ranges_are_used_where_the_server_knows_them() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    let (module, version) = names(&small());
    // From then on the zip is known, and is no more copied to see its end.
    storage.read(&module, &version, FileKind::Zip).await.unwrap().unwrap();
    for knows in [false, true] {
        if knows {
            foreign.fault(".zip", Fault::Ranges);
        }
        let blob = storage.read(&module, &version, FileKind::Zip).await.unwrap().unwrap();
        let part = read_range(&blob, 1_000..2_000).await.unwrap();
        assert!(part == small().zip().slice(1_000..2_000), "ranges: {knows}");
        let asked = foreign.requests();
        assert_eq!(asked.last().unwrap().headers["range"], "bytes=1000-1999");
    }
}

#[tokio::test]
async fn a_zip_that_changed_its_length_is_an_error() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    let (module, version) = names(&small());
    storage.read(&module, &version, FileKind::Zip).await.unwrap().unwrap();
    let blob = storage.read(&module, &version, FileKind::Zip).await.unwrap().unwrap();
    foreign.put(&format!("{BASE}.zip"), small().filler(9_000).zip());
    let error = read_range(&blob, 10..20).await.unwrap_err();
    assert!(error.message().contains("bytes and has"), "{error}");
}

#[tokio::test]
async fn a_redirect_to_the_file_is_followed() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    foreign.fault(".zip", Fault::Redirect);
    assert!(is_stored(&storage, &small()).await);
    assert_eq!(
        try_read(&storage, &small(), FileKind::Zip).await.unwrap(),
        Some(small().zip().to_vec())
    );
}

#[tokio::test]
async fn the_trace_of_a_call_goes_along_where_it_is_kept() {
    let foreign = Foreign::start().await;
    let subject = Subject::new(client(&foreign.url()).await);
    let io = StorageIo::new(Arc::clone(subject.storage()), &Telemetry::new().unwrap());
    let handle = StorageHandle::new(Border::new(io));
    let (module, _) = names(&small());
    let tracer = Tracer::new(KeepRules::NONE, Arc::new(Nowhere));
    for is_sampled in [true, false] {
        let span = SpanRef::parse("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331").unwrap();
        let parent = Parent { span, is_sampled, state: Some("vendor=opaque".into()) };
        let trace = tracer.request(Some(parent), std::time::Instant::now());
        let sent = is_sampled.then(|| trace.traceparent().unwrap());
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let context = RequestContext { trace, ..RequestContext::detached(deadline) };
        handle.list(&context, &module).await.unwrap();
        let mut calls = vec![foreign.requests().pop().unwrap()];
        let new = new_version(subject.spools(), &FakeModule::new("example.com/a", "v1.0.0"));
        handle.save(&context, new).await.unwrap();
        calls.push(foreign.requests().into_iter().rfind(|one| one.method == "POST").unwrap());
        for call in calls {
            let got = call.headers.get("traceparent").map(|value| value.to_str().unwrap());
            assert_eq!(got, sent.as_deref(), "{}", call.path);
            let state = call.headers.get("tracestate").map(|value| value.to_str().unwrap());
            assert_eq!(state, is_sampled.then_some("vendor=opaque"), "{}", call.path);
        }
        foreign.remove("/example.com/a/@v/v1.0.0.info");
        foreign.forget_requests();
    }
}

/// Takes spans and keeps none.
struct Nowhere;

impl SpanSink for Nowhere {
    fn take(&self, _: FinishedTrace) {}
}
