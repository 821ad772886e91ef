//! The names in a PromQL expression. That it parses is for promtool to say; this finds what it speaks of.

use std::fmt;

/// One vector selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Label, operator, value.
    pub(crate) matchers: Vec<(String, String, String)>,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matcher =
            |(label, is, value): &(String, String, String)| format!("{label}{is}\"{value}\"");
        let matchers: Vec<String> = self.matchers.iter().map(matcher).collect();
        write!(f, "{}{{{}}}", self.metric, matchers.join(","))
    }
}

/// What an expression speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) selectors: Vec<Selector>,
    /// The labels of `by`, `without`, `on` and the like.
    pub(crate) grouped: Vec<String>,
}

const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 7] = ["and", "or", "unless", "bool", "offset", "inf", "nan"];

/// Finds the names in `text`.
///
/// # Errors
/// A selector without a metric, or one whose braces do not end.
pub(crate) fn names(text: &str) -> Result<Names, String> {
    let mut names = Names::default();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = word(rest);
        let after = after.trim_start();
        rest = if first == '{' {
            return Err(format!("a selector without a metric at {rest:?}"));
        } else if first == '[' {
            rest.split_once(']').map_or("", |(_, after)| after)
        } else if first == '"' {
            rest[1..].split_once('"').map_or("", |(_, after)| after)
        } else if word.is_empty() || first.is_ascii_digit() {
            // A sign, or a number with its unit: neither is a name.
            &rest[word.len().max(first.len_utf8())..]
        } else if GROUPINGS.contains(&word) && after.starts_with('(') {
            let (list, after) = after[1..].split_once(')').ok_or("a list that does not end")?;
            let labels = list.split(',').map(str::trim).filter(|label| !label.is_empty());
            names.grouped.extend(labels.map(str::to_owned));
            after
        } else if OPERATORS.contains(&word) || after.starts_with('(') || is_grouped(after) {
            after
        } else {
            let (matchers, after) = matchers(after)?;
            names.selectors.push(Selector { metric: word.to_owned(), matchers });
            after
        }
        .trim_start();
    }
    Ok(names)
}

/// `sum by (x)`: the word before was an aggregation.
fn is_grouped(after: &str) -> bool {
    ["by", "without"].contains(&word(after).0)
}

fn word(text: &str) -> (&str, &str) {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split_at(text.find(|c| !inside(c)).unwrap_or(text.len()))
}

/// A label, an operator and a value.
type Matcher = (String, String, String);

fn matchers(text: &str) -> Result<(Vec<Matcher>, &str), String> {
    let mut found = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Ok((found, text)) };
    loop {
        rest = rest.trim_start_matches([',', ' ', '\n']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((found, after));
        }
        let (label, quoted) = rest.split_once('"').ok_or_else(|| format!("{text:?} has no end"))?;
        let (value, after) =
            quoted.split_once('"').ok_or_else(|| format!("{text:?} has no end"))?;
        let operator = label.trim_start_matches(|c: char| !"=!~".contains(c)).trim();
        let label = label.trim_end_matches(['=', '!', '~', ' ']).trim();
        found.push((label.to_owned(), operator.to_owned(), value.to_owned()));
        rest = after;
    }
}

#[test]
fn metrics_matchers_and_groupings_are_told_from_functions_and_numbers() {
    let text = r#"1 - max by (job) (a_total{x="1", y=~"b|c"}) / 14.4 * rate(b:c[5m] offset 10m) or on (z) d"#;
    let found = names(text).expect("it is an expression");
    let of = |metric: &str, matchers: &[(&str, &str, &str)]| Selector {
        metric: metric.to_owned(),
        matchers: matchers
            .iter()
            .map(|(a, b, c)| ((*a).into(), (*b).into(), (*c).into()))
            .collect(),
    };
    let want =
        [of("a_total", &[("x", "=", "1"), ("y", "=~", "b|c")]), of("b:c", &[]), of("d", &[])];
    assert_eq!(found.selectors, want);
    assert_eq!(found.grouped, ["job", "z"]);
}

#[test]
fn a_selector_needs_a_name_and_an_end() {
    assert!(names(r#"sum({job="a"})"#).is_err());
    assert!(names(r#"a{job="b"#).is_err());
}
