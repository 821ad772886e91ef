//! What the bench is told.

use std::path::PathBuf;

use dipylon_testkit::measure::collector;
use dipylon_testkit::measure::proxies::{Kind, Program};

/// Ours.
const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// The share of traces that is kept.
const TRACED: &str = "0.01";
/// Rounds of a crawl: each has every server once.
const CRAWL_ROUNDS: usize = 7;
/// The most that may be asked for.
const ROUNDS_MAX: usize = 1_000;

pub(crate) struct Options {
    /// Whether it is to be measured; else everything runs once, and little of it.
    pub(crate) is_full: bool,
    pub(crate) warm: bool,
    pub(crate) crawl: bool,
    pub(crate) crawl_rounds: usize,
    /// Ours, and after it those that are named.
    pub(crate) programs: Vec<Program>,
    /// Where tables and charts are left.
    pub(crate) out: PathBuf,
}

impl Options {
    /// # Errors
    /// The word that cannot be.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let collector = collector::start();
        let traced = [
            ("ATHENS_TRACE_EXPORTER", "otlp"),
            ("ATHENS_TRACE_EXPORTER_URL", &collector),
            ("DIPYLON_OTLP_PROTOCOL", "http"),
            ("ATHENS_TRACE_SAMPLING_FRACTION", TRACED),
        ];
        let more = traced.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let ours = Program {
            name: "dipylon".to_owned(),
            kind: Kind::Dipylon,
            path: PROGRAM.into(),
            more: more.into(),
        };
        let mut options = Self {
            is_full: false,
            warm: true,
            crawl: true,
            crawl_rounds: 1,
            programs: vec![ours],
            out: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compare"),
        };
        while let Some(word) = args.next() {
            let mut value = || args.next().ok_or(format!("{word} wants a value"));
            match word.as_str() {
                "--bench" => (options.is_full, options.crawl_rounds) = (true, CRAWL_ROUNDS),
                "--crawl" => options.warm = false,
                "--warm" => options.crawl = false,
                "--rounds" => {
                    let rounds =
                        value()?.parse().ok().filter(|rounds| (1..=ROUNDS_MAX).contains(rounds));
                    options.crawl_rounds =
                        rounds.ok_or(format!("--rounds wants a number from 1 to {ROUNDS_MAX}"))?;
                }
                "--proxy" => {
                    let program = options.program(&value()?)?;
                    options.programs.push(program);
                }
                "--out" => options.out = value()?.into(),
                _ => return Err(format!("no such word: {word}")),
            }
        }
        Ok(options)
    }

    /// `KIND=PATH`. A second dipylon is given what ours is.
    fn program(&self, word: &str) -> Result<Program, String> {
        let (kind, path) =
            word.split_once('=').ok_or(format!("--proxy wants KIND=PATH, not {word}"))?;
        let (kind, path) = (Kind::parse(kind)?, PathBuf::from(path));
        if !path.is_file() {
            return Err(format!("{} is no file", path.display()));
        }
        let name = match kind {
            Kind::Dipylon => "dipylon, another".to_owned(),
            _ => kind.name().to_owned(),
        };
        let more = if kind == Kind::Dipylon { self.programs[0].more.clone() } else { Vec::new() };
        Ok(Program { name, kind, path, more })
    }
}
