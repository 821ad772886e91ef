//! The zip check against golang/mod itself: `zip.Create`, `zip.CheckZip`, `zip.Unzip`,
//! `dirhash.HashZip`.

mod go_run;
mod zip_files;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use dipylon_protocol::dirhash::hash_go_mod;
use dipylon_protocol::zip::{ZipCheck, fold};
use dipylon_protocol::{ModulePath, Version};
use go_run::{go, go_run};
use zip_files::*;

/// For each zip in the folder: whether Go unzips it, and its h1. Writes a zip of its own for each
/// folder it finds.
const PROGRAM: &str = r#"
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

func main() {
	root := os.Args[1]
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	trees, _ := filepath.Glob(filepath.Join(root, "*.tree"))
	for _, tree := range trees {
		f, err := os.Create(tree + ".zip")
		if err != nil {
			panic(err)
		}
		if err := zip.CreateFromDir(f, m, tree); err != nil {
			panic(err)
		}
		f.Close()
	}
	zips, _ := filepath.Glob(filepath.Join(root, "*.zip"))
	sort.Strings(zips)
	for _, name := range zips {
		verdict := "ok"
		dir, _ := os.MkdirTemp(root, "unzip")
		if err := zip.Unzip(dir, m, name); err != nil {
			verdict = "refused"
		}
		hash, err := dirhash.HashZip(name, dirhash.Hash1)
		if err != nil {
			hash = "-"
		}
		fmt.Println(filepath.Base(name), verdict, hash)
	}
}
"#;

/// Prints every character whose folding is not itself, and what it is.
const FOLD_PROGRAM: &str = r#"
package main

import (
	"fmt"
	"unicode"
)

func main() {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		least := r
		for {
			last := least
			if least = unicode.SimpleFold(last); least <= last {
				break
			}
		}
		if 'A' <= least && least <= 'Z' {
			least += 'a' - 'A'
		}
		if least != r && (r < 0xd800 || r > 0xdfff) {
			fmt.Println(r, least)
		}
	}
}
"#;

/// Zips that Go accepts and this check refuses, with the reason: the strictness its documentation
/// names.
const STRICTER: &[(&str, &str)] = &[
    ("preamble", "not_a_zip"),
    ("gap", "unknown_record"),
    ("hidden", "entry_mismatch"),
    ("symlink", "symlink"),
    ("fifo", "irregular_file"),
    ("local-name", "entry_mismatch"),
    ("local-size", "size_mismatch"),
    ("local-crc", "crc_mismatch"),
];

fn hand_made() -> Vec<(&'static str, Vec<u8>)> {
    let files =
        || vec![Item::new("go.mod", "module example.com/m\n"), Item::new("a/b.go", "package b\n")];
    let with = |item: Item| Archive::of(files().into_iter().chain([item]).collect()).build();
    let plain = |name: &str| Item::new(name, "x").stored();
    let mut cases = vec![
        ("plain", Archive::of(files()).build()),
        ("empty", Archive::default().build()),
        ("zip64", Archive { zip64: true, saturated: true, ..Archive::of(files()) }.build()),
        ("comment", Archive { comment: b"hello".to_vec(), ..Archive::of(files()) }.build()),
        ("reversed", Archive { reversed_directory: true, ..Archive::of(files()) }.build()),
        ("directories", with(Item::new("d/", "").stored())),
        ("root-directory", with(Item::new("", "").stored())),
        (
            "directory-twice",
            Archive::of(vec![Item::new("d/", "").stored(), Item::new("d/", "").stored()]).build(),
        ),
        ("directory-deflated", with(Item::new("d/", ""))),
        ("preamble", Archive { preamble: b"#!\n".to_vec(), ..Archive::of(files()) }.build()),
        ("gap", with(Item { gap: b"gap".to_vec(), ..plain("x") })),
        ("hidden", with(Item { in_directory: 0, ..plain("x") })),
        ("symlink", with(plain("x").mode(0o120_777))),
        ("fifo", with(plain("x").mode(0o010_644))),
        ("local-size", with(Item { local: Some([0x8cdc_1683, 1, 2]), ..plain("x") })),
        ("local-crc", with(Item { local: Some([1, 1, 1]), ..plain("x") })),
        ("crc", with(Item { central_edit: Some((16, 1)), local: Some([1, 1, 1]), ..plain("x") })),
        ("directory-offset", Archive { extra_offset: 1, ..Archive::of(files()) }.build()),
        ("encrypted", with(Item { method: 99, flags: 1, ..plain("x") })),
        ("foreign", with(Item { name: b"example.com/m@v1.0.1/x".to_vec(), ..plain("x") })),
        ("bad-utf8", with(Item { name: [PREFIX.as_bytes(), b"\xff"].concat(), ..plain("x") })),
    ];
    let mut renamed = with(plain("x"));
    let at = renamed.windows(PREFIX.len() + 1).position(|window| window.ends_with(b"/x")).unwrap();
    renamed[at + PREFIX.len()] = b'y';
    cases.push(("local-name", renamed));
    let descriptors = ["signed32", "bare32", "signed64", "bare64"];
    for (name, descriptor) in descriptors.into_iter().zip(DESCRIPTORS) {
        cases.push((name, with(Item::new("s", "streamed").streamed(descriptor))));
    }
    let names: &[(&str, &[&str])] = &[
        ("name-case", &["x/a", "X/b"]),
        ("name-kelvin", &["k", "\u{212a}"]),
        ("name-long-s", &["s", "\u{17f}"]),
        ("name-sharp-s", &["stra\u{df}e", "strasse"]),
        ("name-dir-file", &["x", "x/y"]),
        ("name-file-dir", &["x/y", "x"]),
        ("name-twice", &["x", "x"]),
        ("name-gomod-case", &["GO.MOD"]),
        ("name-gomod-nested", &["sub/go.mod"]),
        ("name-gomod-nested-case", &["sub/Go.Mod"]),
        ("name-gomod-dir", &["sub/go.mod/x"]),
        ("name-dots", &["../x"]),
        ("name-dot", &["./x"]),
        ("name-slashes", &["x//y"]),
        ("name-absolute", &["/x"]),
        ("name-backslash", &["x\\y"]),
        ("name-con", &["con.txt"]),
        ("name-space", &["a b.go"]),
        ("name-unicode", &["\u{4e16}\u{754c}.go"]),
        ("name-emoji", &["\u{1f600}.go"]),
        ("name-trailing-dot", &["x."]),
        ("name-trailing-space", &["x "]),
        ("name-tilde", &["x~1"]),
        ("name-quote", &["it's"]),
        ("name-star", &["*"]),
        ("name-vendor", &["vendor/x/y.go"]),
    ];
    for (case, names) in names {
        let items = names.iter().map(|name| plain(name)).collect();
        cases.push((case, Archive::of(items).build()));
    }
    cases
}

