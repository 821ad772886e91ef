//! Cases 16 to 19 and 29: what changes with time, and what never does.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};

use crate::world::{MODULE, Setup, VERSION, file, outcome, path_of, until};

const OLD: &str = "v1.2.4-0.20240102030405-aaaaaaaaaaaa";
const NEW: &str = "v1.2.4-0.20240203040506-bbbbbbbbbbbb";
const REVALIDATE: &str = "no-cache, no-store, must-revalidate";

#[tokio::test]
async fn case_16_a_query_is_mutable_and_what_it_resolves_to_is_not() {
    let world = Setup::disk().start().await;
    for (query, version) in [("master", OLD), ("aaaaaaaaaaaa", OLD), ("v1", VERSION)] {
        let module = world.add(FakeModule::new(MODULE, version));
        world.upstream.query(MODULE, query, version);
        let asked = path_of(MODULE, query, "info");
        let resolved = world.get_ok(&asked).await;
        assert_eq!(resolved.body, module.info(), "{query}");
        assert_eq!(resolved.header("cache-control"), Some(REVALIDATE), "{query}");
        assert_eq!(resolved.header("etag"), None, "{query}");

        let canonical = world.get_ok(&path_of(MODULE, version, "info")).await;
        assert_eq!(canonical.body, module.info());
        assert!(canonical.header("cache-control").is_some_and(|value| value.contains("immutable")));
        assert_eq!(world.asked(&path_of(MODULE, version, "info")), 0, "kept from the query");

        let again = world.get_ok(&asked).await;
        assert_eq!((world.asked(&asked), &again.body), (1, &resolved.body), "{query} is fresh");
    }
    // The files of a branch are those of the version it stands for.
    let go_mod = world.get_ok(&path_of(MODULE, "master", "mod")).await;
    assert_eq!(go_mod.header("cache-control"), Some(REVALIDATE));
    assert_eq!(world.asked(&path_of(MODULE, OLD, "mod")), 1);
}

#[tokio::test]
async fn case_16_a_branch_that_moves_is_seen_when_its_answer_is_no_longer_fresh() {
    let world = Setup::disk().env("DIPYLON_FRESH_FOR", "1").start().await;
    world.add(FakeModule::new(MODULE, OLD));
    world.add(FakeModule::new(MODULE, NEW));
    world.upstream.query(MODULE, "master", OLD);
    let master = path_of(MODULE, "master", "info");
    assert!(world.get_ok(&master).await.text().contains(OLD));
    world.upstream.query(MODULE, "master", NEW);
    // Who asks first is not kept waiting: it has what the branch stood for, and is told so.
    let stale = Cell::new(0);
    until("the moved branch is seen", async || {
        let answer = world.get_ok(&master).await;
        let has_moved = answer.text().contains(NEW);
        if !has_moved && outcome(&answer) == "stale_revalidate" {
            stale.set(stale.get() + 1);
        }
        has_moved
    })
    .await;
    assert!(stale.get() > 0, "nobody was given the older answer");
    assert_eq!(world.asked(&master), 2);
    assert!(world.get_ok(&path_of(MODULE, OLD, "info")).await.text().contains(OLD));
}

#[tokio::test]
async fn case_16_a_branch_is_resolved_at_once_where_files_come_in_the_background() {
    let world = Setup::disk().env("ATHENS_DOWNLOAD_MODE", "async").start().await;
    let module = world.add(FakeModule::new(MODULE, OLD));
    world.upstream.query(MODULE, "master", OLD);
    let master = path_of(MODULE, "master", "info");
    let not_yet = world.get_refused(&master, 404, &[OLD, "is being fetched"]).await;
    assert_eq!(outcome(&not_yet), "async_accepted");
    world.until_stored(MODULE, OLD).await;
    assert_eq!(world.get_ok(&master).await.body, module.info());
    assert_eq!(world.get_ok(&path_of(MODULE, "master", "mod")).await.body, module.go_mod_bytes());
    assert_eq!(world.asked(&master), 1);
}

#[tokio::test]
async fn case_17_a_query_names_a_version_and_the_stored_bytes_are_its_files() {
    let world = Setup::disk()
        .env("DIPYLON_FRESH_FOR", "0")
        .env("DIPYLON_STALE_WHILE_REVALIDATE", "0")
        .env("GOSUMDB", "off")
        .start()
        .await;
    let first = world.add(FakeModule::new(MODULE, OLD));
    world.upstream.query(MODULE, "master", OLD);
    world.get_ok(&path_of(MODULE, OLD, "zip")).await;
    world.until_stored(MODULE, OLD).await;
    world.add(FakeModule::new(MODULE, OLD).file("moved.go", "package moved\n"));
    world.upstream.query(MODULE, "master", OLD);
    let want = [("info", first.info().into()), ("mod", first.go_mod_bytes()), ("zip", first.zip())];
    for (kind, bytes) in want {
        for _ in 0..2 {
            let answer = world.get_ok(&path_of(MODULE, "master", kind)).await;
            assert!(answer.body == bytes, "master.{kind} has other bytes than are stored");
        }
    }
    assert_eq!(world.asked(&path_of(MODULE, OLD, "zip")), 1, "it is not fetched again");
    assert_eq!(world.asked(&path_of(MODULE, "master", "info")), 6, "each query is asked");
    world.until("nothing of ours is left", || world.our_files().is_empty()).await;
}

