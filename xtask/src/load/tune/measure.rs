//! The trials of one row, on real gateways: releases, deaths, pauses, silence, a burst.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::faults::{holds, until_ready};
use super::super::figures::Figures;
use super::super::world::World;
use super::outcome::{Outcome, quantile};
use super::times::{Seeded, Times};
use super::values::{Row, Trial};

/// The longest that a client waits: beyond it a row has shown what it has to show.
const CLIENT_LIMIT: Duration = Duration::from_secs(90);
/// The longest that a holder of a lock is looked for.
const HOLDER_LIMIT: Duration = Duration::from_secs(15);
/// The longest that a process may take to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// After a trial gateways finish what they have in hand before the next begins.
const REST: Duration = Duration::from_millis(400);
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 8 * 1024 * 1024;
/// How often the gateways are asked who holds a lock.
const POLL: Duration = Duration::from_millis(5);

/// How much of each trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) releases: u32,
    pub(super) kills: u32,
    pub(super) pauses: u32,
    /// Clients of each gateway.
    pub(super) clients: u32,
    pub(super) pause: f64,
    pub(super) silence: f64,
    pub(super) burst: (u32, f64),
    pub(super) fetch_of_kill: f64,
}

/// One row, being measured.
pub(super) struct Measuring<'a> {
    pub(super) world: &'a World,
    pub(super) times: &'a Times,
    pub(super) amount: Amount,
    pub(super) seeded: Seeded,
    /// Versions that were released; each is released once.
    pub(super) released: u32,
    /// Seconds that clients waited, from a release or from a death.
    pub(super) waits: Vec<f64>,
}

/// What one client got: the gateway's place, and seconds to the last byte of a good answer.
type Answer = (usize, Result<f64, String>);

