use std::time::Duration;

use tempfile::TempDir;

use super::journal::HEADER;
use super::*;

fn entry(version: &str) -> QueueEntry {
    QueueEntry {
        module: ModulePath::parse("example.com/Lib").expect("a path"),
        version: VersionQuery::parse(version).expect("a version or a query"),
        accepted: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn journal_in(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join(JOURNAL)).expect("a journal")
}

fn set_aside_in(folder: &TempDir) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("one"));
    let aside = entries.filter(|e| e.file_name().to_string_lossy().starts_with("set-aside-"));
    aside.map(|entry| fs::read(entry.path()).expect("a file")).collect()
}

/// Opens, keeps these versions, and ends as a process does that is killed: without another word.
async fn left_behind(folder: &TempDir, versions: &[&str]) {
    let opened = open(folder.path()).expect("free");
    for version in versions {
        opened.store.keep(&entry(version)).await.expect("kept");
    }
}

#[tokio::test]
async fn what_was_kept_and_has_not_ended_is_there_at_the_next_start_in_its_order() {
    let folder = folder();
    let opened = open(folder.path()).expect("a new directory");
    assert!(opened.recovered.is_empty());
    for version in ["v1.9.0", "v1.1.0", "main", "v1.5.0"] {
        opened.store.keep(&entry(version)).await.expect("kept");
    }
    let ended = entry("v1.1.0");
    opened.store.forget(&ended.module, &ended.version).await.expect("forgotten");
    drop(opened);
    let again = open(folder.path()).expect("the lock went with its process");
    assert_eq!(again.recovered, ["v1.9.0", "main", "v1.5.0"].map(entry));
}

#[tokio::test]
async fn a_line_is_in_the_journal_when_whoever_keeps_it_is_answered() {
    let folder = folder();
    let opened = open(folder.path()).expect("free");
    opened.store.keep(&entry("v1.0.0")).await.expect("kept");
    let live = journal::read(journal_in(&folder).as_bytes()).expect("ours").live;
    assert_eq!(live.entries().collect::<Vec<_>>(), [&entry("v1.0.0")]);
}

