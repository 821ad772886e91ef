//! What came of a scenario: what k6 measured, what the gateways and the upstream counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::faults::Event;
use super::figures::{Fetched, Figures};
use super::objectives::Judged;
use super::scenarios::Scenario;
use super::timeline::Timeline;
use super::world::Setup;
use crate::json::quoted;

/// What k6 says at its end, in the lines that `loadtest/shared.js` writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    values: BTreeMap<String, f64>,
    /// Metric and rule, and whether it was kept.
    pub(super) thresholds: Vec<(String, bool)>,
}

impl Facts {
    /// Reads `fact NAME VALUE` and `threshold kept|FAILED METRIC RULE`.
    ///
    /// # Errors
    /// One line: the line that is neither.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut facts = Self::default();
        for line in text.lines() {
            facts.add(line).ok_or_else(|| format!("k6's summary has a line {line:?}"))?;
        }
        Ok(facts)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["fact", name, value] => {
                self.values.insert(name.to_owned(), value.parse().ok()?);
            }
            ["threshold", state @ ("kept" | "FAILED"), metric, rule] => {
                self.thresholds.push((format!("{metric} {rule}"), state == "kept"));
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn value(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or(0.0)
    }
}

/// The verdict on one scenario.
pub(super) struct Verdict {
    pub(super) scenario: &'static Scenario,
    pub(super) setup: Setup,
    pub(super) facts: Facts,
    /// What the gateways counted in the time of the scenario, its preparation included.
    pub(super) figures: Figures,
    pub(super) zips: Fetched,
    /// `.info` and `.mod`.
    pub(super) others: Fetched,
    /// Whether k6 itself says that all is well.
    pub(super) k6_is_content: bool,
    /// What clients saw.
    pub(super) timeline: Timeline,
    /// What happened meanwhile.
    pub(super) events: Vec<Event>,
    /// The objectives.
    pub(super) judged: Vec<Judged>,
    /// The load's first moment and its last, in seconds of the epoch.
    pub(super) span: (f64, f64),
}

impl Verdict {
    /// What was not as it should be; empty for a scenario that passed.
    pub(super) fn failures(&self) -> Vec<String> {
        let broken = self.facts.thresholds.iter().filter(|(_, kept)| !kept);
        let mut failures: Vec<String> = broken.map(|(rule, _)| rule.clone()).collect();
        let objectives = self.judged.iter().filter(|one| one.kept == Some(false));
        failures.extend(
            objectives.map(|one| format!("{}: {}, allowed: {}", one.what, one.measured, one.limit)),
        );
        if self.facts.thresholds.is_empty() {
            failures.push("no threshold was looked at".to_owned());
        }
        if !self.k6_is_content && failures.is_empty() {
            failures.push("k6 ended with an error".to_owned());
        }
        failures
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let failures = self.failures();
        let word = if failures.is_empty() { "PASSED" } else { "FAILED" };
        let fact = |name: &str| self.facts.value(name);
        format!(
            "{:<14} {word}  {:.0} answers, {:.0} failed, {:.0} wrong, p99 {:.1} ms{}",
            self.scenario.name,
            fact("answers"),
            fact("failed"),
            fact("wrong"),
            fact("p99_ms"),
            failures.iter().map(|why| format!("\n               FAILED {why}")).collect::<String>(),
        )
    }

    /// Some lines for people.
    pub(super) fn text(&self) -> String {
        let failures = self.failures();
        let word = if failures.is_empty() { "PASSED" } else { "FAILED" };
        let fact = |name: &str| self.facts.value(name);
        let mut text = format!(
            "{:<9} {word}  {:.0} answers in {:.1} s: {:.0} rps, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms; \
             {:.0} failed, {:.0} wrong",
            self.scenario.name,
            fact("answers"),
            fact("seconds"),
            fact("rps"),
            fact("p50_ms"),
            fact("p95_ms"),
            fact("p99_ms"),
            fact("failed"),
            fact("wrong"),
        );
        let ratio = self.figures.hit_ratio().map_or("none".to_owned(), |r| format!("{r:.3}"));
        let _ = write!(
            text,
            "\n          hit ratio {:.3}, by /metrics with the preparation {ratio}; \
             upstream: {} for zips, {} for info and mod",
            fact("hit_ratio"),
            per_file(self.zips),
            per_file(self.others),
        );
        let kinds = self.facts.values.iter().filter_map(|(name, value)| {
            Some(format!("{} {value:.1} ms", name.strip_prefix("p95_ms_of_")?))
        });
        let kinds: Vec<String> = kinds.collect();
        if !kinds.is_empty() {
            let _ = write!(text, "\n          p95 by kind: {}", kinds.join(", "));
        }
        let locks = self.locks();
        let _ = write!(
            text,
            "\n          locks: {:.0} granted, {:.0} waited for until another gateway had stored, \
             {:.0} fetches without; {:.2} s waited on average, {:.0} lost",
            locks.granted, locks.stored, locks.degraded, locks.mean_secs, locks.lost,
        );
        for failure in failures {
            let _ = write!(text, "\n          FAILED {failure}");
        }
        text
    }

