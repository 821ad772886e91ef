//! What the gateway asks of the protocol on its hot path and on a miss, function by function.

use std::hint::black_box;
use std::io::{Cursor, Write as _};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use dipylon_protocol::dirhash::{Hash1Builder, hash_go_mod};
use dipylon_protocol::list::{filter_list, latest_of};
use dipylon_protocol::pattern::Patterns;
use dipylon_protocol::pseudo::Pseudo;
use dipylon_protocol::sumdb::note::{self, Note, Signer, Verifier};
use dipylon_protocol::sumdb::proof::{check_record, check_tree};
use dipylon_protocol::sumdb::tlog::record_hash;
use dipylon_protocol::sumdb::tree::Tree;
use dipylon_protocol::zip::ZipCheck;
use dipylon_protocol::{GoMod, Info, ModulePath, Route, Version, path, semver};
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const MODULE: &str = "github.com/Azure/azure-sdk-for-go";
const PSEUDO: &str = "v0.0.0-20191109021931-daa7c04131f5";
const ESCAPED: &str = "/github.com/!azure/azure-sdk-for-go/@v/v1.2.3-beta.1.info";
/// Versions of a module that has many.
const VERSIONS: usize = 1_000;
/// Requirements of a large go.mod.
const REQUIRED: usize = 200;
/// A zip of many small files, and of how many bytes in all.
const ZIP_FILES: usize = 100;
const ZIP_BYTES: usize = 1024 * 1024;
/// Records of a log; the public one has some 2^25, each doubling adds one hash to a proof.
const RECORDS: u64 = 1 << 14;

/// CPU time of this thread (Linux's `schedstat`): on a machine that has more to do, the time on the wall
/// would say more of the others than of us. The kernel brings the count up to date when the thread yields.
fn cpu_time() -> Duration {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux keeps it");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("its first word is a number"))
}

fn bench<T>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut call: impl FnMut() -> T) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let before = cpu_time();
            for _ in 0..calls {
                black_box(call());
            }
            cpu_time() - before
        });
    });
}

fn names(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("protocol names");
    let escaped = "github.com/!azure/azure-sdk-for-go";
    bench(group, "escape a path", || path::escape(black_box(MODULE)));
    bench(group, "unescape a path", || path::unescape(black_box(escaped)).expect("escaped"));
    bench(group, "parse a module path", || ModulePath::parse(black_box(MODULE)).expect("a path"));
    let version = "v1.2.3-beta.1";
    bench(group, "parse a version", || Version::parse(black_box(version)).expect("a version"));
    bench(group, "parse a pseudo-version", || {
        Pseudo::parse(black_box(PSEUDO)).expect("one").rfc3339().is_some()
    });
    bench(group, "compare versions", || {
        semver::compare(black_box("v1.2.3-beta.11"), black_box("v1.2.3-beta.2"))
    });
    bench(group, "parse a route", || Route::parse(black_box(ESCAPED)).expect("a route"));
    let patterns = Patterns::parse("*.corp.example.com,github.com/private/*,example.com/x");
    bench(group, "match patterns", || patterns.matches(black_box(MODULE)));
}

fn answers(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("protocol answers");
    let info = br#"{"Version":"v1.2.3","Time":"2024-05-06T07:08:09Z","Origin":{"VCS":"git"}}"#;
    bench(group, "parse an info", || black_box(Info::parse(black_box(info))).expect("an info"));
    let module = ModulePath::parse("example.com/m").expect("a module path");
    let list: String =
        (0..VERSIONS).map(|n| format!("v1.{}.{}\n", (n * 7) % 97, (n * 13) % 101)).collect();
    bench(group, "filter and sort a list of 1,000", || {
        filter_list(&module, black_box(list.as_bytes())).expect("a list")
    });
    let versions = filter_list(&module, list.as_bytes()).expect("a list");
    bench(group, "latest of a list of 1,000", || {
        black_box(latest_of(black_box(&versions)).is_some())
    });
    let go_mod = go_mod();
    group.throughput(Throughput::Bytes(go_mod.len() as u64));
    bench(group, "parse a go.mod of 200 requirements", || {
        GoMod::parse(black_box(go_mod.as_bytes())).expect("a go.mod")
    });
    bench(group, "hash a go.mod of 200 requirements", || {
        black_box(hash_go_mod(black_box(go_mod.as_bytes())))
    });
}

