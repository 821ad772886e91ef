//! What a Prometheus knows, by its HTTP API: the one of a load, or one of production that a person names.

use std::collections::BTreeMap;

use super::http::{ask, encoded};
use crate::json::Json;

/// Points of one question over a range; Prometheus refuses more than 11,000.
const MAX_POINTS: f64 = 1_000.0;

/// Where a Prometheus answers: host and port, and the path before `/api`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prometheus {
    host: String,
    path: String,
}

/// One series: its labels, and its values by seconds of the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) points: Vec<(f64, f64)>,
}

/// An alert of the rules.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub(super) name: String,
    pub(super) severity: String,
    /// For how long its condition has to hold.
    pub(super) wait_secs: f64,
}

impl Prometheus {
    pub(super) fn local(port: u16) -> Self {
        Self { host: format!("127.0.0.1:{port}"), path: String::new() }
    }

    /// `http://host:9090`, or `http://host/prometheus`.
    ///
    /// # Errors
    /// One line: what is wrong with it.
    pub(super) fn of_url(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or_else(|| {
            format!("{url}: want http://HOST:PORT; what speaks TLS is reached by a forwarded port")
        })?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { host, path })
    }

    fn api(&self, path: &str) -> Result<Json, String> {
        let answer =
            Json::parse(&ask(&self.host, "GET", &format!("{}/api/v1{path}", self.path), "")?)?;
        match answer.get("status").text() {
            Some("success") => Ok(answer.get("data").clone()),
            _ => Err(answer.get("error").text().unwrap_or("Prometheus says no reason").to_owned()),
        }
    }

    /// All series of a question, from one second of the epoch to another.
    ///
    /// # Errors
    /// One line: it does not answer, or the question is wrong.
    pub(super) fn range(&self, query: &str, from: f64, to: f64) -> Result<Vec<Found>, String> {
        let step = ((to - from) / MAX_POINTS).max(2.0);
        let query = encoded(query);
        let path = format!("/query_range?query={query}&start={from:.3}&end={to:.3}&step={step:.3}");
        Ok(found(&self.api(&path)?, "values"))
    }

    /// All series of a question, at one second of the epoch.
    ///
    /// # Errors
    /// One line: it does not answer, or the question is wrong.
    pub(super) fn at(&self, query: &str, time: f64) -> Result<Vec<Found>, String> {
        Ok(found(&self.api(&format!("/query?query={}&time={time:.3}", encoded(query)))?, "value"))
    }

    /// The alerts of its rules.
    ///
    /// # Errors
    /// One line: it does not answer.
    pub(super) fn alerts(&self) -> Result<Vec<Alert>, String> {
        let said = self.api("/rules?type=alert")?;
        let rules = said.get("groups").items().iter().flat_map(|group| group.get("rules").items());
        let alert = |rule: &Json| {
            Some(Alert {
                name: rule.get("name").text()?.to_owned(),
                severity: rule.get("labels").get("severity").text()?.to_owned(),
                wait_secs: rule.get("duration").number()?,
            })
        };
        Ok(rules.filter_map(alert).collect())
    }
}

fn found(data: &Json, values: &str) -> Vec<Found> {
    let point = |pair: &Json| match pair.items() {
        [time, value] => Some((time.number()?, value.number()?)),
        _ => None,
    };
    let one = |series: &Json| {
        let labels = match series.get("metric") {
            Json::Object(fields) => fields
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.text()?.to_owned())))
                .collect(),
            _ => BTreeMap::new(),
        };
        let points = match values {
            "value" => point(series.get("value")).into_iter().collect(),
            _ => series.get(values).items().iter().filter_map(point).collect(),
        };
        Found { labels, points }
    };
    data.get("result").items().iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_with_their_labels() {
        let data = r#"{"resultType": "matrix", "result": [
            {"metric": {"a": "b"}, "values": [[1.5, "2"], [3, "NaN"]]}]}"#;
        let found = found(&Json::parse(data).unwrap(), "values");
        assert_eq!(found[0].labels["a"], "b");
        assert_eq!(found[0].points[0], (1.5, 2.0));
        assert!(found[0].points[1].1.is_nan());
    }

    #[test]
    fn an_address_may_have_a_path() {
        let of = |url: &str| Prometheus::of_url(url).map(|found| (found.host, found.path));
        let pair = |host: &str, path: &str| Ok((host.to_owned(), path.to_owned()));
        assert_eq!(of("http://prom:9090/"), pair("prom:9090", ""));
        assert_eq!(of("http://prom/a/b"), pair("prom:80", "/a/b"));
        assert!(of("https://prom").unwrap_err().contains("forwarded port"));
    }
}
