use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use tower::Layer as _;

use super::{FILE_BYTES_MAX, HotCache, HotCacheLayer};
use crate::blob::Blob;
use crate::error::{Error, ErrorKind};
use crate::explain::Tells as _;
use crate::request::FileRequest;
use crate::response::{Answer, Content, ModuleResponse};
use crate::spool::{Spool, Spools};
use crate::stack::Stage;
use crate::telemetry::{Found, Outcome, Tier};
use crate::testing::below::{Held, assert_passes_unchanged, error_from_below};
use crate::testing::{
    answered_file, asking, call, file_answer, file_request, foretold, leaf, subject, telemetry,
    version,
};

/// A cache over a leaf that answers every file with `content`, and the count of its calls.
fn cache(
    bytes_max: u64,
    content: Content,
) -> (HotCache<impl Stage<FileRequest, Reply = ModuleResponse>>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let inner = leaf(move |request: FileRequest| {
        counted.fetch_add(1, Ordering::SeqCst);
        let of = request.version.canonical().cloned().unwrap_or_else(|| version("v1.0.0"));
        let answer = Answer::File { kind: request.kind, version: of, content: content.clone() };
        Ok(ModuleResponse::new(answer, Outcome::HitStorage))
    });
    (HotCacheLayer::new(bytes_max, &telemetry()).layer(inner), calls)
}

fn text(bytes: usize) -> Content {
    Content::Bytes(Bytes::from(vec![b'x'; bytes]))
}

/// Asks twice; whether the second answer came from memory.
async fn kept<S>(cache: &HotCache<S>, request: &FileRequest) -> bool
where
    S: Stage<FileRequest, Reply = ModuleResponse>,
{
    let first = call(cache, request.clone()).await.expect("answered");
    assert_eq!(first.outcome, Outcome::HitStorage, "the first answer comes from below");
    let second = call(cache, request.clone()).await.expect("answered");
    assert_eq!(answered_file(&first).await, answered_file(&second).await);
    second.outcome == Outcome::HitMemory
}

