//! Notes, hashes, proofs and tiles against golang/mod itself: `sumdb/note` and `sumdb/tlog`.

mod go_run;

use std::fmt::Write as _;
use std::fs;

use dipylon_protocol::sumdb::note::{generate, sign};
use dipylon_protocol::sumdb::tile::ReadPlan;
use dipylon_protocol::sumdb::tlog::{Hash, Node};
use dipylon_protocol::sumdb::tree::Tree;
use dipylon_protocol::sumdb::{Note, NoteError, Signer, Tile, Verifier};
use go_run::go_run;

/// Prints, for the sizes and questions in the file, what golang/mod has for them, in the order
/// asked.
const PROGRAM: &str = r#"
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var stored []tlog.Hash

func read(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, stored[i])
	}
	return out, nil
}

func main() {
	reader := tlog.HashReaderFunc(read)
	for n := int64(0); n < 700; n++ {
		hashes, err := tlog.StoredHashes(n, []byte(fmt.Sprintf("record %d\n", n)), reader)
		if err != nil {
			panic(err)
		}
		stored = append(stored, hashes...)
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		word := strings.Split(in.Text(), " ")
		num := func(i int) int64 { n, _ := strconv.ParseInt(word[i], 10, 64); return n }
		switch word[0] {
		case "head":
			h, err := tlog.TreeHash(num(1), reader)
			fmt.Println(h, err)
		case "record":
			p, err := tlog.ProveRecord(num(1), num(2), reader)
			fmt.Println(p, err)
		case "tree":
			p, err := tlog.ProveTree(num(1), num(2), reader)
			fmt.Println(p, err)
		case "index":
			fmt.Println(tlog.StoredHashIndex(int(num(1)), num(2)))
		case "tile":
			t, err := tlog.ParseTilePath(word[1])
			if err != nil {
				fmt.Println("refused")
				continue
			}
			if t.L < 0 || t.N<<8+int64(t.W) > 700>>uint(8*t.L) {
				fmt.Println(t.L, t.N, t.W)
				continue
			}
			data, err := tlog.ReadTileData(t, reader)
			fmt.Println(t.L, t.N, t.W, hex.EncodeToString(data), err)
		case "skey":
			s, err := note.NewSigner(word[1])
			if err != nil {
				fmt.Println("refused")
				continue
			}
			msg, err := note.Sign(&note.Note{Text: "text\n\nmore\n"}, s)
			fmt.Printf("%q %v\n", msg, err)
		case "vkey":
			v, err := note.NewVerifier(word[1])
			if err != nil {
				fmt.Println("refused")
				continue
			}
			fmt.Printf("%s %08x\n", v.Name(), v.KeyHash())
		case "open":
			v, err := note.NewVerifier(word[1])
			if err != nil {
				panic(err)
			}
			msg, _ := hex.DecodeString(word[2])
			n, err := note.Open(msg, note.VerifierList(v))
			if err != nil {
				fmt.Println("refused")
				continue
			}
			fmt.Printf("%q\n", n.Text)
		}
	}
}
"#;