fn go_mod() -> String {
    let requires: String =
        (0..REQUIRED).map(|n| format!("\tgithub.com/owner{n}/repository v1.{n}.0\n")).collect();
    format!("module example.com/m\n\ngo 1.21\n\nrequire (\n{requires})\n")
}

fn zips(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("protocol zips");
    let module = ModulePath::parse("example.com/m").expect("a module path");
    let version = Version::parse("v1.0.0").expect("a version");
    let zip = zip_of_small_files();
    // Inflating and hashing what comes out is most of a miss's own work.
    group.throughput(Throughput::Bytes(ZIP_BYTES as u64));
    bench(group, "check and hash a zip of 1 MiB", || {
        let mut check = ZipCheck::new(&module, &version);
        for chunk in zip.chunks(64 * 1024) {
            check.push(black_box(chunk)).expect("a good zip");
        }
        check.finish().expect("a good zip")
    });
    let files: Vec<(String, [u8; 32])> = (0..ZIP_FILES)
        .map(|n| (format!("example.com/m@v1.0.0/f{n}.go"), Sha256::digest([n as u8]).into()))
        .collect();
    group.throughput(Throughput::Elements(ZIP_FILES as u64));
    bench(group, "sum up the hashes of 100 files", || {
        let mut builder = Hash1Builder::default();
        files.iter().for_each(|(name, hash)| builder.add(name.clone(), *hash));
        builder.finish()
    });
}

/// As the `go` command packs it: deflated, each file with lines that repeat as code does.
fn zip_of_small_files() -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: &str, text: &str| {
        writer.start_file(format!("example.com/m@v1.0.0/{name}"), options).expect("a name");
        writer.write_all(text.as_bytes()).expect("written to memory");
    };
    add("go.mod", "module example.com/m\n");
    for file in 0..ZIP_FILES - 1 {
        let mut text = String::with_capacity(ZIP_BYTES / ZIP_FILES + 100);
        let mut line = file;
        while text.len() < ZIP_BYTES / ZIP_FILES {
            line = line.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            text.push_str(&format!(
                "\tif value{} != {line} {{ return errors.New(name) }}\n",
                line % 97
            ));
        }
        add(&format!("f{file}.go"), &text);
    }
    writer.finish().expect("a zip in memory").into_inner()
}

fn checksums(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("protocol checksums");
    let (signer_key, verifier_key) = note::generate("sum.test", [7; 32]);
    let signer = Signer::parse(&signer_key).expect("a key");
    let verifiers = [Verifier::parse(&verifier_key).expect("a key")];
    let mut tree = Tree::new();
    for id in 0..RECORDS {
        tree.append(&format!("example.com/m{id} v1.0.0 h1:AAAA=\n")).expect("a record");
    }
    let head = tree.signed_head(&signer);
    bench(group, "open a signed tree head", || {
        Note::open(black_box(head.as_bytes()), &verifiers).expect("signed")
    });
    let (new, old) = (tree.head(), tree.head_at(RECORDS / 3).expect("a smaller tree"));
    let id = RECORDS / 5;
    let record = record_hash(tree.record(id).expect("a record").as_bytes());
    let of_record = tree.prove_record(RECORDS, id).expect("a proof");
    bench(group, "check a record in a log of 16,384", || {
        check_record(black_box(&of_record), &new, id, record).expect("proven")
    });
    let of_tree = tree.prove_tree(RECORDS, RECORDS / 3).expect("a proof");
    bench(group, "check a log against an older one", || {
        check_tree(black_box(&of_tree), &new, &old).expect("proven")
    });
}

criterion_group!(benches, names, answers, zips, checksums);
criterion_main!(benches);
