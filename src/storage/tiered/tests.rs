use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::blob::{ByteStream, OpenRange};
use dipylon_middleware::ports::SaveResult;
use dipylon_middleware::telemetry::{NearFill, NearRead, Telemetry};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{new_version, spools_in};
use futures::{StreamExt as _, TryStreamExt as _};

use super::near::{MAX_NEAR_PARTS, MAX_NEAR_WRITES, NEAR_PATIENCE, Near};
use super::reading::{NearZip, ReadAt, Rest};
use super::shelf::{Copied, Key, Shelf, cost};
use crate::config::TieredKeys;

const BLOCK: u64 = 4096;

fn named(number: u32) -> Key {
    let mut key = Key::default();
    key[..4].copy_from_slice(&number.to_le_bytes());
    key
}

/// Puts a copy of one block on the shelf; what went for it.
fn put(shelf: &mut Shelf, number: u32) -> Vec<Key> {
    let room = shelf.reserve(BLOCK);
    assert!(room.is_granted, "{number}");
    shelf.arrived(named(number), BLOCK);
    room.victims.iter().map(|victim| victim.key).collect()
}

fn shelf_of(blocks: u64) -> Shelf {
    Shelf::new(blocks * BLOCK, 1_000)
}

#[test]
fn a_copy_takes_whole_blocks() {
    assert_eq!([0, 1, 4096, 4097].map(cost), [4096, 4096, 4096, 8192]);
}

#[test]
fn the_unread_go_in_the_order_in_which_they_came() {
    let mut shelf = shelf_of(10);
    for number in 0..10 {
        assert!(put(&mut shelf, number).is_empty());
    }
    assert_eq!(put(&mut shelf, 10), [named(0)]);
    assert_eq!(put(&mut shelf, 11), [named(1)]);
    assert_eq!((shelf.bytes(), shelf.files()), (10 * BLOCK, 10));
}

#[test]
fn who_was_read_stays_while_a_crawler_passes() {
    let mut shelf = shelf_of(10);
    for number in 0..5 {
        put(&mut shelf, number);
        assert_eq!(shelf.touch(&named(number)), Some(BLOCK));
    }
    for number in 100..200 {
        put(&mut shelf, number);
    }
    assert!((0..5).all(|number| shelf.has(&named(number))));
    assert!((100..190).all(|number| !shelf.has(&named(number))));
}

#[test]
fn who_comes_back_soon_is_settled_at_once() {
    let mut shelf = shelf_of(10);
    for number in 0..11 {
        put(&mut shelf, number);
    }
    assert!(!shelf.has(&named(0)));
    put(&mut shelf, 0);
    for number in 100..150 {
        put(&mut shelf, number);
    }
    assert!(shelf.has(&named(0)), "the young alone have gone");
}

#[test]
fn the_settled_go_when_nobody_reads_them_any_more() {
    let mut shelf = shelf_of(10);
    for number in 0..10 {
        shelf.adopt(named(number), BLOCK);
    }
    for _ in 0..3 {
        shelf.touch(&named(0));
    }
    let gone: Vec<Key> = (100..105).flat_map(|number| put(&mut shelf, number)).collect();
    assert!(!gone.contains(&named(0)), "{gone:?}");
    assert!(gone.contains(&named(1)), "{gone:?}");
}

#[test]
fn copies_on_their_way_in_count_and_cannot_be_driven_out() {
    let mut shelf = shelf_of(4);
    for _ in 0..4 {
        assert!(shelf.reserve(BLOCK).is_granted);
    }
    assert!(!shelf.reserve(BLOCK).is_granted);
    shelf.release(BLOCK);
    assert!(shelf.reserve(BLOCK).is_granted);
    assert_eq!(shelf.bytes(), 4 * BLOCK);
}

#[test]
fn the_number_of_files_has_a_limit_too() {
    let mut shelf = Shelf::new(1_000 * BLOCK, 3);
    for number in 0..10 {
        put(&mut shelf, number);
        assert!(shelf.files() <= 3);
    }
}

