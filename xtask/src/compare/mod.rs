//! `cargo xtask compare`: the program beside nginx, and beside other proxies that are named, with the same files, and a
//! cold crawl of a real program's modules. The bench `compare` measures and draws; this finds what it needs, and puts
//! what it leaves into `docs/performance.md` and `docs/compare/`, with versions and the command.

mod options;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::bench::{PAGE, machine, put};
use crate::needs::Machine;
use crate::step::{ask, cargo, run_with, step};

use options::Options;

/// The bench, by the name of its target.
pub(crate) const BENCH: &str = "compare";
/// Where it leaves its tables and charts.
const OUT: &str = "target/compare";
/// Its tables.
const TABLES: &str = "compare.md";
/// Where charts are kept.
const PICTURES: &str = "docs/compare";
/// Everything between these lines of the page is written by the command.
const MARKS: [&str; 2] =
    ["<!-- compare begins: written by `cargo xtask compare` -->", "<!-- compare ends -->"];
/// What it needs of the machine.
const NEEDS: [&str; 3] = ["the nginx program", "toxiproxy", "the go command"];

/// Does what stands after `cargo xtask compare`. `true`: every budget was kept.
///
/// # Errors
/// One line: a wrong word, what is missing, or what could not be measured.
pub(crate) fn command(root: &Path, words: &[&str]) -> Result<bool, String> {
    if let ["--help" | "-h" | "help"] = words {
        print!("{}", options::HELP);
        return Ok(true);
    }
    let options = Options::parse(words)?;
    // Servers run for as long as it lives.
    let mut needs = Machine::new(false);
    step("programs and servers", || {
        let mut all = NEEDS.iter();
        all.try_for_each(|words| needs.have(root, words).map_err(|why| why.to_string()))
    })?;
    let head = head(root, &options, words);
    let out = root.join(OUT);
    // Only what this run measures is looked at.
    let _ = std::fs::remove_dir_all(&out);
    let mut args = vec!["bench", "--package", "dipylon", "--bench", BENCH, "--"];
    let (out_word, passed) = (out.display().to_string(), options.words());
    args.extend(["--out", &out_word]);
    args.extend(passed.iter().map(String::as_str));
    let env = needs.environment()?;
    let ended = step(BENCH, || run_with(root, &cargo(), &args, &env));
    let tables = std::fs::read_to_string(out.join(TABLES))
        .map_err(|error| format!("the bench left no {TABLES}: {error}"))?;
    if !options.is_whole() || ended.lines.iter().any(|line| line.starts_with("LEFT OUT: ")) {
        println!("{PAGE} stays as it is: not everything was measured");
    } else {
        keep(root, &out, &format!("{head}\n{tables}"))?;
    }
    Ok(ended.good)
}

/// What the numbers depend on: machine, versions, and the command, with the names of other programs in place of where
/// they lie.
fn head(root: &Path, options: &Options, words: &[&str]) -> String {
    let mut text = format!("{}\n", machine(root));
    let commit = ask(root, "git", &["describe", "--always", "--dirty"]).unwrap_or_default();
    let _ = write!(text, "dipylon {}", commit.trim());
    // It says so on standard error.
    let nginx = Command::new("nginx").arg("-v").output().ok();
    let nginx = nginx.map(|said| String::from_utf8_lossy(&said.stderr).into_owned());
    let nginx = nginx.as_deref().and_then(|said| said.trim().rsplit_once('/')).map(|(_, v)| v);
    let _ = write!(text, ", nginx {}", nginx.unwrap_or("of an unknown version"));
    for (kind, path) in &options.proxies {
        let _ = write!(text, ", {kind} {}", version(root, path));
    }
    let words: Vec<String> = words.iter().map(|word| without_path(word)).collect();
    let command = ["cargo xtask compare".to_owned()].into_iter().chain(words);
    let command: Vec<String> = command.collect();
    let _ = writeln!(text, ": `{}`", command.join(" "));
    text
}

/// What a Go program was built from.
fn version(root: &Path, path: &str) -> String {
    let said = ask(root, "go", &["version", "-m", path]).unwrap_or_default();
    let row = said.lines().find_map(|line| line.trim().strip_prefix("mod\t"));
    let version = row.and_then(|row| row.split('\t').nth(1)).unwrap_or("of an unknown version");
    version.to_owned()
}

/// `athens=./bin/athens` says on the page only which kind it is.
fn without_path(word: &str) -> String {
    match word.split_once('=') {
        Some((kind, _)) => format!("{kind}=…"),
        None => word.to_owned(),
    }
}

fn keep(root: &Path, out: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{PAGE}: {error}");
    for entry in std::fs::read_dir(out).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(".svg") {
            let picture = root.join(PICTURES).join(name);
            std::fs::copy(entry.path(), picture).map_err(failed)?;
        }
    }
    let page = std::fs::read_to_string(root.join(PAGE)).map_err(failed)?;
    let page = put(&page, MARKS, text)
        .ok_or(format!("{PAGE} lacks the marks between which the comparison stands"))?;
    std::fs::write(root.join(PAGE), page).map_err(failed)
}
