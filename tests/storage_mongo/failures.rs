//! Wrong settings and servers that are down: errors that name backend, operation and cause, and no
//! secret.

use std::time::{Duration, Instant};

use dipylon::config::MongoStorage;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::SaveResult;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::given::fresh_name;
use dipylon_testkit::storage_suite::{Subject, read_range};
use mongodb::bson::{Document, doc};

use crate::bench::{Raw, bench, config, names, read, url};
use crate::guard::Guard;
use crate::wire::{Line, Wire};

/// Longer than the driver looks for a server, far shorter than a caller's patience.
const SOON: Duration = Duration::from_secs(30);

async fn refused(config: &MongoStorage) -> String {
    let opened = dipylon::storage::mongo::open(config).await;
    let error: Error = opened.err().expect("it cannot be opened");
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(!error.message().contains('\n'), "one line: {error}");
    error.to_string()
}

#[tokio::test]
async fn settings_that_cannot_be_right_are_refused_at_once() {
    let right = config("mongodb://user:hunter2@127.0.0.1:9/", "athens");
    let nowhere = MongoStorage { cert_path: Some("/nowhere/ca.pem".into()), ..right.clone() };
    let name = MongoStorage { default_db_name: "a/b".to_owned(), ..right.clone() };
    let collection =
        MongoStorage { default_collection_name: "fs.files".to_owned(), ..right.clone() };
    let url = config("mongodb://user:hunter2@127.0.0.1:9/?w=hunter2&tls=hunter2", "athens");
    for (config, why) in [
        (&nowhere, "Storage.Mongo.CertPath /nowhere/ca.pem: No such file"),
        (&name, "Storage.Mongo.DefaultDBName \"a/b\""),
        (&collection, "Storage.Mongo.DefaultCollectionName \"fs.files\""),
        (&url, "Storage.Mongo.URL mongodb://***@127.0.0.1:9/"),
    ] {
        let text = refused(config).await;
        assert!(text.starts_with("mongo storage cannot be set up: "), "{text}");
        assert!(text.contains(why), "{text}");
        assert!(!text.contains("user:hunter2"), "{text}");
    }
}

/// A start without the server works; calls say what is wrong, and never "absent".
#[tokio::test]
async fn a_server_that_is_down_is_an_error_and_no_miss() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let config = config(&format!("mongodb://user:hunter2@{address}"), "athens");
    let opened = dipylon::storage::mongo::open(&config);
    let storage = tokio::time::timeout(SOON, opened).await.unwrap().unwrap();
    let module = FakeModule::new("example.com/a", "v1.0.0");
    let (path, version) = names(&module);
    let error = storage.read(&path, &version, FileKind::Mod).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable);
    let name = "mongo storage cannot read the .mod of example.com/a@v1.0.0 in athens.modules: ";
    assert!(text.starts_with(name), "{text}");
    assert!(text.contains(&address.to_string()) && text.contains("onnection refused"), "{text}");
    assert!(text.ends_with("; is the server up, and Storage.Mongo.URL right?"), "{text}");
    for text in [
        text,
        storage.check().await.unwrap_err().to_string(),
        storage.list(&path).await.unwrap_err().to_string(),
        storage.catalog(None, 1).await.unwrap_err().to_string(),
        storage.read_extra("a").await.unwrap_err().to_string(),
        Subject::new(storage.clone()).save(&module).await.unwrap_err().to_string(),
    ] {
        assert!(text.starts_with("mongo storage cannot "), "{text}");
        assert!(!text.contains("hunter2") && !text.contains('\n'), "{text}");
    }
}