/// Folders for Go to make zips of, from a small generator of numbers.
fn write_trees(root: &Path) {
    let mut state = 1_u64;
    let mut next = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for tree in 0..40 {
        let tree = root.join(format!("t{tree:02}.tree"));
        fs::create_dir(&tree).unwrap();
        for file in 0..next(30) {
            let depth = next(4);
            let folder =
                (0..depth).fold(tree.clone(), |folder, _| folder.join(format!("d{}", next(5))));
            fs::create_dir_all(&folder).unwrap();
            let content: Vec<u8> =
                (0..next(20_000)).map(|n| if next(3) == 0 { n as u8 } else { b'a' }).collect();
            fs::write(folder.join(format!("f{file}.go")), content).unwrap();
        }
        if next(2) == 0 {
            fs::write(tree.join("go.mod"), "module example.com/m\n").unwrap();
        }
    }
}

#[test]
#[ignore = "needs the go command and network: run by cargo xtask test"]
fn the_same_zips_are_accepted_with_the_same_hash() {
    let root = tempfile::tempdir().unwrap();
    write_trees(root.path());
    for (name, zip) in hand_made() {
        fs::write(root.path().join(format!("{name}.zip")), zip).unwrap();
    }
    let output = go_run(PROGRAM, &[root.path()]);
    let stricter: HashMap<&str, &str> = STRICTER.iter().copied().collect();
    let mut compared = 0;
    let mut differences = Vec::new();
    for line in output.lines() {
        let [file, verdict, hash] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let ours = check(&fs::read(root.path().join(file)).unwrap());
        let name = file.strip_suffix(".zip").unwrap();
        let agrees = match (&ours, verdict, stricter.get(name)) {
            (Ok(summary), "ok", None) => summary.h1.to_string() == hash,
            (Err(error), "ok", Some(reason)) => error.reason() == *reason,
            (Err(_), "refused", None) => true,
            _ => false,
        };
        if !agrees {
            differences.push(format!("{line}: {ours:?}"));
        }
        compared += 1;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared >= 40 + 45, "{compared}");
    println!("compared {compared} zips");
}

#[test]
#[ignore = "needs the go command and network: run by cargo xtask test"]
fn every_character_folds_as_in_go() {
    let output = go_run(FOLD_PROGRAM, &[]);
    let folded: HashMap<u32, u32> = output
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap()))
        .collect();
    assert!(folded.len() > 1000, "{}", folded.len());
    for c in '\0'..=char::MAX {
        let want = folded.get(&u32::from(c)).map_or(c, |&to| char::from_u32(to).unwrap());
        assert_eq!(*fold(&c.to_string()), want.to_string(), "{:X}", u32::from(c));
    }
}

#[test]
#[ignore = "needs the go command and network: run by cargo xtask test"]
fn real_modules_have_the_hashes_of_the_checksum_database() {
    let modules = [
        "golang.org/x/text@v0.14.0",
        "golang.org/x/mod@v0.30.0",
        "rsc.io/quote@v1.5.2",
        "github.com/pkg/errors@v0.8.0",
        "github.com/BurntSushi/toml@v1.3.2",
        "gopkg.in/yaml.v3@v3.0.1",
    ];
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("go.mod"), "module scratch\n").unwrap();
    let arguments: Vec<&str> = ["mod", "download", "-json"].into_iter().chain(modules).collect();
    let output = go(scratch.path(), &arguments, &[])
        .unwrap_or_else(|why| panic!("the modules cannot be had: {why}"));
    let mut compared = 0;
    for answer in serde_json::Deserializer::from_str(&output).into_iter::<serde_json::Value>() {
        let answer = answer.unwrap();
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        let (module, version) = (text("Path"), text("Version"));
        let mut check =
            ZipCheck::new(&ModulePath::parse(&module).unwrap(), &Version::parse(&version).unwrap());
        let zip = fs::read(text("Zip")).unwrap();
        zip.chunks(1500).for_each(|piece| check.push(piece).unwrap());
        let summary = check.finish().unwrap();
        assert_eq!(summary.h1.to_string(), text("Sum"), "{module}");
        let go_mod = fs::read(text("GoMod")).unwrap();
        assert_eq!(hash_go_mod(&go_mod).to_string(), text("GoModSum"), "{module}");
        if let Some(in_zip) = summary.go_mod {
            assert_eq!(in_zip, go_mod, "{module}");
        }
        compared += 1;
    }
    assert_eq!(compared, modules.len());
}
