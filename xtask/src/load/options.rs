//! What stands after `cargo xtask load`.

use std::time::Duration;

use super::scenarios::{SCENARIOS, Scenario, USUAL, scenario};

/// The longest that a scenario may be told to last.
const MAX_DURATION: Duration = Duration::from_secs(4 * 3600);
/// The most virtual users: each is a JavaScript engine of some megabytes.
const MAX_VUS: u32 = 2_000;
/// The most gateways: each is a process with a runtime of its own on this one machine.
const MAX_GATEWAYS: u32 = 9;

/// Everything that `--help` says but the scenarios, which say it themselves.
const USAGE: &str = "usage: cargo xtask load [SCENARIO...] [FLAG VALUE]...
       cargo xtask load tune [FLAG VALUE]...   measures and recommends values: load tune --help

  all                     every scenario, in place of names; none named: hot, stampede, mixed
  --smoke                 short and gentle, against the build that the tests use; without it: --release
  --build tests           the build that the tests use, at full length: for machines where --release takes too long
  --minutes N             how long each scenario lasts; --duration TIME says it in 500ms, 30s, 2m
  --gateways N            gateways behind the balancer: 3
  --lock KIND             redis, sentinel, etcd, s3, memory (each gateway for itself)
  --storage KIND          minio, mongo, disk (one folder that all gateways share)
  --rate N                arrivals a second
  --vus N                 virtual users that answer arrivals, and clients of a stampede
  --patience N            multiplies the limits on time, for slow machines
  --upstream-delay TIME   how late every answer of the upstream is
  --made-up               without the real modules: nothing is asked of the public Go module mirror
  --lock-ttl TIME         the longest that a lock is renewed
  --lock-timeout TIME     how long a silent lock service is asked again
  --lock-lease TIME       DIPYLON_LOCK_LEASE: how long a lock outlives its holder
  --stash-timeout TIME    ATHENS_STASH_TIMEOUT: how long a fetch with its save may take
  --env NAME=VALUE        any other variable of all gateways
  --break lock            each gateway locks for itself: stampede must fail
  --break errors          upstream answers every zip with 500: all must fail
  --break bytes           upstream answers with other zips, sound and of the right length: all must fail
";

/// What `--help` prints.
pub(super) fn help() -> String {
    let mut text = USAGE.to_owned() + "\nscenarios, in the order in which they run:\n";
    for scenario in SCENARIOS {
        text += &format!("  {:<15} {}\n", scenario.name, scenario.about);
    }
    text
}

/// A part of the world that is broken on purpose, to see that the load test notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Lock,
    Errors,
    Bytes,
}

/// What the gateways lock with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Memory,
    Redis,
    Sentinel,
    Etcd,
    S3,
}

/// Where the gateways store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    Minio,
    Mongo,
    Disk,
}

impl Lock {
    const ALL: &[(&str, Self)] = &[
        ("redis", Self::Redis),
        ("sentinel", Self::Sentinel),
        ("etcd", Self::Etcd),
        ("s3", Self::S3),
        ("memory", Self::Memory),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, lock)| *lock == self).map_or("", |(word, _)| word)
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        chosen(Self::ALL, word)
    }
}

impl Storage {
    const ALL: &[(&str, Self)] =
        &[("minio", Self::Minio), ("mongo", Self::Mongo), ("disk", Self::Disk)];

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        chosen(Self::ALL, word)
    }
}

