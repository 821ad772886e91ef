//! The shared cache on directories made up here: no `go` and no git.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn clone(cache: &Cache, name: &str, bytes: usize, age_secs: u64) -> PathBuf {
    let directory = cache.clones().join(name);
    fs::create_dir_all(directory.join("objects")).unwrap();
    fs::write(directory.join("objects/pack"), vec![0; bytes]).unwrap();
    fs::write(note_of(&directory), format!("git3:https://example.com/{name}\n")).unwrap();
    let used = SystemTime::now() - Duration::from_secs(age_secs);
    File::open(note_of(&directory)).unwrap().set_modified(used).unwrap();
    directory
}

#[tokio::test]
async fn the_clone_unused_for_longest_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open(directory.path(), 250).unwrap());
    let (old, older, new) = (
        clone(&cache, "old", 100, 50),
        clone(&cache, "older", 100, 90),
        clone(&cache, "new", 100, 1),
    );
    cache.clone().sweep().await;
    assert!(old.exists() && new.exists() && !older.exists() && !note_of(&older).exists());
    cache.clone().sweep().await;
    assert!(old.exists() && new.exists(), "what fits stays");
}

#[tokio::test]
async fn a_used_clone_counts_as_new() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open(directory.path(), 150).unwrap());
    let (old, new) = (clone(&cache, "old", 100, 90), clone(&cache, "new", 100, 10));
    cache.touch("https://example.com/old");
    cache.clone().sweep().await;
    assert!(old.exists() && !new.exists());
}

#[tokio::test]
async fn nothing_is_swept_under_a_running_fetch_below_the_hard_limit() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open(directory.path(), 90).unwrap());
    let kept = clone(&cache, "kept", 100, 90);
    let fetching = cache.enter().await;
    cache.clone().sweep().await;
    assert!(kept.exists());
    drop(fetching);
    cache.clone().sweep().await;
    assert!(!kept.exists());
}

#[tokio::test]
async fn above_the_hard_limit_the_sweep_waits_for_the_fetch_and_holds_new_ones() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open(directory.path(), 10).unwrap());
    let big = clone(&cache, "big", 100, 90);
    let fetching = cache.enter().await;
    let sweep = tokio::spawn(cache.clone().sweep());
    while cache.gate.try_read().is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(big.exists(), "a fetch is running");
    drop(fetching);
    sweep.await.unwrap();
    assert!(!big.exists());
    let _next = cache.enter().await;
}

#[tokio::test]
async fn two_owners_of_one_directory_never_share_a_slot() {
    let directory = tempfile::tempdir().unwrap();
    let first = Cache::open(directory.path(), 10).unwrap();
    let second = Cache::open(directory.path(), 10).unwrap();
    assert_ne!(first.root(), second.root());
    let freed = first.root().to_owned();
    drop(first);
    assert_eq!(Cache::open(directory.path(), 10).unwrap().root(), freed);
}

#[tokio::test]
async fn a_clone_that_go_has_locked_is_not_evicted() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open(directory.path(), 10).unwrap());
    let target = clone(&cache, "aa", 10, 0);
    let lock = File::create(target.with_extension("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    assert!(!cache.evict(target.clone()).await && target.exists());
    drop(lock);
    assert!(cache.evict(target.clone()).await && !target.exists());
}

#[test]
fn the_directory_is_made_for_us_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("made/here");
    let _cache = Cache::open(&directory, 100).unwrap();
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("shared");
    fs::create_dir(&directory).unwrap();
    for mode in [0o770, 0o707, 0o777] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let error = Cache::open(&directory, 100).map(drop).unwrap_err().to_string();
        assert!(error.contains("other users") && error.contains("GoCacheDir"), "{error}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "untouched");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    Cache::open(&directory, 100).unwrap();
}