/// The start is refused with what to look at; with the right password all is well.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_wrong_password_is_refused_without_being_told() {
    let guard = Guard::before(&server(), "robot", "the-right-one").await;
    let name = fresh_name();
    let with = |user: &str| {
        let url = format!("mongodb://{user}@{}/?authMechanism=SCRAM-SHA-256", guard.address);
        config(&url, &name)
    };
    for user in ["robot:let-me-in", "nobody:let-me-in"] {
        let text = refused(&with(user)).await;
        let what = format!("mongo storage cannot make the collection in {name}.modules: ");
        assert!(text.starts_with(&what), "{text}");
        assert!(text.contains("Authentication failed"), "{text}");
        assert!(text.ends_with("; check the user and password in Storage.Mongo.URL"), "{text}");
        assert!(!text.contains("let-me-in"), "{text}");
    }
    let storage = dipylon::storage::mongo::open(&with("robot:the-right-one")).await.unwrap();
    let module = FakeModule::new("example.com/a", "v1.0.0");
    assert_eq!(Subject::new(storage.clone()).save(&module).await.unwrap(), SaveResult::Created);
    assert!(read(&storage, &module, FileKind::Zip).await == Some(module.zip().to_vec()));
}

/// Without a user nothing may be made, which a reader does not need, and nothing read: no miss.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_server_that_lets_nobody_in_is_an_error_and_no_miss() {
    let guard = Guard::before(&server(), "robot", "the-right-one").await;
    let config = config(&format!("mongodb://{}", guard.address), &fresh_name());
    let storage = dipylon::storage::mongo::open(&config).await.unwrap();
    let module = FakeModule::new("example.com/a", "v1.0.0");
    let (path, version) = names(&module);
    for error in [
        storage.read(&path, &version, FileKind::Mod).await.unwrap_err(),
        storage.list(&path).await.unwrap_err(),
        storage.check().await.unwrap_err(),
        Subject::new(storage.clone()).save(&module).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("Unauthorized (13): "), "{error}");
        assert!(error.to_string().ends_with("; check what the user may do"), "{error}");
    }
}

/// Where the server listens.
pub(crate) fn server() -> String {
    url().trim_start_matches("mongodb://").trim_end_matches('/').to_owned()
}

/// A server that takes connections and never says a word.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_server_that_is_silent_holds_up_neither_start_nor_calls_for_long() {
    let wire = Wire::to(&server(), None).await;
    wire.set(Line::Silent);
    let name = fresh_name();
    let config = config(&format!("mongodb://{}", wire.address), &name);
    let begin = Instant::now();
    let storage = dipylon::storage::mongo::open(&config).await.unwrap();
    let (path, _) = names(&FakeModule::new("example.com/a", "v1.0.0"));
    let error = storage.list(&path).await.unwrap_err();
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let what = format!("cannot list the versions of example.com/a in {name}.modules: ");
    assert!(error.to_string().contains(&what), "{error}");
    wire.set(Line::Whole);
    works_again(&storage).await;
}

async fn works_again(storage: &std::sync::Arc<dyn dipylon_middleware::ports::Storage>) {
    let begin = Instant::now();
    while let Err(error) = storage.check().await {
        assert!(begin.elapsed() < SOON, "it does not come back: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The line is cut in the middle of a zip, and comes back.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_line_that_is_cut_in_mid_flight_is_an_error_and_heals_without_a_restart() {
    let wire = Wire::to(&server(), None).await;
    let config = config(&format!("mongodb://{}", wire.address), &fresh_name());
    let storage = dipylon::storage::mongo::open(&config).await.unwrap();
    let subject = Subject::new(storage.clone());
    let module = FakeModule::new("example.com/a", "v1.0.0").filler(8 << 20);
    assert_eq!(subject.save(&module).await.unwrap(), SaveResult::Created);
    let (path, version) = names(&module);
    let blob = storage.read(&path, &version, FileKind::Zip).await.unwrap().unwrap();
    let dipylon_middleware::blob::BlobSource::Remote(remote) = blob.source() else {
        panic!("a zip of a database is remote")
    };
    let mut stream = remote.open(0..blob.length());
    futures::StreamExt::next(&mut stream).await.unwrap().unwrap();
    wire.set(Line::Cut);
    let error = loop {
        match futures::StreamExt::next(&mut stream).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a zip that was cut has an end"),
        }
    };
    let what = "mongo storage cannot read the zip of example.com/a@v1.0.0 in ";
    assert!(error.to_string().starts_with(what), "{error}");
    assert!(storage.read(&path, &version, FileKind::Info).await.is_err(), "no miss");
    let other = FakeModule::new("example.com/a", "v2.0.0");
    assert!(subject.save(&other).await.is_err());
    wire.set(Line::Whole);
    works_again(&storage).await;
    assert!(read(&storage, &module, FileKind::Zip).await == Some(module.zip().to_vec()));
    assert_eq!(subject.save(&other).await.unwrap(), SaveResult::Created);
}

/// The server is down at the start; all is made when it comes.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_server_that_comes_later_is_made_ready_then() {
    let wire = Wire::to(&server(), None).await;
    wire.set(Line::Cut);
    let name = fresh_name();
    let config = config(&format!("mongodb://{}", wire.address), &name);
    let storage = dipylon::storage::mongo::open(&config).await.unwrap();
    wire.set(Line::Whole);
    works_again(&storage).await;
    let raw = Raw::new(&name).await;
    let indexes = raw.database.collection::<Document>("modules").list_index_names().await.unwrap();
    assert!(indexes.contains(&"dipylon_module_version".to_owned()), "{indexes:?}");
}