fn chosen<T: Copy>(all: &[(&str, T)], word: &str) -> Result<T, String> {
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let found = all.iter().find(|(name, _)| *name == word);
    found.map(|(_, kind)| *kind).ok_or_else(|| format!("there are {}", names.join(", ")))
}

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    pub(super) scenarios: Vec<&'static Scenario>,
    pub(super) smoke: bool,
    /// Against the build that the tests use, which is not optimised.
    pub(super) tests_build: bool,
    pub(super) gateways: u32,
    /// `None`: the scenario's own, else Redis.
    pub(super) lock: Option<Lock>,
    /// `None`: the scenario's own, else MinIO.
    pub(super) storage: Option<Storage>,
    pub(super) vus: u32,
    pub(super) duration: Duration,
    /// `None`: the scenario's own.
    pub(super) rate: Option<u32>,
    /// Multiplies the limits on time.
    pub(super) patience: u32,
    pub(super) upstream_delay: Duration,
    pub(super) real_modules: bool,
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
        let mut options = Self::default_of(words.contains(&"--smoke"));
        let mut words = words.iter().copied().filter(|word| *word != "--smoke");
        while let Some(word) = words.next() {
            match word {
                "--made-up" => options.real_modules = false,
                "all" => options.scenarios = SCENARIOS.iter().collect(),
                flag if flag.starts_with('-') => {
                    let value = words.next().ok_or_else(|| format!("{flag} wants a value"))?;
                    options.set(flag, value).map_err(|why| format!("{flag} {value}: {why}"))?;
                }
                name => options.scenarios.push(scenario(name)?),
            }
        }
        if options.scenarios.is_empty() {
            options.scenarios =
                USUAL.iter().map(|name| scenario(name)).collect::<Result<_, _>>()?;
        }
        if options.lock == Some(Lock::S3)
            && options.storage.is_some_and(|kind| kind != Storage::Minio)
        {
            return Err("--lock s3 lies in the store: it wants --storage minio".to_owned());
        }
        Ok(options)
    }

    pub(super) fn default_of(smoke: bool) -> Self {
        Self {
            scenarios: Vec::new(),
            smoke,
            tests_build: smoke,
            gateways: if smoke { 2 } else { 3 },
            lock: None,
            storage: None,
            vus: if smoke { 12 } else { 30 },
            duration: Duration::from_secs(if smoke { 12 } else { 30 }),
            rate: None,
            patience: 1,
            upstream_delay: Duration::from_millis(100),
            real_modules: !smoke,
            broken: None,
            env: Vec::new(),
        }
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        match flag {
            "--vus" => self.vus = number(value, MAX_VUS)?,
            "--rate" => self.rate = Some(number(value, 1_000_000)?),
            "--patience" => self.patience = number(value, 100)?,
            "--gateways" => self.gateways = number(value, MAX_GATEWAYS)?,
            "--duration" => self.duration = time(value)?,
            "--minutes" => self.duration = time(&format!("{value}m"))?,
            "--upstream-delay" => self.upstream_delay = time(value)?,
            "--lock" => self.lock = Some(Lock::parse(value)?),
            "--storage" => self.storage = Some(Storage::parse(value)?),
            "--build" => {
                self.tests_build = chosen(&[("tests", true), ("release", false)], value)?;
            }
            "--lock-ttl" => {
                self.tell_secs(&["ATHENS_REDIS_LOCK_TTL", "ATHENS_S3_LOCK_TTL"], value)?
            }
            "--lock-timeout" => {
                self.tell_secs(&["ATHENS_REDIS_LOCK_TIMEOUT", "ATHENS_S3_LOCK_TIMEOUT"], value)?;
            }
            "--lock-lease" => self.tell_secs(&["DIPYLON_LOCK_LEASE"], value)?,
            "--stash-timeout" => self.tell_secs(&["ATHENS_STASH_TIMEOUT"], value)?,
            "--env" => {
                let (name, value) = value.split_once('=').ok_or("want NAME=VALUE")?;
                self.env.push((name.to_owned(), value.to_owned()));
            }
            "--break" => {
                let all =
                    [("lock", Broken::Lock), ("errors", Broken::Errors), ("bytes", Broken::Bytes)];
                self.broken = Some(chosen(&all, value)?);
            }
            _ => return Err("no such flag: see `cargo xtask load --help`".to_owned()),
        }
        Ok(())
    }

    /// The gateways count in whole seconds.
    fn tell_secs(&mut self, names: &[&str], value: &str) -> Result<(), String> {
        let time = time(value)?;
        if time.subsec_millis() != 0 || time.is_zero() {
            return Err("want whole seconds, from 1s".to_owned());
        }
        let told = names.iter().map(|name| ((*name).to_owned(), time.as_secs().to_string()));
        self.env.extend(told);
        Ok(())
    }
}

pub(super) fn number(text: &str, most: u32) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("want a number from 1 to {most}"))
}

/// `500ms`, `30s`, `2m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
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

    fn names(options: &Options) -> Vec<&'static str> {
        options.scenarios.iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn with_no_words_the_usual_scenarios_run() {
        let options = Options::parse(&[]).unwrap();
        assert_eq!(names(&options), USUAL);
        assert!(!options.smoke && !options.tests_build);
        let smoke = Options::parse(&["mixed", "--smoke"]).unwrap();
        assert!(smoke.smoke && smoke.tests_build && !smoke.real_modules);
        assert_eq!(Options::parse(&["all"]).unwrap().scenarios.len(), SCENARIOS.len());
    }

    #[test]
    fn the_command_of_the_readme_is_understood() {
        let words =
            ["mixed", "--minutes", "5", "--gateways", "3", "--lock", "redis", "--storage", "minio"];
        let options = Options::parse(&words).unwrap();
        assert_eq!(names(&options), ["mixed"]);
        assert_eq!(options.duration, Duration::from_secs(300));
        assert_eq!((options.lock, options.storage), (Some(Lock::Redis), Some(Storage::Minio)));
        assert_eq!(options.lock.unwrap().word(), "redis");
        assert_eq!(options.storage.unwrap().word(), "minio");
    }

    #[test]
    fn a_flag_of_the_gateways_becomes_a_variable() {
        let words =
            ["stampede", "--lock-lease", "2m", "--env", "A=b=c", "--upstream-delay", "50ms"];
        let options = Options::parse(&words).unwrap();
        assert_eq!(options.upstream_delay, Duration::from_millis(50));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(options.env, [pair("DIPYLON_LOCK_LEASE", "120"), pair("A", "b=c")]);
    }

    #[test]
    fn a_wrong_word_is_named() {
        for (words, named) in [
            (&["warm"][..], "no scenario \"warm\": there are hot, stampede, mixed"),
            (&["--vus"], "--vus wants a value"),
            (&["--vus", "0"], "--vus 0: want a number from 1 to 2000"),
            (&["--duration", "10"], "--duration 10: want a time"),
            (&["--minutes", "999"], "--minutes 999: want a time"),
            (&["--lock-ttl", "1500ms"], "--lock-ttl 1500ms: want whole seconds"),
            (&["--lock", "zoo"], "--lock zoo: there are redis, sentinel, etcd, s3, memory"),
            (&["--lock", "s3", "--storage", "disk"], "--lock s3 lies in the store"),
            (&["--env", "A"], "--env A: want NAME=VALUE"),
            (&["--break", "all"], "--break all: there are lock, errors, bytes"),
            (&["--fast", "x"], "--fast x: no such flag"),
        ] {
            let refused = Options::parse(words).unwrap_err();
            assert!(refused.starts_with(named), "{refused}");
        }
    }
}