    /// The same as an object of JSON.
    pub(super) fn json(&self) -> String {
        let numbers: Vec<String> = self
            .facts
            .values
            .iter()
            .map(|(name, value)| format!("{}: {value}", quoted(name)))
            .collect();
        let failures: Vec<String> = self.failures().iter().map(|rule| quoted(rule)).collect();
        let locks = self.locks();
        let ratio = self.figures.hit_ratio().map_or("null".to_owned(), |ratio| ratio.to_string());
        format!(
            "{{\"scenario\": {}, \"passed\": {}, {}, \"hit_ratio_by_metrics\": {ratio}, \
             \"upstream_zip_gets\": {}, \"zips\": {}, \"upstream_other_gets\": {}, \"others\": {}, \
             \"locks_granted\": {}, \"locks_stored_elsewhere\": {}, \"locks_degraded\": {}, \
             \"lock_wait_mean_seconds\": {}, \"locks_lost\": {}, \"failures\": [{}]}}",
            quoted(self.scenario.name),
            failures.is_empty(),
            numbers.join(", "),
            self.zips.gets,
            self.zips.files,
            self.others.gets,
            self.others.files,
            locks.granted,
            locks.stored,
            locks.degraded,
            locks.mean_secs,
            locks.lost,
            failures.join(", "),
        )
    }

    pub(super) fn locks(&self) -> Locks {
        const WAIT: &str = "dipylon_lock_wait_duration_seconds";
        let count =
            |result: &str| self.figures.sum(&format!("{WAIT}_count"), &[("result", result)]);
        let all = self.figures.sum(&format!("{WAIT}_count"), &[]);
        let secs = self.figures.sum(&format!("{WAIT}_sum"), &[]);
        Locks {
            granted: count("granted"),
            stored: count("stored"),
            degraded: count("degraded"),
            mean_secs: if all > 0.0 { secs / all } else { 0.0 },
            lost: self.figures.sum("dipylon_lock_lost_total", &[]),
        }
    }
}

pub(super) struct Locks {
    pub(super) granted: f64,
    pub(super) stored: f64,
    pub(super) degraded: f64,
    pub(super) mean_secs: f64,
    pub(super) lost: f64,
}

pub(super) fn per_file(fetched: Fetched) -> String {
    let Fetched { gets, files } = fetched;
    if files == 0 {
        return "nothing".to_owned();
    }
    format!("{gets} GETs of {files} files ({:.2} each)", gets as f64 / files as f64)
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::super::scenarios::scenario;
    use super::*;

    fn verdict(facts: &str, k6_is_content: bool) -> Verdict {
        Verdict {
            scenario: scenario("hot").unwrap(),
            setup: Setup::of(scenario("hot").unwrap(), &Options::default_of(true)),
            timeline: Timeline::default(),
            events: Vec::new(),
            judged: Vec::new(),
            span: (0.0, 1.0),
            facts: Facts::parse(facts).unwrap(),
            figures: Figures::parse(
                "dipylon_lock_wait_duration_seconds_count{result=\"stored\"} 4\n\
                 dipylon_lock_wait_duration_seconds_sum{result=\"stored\"} 2\n",
            ),
            zips: Fetched { gets: 3, files: 2 },
            others: Fetched::default(),
            k6_is_content,
        }
    }

    #[test]
    fn a_threshold_that_is_not_kept_fails() {
        let good = verdict(
            "fact rps 12.5\nfact p95_ms_of_zip 7.04\nthreshold kept failed rate==0\n",
            true,
        );
        assert_eq!(good.failures(), [""; 0]);
        assert!(good.text().contains("PASSED"), "{}", good.text());
        assert!(good.text().contains("3 GETs of 2 files (1.50 each) for zips, nothing for info"));
        assert!(good.text().contains("p95 by kind: zip 7.0 ms\n"));
        assert!(good.text().contains("4 waited for until another gateway had stored"));
        assert!(good.text().contains("0.50 s waited on average"));
        let bad = verdict("threshold kept a x\nthreshold FAILED wrong rate==0\n", false);
        assert_eq!(bad.failures(), ["wrong rate==0"]);
        assert!(bad.json().contains("\"passed\": false"), "{}", bad.json());
    }

    #[test]
    fn a_run_without_thresholds_or_with_an_error_is_no_success() {
        assert_eq!(verdict("fact rps 1\n", true).failures(), ["no threshold was looked at"]);
        let ended = verdict("threshold kept a x\n", false).failures();
        assert_eq!(ended, ["k6 ended with an error"]);
        assert!(Facts::parse("threshold perhaps a x\n").is_err());
        assert!(Facts::parse("fact rps many\n").is_err());
    }
}