#[tokio::test]
async fn case_17_stored_bytes_win_over_a_moved_tag() {
    let world = Setup::disk().start().await;
    let first = world.add_module();
    for kind in ["info", "mod", "zip"] {
        world.get_ok(&file(kind)).await;
    }
    world.until_stored(MODULE, VERSION).await;
    world.add(
        FakeModule::new(MODULE, VERSION)
            .file("moved.go", "package moved\n")
            .time("2025-01-01T00:00:00Z"),
    );
    let asked = world.module_requests();
    assert_eq!(world.get_ok(&file("zip")).await.body, first.zip());
    assert_eq!(world.get_ok(&file("info")).await.body, first.info());
    assert_eq!(world.get_ok(&file("mod")).await.body, first.go_mod_bytes());
    assert_eq!(world.module_requests(), asked);
}

#[tokio::test]
async fn case_17_of_two_replicas_that_fetched_different_bytes_the_first_save_stays_and_it_is_reported()
 {
    let world = Setup::disk().env("GOSUMDB", "off").start().await;
    let first = world.add_module();
    let late = world.replica().await;
    // The late replica is asked first and answered last, with the moved tag.
    world
        .upstream
        .fault(When::path(&file("zip")).times(1), Fault::Delay(Duration::from_millis(1500)));
    let client = late.client();
    let path = file("zip");
    let asking = tokio::spawn(async move { client.get(&path).await });
    world.until("the late replica asks", || world.asked(&file("zip")) == 1).await;
    assert_eq!(world.get_ok(&file("zip")).await.body, first.zip());
    world.until_stored(MODULE, VERSION).await;
    let moved = world.add(FakeModule::new(MODULE, VERSION).file("moved.go", "package moved\n"));
    let answer = asking.await.expect("the request ends");
    assert_eq!(answer.body, moved.zip(), "what it fetched was all it could know");
    until("the difference is counted", async || {
        let metrics = late.metrics().await;
        metrics.metric("dipylon_stash_saves_total").label("result", "differed").sum() == 1.0
    })
    .await;
    until("it is reported", async || late.stdout().contains("the first stay")).await;
    for gateway in [&late, &world.gateway] {
        assert_eq!(gateway.get(&file("zip")).await.body, first.zip());
    }
}

#[tokio::test]
async fn case_18_a_version_that_is_gone_upstream_is_still_served() {
    let mut world = Setup::disk().start().await;
    let module = world.add_module();
    world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    world.upstream.remove_path(MODULE);
    world.restart().await;
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    assert_eq!(world.get_ok(&file("mod")).await.body, module.go_mod_bytes());
    assert_eq!(world.get_ok(&file("info")).await.body, module.info());
    let list = world.get_ok(&format!("/{MODULE}/@v/list")).await;
    assert_eq!(list.text(), format!("{VERSION}\n"));
    let latest = world.get_ok(&format!("/{MODULE}/@latest")).await;
    assert_eq!((latest.body, outcome(&list)), (module.info().into(), "hit_storage"));
}

#[tokio::test]
async fn case_19_a_version_asked_just_before_its_tag_is_visible_after_the_negative_lifetime() {
    let world = Setup::disk().env("DIPYLON_NEGATIVE_VERSION_TTL", "2").start().await;
    world.upstream.add_path(MODULE);
    world.get_refused(&file("info"), 404, &[VERSION]).await;
    world.add_module();
    let remembered = world.get_refused(&file("info"), 404, &[VERSION]).await;
    assert_eq!((outcome(&remembered), world.asked(&file("info"))), ("negative", 1));
    let began = std::time::Instant::now();
    until("the new tag is seen", async || world.get(&file("info")).await.status == 200).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(world.asked(&file("info")), 2);
}

/// Ages in memory are monotonic, which unit tests prove with a clock that jumps; what has a wall
/// clock's time on it are the records that replicas share, and here their clocks disagree.
#[tokio::test]
async fn case_29_a_record_of_a_replica_whose_clock_is_ten_minutes_off_still_counts() {
    let mut world = Setup::disk().start().await;
    world.add_module();
    let wrong = FakeModule::new(MODULE, VERSION).file("other.go", "package other\n").h1();
    world.database.lie(MODULE, VERSION, &wrong);
    world.get_refused(&file("zip"), 403, &["checksum mismatch"]).await;
    world.until_idle().await;
    let record = world.root().join(".dipylon/quarantine/example.com/lib/text/@/v1.2.3.json");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for since in [now + 600, now - 600] {
        let text = serde_json::json!({
            "kind": "checksum_mismatch",
            "reason": "checksum mismatch: by a replica",
            "since": since,
        });
        std::fs::write(&record, text.to_string()).unwrap();
        world.restart().await;
        world.get_refused(&file("zip"), 403, &["by a replica"]).await;
    }
    assert_eq!(world.asked(&file("zip")), 1);
}

#[tokio::test]
async fn case_29_stored_files_are_served_whatever_their_times_say() {
    let mut world = Setup::disk().start().await;
    let module = world.add_module();
    world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    let directory = world.root().join(MODULE).join(VERSION);
    let asked = world.module_requests();
    let ten_minutes = Duration::from_secs(600);
    for time in [SystemTime::now() + ten_minutes, SystemTime::now() - ten_minutes] {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let file = std::fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(time).unwrap();
        }
        world.restart().await;
        assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
        assert_eq!(world.get_ok(&file("info")).await.body, module.info());
        assert!(world.is_stored(MODULE, VERSION));
    }
    assert_eq!(world.module_requests(), asked);
}
