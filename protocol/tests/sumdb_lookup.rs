//! Lookups driven against an in-memory database: honest, forgetful, lying.

use std::collections::HashMap;

use bytes::Bytes;
use dipylon_protocol::dirhash::Hash1Builder;
use dipylon_protocol::sumdb::client::MAX_LOOKUP_BYTES;
use dipylon_protocol::sumdb::note::{PUBLIC_DATABASE, generate, sign};
use dipylon_protocol::sumdb::tree::Tree;
use dipylon_protocol::sumdb::{
    Database, Lookup, Missing, Record, Signer, Step, SumError, Tile, TreeHead,
};
use dipylon_protocol::{ModulePath, Version};

fn h1(seed: u64) -> String {
    let mut builder = Hash1Builder::default();
    builder.add(format!("file{seed}"), [1; 32]);
    builder.finish().to_string()
}

fn text(n: u64) -> String {
    format!(
        "example.com/M{n} v1.0.0 {}\nexample.com/M{n} v1.0.0/go.mod {}\n",
        h1(n),
        h1(n + 1_000_000)
    )
}

fn keys() -> (Signer, Database) {
    let (signer, verifier) = generate("sum.test", [7; 32]);
    (Signer::parse(&signer).unwrap(), Database::parse(&verifier).unwrap())
}

/// A database that serves a tree.
struct Server {
    tree: Tree,
    signer: Signer,
    /// Whether partial tiles are gone as soon as the full one exists.
    drops_partial: bool,
    /// Answers other than the honest ones.
    lies: HashMap<String, Result<Bytes, Missing>>,
    asked: Vec<String>,
}

impl Server {
    fn new(size: u64) -> Self {
        let mut tree = Tree::new();
        (0..size).for_each(|n| assert!(tree.append(&text(n)).is_ok()));
        Self {
            tree,
            signer: keys().0,
            drops_partial: false,
            lies: HashMap::new(),
            asked: Vec::new(),
        }
    }

    fn answer(&mut self, path: &str) -> Result<Bytes, Missing> {
        self.asked.push(path.to_owned());
        if let Some(lie) = self.lies.get(path) {
            return lie.clone();
        }
        if let Some(n) = path
            .strip_prefix("/lookup/example.com/!m")
            .and_then(|rest| rest.strip_suffix("@v1.0.0"))
        {
            let answer =
                self.tree.lookup_answer(n.parse().unwrap(), &self.signer).ok_or(Missing)?;
            return Ok(answer.into());
        }
        let tile = Tile::parse(path.strip_prefix('/').unwrap()).unwrap();
        if self.drops_partial && !tile.is_full() && self.tree.tile(&tile.full()).is_some() {
            return Err(Missing);
        }
        self.tree.tile(&tile).map(Bytes::from).ok_or(Missing)
    }

    fn lookup(&mut self, n: u64, known: Option<TreeHead>) -> Result<Record, SumError> {
        let module = ModulePath::parse(&format!("example.com/M{n}")).unwrap();
        let mut lookup = Lookup::new(&keys().1, known, &module, &Version::parse("v1.0.0").unwrap());
        for _round in 0..4 {
            match lookup.step()? {
                Step::Done(record) => return Ok(record),
                Step::Fetch(paths) => {
                    assert!(!paths.is_empty());
                    for path in paths {
                        lookup.provide(&path, self.answer(&path));
                    }
                }
            }
        }
        panic!("a lookup took more than lookup, tiles and full tiles: {:?}", self.asked);
    }
}

fn reason(result: &Result<Record, SumError>) -> &'static str {
    match result {
        Ok(_) => "proven",
        Err(error) => {
            assert!(!error.to_string().contains(|c: char| c.is_control()), "{error}");
            error.reason()
        }
    }
}

#[test]
fn every_record_of_every_small_tree_is_proven() {
    let all = Server::new(600).tree;
    for size in 1..=600 {
        let mut server = Server::new(0);
        (0..size).for_each(|n| assert!(server.tree.append(&text(n)).is_ok()));
        let step = if size < 40 { 1 } else { 97 };
        for n in (0..size).step_by(step).chain([size - 1]) {
            let known =
                [None, all.head_at(size / 2), all.head_at(size), all.head_at(0)][n as usize % 4];
            let record =
                server.lookup(n, known).unwrap_or_else(|error| panic!("{n} of {size}: {error}"));
            assert_eq!((record.id, record.head), (n, all.head_at(size).unwrap()));
            assert_eq!(record.zip.map(|hash| hash.to_string()), Some(h1(n)));
            assert_eq!(record.go_mod.map(|hash| hash.to_string()), Some(h1(n + 1_000_000)));
        }
    }
}

