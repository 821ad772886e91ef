//! Saves that race, readers that look on, and callers that go away.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::SaveResult;
use dipylon_protocol::route::FileKind;
use futures::future::join_all;

use super::{Subject, new_version};
use crate::module::FakeModule;

/// Savers of one version.
const SAVERS: usize = 32;
/// Versions saved while readers look on.
const WATCHED_VERSIONS: usize = 12;
/// Looks that a dropped save gets before the test gives up on it: 10 s.
const SETTLE_LOOKS: usize = 1_000;

fn candidate(number: usize) -> FakeModule {
    FakeModule::new("example.com/race", "v1.0.0")
        .go_mod(&format!("module example.com/race\n\n// candidate {number}\n"))
        .filler(10_000 + number * 1_000)
}

/// One of them wins, the others learn of it, and what is stored is the winner's, all three files.
pub async fn of_32_racing_saves_one_creates(subject: Subject) {
    let subject = Arc::new(subject);
    let tasks = (0..SAVERS).map(|number| {
        let subject = Arc::clone(&subject);
        tokio::spawn(async move { (number, subject.save(&candidate(number)).await) })
    });
    let mut winners = Vec::new();
    for result in join_all(tasks).await {
        match result.unwrap() {
            (number, Ok(SaveResult::Created)) => winners.push(number),
            (_, Ok(SaveResult::Existed { same })) => assert!(!same, "all candidates differ"),
            (number, Ok(SaveResult::Taken)) => panic!("save {number} may or may not be the first"),
            (number, Err(error)) => panic!("saver {number} failed: {error}"),
        }
    }
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    subject.assert_stored(&candidate(winners[0])).await;
}

/// While versions are saved, whoever looks sees a version whole or not at all.
pub async fn a_reader_never_sees_a_part(subject: Subject) {
    let subject = Arc::new(subject);
    let modules: Arc<Vec<FakeModule>> =
        Arc::new((0..WATCHED_VERSIONS).map(|patch| watched(&format!("v1.0.{patch}"))).collect());
    let is_done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (subject, modules) = (Arc::clone(&subject), Arc::clone(&modules));
            let is_done = Arc::clone(&is_done);
            tokio::spawn(async move { look_on(&subject, &modules, &is_done).await })
        })
        .collect();
    for module in modules.iter() {
        subject.create(module).await;
    }
    is_done.store(true, Ordering::Release);
    for reader in readers {
        let seen = reader.await.expect("no reader saw a part");
        assert_eq!(seen, WATCHED_VERSIONS, "the last look sees everything");
    }
}

fn watched(version: &str) -> FakeModule {
    FakeModule::new("example.com/watched", version).filler(200_000)
}

/// Reads all versions over and over. Returns how many the last round saw.
async fn look_on(subject: &Subject, modules: &[FakeModule], is_done: &AtomicBool) -> usize {
    loop {
        let was_done = is_done.load(Ordering::Acquire);
        let mut seen = 0;
        for module in modules {
            // In any order, because whoever asks for one file may ask for any other next.
            if subject.read(module, FileKind::Mod).await.is_some() {
                subject.assert_stored(module).await;
                seen += 1;
            }
        }
        let listed = subject.list("example.com/watched").await;
        assert!(listed.len() >= seen, "{seen} versions read, {listed:?} listed");
        if was_done {
            return seen;
        }
    }
}

/// Directories, prefixes and indexes that several savers make at once are no obstacle.
pub async fn racing_saves_of_one_module_all_arrive(subject: Subject) {
    let versions: Vec<String> = (10..26).map(|minor| format!("v1.{minor}.0")).collect();
    let modules: Vec<FakeModule> = versions
        .iter()
        .map(|version| FakeModule::new("example.com/deep/a/b/c/d", version))
        .collect();
    let saves = join_all(modules.iter().map(|module| subject.save(module))).await;
    for save in saves {
        assert_eq!(save.unwrap(), SaveResult::Created);
    }
    assert_eq!(subject.list("example.com/deep/a/b/c/d").await, versions);
    for module in &modules {
        subject.assert_stored(module).await;
    }
}

/// A client that goes away drops the save, at any of its steps. Then the version is there or it is
/// not, and the next save works.
pub async fn a_save_that_is_dropped_leaves_nothing_half(subject: Subject) {
    for polls in 0..12 {
        let module = FakeModule::new("example.com/dropped", &format!("v1.0.{polls}"));
        poll_and_drop(&subject, &module, polls).await;
        let kinds = whole_or_absent(&subject, &module).await;
        let saved = subject.save(&module).await.unwrap();
        let may_be = [SaveResult::Created, SaveResult::Existed { same: true }];
        assert!(may_be.contains(&saved), "after {polls} polls and {kinds} files: {saved:?}");
        subject.assert_stored(&module).await;
    }
}

async fn poll_and_drop(subject: &Subject, module: &FakeModule, polls: usize) {
    let mut save = pin!(subject.storage().save(new_version(subject.spools(), module)));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if save.as_mut().poll(&mut context).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
}

/// Waits until the dropped save has settled and returns how many of the three files there are.
async fn whole_or_absent(subject: &Subject, module: &FakeModule) -> usize {
    for _ in 0..SETTLE_LOOKS {
        let mut files: Vec<Bytes> = Vec::new();
        for kind in FileKind::ALL {
            files.extend(subject.read(module, kind).await);
        }
        // A save that goes on in the background may end between two of the looks.
        if files.is_empty() || files.len() == FileKind::ALL.len() {
            return files.len();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{}@{} stays half there", module.path(), module.version());
}