#[test]
fn what_is_larger_than_half_of_the_room_is_refused_and_drives_nobody_out() {
    let mut shelf = shelf_of(10);
    put(&mut shelf, 1);
    let room = shelf.reserve(6 * BLOCK);
    assert!(!room.is_granted && room.victims.is_empty());
    assert!(shelf.has(&named(1)));
    assert!(shelf.reserve(5 * BLOCK).is_granted);
}

#[test]
fn whatever_happens_the_sums_agree() {
    let mut shelf = shelf_of(50);
    let mut there: BTreeSet<Key> = BTreeSet::new();
    let mut random = 12_345_u64;
    for _ in 0..50_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (random >> 33) as u32 % 200;
        match (random >> 60) % 4 {
            0 => {
                assert_eq!(shelf.touch(&named(number)).is_some(), there.contains(&named(number)));
            }
            1 => assert_eq!(shelf.remove(&named(number)), there.remove(&named(number))),
            _ if there.contains(&named(number)) => {}
            _ => {
                for gone in put(&mut shelf, number) {
                    assert!(there.remove(&gone));
                }
                there.insert(named(number));
            }
        }
        assert_eq!(shelf.files(), there.len());
        assert_eq!(shelf.bytes(), there.len() as u64 * BLOCK);
        assert!(shelf.bytes() <= 50 * BLOCK);
    }
    assert!(there.len() > 40);
}

/// A far file of zeros.
struct Zeros;

impl OpenRange for Zeros {
    fn open(&self, range: Range<u64>) -> ByteStream {
        let chunk = Bytes::from_static(&[0; 64 * 1024]);
        let chunks =
            futures::stream::iter(range.step_by(chunk.len())).map(move |_| Ok(chunk.clone()));
        chunks.boxed()
    }
}

/// A tier over a memory store that has one zip, which is near too.
struct Readable {
    tier: super::Tiered,
    zip: Bytes,
    module: ModulePath,
    version: Version,
    _directory: tempfile::TempDir,
}

impl Readable {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = TieredKeys { directory: Some(directory.path().to_owned()), max_bytes: 64 << 20 };
        let telemetry = Telemetry::new().unwrap();
        let far = crate::storage::memory().await.unwrap();
        let stored = FakeModule::new("example.com/readable", "v1.0.0").filler(900_000);
        let new = new_version(&spools_in(directory.path()), &stored);
        let (module, version) = (new.module.clone(), new.version.clone());
        assert_eq!(far.save(new).await.unwrap(), SaveResult::Created);
        let near = Arc::new(Near::open(&keys, "far", &telemetry).unwrap());
        let far = Arc::new(super::Watched::new(far, &telemetry));
        let tier = super::Tiered { far, near };
        Self { tier, zip: stored.zip(), module, version, _directory: directory }
    }

    /// The zip, as it is near by way of `file`.
    fn over(&self, file: impl ReadAt) -> NearZip {
        let copy = Copied { key: named(1), length: self.zip.len() as u64 };
        let (module, version) = (self.module.clone(), self.version.clone());
        let rest = Rest { far: Arc::clone(&self.tier.far), module, version };
        NearZip { near: Arc::clone(&self.tier.near), file: Arc::new(file), copy, rest }
    }

    fn failed_reads(&self) -> u64 {
        self.tier.near.telemetry.metrics.tier_reads.get((NearRead::Failed,)).get()
    }
}

type Trouble = fn() -> io::Result<()>;

/// A file that gives its bytes up to an offset, and what `then` says beyond.
struct Breaking {
    bytes: Bytes,
    whole_until: u64,
    then: Trouble,
}

impl ReadAt for Breaking {
    fn fill_from(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset >= self.whole_until {
            (self.then)()?;
        }
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
        Ok(())
    }
}

