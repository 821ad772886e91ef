use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dipylon_protocol::route::FileKind;

use super::{StorageHandle, StorageIo, caller_context};
use crate::error::{Error, ErrorKind};
use crate::ports::{NewVersion, SaveResult, StorageCall};
use crate::request::StorageRequest;
use crate::spool::{Spool, Spools};
use crate::stack::Border;
use crate::telemetry::{Outcome, StorageOperation};
use crate::testing::below::assert_passes_unchanged;
use crate::testing::release::Release;
use crate::testing::storage::MemoryStorage;
use crate::testing::{SECOND, context, context_for, module, telemetry, version};

#[tokio::test(start_paused = true)]
async fn each_typed_call_reaches_the_backend_and_is_counted() {
    let (storage, telemetry) = (MemoryStorage::with(&["v1.0.0"]), telemetry());
    let (handle, context) = (storage.handle(&telemetry), context());
    let (module, version) = (module("example.com/m"), version("v1.0.0"));

    assert_eq!(handle.list(&context, &module).await.unwrap(), std::slice::from_ref(&version));
    let blob = handle.read(&context, &module, &version, FileKind::Mod).await.unwrap();
    assert!(blob.expect("stored").length() > 0);
    let page = handle.catalog(&context, None, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (1, None));
    handle.write_extra(&context, "queue/x", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(handle.read_extra(&context, "queue/x").await.unwrap().unwrap(), "1");
    handle.check(&context).await.unwrap();

    let directory = tempfile::tempdir().unwrap();
    let release = Release::new("example.com/m", "v1.1.0");
    let spools = Spools::new(directory.path(), 1 << 20, &telemetry);
    let new = NewVersion {
        module: release.module.clone(),
        version: release.version.clone(),
        info: release.info.clone(),
        go_mod: release.go_mod.clone(),
        zip: Spool::of_bytes(&spools, &release.zip).unwrap(),
    };
    assert_eq!(handle.save(&context, new.clone()).await.unwrap(), SaveResult::Created);
    assert_eq!(handle.save(&context, new).await.unwrap(), SaveResult::Existed { same: true });

    for (operation, times) in [
        (StorageOperation::List, 1),
        (StorageOperation::Read, 1),
        (StorageOperation::Catalog, 1),
        (StorageOperation::WriteExtra, 1),
        (StorageOperation::ReadExtra, 1),
        (StorageOperation::Check, 1),
        (StorageOperation::Save, 2),
    ] {
        let metrics = &telemetry.metrics;
        assert_eq!(metrics.storage_calls.get((operation, Outcome::Ok)).get(), times, "{operation}");
        let seconds = metrics.storage_seconds.get((operation,));
        assert_eq!(seconds.get_sample_count(), times, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged_and_is_counted_by_its_outcome() {
    let (storage, telemetry) = (MemoryStorage::new(), telemetry());
    storage.fail(StorageOperation::List);
    let io = StorageIo::new(storage, &telemetry);
    let operation = StorageCall::List(module("example.com/m"));
    let list = StorageRequest { context: context(), operation };
    assert_passes_unchanged(&io, list, ErrorKind::Storage).await;
    let calls = &telemetry.metrics.storage_calls;
    assert_eq!(calls.get((StorageOperation::List, Outcome::StorageError)).get(), 1);
    assert_eq!(calls.get((StorageOperation::List, Outcome::Ok)).get(), 0);
}

fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::BadContent, text)
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_nothing_and_no_error() {
    let handle = MemoryStorage::new().handle(&telemetry());
    let (module, version, context) = (module("example.com/m"), version("v1.0.0"), context());
    assert!(handle.list(&context, &module).await.unwrap().is_empty());
    assert!(handle.read(&context, &module, &version, FileKind::Zip).await.unwrap().is_none());
    assert!(handle.read_extra(&context, "x").await.unwrap().is_none());
    assert!(handle.read_quarantine(&context, &module, &version).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn files_of_ours_lie_under_escaped_names() {
    let storage = MemoryStorage::new();
    let (handle, context) = (storage.handle(&telemetry()), context());
    let (module, version) = (module("github.com/Azure/sdk"), version("v1.0.0-RC1"));
    let bytes = Bytes::from_static(b"module m\n");
    handle.write_early(&context, &module, &version, FileKind::Mod, bytes.clone()).await.unwrap();
    assert_eq!(storage.extra("early/github.com/!azure/sdk/@/v1.0.0-!r!c1/mod"), Some(bytes));
    let early = handle.read_early(&context, &module, &version, FileKind::Info).await.unwrap();
    assert!(early.is_none(), "each file has a name of its own");
    handle.write_quarantine(&context, &module, &version, &wrong("wrong")).await.unwrap();
    assert!(storage.extra("quarantine/github.com/!azure/sdk/@/v1.0.0-!r!c1.json").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_record_is_read_back_with_its_reason_and_time() {
    let handle = MemoryStorage::new().handle(&telemetry());
    let (module, version, context) = (module("example.com/m"), version("v1.0.0"), context());
    handle.write_quarantine(&context, &module, &version, &wrong("a \"wrong\" hash")).await.unwrap();
    let record = handle.read_quarantine(&context, &module, &version).await.unwrap();
    let (wrong, since) = record.expect("recorded");
    assert_eq!(wrong.message(), "a \"wrong\" hash");
    assert_eq!(wrong.kind(), ErrorKind::BadContent);
    assert!(SystemTime::now().duration_since(since).unwrap() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_quarantine_record_is_an_error_that_names_it() {
    let key = "quarantine/example.com/m/@/v1.0.0.json";
    for damage in ["{", "", "{\"since\":18446744073709551615}"] {
        let storage = MemoryStorage::new();
        storage.put_extra(key, damage.to_owned());
        let handle = storage.handle(&telemetry());
        let (module, version) = (module("example.com/m"), version("v1.0.0"));
        let failed = handle.read_quarantine(&context(), &module, &version).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Storage, "{damage:?}");
        assert!(failed.message().contains(key), "{failed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_is_not_counted_as_answered() {
    let (storage, telemetry) = (MemoryStorage::new(), telemetry());
    let held = storage.hang(StorageOperation::Check);
    let io = StorageIo::new(storage, &telemetry);
    let check = StorageRequest { context: context(), operation: StorageCall::Check };
    held.assert_ends_with_its_caller(&io, check).await;
    let seconds = telemetry.metrics.storage_seconds.get((StorageOperation::Check,));
    assert_eq!(seconds.get_sample_count(), 0);
}

/// A backend that never answers.
#[tokio::test(start_paused = true)]
async fn a_storage_that_hangs_is_given_up_by_name_operation_and_cause() {
    let storage = MemoryStorage::new();
    drop((storage.hang(StorageOperation::Check), storage.hang(StorageOperation::List)));
    let telemetry = telemetry();
    let (handle, context) = (storage.handle(&telemetry), context_for(3600 * SECOND));
    let started = tokio::time::Instant::now();
    let failed = handle.check(&context).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::StorageUnavailable);
    assert_eq!(failed.message(), "memory storage cannot check: no answer within 10 s");
    assert_eq!(started.elapsed(), super::ANSWER_MAX);
    let started = tokio::time::Instant::now();
    let failed = handle.list(&context, &module("example.com/m")).await.unwrap_err();
    let said = "memory storage cannot list: no answer within 10 s, nor to a check";
    assert_eq!((failed.message(), started.elapsed()), (said, super::ANSWER_MAX));
    let calls = &telemetry.metrics.storage_calls;
    assert_eq!(calls.get((StorageOperation::Check, Outcome::StorageUnavailable)).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_comes_further_is_waited_for_and_one_that_stands_still_is_not() {
    let storage = MemoryStorage::with(&["v1.0.0"]);
    let (handle, context) = (storage.handle(&telemetry()), context_for(3600 * SECOND));
    let (module, version) = (module("example.com/m"), version("v1.0.0"));
    let started = tokio::time::Instant::now();
    storage.take_steps(12, super::ANSWER_MAX - SECOND);
    let read = handle.read(&context, &module, &version, FileKind::Zip).await.unwrap();
    assert!(read.is_some(), "after {:?}", started.elapsed());
    assert_eq!(started.elapsed(), 12 * 9 * SECOND);
    storage.take_steps(1, super::ANSWER_MAX + SECOND);
    let failed = handle.read(&context, &module, &version, FileKind::Zip).await.unwrap_err();
    assert_eq!(failed.message(), "memory storage cannot read: no answer within 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_takes_long_is_waited_for_as_long_as_the_backend_passes_a_check() {
    let storage = MemoryStorage::new();
    drop((storage.hang(StorageOperation::List), storage.hang(StorageOperation::Catalog)));
    let (handle, context) = (storage.handle(&telemetry()), context_for(3600 * SECOND));
    let started = tokio::time::Instant::now();
    let failed = handle.list(&context, &module("example.com/m")).await.unwrap_err();
    assert_eq!(failed.message(), "memory storage cannot list: no answer within 120 s");
    assert_eq!(started.elapsed(), super::WALK_MAX);
    assert_eq!(storage.calls(StorageOperation::Check), 23, "one each 5 s but at the end");
    storage.down();
    let started = tokio::time::Instant::now();
    let failed = handle.catalog(&context, None, 10).await.unwrap_err();
    let said = "memory storage cannot catalog: checks of it fail: it is down";
    assert_eq!((failed.message(), started.elapsed()), (said, 2 * super::CHECK_EACH));
    storage.mend();
    storage.fail(StorageOperation::Check);
    let started = tokio::time::Instant::now();
    handle.catalog(&context, None, 10).await.unwrap_err();
    assert_eq!(started.elapsed(), super::WALK_MAX, "who refuses a check answers");
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_hangs_is_given_up_before_impatient_callers_go_away() {
    let storage = MemoryStorage::new();
    drop((storage.hang(StorageOperation::Check), storage.hang(StorageOperation::List)));
    let io = StorageIo::new(Arc::<MemoryStorage>::clone(&storage), &telemetry());
    let handle = StorageHandle::new(Border::new(io.within(2 * SECOND)));
    let context = context_for(3600 * SECOND);
    let started = tokio::time::Instant::now();
    let failed = handle.check(&context).await.unwrap_err();
    assert_eq!(failed.message(), "memory storage cannot check: no answer within 1.8 s");
    handle.list(&context, &module("example.com/m")).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_millis(3_600));
}

#[tokio::test(start_paused = true)]
async fn over_stacks_a_call_has_its_context_and_is_neither_counted_nor_bounded_twice() {
    let storage = MemoryStorage::new();
    let stack = Border::new(StorageIo::over_stacks(Arc::<MemoryStorage>::clone(&storage)));
    let (handle, mut context) = (StorageHandle::new(stack), context_for(3600 * SECOND));
    context.id = "r-1".into();
    handle.check(&context).await.unwrap();
    assert_eq!(storage.caller().as_deref(), Some("r-1"));
    assert!(caller_context().is_none(), "outside a call there is none");
    drop(storage.hang(StorageOperation::Check));
    let hanging = handle.check(&context);
    let waited = tokio::time::timeout(10 * super::ANSWER_MAX, hanging).await;
    assert!(waited.is_err(), "the stacks below say how long a call may take");
}