#[test]
fn everything_fetched_is_proven_and_may_be_kept() {
    let mut server = Server::new(600);
    let record = server.lookup(5, None).unwrap();
    let (mut asked, mut proven) = (server.asked.clone(), record.proven);
    asked.sort();
    proven.sort();
    assert_eq!(asked, proven);
    assert_eq!(record.raw_lookup, server.answer("/lookup/example.com/!m5@v1.0.0").unwrap());
}

#[test]
fn an_older_answer_is_proven_in_the_newer_known_tree() {
    let mut server = Server::new(300);
    let stale = server.tree.lookup_answer(17, &server.signer).unwrap();
    let newer = Server::new(700);
    server.tree = newer.tree;
    server.lies.insert("/lookup/example.com/!m17@v1.0.0".to_owned(), Ok(stale.into()));
    let known = server.tree.head();
    assert_eq!(server.lookup(17, Some(known)).unwrap().head, known);
}

#[test]
fn a_full_tile_stands_in_for_a_partial_one_that_is_gone() {
    let mut server = Server::new(300);
    let old_answer = server.tree.lookup_answer(270, &server.signer).unwrap();
    server.tree = Server::new(600).tree;
    server.drops_partial = true;
    server.lies.insert("/lookup/example.com/!m270@v1.0.0".to_owned(), Ok(old_answer.into()));
    let record = server.lookup(270, None).unwrap();
    assert_eq!(record.head.size, 300);
    assert!(server.asked.contains(&"/tile/8/0/001.p/44".to_owned()), "{:?}", server.asked);
    assert!(server.asked.contains(&"/tile/8/0/001".to_owned()), "{:?}", server.asked);
    assert!(
        !record.proven.iter().any(|path| path.starts_with("/tile/8/0/001")),
        "{:?}",
        record.proven
    );
}

#[test]
fn a_missing_full_tile_ends_the_lookup() {
    let mut server = Server::new(600);
    server.lies.insert("/tile/8/0/000".to_owned(), Err(Missing));
    assert_eq!(
        server.lookup(5, None),
        Err(SumError::MissingTile { path: "/tile/8/0/000".to_owned() })
    );
    let mut server = Server::new(10);
    server.lies.insert("/tile/8/0/000.p/10".to_owned(), Err(Missing));
    assert_eq!(
        server.lookup(5, None),
        Err(SumError::MissingTile { path: "/tile/8/0/000".to_owned() })
    );
}

#[test]
fn a_wrong_tile_is_refused() {
    for size in [10, 256, 600] {
        let honest = Server::new(size).lookup(5, None).unwrap();
        for path in honest.proven.iter().filter(|path| path.starts_with("/tile")) {
            let mut server = Server::new(size);
            let tile = server.answer(path).unwrap();
            for at in [0, tile.len() / 2, tile.len() - 1] {
                let mut wrong = tile.to_vec();
                wrong[at] ^= 1;
                server.lies.insert(path.clone(), Ok(wrong.into()));
                assert_eq!(reason(&server.lookup(5, None)), "bad_proof", "{path} of {size}");
            }
            for wrong in [tile.slice(1..), [&tile[..], b"x"].concat().into(), Bytes::new()] {
                server.lies.insert(path.clone(), Ok(wrong));
                assert_eq!(reason(&server.lookup(5, None)), "bad_proof", "{path} of {size}");
            }
        }
    }
}

/// A database with the records of `Server::new(size)`, except that record 3 is another.
fn forked(size: u64) -> Server {
    let mut server = Server::new(0);
    for n in 0..size {
        let record = if n == 3 { text(999) } else { text(n) };
        assert!(server.tree.append(&record).is_ok());
    }
    server
}

#[test]
fn a_second_history_is_a_fork_whichever_is_newer() {
    let mut server = forked(600);
    let served = server.tree.head();
    for size in [4, 256, 300, 599] {
        let known = Server::new(size).tree.head();
        assert_eq!(
            server.lookup(5, Some(known)),
            Err(SumError::Fork { older: known, newer: served })
        );
    }
    let known = Server::new(600).tree.head();
    assert_eq!(server.lookup(5, Some(known)), Err(SumError::Fork { older: known, newer: served }));
    // The known tree is newer: its tiles come from an honest mirror, the lookup from the liar.
    let lie = forked(300).tree.lookup_answer(5, &keys().0).unwrap();
    let mut server = Server::new(600);
    server.lies.insert("/lookup/example.com/!m5@v1.0.0".to_owned(), Ok(lie.into()));
    let (older, newer) = (forked(300).tree.head(), server.tree.head());
    assert_eq!(server.lookup(5, Some(newer)), Err(SumError::Fork { older, newer }));
}

