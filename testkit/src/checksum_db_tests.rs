use dipylon_protocol::sumdb::note::{Note, Verifier};
use dipylon_protocol::sumdb::tlog::{TreeHead, parse_record};

use super::*;
use crate::client::Client;
use crate::upstream::Upstream;

fn module() -> FakeModule {
    FakeModule::new("example.com/A", "v1.0.0")
}

fn database() -> ChecksumDb {
    let database = ChecksumDb::new("sumdb.test", 7);
    database.register(&module());
    database
}

fn text(page: &Page) -> String {
    assert_eq!(page.status, 200);
    String::from_utf8(page.body.to_vec()).unwrap()
}

fn head(database: &ChecksumDb, note: &[u8]) -> TreeHead {
    let verifier = Verifier::parse(database.verifier_key()).unwrap();
    TreeHead::parse(&Note::open(note, &[verifier]).unwrap().text).unwrap()
}

#[test]
fn the_same_seed_is_the_same_key() {
    assert_eq!(database().verifier_key(), database().verifier_key());
    assert_ne!(ChecksumDb::new("sumdb.test", 8).verifier_key(), database().verifier_key());
}

#[test]
fn a_lookup_makes_a_signed_record_once() {
    let database = database();
    for _ in 0..2 {
        let answer = text(&database.page("/lookup/example.com/!a@v1.0.0"));
        let (id, record, note) = parse_record(answer.as_bytes()).unwrap();
        let (h1, go_mod_h1) = (module().h1(), module().go_mod_h1());
        let want = format!("example.com/A v1.0.0 {h1}\nexample.com/A v1.0.0/go.mod {go_mod_h1}\n");
        assert_eq!((id, record), (0, want.as_str()));
        assert_eq!(head(&database, note).size, 1);
    }
    assert_eq!(database.count("/lookup/"), 2);
}

#[test]
fn what_is_unknown_has_no_record() {
    let database = database();
    for path in ["/lookup/example.com/!a@v1.0.1", "/lookup/x", "/supported", "/tile/8/0/000"] {
        assert_eq!(database.page(path).status, 404, "{path}");
    }
    assert_eq!(database.records(), 0);
}

#[test]
fn a_lie_is_in_the_record() {
    let database = database();
    database.lie("example.com/A", "v1.0.0", "h1:wrong=");
    assert!(text(&database.page("/lookup/example.com/!a@v1.0.0")).contains("v1.0.0 h1:wrong=\n"));
}

#[test]
#[should_panic(expected = "lie earlier")]
fn a_record_never_changes() {
    let database = database();
    let _ = database.page("/lookup/example.com/!a@v1.0.0");
    database.lie("example.com/A", "v1.0.0", "h1:wrong=");
}

#[test]
fn tiles_are_served_full_and_partial() {
    let database = database();
    database.pad(300);
    assert_eq!(database.page("/tile/8/0/000").body.len(), 8192);
    assert_eq!(database.page("/tile/8/0/001.p/44").body.len(), 44 * 32);
    assert_eq!(database.page("/tile/8/0/001.p/45").status, 404);
    assert_eq!(database.page("/tile/8/1/000.p/1").body.len(), 32);
    assert!(text(&database.page("/tile/8/data/001.p/44")).starts_with("pad.test/n256 v1.0.0 h1:"));
    assert_eq!(database.page("/tile/8/0/000.p/3").body.len(), 96);
    database.full_tiles_only(true);
    assert_eq!(database.page("/tile/8/0/000.p/3").status, 404);
    assert_eq!(database.page("/tile/8/0/001.p/44").status, 200);
}

#[test]
fn a_fork_has_the_same_key_and_another_history() {
    let database = database();
    database.pad(10);
    let fork = database.fork();
    assert_eq!(fork.verifier_key(), database.verifier_key());
    let heads = [&database, &fork].map(|db| head(db, &db.page("/latest").body));
    assert_eq!((heads[0].size, heads[1].size), (10, 11));
    let tiles = [&database, &fork].map(|db| db.page("/tile/8/0/000.p/10").body);
    assert_ne!(tiles[0], tiles[1]);
    assert_eq!(fork.page("/lookup/example.com/!a@v1.0.0").status, 200);
}

#[test]
fn a_database_that_is_down_says_503() {
    let database = database();
    database.down(true);
    assert_eq!(database.page("/latest").status, 503);
    database.down(false);
    assert_eq!(database.page("/latest").status, 200);
}

#[tokio::test]
async fn it_answers_at_its_own_door_and_through_an_upstream() {
    let database = ChecksumDb::new("sumdb.test", 7);
    let upstream = Upstream::start().await;
    upstream.attach(&database);
    upstream.add(module());
    let running = database.start().await;
    let direct = Client::new(&running.url());
    let through = Client::new(&upstream.url());
    assert_eq!(through.get("/sumdb/sumdb.test/supported").await.status, 200);
    assert_eq!(through.get("/sumdb/other.test/supported").await.status, 404);
    let one = through.get("/sumdb/sumdb.test/lookup/example.com/!a@v1.0.0").await;
    let two = direct.get("/lookup/example.com/!a@v1.0.0").await;
    assert_eq!((one.status.as_u16(), &one.body), (200, &two.body));
    assert_eq!(direct.get("/supported").await.status, 404);
    assert_eq!(database.count("/lookup/"), 2);
    assert_eq!(upstream.count("/sumdb/sumdb.test/lookup/example.com/!a@v1.0.0"), 1);
}
