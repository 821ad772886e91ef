//! A collection with more than 100,000 versions of one module, and as many entries of the catalogue: all of
//! them are handed out, in bounded memory.

use std::time::{Duration, Instant};

use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};

use crate::bench::{Raw, bench, binary, url};

const VERSIONS: usize = 100_001;
/// So many of them have zips of Athens's, which are looked into.
const BY_ATHENS: usize = 300;
const PAGE: usize = 10_000;
/// Documents that are written at once.
const BATCH: usize = 2_000;
/// Time for one list or page.
const LIMIT: Duration = Duration::from_secs(280);
/// The most that the gateway may have resident.
const MAX_PEAK_MIB: u64 = 100;
const MODULE: &str = "example.com/long";

fn version(number: usize) -> String {
    format!("v1.{number}.0")
}

/// Documents as the gateway has them, each with the record of its zip; a list looks no further there.
async fn lay_out(raw: &Raw) {
    for number in 0..BY_ATHENS {
        let module = FakeModule::new(MODULE, &version(number));
        raw.put(&module).await;
    }
    let numbers: Vec<usize> = (BY_ATHENS..VERSIONS).collect();
    for numbers in numbers.chunks(BATCH) {
        let (mut modules, mut files) = (Vec::<Document>::new(), Vec::<Document>::new());
        for number in numbers {
            let (id, version) = (ObjectId::new(), version(*number));
            modules.push(doc! {
                "_id": id,
                "module": MODULE,
                "version": &version,
                "mod": binary(b"module x\n"),
                "info": binary(format!(r#"{{"Version":"{version}"}}"#).as_bytes()),
            });
            files.push(doc! {
                "_id": id,
                "length": 22_i64,
                "chunkSize": 261_120,
                "uploadDate": DateTime::now(),
                "filename": format!("example.com_long_{version}.zip"),
            });
        }
        for (collection, documents) in [("modules", modules), ("fs.files", files)] {
            raw.database.collection(collection).insert_many(documents).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mongo: run by cargo xtask test --slow"]
async fn slow_100_001_versions_are_listed_and_walked_in_bounded_memory() {
    // Opened once, so that the indexes are there.
    let raw = bench().await.raw;
    let began = Instant::now();
    lay_out(&raw).await;
    println!("laid out in {:?}", began.elapsed());
    let gateway = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("GOPROXY", "off")
        .env("ATHENS_NETWORK_MODE", "offline")
        .env("ATHENS_STORAGE_TYPE", "mongo")
        .env("ATHENS_MONGO_STORAGE_URL", &url())
        .env("ATHENS_MONGO_DEFAULT_DATABASE", raw.database.name())
        .start()
        .await;
    let client = gateway.client().limit(LIMIT);
    let mut want: Vec<String> = (0..VERSIONS).map(version).collect();
    want.sort_unstable();

    for round in ["first", "second"] {
        let began = Instant::now();
        let list = client.get(&format!("/{MODULE}/@v/list")).await;
        assert_eq!(list.status, 200, "{}\n{}", list.text(), gateway.stderr());
        let mut listed: Vec<&str> = list.text().lines().collect();
        listed.sort_unstable();
        assert!(listed == want, "{} versions", listed.len());
        println!("the {round} list took {:?}", began.elapsed());
    }

    let (began, mut walked, mut token) = (Instant::now(), Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/catalog?pagesize={PAGE}&token={token}")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
        let entries = page["modules"].as_array().unwrap();
        assert!(entries.len() <= PAGE);
        walked.extend(entries.iter().map(|entry| entry["version"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) if !next.is_empty() => token = next.to_owned(),
            _ => break,
        }
    }
    walked.sort_unstable();
    assert!(walked == want, "{} entries", walked.len());
    println!("walked in {:?}", began.elapsed());

    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    println!("peak resident memory: {} MiB", peak_kib >> 10);
    assert!(peak_kib >> 10 < MAX_PEAK_MIB, "{} MiB", peak_kib >> 10);
}