#[test]
fn a_common_beginning_is_no_fork() {
    let mut server = forked(600);
    for size in [0, 1, 3] {
        let known = Server::new(size).tree.head();
        assert!(server.lookup(5, Some(known)).is_ok(), "{size}");
    }
}

#[test]
fn a_record_that_is_not_in_the_tree_is_refused() {
    let honest = |n| Server::new(300).tree.lookup_answer(n, &keys().0).unwrap();
    let path = "/lookup/example.com/!m5@v1.0.0".to_owned();
    for (lie, want) in [
        (honest(5).replace(&h1(5), &h1(6)), "bad_proof"),
        (honest(5).replacen("5\n", "6\n", 1), "bad_proof"),
        (honest(5).replacen("5\n", "300\n", 1), "bad_proof"),
        (honest(5).replacen("5\n", "18446744073709551615\n", 1), "bad_proof"),
        (honest(5).replacen("5\n", "x\n", 1), "bad_record"),
        (honest(6), "bad_record"),
        ("<html>Please log in</html>".to_owned(), "bad_record"),
        (String::new(), "bad_record"),
        (honest(5).replacen("300\n", "301\n", 1), "bad_signature"),
        (honest(5).replace("sum.test", "sum.best"), "bad_signature"),
        (
            honest(5).replace("example.com/M5 v1.0.0 h1:", "example.com/M5 v1.0.0 h1:!"),
            "bad_record",
        ),
        ("x".repeat(MAX_LOOKUP_BYTES + 1), "too_large"),
    ] {
        let mut server = Server::new(300);
        server.lies.insert(path.clone(), Ok(lie.clone().into()));
        assert_eq!(reason(&server.lookup(5, None)), want, "{lie:.300}");
    }
}

#[test]
fn every_changed_byte_of_a_lookup_answer_is_refused() {
    let path = "/lookup/example.com/!m5@v1.0.0".to_owned();
    let answer = Server::new(20).tree.lookup_answer(5, &keys().0).unwrap();
    for at in 0..answer.len() {
        let mut server = Server::new(20);
        let mut lie = answer.clone().into_bytes();
        lie[at] ^= 1;
        server.lies.insert(path.clone(), Ok(lie.into()));
        assert_ne!(reason(&server.lookup(5, None)), "proven", "byte {at}");
    }
}

#[test]
fn a_record_may_lack_a_line_or_have_other_hashes_but_not_two() {
    let lines = |text: &str| {
        let mut server = Server::new(0);
        assert!(server.tree.append(text).is_ok());
        server.lookup(0, None).map(|record| (record.zip.is_some(), record.go_mod.is_some()))
    };
    let (zip, go_mod) = (
        format!("example.com/M0 v1.0.0 {}\n", h1(0)),
        format!("example.com/M0 v1.0.0/go.mod {}\n", h1(1)),
    );
    assert_eq!(lines(&zip), Ok((true, false)));
    assert_eq!(lines(&go_mod), Ok((false, true)));
    assert_eq!(lines(&format!("{zip}{zip}{go_mod}")), Ok((true, true)));
    assert_eq!(lines(&format!("{zip}example.com/M0 v1.0.0 h2:new\n")), Ok((true, false)));
    let two = lines(&format!("{zip}example.com/M0 v1.0.0 {}\n", h1(9)));
    assert_eq!(two.unwrap_err().reason(), "bad_record");
    assert_eq!(
        lines("example.com/M0 v1.0.01 h1:x\nexample.com/M00 v1.0.0 h1:x\n").unwrap_err().reason(),
        "bad_record"
    );
}

#[test]
fn a_signed_head_of_any_size_is_answered_without_panic() {
    let hash = Server::new(1).tree.head().hash;
    for bits in 0..64 {
        for size in [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1] {
            for id in [0, size / 3, size.saturating_sub(1), size] {
                let signed = sign(&TreeHead { size, hash }.format(), &[keys().0]);
                let lie = format!("{id}\n{}\n{signed}", text(5));
                let mut server = Server::new(1);
                server.lies.insert("/lookup/example.com/!m5@v1.0.0".to_owned(), Ok(lie.into()));
                let known = Some(server.tree.head());
                let reason = reason(&server.lookup(5, known));
                let refused = ["bad_proof", "missing_tile", "bad_signature", "fork"];
                assert!(refused.contains(&reason), "{id} of {size}: {reason}");
                assert!(server.asked.len() < 40, "{:?}", server.asked);
            }
        }
    }
}

#[test]
fn a_module_the_database_does_not_know_is_not_found() {
    let want = SumError::NotFound { path: "/lookup/example.com/!m9@v1.0.0".to_owned() };
    assert_eq!(Server::new(5).lookup(9, None), Err(want));
}