async fn read_all(zip: &NearZip, range: Range<u64>) -> Bytes {
    let chunks: Vec<Bytes> = zip.open(range).try_collect().await.unwrap();
    chunks.concat().into()
}

#[tokio::test]
async fn a_disk_that_fails_or_hangs_amid_a_zip_costs_the_reader_no_byte() {
    let bad_block = || Err(io::Error::from_raw_os_error(5));
    let hangs = || {
        std::thread::sleep(NEAR_PATIENCE * 2);
        Ok(())
    };
    let ways: [(&str, Trouble); 2] = [("a bad block", bad_block), ("a hang", hangs)];
    for (what, then) in ways {
        for whole_until in [0, 1, 300_000] {
            let readable = Readable::new().await;
            let length = readable.zip.len() as u64;
            let file = Breaking { bytes: readable.zip.clone(), whole_until, then };
            let zip = readable.over(file);
            let read = tokio::time::timeout(NEAR_PATIENCE * 5, read_all(&zip, 0..length)).await;
            let read = read.unwrap_or_else(|_| panic!("{what} from {whole_until} on"));
            assert!(read == readable.zip, "{what} from {whole_until} on");
            assert_eq!(readable.failed_reads(), 1, "{what} from {whole_until} on");
            let metrics = &readable.tier.near.telemetry.metrics;
            assert_eq!(metrics.tier_paused.get(()).get(), 1, "the disk is left alone");
        }
    }
}

/// Hanging reads take all places; who comes then is served all the same, and no copy is blamed for it.
#[tokio::test]
async fn without_a_place_to_read_the_far_store_is_asked() {
    let readable = Readable::new().await;
    let (near, length) = (&readable.tier.near, readable.zip.len() as u64);
    let all = u32::try_from(MAX_NEAR_PARTS).unwrap();
    let places = near.parts.acquire_many(all).await.unwrap();
    let whole = Breaking { bytes: readable.zip.clone(), whole_until: length, then: || Ok(()) };
    let zip = readable.over(whole);
    assert!(read_all(&zip, 10..length).await == readable.zip.slice(10..));
    assert_eq!(readable.failed_reads(), 1);
    assert_eq!(near.telemetry.metrics.tier_paused.get(()).get(), 0);
    drop(places);
    assert!(read_all(&zip, 10..length).await == readable.zip.slice(10..));
    assert_eq!(readable.failed_reads(), 1);
    assert_eq!(near.parts.available_permits(), MAX_NEAR_PARTS);
}

/// The disk answers no write at all until the reader is done.
#[tokio::test]
async fn a_reader_never_waits_for_the_disk_and_the_copy_arrives_all_the_same() {
    const LENGTH: u64 = 8 << 20;
    let directory = tempfile::tempdir().unwrap();
    let keys = TieredKeys { directory: Some(directory.path().to_owned()), max_bytes: 64 << 20 };
    let near = Near::open(&keys, "far", &Telemetry::new().unwrap()).unwrap();
    let near = Arc::new(near);
    let busy = near.writes.acquire_many(u32::try_from(MAX_NEAR_WRITES).unwrap()).await.unwrap();
    let fill = near.begin(named(1), LENGTH, 1 << 20).expect("there is room");
    let read = fill.beside(Zeros.open(0..LENGTH), Arc::new(Zeros));
    let chunks: Vec<Bytes> = read.try_collect().await.unwrap();
    assert_eq!(chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>(), LENGTH);
    assert!(!near.shelf.lock().has(&named(1)), "nothing was written yet");
    drop(busy);
    let filled = near.telemetry.metrics.tier_fills.get((NearFill::Filled,)).clone();
    for _ in 0..2_000 {
        if filled.get() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(filled.get(), 1, "the rest came from the far store");
    let copy = near.directory.read(&Copied { key: named(1), length: LENGTH }, FileKind::Zip);
    assert_eq!(copy.unwrap().expect("it is there").length(), LENGTH);
    assert_eq!(near.shelf.lock().bytes(), LENGTH);
}