/// The list of hashes as Go prints it.
fn printed(proof: Option<Vec<Hash>>) -> String {
    let hashes: Vec<String> = proof.unwrap().iter().map(Hash::to_string).collect();
    format!("[{}] <nil>", hashes.join(" "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Questions with our answers.
struct Sheet {
    questions: String,
    answers: Vec<String>,
}

impl Sheet {
    fn ask(&mut self, question: impl AsRef<str>, answer: String) {
        writeln!(self.questions, "{}", question.as_ref()).unwrap();
        self.answers.push(answer);
    }
}

fn ask_about_trees(sheet: &mut Sheet, tree: &Tree) {
    for size in 0..=700 {
        sheet.ask(format!("head {size}"), format!("{} <nil>", tree.head_at(size).unwrap().hash));
    }
    for size in (1..=40).chain([255, 256, 257, 511, 512, 700]) {
        let step = if size <= 40 { 1 } else { 37 };
        for n in (0..size).step_by(step) {
            sheet.ask(format!("record {size} {n}"), printed(tree.prove_record(size, n)));
            sheet.ask(format!("tree {size} {}", n + 1), printed(tree.prove_tree(size, n + 1)));
        }
    }
    for (level, n) in
        [(0, 0), (0, 1), (1, 0), (5, 77), (8, 123_456), (40, 1000), (30, 1 << 31), (0, 1 << 61)]
    {
        let index = Node { level, n }.stored_index().unwrap();
        sheet.ask(format!("index {level} {n}"), index.to_string());
    }
    let plan = ReadPlan::new(tree.head(), &[Node::record(5), Node::record(300)]).unwrap();
    for tile in plan.tiles().iter().copied().chain((1..=5).map(|width| Tile {
        level: Some(0),
        n: 2,
        width,
    })) {
        let data = hex(&tree.tile(&tile).unwrap());
        sheet.ask(
            format!("tile {tile}"),
            format!("{} {} {} {data} <nil>", tile.level.unwrap(), tile.n, tile.width),
        );
    }
    for path in [
        "tile/8/0/000.p/0",
        "tile/8/0/000.p/256",
        "tile/8/0/x001/x234/067",
        "tile/8/0/x000/000",
        "tile/8/0/0",
        "tile/8/0/x001",
        "tile/8/63/x999/999.p/255",
        "tile/8/data/123",
        "tile/8/data/x123/456.p/7",
        "tile/8/-1/000",
        "tile/8/00/000",
        "tile/8/0/000/",
        "tile/8/0/000.p/1.p/1",
        "tile/8/0/+00",
        "tile/8//000",
        "tile/8/0/1000",
    ] {
        let ours = Tile::parse(path).map_or("refused".to_owned(), |tile| {
            let level = tile.level.map_or("-1".to_owned(), |level| level.to_string());
            format!("{level} {} {}", tile.n, tile.width)
        });
        sheet.ask(format!("tile {path}"), ours);
    }
}

fn ask_about_keys(sheet: &mut Sheet) {
    for seed in 0..30_u8 {
        let (skey, vkey) = generate(&format!("db{seed}.test/x"), [seed; 32]);
        let (signer, verifier) = (Signer::parse(&skey).unwrap(), Verifier::parse(&vkey).unwrap());
        let note = sign("text\n\nmore\n", std::slice::from_ref(&signer));
        sheet.ask(format!("skey {skey}"), format!("\"{}\" <nil>", note.replace('\n', "\\n")));
        sheet.ask(
            format!("vkey {vkey}"),
            format!("{} {:08x}", verifier.name(), verifier.key_hash()),
        );
        // A note with one bit turned, in turn everywhere; Go ignores the unused bits at the end of
        // base64.
        let mut changed = note.clone().into_bytes();
        let at = usize::from(seed) * changed.len() / 30;
        changed[at] ^= 1;
        for message in [note.as_bytes(), &changed] {
            let ours = match Note::open(message, std::slice::from_ref(&verifier)) {
                Ok(note) => format!("\"{}\"", note.text.replace('\n', "\\n")),
                Err(_) => "refused".to_owned(),
            };
            sheet.ask(format!("open {vkey} {}", hex(message)), ours);
        }
        for wrong in [
            vkey.replace("db", "bd"),
            vkey.replace('+', "-"),
            format!("{vkey}A"),
            vkey[..20].to_owned(),
        ] {
            let refused = matches!(
                Verifier::parse(&wrong),
                Err(NoteError::MalformedKey | NoteError::KeyHash | NoteError::UnknownAlgorithm(_))
            );
            assert!(refused, "{wrong}");
            sheet.ask(format!("vkey {wrong}"), "refused".to_owned());
        }
    }
}

#[test]
#[ignore = "needs the go command and network: run by cargo xtask test"]
fn everything_is_as_golang_mod_has_it() {
    let mut tree = Tree::new();
    (0..700).for_each(|n| assert!(tree.append(&format!("record {n}\n")).is_ok()));
    let mut sheet = Sheet { questions: String::new(), answers: Vec::new() };
    ask_about_trees(&mut sheet, &tree);
    ask_about_keys(&mut sheet);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("questions");
    fs::write(&file, &sheet.questions).unwrap();
    let output = go_run(PROGRAM, &[&file]);
    let theirs: Vec<&str> = output.lines().collect();
    assert_eq!(theirs.len(), sheet.answers.len());
    for ((question, ours), theirs) in sheet.questions.lines().zip(&sheet.answers).zip(theirs) {
        assert_eq!(ours, theirs, "{question}");
    }
    println!("compared {} answers", sheet.answers.len());
}