impl Measuring<'_> {
    /// # Errors
    /// One line: what could not be done. What clients do not get is a result.
    pub(super) fn row(&mut self, row: &Row) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        for trial in row.trials {
            println!("    {}: {trial:?}", row.name);
            match trial {
                Trial::Releases => self.releases(&mut outcome)?,
                Trial::Kills => self.kills(&mut outcome)?,
                Trial::Pauses => self.pauses(&mut outcome)?,
                Trial::Silence => self.silence(&mut outcome)?,
                Trial::Burst => self.burst(&mut outcome)?,
            }
            std::thread::sleep(REST);
        }
        if row.trials.contains(&Trial::Kills) {
            outcome.wait_p99_with_deaths = quantile(&self.waits, 0.99);
        }
        Ok(outcome)
    }

    /// A path that nobody has asked for, whose zip is so late.
    fn new_path(&mut self, late: f64) -> String {
        self.released += 1;
        format!("/load.test/late{:.0}/m{}/@v/v1.0.0.zip", late * 1000.0, self.released)
    }

    /// All clients of all gateways ask for a path; `meanwhile` happens beside them.
    fn ask_all<T>(
        &self,
        path: &str,
        meanwhile: impl FnOnce() -> Result<T, String>,
    ) -> Result<(Vec<Answer>, T), String> {
        let ports = &self.world.gateways;
        std::thread::scope(|threads| {
            let clients: Vec<_> = (0..self.amount.clients)
                .flat_map(|_| ports.iter().enumerate())
                .map(|(place, port)| threads.spawn(move || (place, zip(*port, path))))
                .collect();
            let happened = meanwhile();
            let broke = |_| (0, Err("a client broke".to_owned()));
            let answers: Vec<Answer> =
                clients.into_iter().map(|client| client.join().unwrap_or_else(broke)).collect();
            Ok((answers, happened?))
        })
    }

    /// How often upstream was asked for a path.
    fn fetches(&self, path: &str) -> Result<u64, String> {
        let counts = self.world.upstream_counts()?;
        let line = counts.lines().find_map(|line| line.strip_suffix(&format!(" {path}")));
        Ok(line.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    fn releases(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        let count = self.amount.releases;
        let (mut duplicates, mut asked, mut waits) = (0, 0, Vec::new());
        for number in 0..count {
            // Each part of the distribution once, so that a few releases have its slow ones too.
            let late = self.times.quantile((f64::from(number) + 0.5) / f64::from(count));
            let path = self.new_path(late);
            let (answers, ()) = self.ask_all(&path, || Ok(()))?;
            asked += answers.len();
            waits.extend(answers.into_iter().filter_map(|(_, answer)| answer.ok()));
            // The last fetch of another gateway may still be under way.
            std::thread::sleep(REST);
            duplicates += self.fetches(&path)?.saturating_sub(1);
        }
        outcome.duplicates = Some(duplicates as f64 / f64::from(count));
        outcome.failed = Some((asked - waits.len()) as f64 / asked as f64);
        outcome.wait_p50 = quantile(&waits, 0.5);
        outcome.wait_p99 = quantile(&waits, 0.99);
        self.waits.extend(waits);
        Ok(())
    }

    /// The gateway that holds a lock, by its place.
    fn holder(&self) -> Result<usize, String> {
        let asked = Instant::now();
        loop {
            let found = self.world.gateways.iter().position(|port| holds(*port));
            if let Some(place) = found {
                return Ok(place);
            }
            if asked.elapsed() > HOLDER_LIMIT {
                return Err("no gateway holds a lock".to_owned());
            }
            std::thread::sleep(POLL);
        }
    }

    fn kills(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        let stack = &self.world.stack;
        let names: Vec<(String, u16)> = self.world.gateways().collect();
        let renewal = f64::from(self.renewal());
        for _ in 0..self.amount.kills {
            // Upstream is slower than a renewal, so that a holder dies at any moment between two.
            let wait = self.seeded.share() * renewal;
            let path = self.new_path(self.amount.fetch_of_kill + renewal);
            let (answers, (killed, after)) = self.ask_all(&path, || {
                let began = Instant::now();
                let holder = self.holder()?;
                std::thread::sleep(Duration::from_secs_f64(wait));
                stack.end_process(&names[holder].0, "KILL", KILL_LIMIT)?;
                Ok((holder, began.elapsed().as_secs_f64()))
            })?;
            let others = answers.into_iter().filter(|(place, _)| *place != killed);
            // Who did not get it within the limit has waited for that long at least. The fetch anew is as long as the
            // one that died; the model's is shorter by the renewal.
            let waited = others
                .map(|(_, answer)| answer.unwrap_or(CLIENT_LIMIT.as_secs_f64()) - after - renewal);
            let waited: Vec<f64> = waited.collect();
            outcome.recovery.extend(quantile(&waited, 1.0));
            self.waits.extend(waited);
            stack.again(&names[killed].0)?;
            until_ready(names[killed].1, "/readyz")?;
        }
        outcome.recovery.sort_by(f64::total_cmp);
        Ok(())
    }

    fn renewal(&self) -> u32 {
        let set =
            self.world.setup.env.iter().rev().find(|(name, _)| name == "DIPYLON_LOCK_RENEWAL");
        set.and_then(|(_, value)| value.parse().ok()).unwrap_or(1)
    }

    fn pauses(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        let names: Vec<(String, u16)> = self.world.gateways().collect();
        let renewal = f64::from(self.renewal());
        let mut taken = 0;
        for _ in 0..self.amount.pauses {
            let wait = self.seeded.share() * renewal;
            let path = self.new_path(self.amount.pause + renewal + 1.0);
            self.ask_all(&path, || {
                let holder = self.holder()?;
                std::thread::sleep(Duration::from_secs_f64(wait));
                self.world.stack.signal(&names[holder].0, "STOP")?;
                std::thread::sleep(Duration::from_secs_f64(self.amount.pause));
                self.world.stack.signal(&names[holder].0, "CONT")
            })?;
            std::thread::sleep(REST);
            taken += u32::from(self.fetches(&path)? > 1);
        }
        outcome.takeovers = Some(f64::from(taken) / f64::from(self.amount.pauses));
        Ok(())
    }

    fn silence(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        if self.world.to_lock.is_empty() {
            return Ok(());
        }
        let path = self.new_path(self.times.quantile(0.5));
        self.world.to_lock.iter().try_for_each(super::super::proxies::Proxy::silent)?;
        let (answers, ()) = self.ask_all(&path, || {
            std::thread::sleep(Duration::from_secs_f64(self.amount.silence));
            self.world.to_lock.iter().try_for_each(super::super::proxies::Proxy::well)
        })?;
        let waited = answers.into_iter().map(|(_, answer)| answer.unwrap_or(f64::INFINITY));
        outcome.silent_wait = waited
            .fold(None, |last: Option<f64>, one| Some(last.map_or(one, |last| last.max(one))));
        std::thread::sleep(REST);
        outcome.silent_duplicates = Some(self.fetches(&path)?.saturating_sub(1) as f64);
        self.until_locks_work()
    }

    /// The next trial is about a lock service that works.
    fn until_locks_work(&self) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < HOLDER_LIMIT {
            let degraded = |port: &u16| {
                let text = super::super::http::get(*port, "/metrics")?;
                Ok::<_, String>(Figures::parse(&text).sum("dipylon_lock_degraded", &[]) > 0.0)
            };
            let all: Result<Vec<bool>, String> = self.world.gateways.iter().map(degraded).collect();
            if !all?.contains(&true) {
                return Ok(());
            }
            std::thread::sleep(REST);
        }
        Err("the lock service is back, and gateways go without it".to_owned())
    }

    fn burst(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        let (versions, late) = self.amount.burst;
        let paths: Vec<String> = (0..versions).map(|_| self.new_path(late)).collect();
        let ports = &self.world.gateways;
        let waits: Vec<Result<f64, String>> = std::thread::scope(|threads| {
            let clients: Vec<_> = paths
                .iter()
                .zip(ports.iter().cycle())
                .map(|(path, port)| threads.spawn(move || zip(*port, path)))
                .collect();
            let broke = |_| Err("a client broke".to_owned());
            clients.into_iter().map(|client| client.join().unwrap_or_else(broke)).collect()
        });
        let waits: Vec<f64> = waits.into_iter().collect::<Result<_, _>>()?;
        outcome.burst = quantile(&waits, 1.0);
        Ok(())
    }
}

/// Asks for a zip: seconds to the last byte of a whole answer of 200.
fn zip(port: u16, path: &str) -> Result<f64, String> {
    let told = |error: std::io::Error| format!("http://127.0.0.1:{port}{path}: {error}");
    let began = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(told)?;
    stream.set_read_timeout(Some(CLIENT_LIMIT)).map_err(told)?;
    let asked = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(asked.as_bytes()).map_err(told)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).map_err(told)?;
    whole(&answer)
        .ok_or_else(|| format!("http://127.0.0.1:{port}{path}: no whole answer of 200"))?;
    Ok(began.elapsed().as_secs_f64())
}

/// `None` for another status than 200, and for fewer bytes than were promised.
fn whole(answer: &[u8]) -> Option<()> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let good = head.split(' ').nth(1) == Some("200");
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let bytes = answer.len() - end - 4;
    let right = promised.is_none_or(|length| length.trim().parse() == Ok(bytes));
    (good && bytes > 0 && right).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        assert!(whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").is_some());
        assert!(whole(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc").is_none());
        assert!(whole(b"HTTP/1.1 503 no\r\nContent-Length: 3\r\n\r\nabc").is_none());
        assert!(whole(b"HTTP/1.1 200 OK\r\n").is_none());
    }
}