#[test]
fn answers_nobody_asked_for_are_refused_and_errors_stay() {
    let module = ModulePath::parse("example.com/M5").unwrap();
    let new = || Lookup::new(&keys().1, None, &module, &Version::parse("v1.0.0").unwrap());
    let mut lookup = new();
    lookup.provide("/tile/8/0/000", Ok(Bytes::new()));
    let error = lookup.step().unwrap_err();
    assert_eq!(error, SumError::NotAsked { path: "/tile/8/0/000".to_owned() });
    let mut server = Server::new(10);
    lookup
        .provide("/lookup/example.com/!m5@v1.0.0", server.answer("/lookup/example.com/!m5@v1.0.0"));
    assert_eq!(lookup.step(), Err(error));
    for path in [
        "/tile/8/0/001",
        "tile/8/0/000.p/10",
        "/tile/8/0/000.p/9",
        "/lookup/example.com/!m5@v1.0.0",
        "/x",
    ] {
        let mut lookup = new();
        lookup.provide(
            "/lookup/example.com/!m5@v1.0.0",
            server.answer("/lookup/example.com/!m5@v1.0.0"),
        );
        lookup.provide(path, Ok(vec![0; 320].into()));
        assert_eq!(lookup.step(), Err(SumError::NotAsked { path: path.to_owned() }));
    }
}

#[test]
fn a_step_asks_again_only_for_what_has_not_been_given() {
    let module = ModulePath::parse("example.com/M5").unwrap();
    let mut server = Server::new(600);
    let mut lookup = Lookup::new(&keys().1, None, &module, &Version::parse("v1.0.0").unwrap());
    lookup
        .provide("/lookup/example.com/!m5@v1.0.0", server.answer("/lookup/example.com/!m5@v1.0.0"));
    let Ok(Step::Fetch(mut paths)) = lookup.step() else { panic!("no tiles asked for") };
    while let Some(path) = paths.pop() {
        assert!(matches!(lookup.step(), Ok(Step::Fetch(left)) if left.len() == paths.len() + 1));
        lookup.provide(&path, server.answer(&path));
    }
    assert!(matches!(lookup.step(), Ok(Step::Done(_))));
}

#[test]
fn a_record_of_the_public_database_is_proven_with_its_real_tiles() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sumdb/sum.golang.org");
    let database = Database::parse("sum.golang.org").unwrap();
    let module = ModulePath::parse("golang.org/x/mod").unwrap();
    let prove = |tamper: &str| -> Result<Record, SumError> {
        let mut lookup = Lookup::new(&database, None, &module, &Version::parse("v0.30.0").unwrap());
        loop {
            match lookup.step()? {
                Step::Done(record) => return Ok(record),
                Step::Fetch(paths) => paths.iter().for_each(|path| {
                    let mut answer = std::fs::read(folder.join(&path[1..])).unwrap();
                    if path == tamper {
                        answer[50] ^= 1;
                    }
                    lookup.provide(path, Ok(answer.into()));
                }),
            }
        }
    };
    let record = prove("").unwrap();
    assert_eq!(record.zip.unwrap().to_string(), "h1:fDEXFVZ/fmCKProc/yAXXUijritrDzahmwwefnjoPFk=");
    assert_eq!(
        record.go_mod.unwrap().to_string(),
        "h1:lAsf5O2EvJeSFMiBxXDki7sCgAxEUcZHXoXMKT4GJKc="
    );
    assert_eq!(record.proven.len(), 8);
    for path in &record.proven[1..] {
        assert_eq!(prove(path).unwrap_err().reason(), "bad_proof", "{path}");
    }
}

#[test]
fn gosumdb_values_are_read_as_the_go_command_does() {
    let public = Database::parse("sum.golang.org").unwrap();
    assert_eq!((public.name.as_str(), public.url.as_deref()), ("sum.golang.org", None));
    assert_eq!(public.verifier.to_string(), PUBLIC_DATABASE);
    let (_, key) = generate("db.test/path", [1; 32]);
    let own = Database::parse(&format!("  {key}   https://other.test/x ")).unwrap();
    assert_eq!(
        (own.name.as_str(), own.url.as_deref()),
        ("db.test/path", Some("https://other.test/x"))
    );
    let named = |name: &str| generate(name, [1; 32]).1;
    for bad in [
        "",
        "  ",
        "off",
        "sum.test",
        "sum.golang.org https://a https://b",
        "sum.golang.org+00000000+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        &named("a/../b"),
        &named("a//b"),
        &named("/a"),
        &named("a/"),
        &named("a?b"),
        &named("a#b"),
        &named("user@a"),
        &named(":80"),
    ] {
        let error = Database::parse(bad).unwrap_err();
        assert_eq!(error.reason(), "bad_database", "{bad}");
    }
}
