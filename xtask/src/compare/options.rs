//! What stands after `cargo xtask compare`.

/// The kinds of proxies that are known how to be started.
const KINDS: [&str; 3] = ["athens", "goproxy", "dipylon"];
/// The most rounds that may be asked for.
const ROUNDS_MAX: u32 = 1_000;

pub(super) const HELP: &str = "usage: cargo xtask compare [FLAG [VALUE]]...

  Without flags: what a warm request costs beside nginx, what ninety-nine in a hundred take at most with 32
  connections, and a cold crawl of a real program's modules, straight from the upstream (nginx on loopback) and
  through us, also with 50 ms before every answer of the upstream. Some minutes; a budget that is not kept is a
  failure. Everything together is written into docs/performance.md, with charts in docs/compare.

  --warm            only the warm files; the page stays as it is
  --crawl           only the crawl; the page stays as it is
  --rounds N        rounds of the crawl
  --proxy KIND=PATH beside another proxy too, whose program lies there; it is given an empty folder, PATH, HOME and
                    TMPDIR, a disk store, one upstream, no checksum database, and an address by
      athens        ATHENS_PORT, ATHENS_STORAGE_TYPE=disk, ATHENS_DISK_STORAGE_ROOT, ATHENS_GO_BINARY_ENV_VARS,
                    ATHENS_LOG_LEVEL=info
      goproxy       goproxy server --address ADDRESS --cacher-dir FOLDER, with GOPROXY, GOSUMDB, GOMODCACHE
      dipylon       what ours is given: another build of it
                    athens and goproxy need the go command
";

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `--warm` or `--crawl`; nothing for both.
    only: Option<String>,
    rounds: Option<u32>,
    /// Kinds and paths.
    pub(super) proxies: Vec<(String, String)>,
}

impl Options {
    /// Reads the words of the command.
    ///
    /// # Errors
    /// One line: which word is wrong.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let (mut options, mut words) = (Self::default(), words.iter());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            match *word {
                "--warm" | "--crawl" if options.only.is_some() => {
                    return Err("--warm and --crawl: leave both out for both".to_owned());
                }
                "--warm" | "--crawl" => options.only = Some((*word).to_owned()),
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|n| (1..=ROUNDS_MAX).contains(n));
                    let wrong = || format!("--rounds wants a number from 1 to {ROUNDS_MAX}");
                    options.rounds = Some(rounds.ok_or_else(wrong)?);
                }
                "--proxy" => options.proxies.push(proxy(value()?)?),
                _ => return Err(format!("no such word: {word}; --help lists them")),
            }
        }
        Ok(options)
    }

    /// Whether everything that stands on the page is measured.
    pub(super) fn is_whole(&self) -> bool {
        self.only.is_none()
    }

    /// For the bench.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.only.iter().cloned().collect();
        if let Some(rounds) = self.rounds {
            words.extend(["--rounds".to_owned(), rounds.to_string()]);
        }
        for (kind, path) in &self.proxies {
            words.extend(["--proxy".to_owned(), format!("{kind}={path}")]);
        }
        words
    }
}

fn proxy(word: &str) -> Result<(String, String), String> {
    let (kind, path) =
        word.split_once('=').ok_or(format!("--proxy wants KIND=PATH, not {word}"))?;
    if !KINDS.contains(&kind) {
        return Err(format!("no kind of proxy is called {kind:?}: {} are", KINDS.join(", ")));
    }
    // The bench runs in another folder.
    let path = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
    if !path.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    Ok((kind.to_owned(), path.display().to_string()))
}
