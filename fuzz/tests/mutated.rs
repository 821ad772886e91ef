//! Every property on samples that a seeded generator has changed: the same inputs in every run.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use dipylon_fuzz::TARGETS;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

/// Changed samples for each target in the usual run.
const ROUNDS: usize = 20_000;
/// The same under `--slow`.
const SLOW_ROUNDS: usize = 200_000;
/// Changes made to one sample, at most.
const MAX_CHANGES: u64 = 6;
/// No sample grows over this.
const MAX_SAMPLE_BYTES: usize = 16 << 10;
/// Bytes that mean something to one reader or another.
const TOKENS: &[&[u8]] = &[
    b"!",
    b"@",
    b"/",
    b"..",
    b"%",
    b"%2F",
    b"%00",
    b"\0",
    b"\n",
    b"\r\n",
    b"v1",
    b".zip",
    b".info",
    b"+incompatible",
    b"-0.20200101000000-abcdefabcdef",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b"*",
    b"?",
    b"retract ",
    b"module ",
    b"//",
    b"\xe2\x80\x94 ",
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"18446744073709551615",
    b"<html>",
    b"\xef\xbb\xbf",
];

#[test]
fn properties_hold_for_changed_samples() {
    run(ROUNDS);
}

#[test]
#[ignore = "slow: ten times as many as the usual run; run by cargo xtask test --slow"]
fn slow_properties_hold_for_many_changed_samples() {
    run(SLOW_ROUNDS);
}

fn run(rounds: usize) {
    for (index, (name, property)) in TARGETS.iter().enumerate() {
        let samples = samples(name);
        assert!(!samples.is_empty(), "{name} has no samples");
        samples.iter().for_each(|sample| property(sample));
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1));
        for round in 0..rounds {
            let sample = changed(&samples, &mut random);
            // A panic tells the sample: it is what to keep under `seeds/`.
            let shown = Shown { name, round, sample: &sample };
            property(&sample);
            std::mem::forget(shown);
        }
    }
}

/// Prints its sample when it is dropped, which only a panic makes happen.
struct Shown<'a> {
    name: &'a str,
    round: usize,
    sample: &'a [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        println!("{} in round {}: {}", self.name, self.round, self.sample.escape_ascii());
    }
}

/// What a target starts from: files and lines of the golden tests, and what once broke a property,
/// which stays below `fuzz/seeds/NAME`.
fn samples(name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = match name {
        "names" => &["path", "version"][..],
        "note" | "tree" | "lookup" => &["sumdb"],
        other => &[other],
    };
    let mut samples: Vec<Vec<u8>> = Vec::new();
    for folder in golden {
        for file in files(&root.join("../protocol/testdata").join(folder)) {
            let bytes = fs::read(file).unwrap();
            samples.extend(bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
            samples.push(bytes);
        }
    }
    samples.extend(files(&root.join("seeds").join(name)).map(|file| fs::read(file).unwrap()));
    if name == "zip" {
        samples.extend([CompressionMethod::Stored, CompressionMethod::Deflated].map(module_zip));
    }
    samples.retain(|sample| sample.len() <= MAX_SAMPLE_BYTES);
    samples
}

/// Every file below a folder, in the order of names; none where there is no folder.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut folders } else { &mut found }.push(path);
        }
    }
    found.sort();
    found.into_iter()
}

fn module_zip(method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, text) in [("go.mod", "module example.com/mod\n"), ("sub/a.go", "package sub\n")] {
        zip.start_file(format!("example.com/mod@v1.0.0/{name}"), options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn changed(samples: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut sample = random.one(samples).clone();
    for _ in 0..=random.below(MAX_CHANGES) {
        change(&mut sample, samples, random);
    }
    sample.truncate(MAX_SAMPLE_BYTES);
    sample
}

fn change(sample: &mut Vec<u8>, samples: &[Vec<u8>], random: &mut Random) {
    let at = random.index(sample.len() + 1);
    let end = at + random.index(sample.len() + 1 - at);
    match random.below(7) {
        0 => drop(sample.splice(at..at, random.one(TOKENS).iter().copied())),
        1 => drop(sample.splice(at..end, [])),
        2 => {
            let again = sample[at..end].to_vec();
            drop(sample.splice(at..at, again));
        }
        3 => {
            let other = random.one(samples);
            let from = random.index(other.len() + 1);
            drop(sample.splice(at..end, other[from..].iter().copied()));
        }
        4 => sample.truncate(at),
        5 => drop(sample.splice(at..at, [random.below(256) as u8])),
        _ => {
            if let Some(byte) = sample.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }
}