#[tokio::test(start_paused = true)]
async fn a_small_file_of_a_canonical_version_is_answered_from_memory() {
    for kind in FileKind::ALL {
        let (cache, calls) = cache(1 << 20, text(100));
        assert!(kept(&cache, &file_request("v1.0.0", kind)).await, "{kind}");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_file_in_memory_is_kept_too() {
    let stored = Content::Stored(Blob::from_bytes(Bytes::from_static(b"module m\n")));
    let (cache, _) = cache(1 << 20, stored);
    assert!(kept(&cache, &file_request("v1.0.0", FileKind::Mod)).await);
}

#[tokio::test(start_paused = true)]
async fn a_zip_is_kept_up_to_the_same_size() {
    for (bytes, is_kept) in [(FILE_BYTES_MAX, true), (FILE_BYTES_MAX + 1, false)] {
        let (cache, calls) = cache(1 << 20, text(bytes));
        assert_eq!(kept(&cache, &file_request("v1.0.0", FileKind::Zip)).await, is_kept, "{bytes}");
        assert_eq!(calls.load(Ordering::SeqCst), if is_kept { 1 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_query_is_never_kept() {
    let (cache, _) = cache(1 << 20, text(10));
    assert!(!kept(&cache, &file_request("main", FileKind::Info)).await);
    let version = call(&cache, file_request("v1.0.0", FileKind::Info)).await.expect("answered");
    assert_eq!(version.outcome, Outcome::HitStorage, "nor as the version it stands for");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_arrives_is_never_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let spools = Spools::new(directory.path(), 1 << 20, &telemetry());
    let spool = Spool::of_bytes(&spools, b"module m\n").expect("a spool");
    let (cache, _) = cache(1 << 20, Content::Spooled(spool));
    assert!(!kept(&cache, &file_request("v1.0.0", FileKind::Mod)).await);
}

#[tokio::test(start_paused = true)]
async fn a_file_of_the_largest_size_is_kept_and_one_byte_more_is_not() {
    let (fits, _) = cache(1 << 24, text(FILE_BYTES_MAX));
    assert!(kept(&fits, &file_request("v1.0.0", FileKind::Mod)).await);
    let (large, _) = cache(1 << 24, text(FILE_BYTES_MAX + 1));
    assert!(!kept(&large, &file_request("v1.0.0", FileKind::Mod)).await);
}

#[tokio::test(start_paused = true)]
async fn files_of_one_version_and_versions_of_one_module_are_kept_apart() {
    let (cache, calls) = cache(1 << 20, text(10));
    for (version, kind) in
        [("v1.0.0", FileKind::Info), ("v1.0.0", FileKind::Mod), ("v1.0.1", FileKind::Mod)]
    {
        let response = call(&cache, file_request(version, kind)).await.expect("answered");
        assert_eq!(response.outcome, Outcome::HitStorage);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn the_memory_is_bounded_by_bytes() {
    const ROOM: u64 = 64 * 1024;
    let (cache, _) = cache(ROOM, text(1000));
    let ask = |number: usize| file_request(&format!("v1.0.{number}"), FileKind::Mod);
    for number in 0..1000 {
        call(&cache, ask(number)).await.expect("answered");
    }
    let files = cache.files.as_ref().expect("the cache is on");
    assert!(files.weight() <= ROOM, "{} bytes", files.weight());
    assert!(!files.is_empty(), "something is kept");
}

#[tokio::test(start_paused = true)]
async fn a_size_of_zero_switches_it_off() {
    let (cache, _) = cache(0, text(10));
    assert!(!kept(&cache, &file_request("v1.0.0", FileKind::Mod)).await);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged_and_is_not_kept() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let inner = leaf(move |_: FileRequest| {
        counted.fetch_add(1, Ordering::SeqCst);
        Err::<ModuleResponse, Error>(error_from_below(ErrorKind::NotFound))
    });
    let cache = HotCacheLayer::new(1 << 20, &telemetry()).layer(inner);
    for _ in 0..2 {
        let request = file_request("v1.0.0", FileKind::Mod);
        assert_passes_unchanged(&cache, request, ErrorKind::NotFound).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_memory() {
    let layer = HotCacheLayer::new(1 << 20, &telemetry());
    let answers = leaf(|request: FileRequest| {
        let answer =
            Answer::File { kind: request.kind, version: version("v1.0.0"), content: text(10) };
        Ok::<_, Error>(ModuleResponse::new(answer, Outcome::HitStorage))
    });
    let (one, two) = (layer.layer(answers.clone()), layer.layer(answers));
    call(&one, file_request("v1.0.0", FileKind::Mod)).await.expect("answered");
    let second = call(&two, file_request("v1.0.0", FileKind::Mod)).await.expect("answered");
    assert_eq!(second.outcome, Outcome::HitMemory);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let cache = HotCacheLayer::new(1 << 20, &telemetry()).layer(held.service());
    held.assert_ends_with_its_caller(&cache, file_request("v1.0.0", FileKind::Mod)).await;
    assert!(cache.files.as_ref().expect("the cache is on").is_empty());
}

#[tokio::test(start_paused = true)]
async fn looks_are_counted_and_so_is_what_is_kept() {
    let (telemetry, content) = (telemetry(), text(100));
    let inner = leaf(move |request: FileRequest| {
        let of = request.version.canonical().cloned().unwrap_or_else(|| version("v1.0.0"));
        let answer = Answer::File { kind: request.kind, version: of, content: content.clone() };
        Ok(ModuleResponse::new(answer, Outcome::HitStorage))
    });
    let cache = HotCacheLayer::new(1 << 20, &telemetry).layer(inner);
    for (name, kind) in
        [("v1.0.0", FileKind::Mod), ("v1.0.0", FileKind::Mod), ("v1.0.0", FileKind::Zip)]
    {
        call(&cache, file_request(name, kind)).await.expect("answered");
    }
    let looks = |found| telemetry.metrics.lookups.get((Tier::Memory, found)).get();
    assert_eq!((looks(Found::Hit), looks(Found::Miss)), (1, 2));
    assert_eq!(telemetry.metrics.memory_files.get(()).get(), 2);
    assert!(telemetry.metrics.memory_bytes.get(()).get() >= 100);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_memory_is_told_and_foretold() {
    let layer = HotCacheLayer::new(1 << 20, &telemetry());
    let hit = file_answer(FileKind::Info, "v1.0.0", "four", Outcome::HitStorage);
    let cache = layer.layer(leaf(move |_: FileRequest| Ok::<_, Error>(hit.clone())));
    assert_eq!(foretold(&layer, &asking("v1.0.0", FileKind::Info)).await, None);
    call(&cache, file_request("v1.0.0", FileKind::Info)).await.expect("answered");
    for (kind, want) in [(FileKind::Info, Some(Outcome::HitMemory)), (FileKind::Mod, None)] {
        assert_eq!(foretold(&layer, &asking("v1.0.0", kind)).await, want, "{kind}");
    }
    let told = layer.tell(&subject("v1.0.0")).await;
    assert_eq!((&told["info_bytes"], &told["mod_bytes"]), (&4.into(), &serde_json::Value::Null));
}
