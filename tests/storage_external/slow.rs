//! A foreign server that knows no ranges and tells no length, slowly; and clients that read slowly what came
//! from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon_middleware::ports::Storage;
use dipylon_middleware::request::RequestContext;
use dipylon_middleware::stack::Border;
use dipylon_middleware::storage_io::{ANSWER_MAX, StorageHandle, StorageIo};
use dipylon_middleware::telemetry::Telemetry;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::read_range;

use crate::bench::{client, names, try_read};
use crate::foreign_server::{Fault, Foreign};

fn small() -> FakeModule {
    FakeModule::new("example.com/a", "v1.0.0").filler(300_000)
}

/// The client below what bounds its calls, as in the program.
fn bounded(storage: &Arc<dyn Storage>) -> StorageHandle {
    let io = StorageIo::new(Arc::clone(storage), &Telemetry::new().unwrap());
    StorageHandle::new(Border::new(io))
}

fn context() -> RequestContext {
    RequestContext::detached(tokio::time::Instant::now() + Duration::from_secs(300))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zip_that_takes_longer_to_copy_than_an_answer_may_is_served() {
    let foreign = Foreign::start().await;
    foreign.lay_out(&small());
    foreign.fault(".zip", Fault::Trickle(Duration::from_secs(3)));
    let storage = bounded(&client(&foreign.url()).await);
    let ((module, version), begun) = (names(&small()), Instant::now());
    let read = storage.read(&context(), &module, &version, FileKind::Zip).await.unwrap().unwrap();
    assert!(begun.elapsed() > ANSWER_MAX, "{:?}", begun.elapsed());
    let bytes = read_range(&read, 0..read.length()).await.unwrap();
    assert!(bytes == small().zip());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zip_that_stands_still_on_its_way_is_given_up() {
    let foreign = Foreign::start().await;
    foreign.lay_out(&small());
    foreign.fault(".zip", Fault::Trickle(2 * ANSWER_MAX));
    let storage = bounded(&client(&foreign.url()).await);
    let ((module, version), begun) = (names(&small()), Instant::now());
    let error =
        storage.read(&context(), &module, &version, FileKind::Zip).await.map(drop).unwrap_err();
    assert!(error.message().contains("no answer within 10 s"), "{error}");
    assert!(begun.elapsed() < ANSWER_MAX + Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A client that reads for ever keeps the bytes of its copy, and no place that others wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zips_that_slow_clients_still_read_stop_no_other_from_being_copied() {
    let foreign = Foreign::start().await;
    foreign.lay_out(&small());
    foreign.fault(".zip", Fault::NoLength);
    let storage = client(&foreign.url()).await;
    let (module, version) = names(&small());
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(storage.read(&module, &version, FileKind::Zip).await.unwrap().unwrap());
    }
    let module = small();
    let zip = try_read(&storage, &module, FileKind::Zip);
    let zip = tokio::time::timeout(ANSWER_MAX, zip).await.expect("no place is waited for");
    assert!(zip.unwrap().unwrap() == module.zip());
    drop(held);
}
