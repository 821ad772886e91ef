//! What stands after `cargo xtask load tune`.

use super::super::options::{Lock, Storage, number, time};
use super::super::prometheus::Prometheus;
use super::times::Times;

pub(super) const HELP: &str = "usage: cargo xtask load tune [FLAG VALUE]...

  --lock KIND             redis, etcd, s3: what is tuned
  --storage KIND          minio, mongo, disk; s3 locks lie in minio
  --fetch-times A,B,C,D   how long fetches take: p50, p90, p99, the longest; 800ms,1500ms,3s,4s
  --prometheus URL        reads that from a Prometheus of production, and how many misses there are: http://HOST:9090
  --window RANGE          of that Prometheus: 7d
  --misses N              misses a second of one gateway, where no Prometheus says it: 2
  --pause TIME            the longest that a gateway stands still and is not dead: 2s
  --silence TIME          how long the lock service may say nothing, as in a failover: 6s
  --gateways N            gateways that are measured: 3
  --replicas N            gateways of the cluster that is tuned, if they are more than this machine can run
  --paper                 the model alone: nothing is started
  --seed N                of the model, and of the moments of deaths and pauses: 1
  --build tests           the build that the tests use
  --docs                  writes docs/tuning/KIND.md too
";

/// What to tune.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) lock: Lock,
    pub(super) storage: Storage,
    pub(super) times: Times,
    pub(super) misses: f64,
    pub(super) pause: f64,
    pub(super) silence: f64,
    pub(super) gateways: u32,
    pub(super) replicas: u32,
    pub(super) paper: bool,
    pub(super) seed: u64,
    pub(super) tests_build: bool,
    pub(super) docs: bool,
    /// The words, to be told how a report was made.
    pub(super) words: String,
}

impl Options {
    /// Reads the words of the command, and asks the Prometheus that they name.
    ///
    /// # Errors
    /// One line: which word is wrong, or what Prometheus does not say.
    pub(super) fn parse(words: &[&str], now: f64) -> Result<Self, String> {
        let mut options = Self {
            lock: Lock::Redis,
            storage: Storage::Minio,
            times: Times::given("800ms,1500ms,3s,4s")?,
            misses: 2.0,
            pause: 2.0,
            silence: 6.0,
            gateways: 3,
            replicas: 0,
            paper: false,
            seed: 1,
            tests_build: false,
            docs: false,
            words: words.join(" "),
        };
        let (mut prometheus, mut window) = (None, "7d".to_owned());
        let mut words = words.iter().copied();
        while let Some(flag) = words.next() {
            match flag {
                "--paper" => options.paper = true,
                "--docs" => options.docs = true,
                flag => {
                    let value = words.next().ok_or_else(|| format!("{flag} wants a value"))?;
                    let told = |why| format!("{flag} {value}: {why}");
                    match flag {
                        "--prometheus" => {
                            prometheus = Some(Prometheus::of_url(value).map_err(told)?)
                        }
                        "--window" => value.clone_into(&mut window),
                        _ => options.set(flag, value).map_err(told)?,
                    }
                }
            }
        }
        if let Some(prometheus) = prometheus {
            options.times = Times::counted(&prometheus, &window, now)?;
            options.misses = misses(&prometheus, &window, now)?;
        }
        options.replicas = options.replicas.max(options.gateways);
        match (options.lock, options.storage) {
            (Lock::Sentinel | Lock::Memory, _) => {
                Err("--lock: redis, etcd and s3 can be tuned".to_owned())
            }
            (Lock::S3, Storage::Mongo | Storage::Disk) => {
                Err("--lock s3 lies in the store: it wants --storage minio".to_owned())
            }
            _ => Ok(options),
        }
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        let seconds = || time(value).map(|time| time.as_secs_f64());
        match flag {
            "--lock" => self.lock = Lock::parse(value)?,
            "--storage" => self.storage = Storage::parse(value)?,
            "--fetch-times" => self.times = Times::given(value)?,
            "--misses" => self.misses = f64::from(number(value, 100_000)?),
            "--pause" => self.pause = seconds()?,
            "--silence" => self.silence = seconds()?,
            "--gateways" => self.gateways = number(value, 9)?,
            "--replicas" => self.replicas = number(value, 10_000)?,
            "--seed" => self.seed = u64::from(number(value, u32::MAX)?),
            "--build" if value == "tests" => self.tests_build = true,
            "--build" if value == "release" => self.tests_build = false,
            _ => return Err("no such flag or value: see `cargo xtask load tune --help`".to_owned()),
        }
        Ok(())
    }
}

/// The busiest five minutes of the busiest gateway.
fn misses(prometheus: &Prometheus, window: &str, now: f64) -> Result<f64, String> {
    let query = format!(
        "max(max_over_time((sum by (instance) (rate(dipylon_lock_wait_duration_seconds_count[5m])))[{window}:1m]))"
    );
    let found = prometheus.at(&query, now)?;
    let value = found.first().and_then(|series| series.points.first());
    value.map(|(_, value)| *value).ok_or_else(|| "Prometheus has counted no misses".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_wrong_ones_named() {
        let parse = |words: &[&str]| Options::parse(words, 0.0);
        let options =
            parse(&["--lock", "etcd", "--fetch-times", "1s,2s,3s,4s", "--pause", "500ms"]);
        let options = options.unwrap();
        assert_eq!((options.lock, options.pause, options.replicas), (Lock::Etcd, 0.5, 3));
        assert_eq!(options.times.longest(), 4.0);
        for (words, named) in [
            (&["--lock", "sentinel"][..], "--lock: redis, etcd and s3 can be tuned"),
            (&["--lock", "s3", "--storage", "disk"], "--lock s3 lies in the store"),
            (&["--pause"], "--pause wants a value"),
            (&["--speed", "9"], "--speed 9: no such flag"),
            (&["--prometheus", "https://p"], "--prometheus https://p: https://p: want http://"),
        ] {
            let refused = parse(words).unwrap_err();
            assert!(refused.starts_with(named), "{refused}");
        }
    }
}
