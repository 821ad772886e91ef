//! What stands after `cargo xtask loadtest`.

use std::time::Duration;

/// The scenarios, in the order in which they run; each is a file of `loadtest/`.
pub(super) const SCENARIOS: &[&str] = &["hot", "stampede", "mixed"];

/// The longest that a scenario may be told to last.
const MAX_DURATION: Duration = Duration::from_secs(3600);
/// The most virtual users: each is a JavaScript engine of some megabytes.
const MAX_VUS: u32 = 2_000;

pub(super) const HELP: &str = "usage: cargo xtask loadtest [hot] [stampede] [mixed] [FLAG VALUE]...

  --smoke                 short and gentle, against the build that the tests use; without it: --release
  --vus N                 virtual users
  --duration TIME         of each scenario: 500ms, 30s, 2m
  --rate N                requests a second of the scenario mixed
  --patience N            multiplies the limits on time, for slow machines
  --upstream-delay TIME   how late every answer of the upstream is
  --lock-ttl TIME         ATHENS_REDIS_LOCK_TTL: the longest that a lock is renewed
  --lock-timeout TIME     ATHENS_REDIS_LOCK_TIMEOUT: how long a silent Redis is asked again
  --lock-lease TIME       DIPYLON_LOCK_LEASE: how long a lock outlives its holder
  --stash-timeout TIME    ATHENS_STASH_TIMEOUT: how long a fetch with its save may take
  --env NAME=VALUE        any other variable of both gateways
  --break lock            each gateway locks for itself: stampede must fail
  --break errors          upstream answers every zip with 500: all must fail
  --break bytes           upstream answers with other zips, sound and of the right length: all must fail
";

/// A part of the world that is broken on purpose, to see that the load test notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Lock,
    Errors,
    Bytes,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) scenarios: Vec<&'static str>,
    pub(super) smoke: bool,
    pub(super) vus: u32,
    pub(super) duration: Duration,
    /// `None`: the scenario's own.
    pub(super) rate: Option<u32>,
    /// Multiplies the limits on time.
    pub(super) patience: u32,
    pub(super) upstream_delay: Duration,
    pub(super) broken: Option<Broken>,
    /// Variables of the gateways.
    pub(super) env: Vec<(String, String)>,
}

impl Options {
    /// Reads the words of the command.
    ///
    /// # Errors
    /// One line: which word is wrong.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let smoke = words.contains(&"--smoke");
        let mut options = Self::default_of(smoke);
        let mut words = words.iter().copied().filter(|word| *word != "--smoke");
        while let Some(word) = words.next() {
            if word.starts_with('-') {
                let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
                options.set(word, value).map_err(|why| format!("{word} {value}: {why}"))?;
            } else {
                let known = SCENARIOS.iter().find(|name| **name == word);
                let name = known.ok_or_else(|| {
                    format!("no scenario {word:?}: there are {}", SCENARIOS.join(", "))
                })?;
                options.scenarios.push(name);
            }
        }
        if options.scenarios.is_empty() {
            options.scenarios = SCENARIOS.to_vec();
        }
        Ok(options)
    }

    fn default_of(smoke: bool) -> Self {
        Self {
            scenarios: Vec::new(),
            smoke,
            vus: if smoke { 12 } else { 30 },
            duration: Duration::from_secs(if smoke { 12 } else { 30 }),
            rate: None,
            patience: 1,
            upstream_delay: Duration::from_millis(100),
            broken: None,
            env: Vec::new(),
        }
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        match flag {
            "--vus" => self.vus = number(value, MAX_VUS)?,
            "--rate" => self.rate = Some(number(value, 1_000_000)?),
            "--patience" => self.patience = number(value, 100)?,
            "--duration" => self.duration = time(value)?,
            "--upstream-delay" => self.upstream_delay = time(value)?,
            "--lock-ttl" => self.tell_secs("ATHENS_REDIS_LOCK_TTL", value)?,
            "--lock-timeout" => self.tell_secs("ATHENS_REDIS_LOCK_TIMEOUT", value)?,
            "--lock-lease" => self.tell_secs("DIPYLON_LOCK_LEASE", value)?,
            "--stash-timeout" => self.tell_secs("ATHENS_STASH_TIMEOUT", value)?,
            "--env" => {
                let (name, value) = value.split_once('=').ok_or("want NAME=VALUE")?;
                self.env.push((name.to_owned(), value.to_owned()));
            }
            "--break" => {
                self.broken = Some(match value {
                    "lock" => Broken::Lock,
                    "errors" => Broken::Errors,
                    "bytes" => Broken::Bytes,
                    _ => return Err("there are lock, errors, bytes".to_owned()),
                });
            }
            _ => return Err("no such flag: see `cargo xtask loadtest --help`".to_owned()),
        }
        Ok(())
    }

    /// The gateways count in whole seconds.
    fn tell_secs(&mut self, name: &str, value: &str) -> Result<(), String> {
        let time = time(value)?;
        if time.subsec_millis() != 0 || time.is_zero() {
            return Err("want whole seconds, from 1s".to_owned());
        }
        self.env.push((name.to_owned(), time.as_secs().to_string()));
        Ok(())
    }
}

fn number(text: &str, most: u32) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("want a number from 1 to {most}"))
}

/// `500ms`, `30s`, `2m`.
fn time(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit_ms = match &text[at..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    let count = text[..at].parse::<u64>().ok();
    let ms = count.and_then(|count| count.checked_mul(unit_ms)).filter(|_| unit_ms > 0);
    let time = ms.map(Duration::from_millis).filter(|time| *time <= MAX_DURATION);
    time.ok_or_else(|| format!("want a time such as 500ms, 30s or 2m, up to {MAX_DURATION:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_no_words_all_scenarios_run() {
        let options = Options::parse(&[]).unwrap();
        assert_eq!(options.scenarios, SCENARIOS);
        assert!(!options.smoke);
        assert!(Options::parse(&["mixed", "--smoke"]).unwrap().smoke);
    }

    #[test]
    fn a_flag_of_the_gateways_becomes_a_variable() {
        let words = ["stampede", "--lock-ttl", "2m", "--env", "A=b=c", "--upstream-delay", "50ms"];
        let options = Options::parse(&words).unwrap();
        assert_eq!(options.scenarios, ["stampede"]);
        assert_eq!(options.upstream_delay, Duration::from_millis(50));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(options.env, [pair("ATHENS_REDIS_LOCK_TTL", "120"), pair("A", "b=c")]);
    }

    #[test]
    fn a_wrong_word_is_named() {
        for (words, named) in [
            (&["warm"][..], "no scenario \"warm\": there are hot, stampede, mixed"),
            (&["--vus"], "--vus wants a value"),
            (&["--vus", "0"], "--vus 0: want a number from 1 to 2000"),
            (&["--duration", "10"], "--duration 10: want a time"),
            (&["--duration", "99h"], "--duration 99h: want a time"),
            (&["--lock-ttl", "1500ms"], "--lock-ttl 1500ms: want whole seconds"),
            (&["--env", "A"], "--env A: want NAME=VALUE"),
            (&["--break", "all"], "--break all: there are lock, errors, bytes"),
            (&["--fast", "x"], "--fast x: no such flag"),
        ] {
            let refused = Options::parse(words).unwrap_err();
            assert!(refused.starts_with(named), "{refused}");
        }
    }
}