/// MongoDB takes a collection that somebody dropped for an empty one; the index must not be lost.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_collection_that_was_dropped_is_made_again_with_its_index() {
    let bench = bench().await;
    let collection = bench.raw.database.collection::<Document>("modules");
    collection.drop().await.unwrap();
    bench.storage().check().await.unwrap();
    let indexes = collection.list_index_names().await.unwrap();
    assert!(indexes.contains(&"dipylon_module_version".to_owned()), "{indexes:?}");
}

/// Without the unique index the first save of a version could not be made to stay.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_collection_with_two_documents_of_a_version_is_refused() {
    let raw = Raw::new(&fresh_name()).await;
    for _ in 0..2 {
        raw.insert("modules", doc! { "module": "example.com/a", "version": "v1.0.0" }).await;
    }
    let text = refused(&config(&url(), raw.database.name())).await;
    assert!(text.contains("is there a version with two documents? remove one of them"), "{text}");
}

/// What a document cannot hold is said before anything is sent.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn what_no_document_can_hold_is_refused_with_its_size() {
    let bench = bench().await;
    let large = bytes::Bytes::from(vec![b'x'; 17 << 20]);
    let text = bench.storage().write_extra("large", large).await.unwrap_err().to_string();
    assert!(text.contains("no room for the extra large: it has 17825792 bytes"), "{text}");
    let go_mod = format!("module example.com/a\n// {}\n", "x".repeat(16 << 20));
    let module = FakeModule::new("example.com/a", "v1.0.0").go_mod(&go_mod);
    let text = bench.subject.save(&module).await.unwrap_err().to_string();
    assert!(text.contains("no room for example.com/a@v1.0.0: its .mod and .info"), "{text}");
    assert!(bench.raw.find("fs.chunks", doc! {}).await.is_empty());
}

/// A zip that is damaged behind the gateway's back ends its answer with an error, never with a wrong
/// byte.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_zip_that_loses_a_chunk_while_it_is_known_is_an_error() {
    let bench = bench().await;
    let module = FakeModule::new("example.com/a", "v1.0.0").filler(1 << 20);
    bench.subject.save(&module).await.unwrap();
    bench.raw.remove("fs.chunks", doc! { "n": 2 }).await;
    let (path, version) = names(&module);
    let blob = bench.storage().read(&path, &version, FileKind::Zip).await.unwrap().unwrap();
    let error = read_range(&blob, 0..blob.length()).await.unwrap_err();
    assert!(error.to_string().contains("chunk 2 is missing"), "{error}");
    let head = read_range(&blob, 0..500_000).await.unwrap();
    assert!(head == module.zip().slice(0..500_000));
}
