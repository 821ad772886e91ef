//! `/metrics` in Prometheus's text format, read and asked.

use std::collections::BTreeMap;

/// One line: a name, its labels, its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name, with `_bucket`, `_sum`, `_count` or `_total` as it stands.
    pub name: String,
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// A scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
}

impl Metrics {
    /// Reads the classic text format, or OpenMetrics (whose exemplars are left out).
    ///
    /// # Panics
    /// At a line that is neither a comment nor a sample, naming it.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            parse_sample(line).unwrap_or_else(|| panic!("not a line of a scrape: {line:?}"))
        };
        Self { samples: lines.map(sample).collect() }
    }

    /// All samples, in the order printed.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Begins a question about the samples of this name.
    pub fn metric(&self, name: &str) -> Question<'_> {
        Question { metrics: self, name: name.to_owned(), labels: Vec::new() }
    }
}

/// Which samples are meant: those of one name that carry all these labels, whatever else they have.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    metrics: &'a Metrics,
    name: String,
    labels: Vec<(String, String)>,
}

impl Question<'_> {
    /// Narrows to samples with this label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The matching samples.
    pub fn samples(&self) -> Vec<&Sample> {
        let has = |sample: &Sample, (name, value): &(String, String)| {
            sample.labels.get(name).is_some_and(|found| found == value)
        };
        let samples = self.metrics.samples.iter().filter(|sample| sample.name == self.name);
        samples.filter(|sample| self.labels.iter().all(|label| has(sample, label))).collect()
    }

    /// The value of the one matching sample; `None` when there is none.
    ///
    /// # Panics
    /// When several match: the question is not narrow enough.
    pub fn value(&self) -> Option<f64> {
        let found = self.samples();
        assert!(found.len() <= 1, "{} samples match {self:?}: {found:#?}", found.len());
        found.first().map(|sample| sample.value)
    }

    /// The sum over all matching samples; 0 when there is none.
    pub fn sum(&self) -> f64 {
        self.samples().iter().map(|sample| sample.value).sum()
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = parse_labels(inner, &mut labels)?;
    }
    let value = rest.split_whitespace().next()?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        value => value.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Reads `a="b",c="d"}` and answers what follows the brace.
fn parse_labels<'a>(text: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = parse_quoted(quoted)?;
        labels.insert(name.to_owned(), value);
        rest = after;
    }
}

/// Reads up to the closing quote, undoing `\\`, `\"` and `\n`.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "# HELP requests_total Requests.\n# TYPE requests_total counter\n\
        requests_total{route=\"info\",outcome=\"hit\"} 3\n\
        requests_total{route=\"zip\",outcome=\"hit\"} 4 1700000000\n\
        seconds_bucket{le=\"+Inf\"} 7 # {trace_id=\"abc\"} 0.5\n\
        odd{text=\"a\\\"b,}\\n\"} -1.5e3\n\
        up 1\n";

    #[test]
    fn a_question_narrows_by_label() {
        let metrics = Metrics::parse(SCRAPE);
        assert_eq!(metrics.metric("requests_total").label("route", "zip").value(), Some(4.0));
        assert_eq!(metrics.metric("requests_total").sum(), 7.0);
        assert_eq!(metrics.metric("requests_total").label("route", "mod").value(), None);
        assert_eq!(metrics.metric("up").value(), Some(1.0));
    }

    #[test]
    fn escapes_exemplars_and_exponents_are_read() {
        let metrics = Metrics::parse(SCRAPE);
        assert_eq!(metrics.metric("odd").label("text", "a\"b,}\n").value(), Some(-1500.0));
        assert_eq!(metrics.metric("seconds_bucket").label("le", "+Inf").value(), Some(7.0));
    }

    #[test]
    #[should_panic(expected = "samples match")]
    fn a_wide_question_has_no_one_value() {
        Metrics::parse(SCRAPE).metric("requests_total").value();
    }

    #[test]
    #[should_panic(expected = "not a line of a scrape")]
    fn a_broken_line_is_refused() {
        Metrics::parse("requests_total{route=\"info\n");
    }
}
