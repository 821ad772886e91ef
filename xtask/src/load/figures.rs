//! `/metrics` of the gateways, added up and compared with what it was before.

use std::collections::BTreeMap;

/// The value of each series, by its name with its labels as they are printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    series: BTreeMap<String, f64>,
}

/// Outcomes that needed no fetch.
const HITS: &[&str] = &["hit_memory", "hit_storage", "stale_revalidate", "stale_error"];
/// Routes whose answers count as hit or miss.
const ROUTES: &[&str] = &["list", "latest", "info", "mod", "zip"];

impl Figures {
    /// Reads the classic text format. A line that is no sample is left out: whoever wants a figure that
    /// is not there gets 0, and the verdict shows it.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self { series: lines.filter_map(sample).collect() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, value) in &other.series {
            *self.series.entry(name.clone()).or_default() += value;
        }
    }

    /// What has been counted since `before`.
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (name, value) in &before.series {
            *self.series.entry(name.clone()).or_default() -= value;
        }
        self
    }

    /// The sum of the series of this name that carry these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &str| {
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            found == name
                && labels
                    .iter()
                    .all(|(label, value)| rest.contains(&format!("{label}=\"{value}\"")))
        };
        // From 0.0: the sum of nothing is -0.0, and is printed so.
        self.series
            .iter()
            .filter(|(series, _)| has(series))
            .fold(0.0, |sum, (_, value)| sum + value)
    }

    /// Of the answers about modules, the share that needed no fetch; `None` where there were none.
    pub(super) fn hit_ratio(&self) -> Option<f64> {
        const NAME: &str = "dipylon_http_server_requests_total";
        let of = |route: &str, labels: &[(&str, &str)]| {
            self.sum(NAME, &[&[("route", route)], labels].concat())
        };
        let all: f64 = ROUTES.iter().map(|route| of(route, &[])).sum();
        let hits = ROUTES.iter().flat_map(|route| HITS.iter().map(move |hit| (route, hit)));
        let hits: f64 = hits.map(|(route, hit)| of(route, &[("outcome", hit)])).sum();
        (all > 0.0).then_some(hits / all)
    }
}

/// How often the upstream was asked for the zips, and other files, of one scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) gets: u64,
    pub(super) files: u64,
}

impl Fetched {
    /// Adds up the lines `COUNT PATH` whose path belongs to the scenario and ends with this suffix.
    pub(super) fn of(counts: &str, scenario: &str, suffix: &str) -> Self {
        let prefix = format!("/load.test/{scenario}/");
        let mut fetched = Self::default();
        for (count, path) in counts.lines().filter_map(|line| line.split_once(' ')) {
            // Real modules, whose paths are none of ours, belong to the one scenario that has them.
            let ours = path.starts_with(&prefix) || !path.starts_with("/load.test/");
            if ours && path.ends_with(suffix) {
                fetched.gets += count.parse::<u64>().unwrap_or(0);
                fetched.files += 1;
            }
        }
        fetched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "# HELP x y\n\
        dipylon_http_server_requests_total{outcome=\"hit_memory\",route=\"info\"} 3\n\
        dipylon_http_server_requests_total{outcome=\"miss_leader\",route=\"zip\"} 1\n\
        dipylon_http_server_requests_total{outcome=\"ok\",route=\"admin\"} 9\n\
        dipylon_lock_held 1\n";

    #[test]
    fn gateways_are_added_up_and_compared_with_before() {
        let one = Figures::parse(SCRAPE);
        let mut two = one.clone();
        two.add(&one);
        assert_eq!(two.sum("dipylon_lock_held", &[]), 2.0);
        assert_eq!(two.sum("dipylon_http_server_requests_total", &[("route", "info")]), 6.0);
        assert_eq!(two.clone().since(&one), one);
    }

    #[test]
    fn the_hit_ratio_is_that_of_answers_about_modules() {
        assert_eq!(Figures::parse(SCRAPE).hit_ratio(), Some(0.75));
        assert_eq!(Figures::default().hit_ratio(), None);
    }

    #[test]
    fn fetches_are_counted_for_one_scenario_and_kind_of_file() {
        let counts = "1 /load.test/hot/m1/@v/v1.0.0.zip\n2 /load.test/hot/m2/@v/v1.0.0.zip\n\
            1 /load.test/hot/m1/@v/v1.0.0.mod\n5 /load.test/mixed/m1/@v/v1.0.0.zip\n";
        assert_eq!(Fetched::of(counts, "hot", ".zip"), Fetched { gets: 3, files: 2 });
        assert_eq!(Fetched::of(counts, "hot", ".info"), Fetched::default());
    }
}
