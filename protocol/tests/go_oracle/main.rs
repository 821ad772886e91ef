//! The `go` command's own library as the oracle: a few thousand questions, every answer compared.

mod answers;
mod questions;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The version of golang.org/x/mod that is asked.
const ORACLE_VERSION: &str = "v0.30.0";

#[test]
#[ignore = "needs the go command and network: run by cargo xtask test"]
fn every_answer_is_that_of_the_go_library() {
    let questions = questions::all();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let go = ask_go(folder.path(), &questions)
        .unwrap_or_else(|why| panic!("the Go library cannot be had: {why}"));
    assert_eq!(go.len(), questions.len(), "one answer for each question");
    // Ours reads on where Go gives a go.mod up, so enough of them must be ones that Go reads.
    let read = questions.iter().zip(&go).filter(|(q, go)| q[0] == "go.mod" && *go != "refused");
    let read = read.count();
    assert!(read > 300, "Go read only {read} of the go.mod files");
    let wrong: Vec<String> = questions
        .iter()
        .zip(&go)
        .filter_map(|(question, go)| {
            let ours = answers::answer(question);
            let differs = ours != *go && !answers::is_stricter_on_purpose(question, &ours, go);
            differs.then(|| format!("{question:?}\n  go   {go:?}\n  ours {ours:?}"))
        })
        .collect();
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown}", wrong.len(), questions.len());
    println!("{} answers compared with golang.org/x/mod {ORACLE_VERSION}", questions.len());
}

/// One answer for each question, or why the library cannot be had. A program that does not compile
/// or that fails on a question is told as that.
fn ask_go(folder: &Path, questions: &[Vec<String>]) -> Result<Vec<String>, String> {
    let go_mod = format!(
        "module example.com/oracle\n\ngo 1.24\n\nrequire golang.org/x/mod {ORACLE_VERSION}\n"
    );
    fs::write(folder.join("go.mod"), go_mod).expect("go.mod is written");
    fs::write(folder.join("main.go"), include_str!("oracle.go")).expect("main.go is written");
    let lines: String = questions
        .iter()
        .map(|question| serde_json::to_string(question).expect("strings are JSON") + "\n")
        .collect();
    fs::write(folder.join("questions"), lines).expect("the questions are written");

    run(go(folder).args(["mod", "download", "golang.org/x/mod"]))?;
    let input = fs::File::open(folder.join("questions")).expect("the questions are readable");
    let output = run(go(folder).args(["run", "."]).stdin(Stdio::from(input)))
        .unwrap_or_else(|why| panic!("the oracle failed: {why}"));
    Ok(output.lines().map(|line| serde_json::from_str(line).expect("a JSON string")).collect())
}

fn go(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder)
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off");
    go
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("go cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("go printed no text: {error}"))
}