#[tokio::test]
async fn many_who_wait_share_a_sync_and_none_is_lost() {
    let folder = folder();
    let opened = open(folder.path()).expect("free");
    let versions: Vec<String> = (0..3_000).map(|minor| format!("v1.{minor}.0")).collect();
    let entries: Vec<QueueEntry> = versions.iter().map(|version| entry(version)).collect();
    let kept = futures::future::join_all(entries.iter().map(|entry| opened.store.keep(entry)));
    assert!(kept.await.iter().all(Result::is_ok));
    drop(opened);
    assert_eq!(open(folder.path()).expect("free").recovered.len(), 3_000);
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_has_the_directory() {
    let folder = folder();
    let first = open(folder.path()).expect("free");
    let refused = open(folder.path()).expect_err("taken");
    let pid = std::process::id().to_string();
    for word in ["Dipylon.QueueDirectory", pid.as_str(), "a directory of its own"] {
        assert!(refused.message().contains(word), "{refused}");
    }
    drop(first);
    open(folder.path()).expect("free again");
}

#[tokio::test]
async fn a_torn_last_line_is_set_aside_and_all_before_it_is_there() {
    for torn in 1..40 {
        let folder = folder();
        left_behind(&folder, &["v1.0.0", "v1.1.0"]).await;
        let whole = journal_in(&folder);
        fs::write(folder.path().join(JOURNAL), &whole[..whole.len() - torn]).expect("torn");
        let opened = open(folder.path()).expect("mended");
        assert_eq!(opened.recovered, [entry("v1.0.0")], "{torn} bytes short");
        assert_eq!(set_aside_in(&folder).len(), 1);
        drop(opened);
        assert_eq!(open(folder.path()).expect("sound").recovered.len(), 1);
        assert_eq!(set_aside_in(&folder).len(), 1, "once");
    }
}

#[tokio::test]
async fn a_damaged_line_is_set_aside_and_those_around_it_count() {
    let folder = folder();
    left_behind(&folder, &["v1.0.0", "v1.1.0", "v1.2.0"]).await;
    let damaged = journal_in(&folder).replace("v1.1.0", "v6.6.6");
    fs::write(folder.path().join(JOURNAL), damaged).expect("written");
    let opened = open(folder.path()).expect("mended");
    assert_eq!(opened.recovered, ["v1.0.0", "v1.2.0"].map(entry));
    let aside = set_aside_in(&folder);
    assert!(String::from_utf8_lossy(&aside[0]).contains("v6.6.6"), "{aside:?}");
}

#[tokio::test]
async fn a_file_that_is_none_of_ours_is_set_aside_whole() {
    let (folder, foreign) = (folder(), b"somebody's diary\n\xff");
    fs::write(folder.path().join(JOURNAL), foreign).expect("written");
    let opened = open(folder.path()).expect("a journal of its own");
    assert!(opened.recovered.is_empty());
    assert_eq!(set_aside_in(&folder), [foreign.to_vec()]);
    opened.store.keep(&entry("v1.0.0")).await.expect("kept");
}

#[tokio::test]
async fn what_a_crash_at_the_first_start_leaves_is_no_damage() {
    for length in 0..=HEADER.len() {
        let folder = folder();
        fs::write(folder.path().join(JOURNAL), &HEADER[..length]).expect("written");
        assert!(open(folder.path()).expect("empty").recovered.is_empty());
        assert!(set_aside_in(&folder).is_empty(), "{length}");
    }
}

#[tokio::test]
async fn the_journal_does_not_grow_with_what_has_ended() {
    let folder = folder();
    let opened = open(folder.path()).expect("free");
    let ended = entry("v1.0.0");
    opened.store.keep(&entry("v2.0.0+incompatible")).await.expect("kept");
    for _ in 0..3_000 {
        opened.store.keep(&ended).await.expect("kept");
        opened.store.forget(&ended.module, &ended.version).await.expect("forgotten");
    }
    let lines = journal_in(&folder).lines().count();
    assert!(lines < 2_500, "{lines} lines after 6,000 records");
    drop(opened);
    let recovered = open(folder.path()).expect("free").recovered;
    assert_eq!(recovered, [entry("v2.0.0+incompatible")]);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let refused = open(&file).expect_err("no directory");
    assert!(refused.message().contains("Dipylon.QueueDirectory"), "{refused}");
}

/// An earlier journal, and something in the way of the next one.
async fn obstructed(folder: &TempDir) -> PathBuf {
    left_behind(folder, &["v1.0.0", "v1.1.0"]).await;
    let obstacle = folder.path().join("journal.new");
    fs::create_dir(&obstacle).expect("made");
    obstacle
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_stops_no_start_and_promises_nothing() {
    let folder = folder();
    let obstacle = obstructed(&folder).await;
    let opened = open(folder.path()).expect("it starts");
    assert_eq!(opened.recovered, ["v1.0.0", "v1.1.0"].map(entry));
    let refused = opened.store.keep(&entry("v1.2.0")).await.expect_err("it is not kept");
    assert!(refused.message().contains("Dipylon.QueueDirectory"), "{refused}");
    let ended = entry("v1.0.0");
    opened.store.forget(&ended.module, &ended.version).await.expect_err("nor is this");
    fs::remove_dir(obstacle).expect("out of the way");
    opened.store.keep(&entry("v1.3.0")).await.expect("kept");
    drop(opened);
    let recovered = open(folder.path()).expect("free").recovered;
    assert_eq!(recovered, ["v1.1.0", "v1.2.0", "v1.3.0"].map(entry), "all that has not ended");
}

#[tokio::test]
async fn torn_lines_that_cannot_be_set_aside_stop_no_start() {
    let (folder, damaged) = (folder(), b"somebody's line".to_vec());
    let path = folder.path().join("nothing");
    let live = recover(&path, &[HEADER.as_bytes(), &damaged].concat()).expect("it starts");
    assert_eq!(live.len(), 0);
}

/// Ends as many entries as have the journal shortened.
fn shorten(writer: &mut Writer) {
    for _ in 0..2_000 {
        let ended = entry("v0.1.0");
        let pair = [Record::Kept(ended.clone()), Record::Ended(ended.module, ended.version)];
        writer.write(pair.to_vec()).expect("written");
    }
}

#[test]
fn what_follows_a_shortening_that_may_not_last_is_promised_only_once_it_does() {
    let folder = folder();
    let lock = lock(folder.path()).expect("free");
    let mut writer = Writer::open(folder.path(), Live::default(), lock);
    writer.write(vec![Record::Kept(entry("v1.0.0"))]).expect("kept");
    writer.sync_directory = |_| Err(io::Error::other("the disk is sick"));
    let mut count = 0;
    let refused = loop {
        let ended = entry("v0.1.0");
        let pair = [Record::Kept(ended.clone()), Record::Ended(ended.module, ended.version)];
        count += 1;
        assert!(count < 2_000, "the shortening was never tried");
        if let Err(refused) = writer.write(pair.to_vec()) {
            break refused;
        }
    };
    assert!(refused.message().contains("the disk is sick"), "{refused}");
    assert!(journal_in(&folder).lines().count() < 5, "the new journal is in place");
    writer.write(vec![Record::Kept(entry("v1.1.0"))]).expect_err("it may not last");
    writer.sync_directory = File::sync_all;
    writer.write(vec![Record::Kept(entry("v1.2.0"))]).expect("kept");
    shorten(&mut writer);
    writer.write(vec![Record::Kept(entry("v1.3.0"))]).expect("kept");
    let live = journal::read(journal_in(&folder).as_bytes()).expect("ours").live;
    let versions: Vec<&str> = live.entries().map(|entry| entry.version.as_str()).collect();
    assert_eq!(versions, ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"]);
}
