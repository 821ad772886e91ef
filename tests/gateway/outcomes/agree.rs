//! One request, and what is said of it in seven places, held to each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use dipylon_testkit::client::Response;
use dipylon_testkit::metrics::Metrics;
use dipylon_testkit::traces::{Received, Traces};
use http::Method;
use parking_lot::Mutex;
use serde_json::Value;

use super::Row;
use crate::world::{Setup, World, until};

/// What a request without an answer is written down with.
const LEFT: u16 = 499;

/// A row of the table while it is tried: what has been seen of it so far.
pub(super) struct Trial {
    pub(super) row: Row,
    statuses: Mutex<BTreeSet<u16>>,
    levels: Mutex<BTreeSet<String>>,
    layers: Mutex<BTreeSet<String>>,
    cache_statuses: Mutex<BTreeSet<String>>,
    collectors: Mutex<Vec<Arc<Traces>>>,
}

impl Trial {
    pub(super) fn of(row: Row) -> Self {
        Self {
            row,
            statuses: Mutex::default(),
            levels: Mutex::default(),
            layers: Mutex::default(),
            cache_statuses: Mutex::default(),
            collectors: Mutex::default(),
        }
    }

    /// A gateway that keeps every trace, and what it sends them to.
    pub(super) async fn start(&self, setup: Setup) -> Scene<'_> {
        let traces = Arc::new(Traces::start());
        self.collectors.lock().push(Arc::clone(&traces));
        let world = keeping_all(setup, &traces).start().await;
        Scene { trial: self, world, traces, credentials: None }
    }

    /// What the row claims has been seen, and nothing else. The names of all spans that came.
    pub(super) fn end(self) -> BTreeSet<String> {
        let Row { outcome, statuses, levels, layers, cache_status, .. } = self.row;
        let seen: Vec<u16> = self.statuses.into_inner().into_iter().collect();
        assert_eq!(seen, statuses, "{outcome}: the statuses that were seen");
        let seen: Vec<String> = self.levels.into_inner().into_iter().collect();
        assert_eq!(seen, levels, "{outcome}: the levels that were seen");
        let claimed: BTreeSet<String> = layers.iter().map(ToString::to_string).collect();
        assert_eq!(self.layers.into_inner(), claimed, "{outcome}: where it came about");
        let seen: Vec<String> = self.cache_statuses.into_inner().into_iter().collect();
        assert_eq!(seen, cache_status, "{outcome}: what `Cache-Status` said");
        self.collectors.into_inner().iter().flat_map(|traces| traces.names()).collect()
    }
}

/// A gateway in which a row is tried.
pub(super) struct Scene<'a> {
    trial: &'a Trial,
    pub(super) world: World,
    traces: Arc<Traces>,
    /// The header with which `/metrics` is asked for.
    pub(super) credentials: Option<&'static str>,
}

/// What had been counted before a request.
pub(super) struct Before {
    route: &'static str,
    counted: Counted,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Counted {
    requests: f64,
    calls: f64,
}

impl Scene<'_> {
    fn outcome(&self) -> &'static str {
        self.trial.row.outcome
    }

    async fn counted(&self, route: &str) -> Counted {
        let headers: Vec<_> =
            self.credentials.map(|value| ("authorization", value)).into_iter().collect();
        let scrape = self.world.request(Method::GET, "/metrics", &headers).await;
        let metrics = Metrics::parse(scrape.text());
        let of = |name, label, value| {
            metrics.metric(name).label("outcome", self.outcome()).label(label, value).sum()
        };
        let layers = self.trial.row.layers.iter();
        Counted {
            requests: of("dipylon_http_server_requests_total", "route", route),
            calls: layers.map(|layer| of("dipylon_layer_calls_total", "layer", layer)).sum(),
        }
    }

    /// To be called before the request; then nothing else may be asked for that ends in the same way.
    pub(super) async fn before(&self, route: &'static str) -> Before {
        Before { route, counted: self.counted(route).await }
    }

    /// GET, and everything that is said of it.
    pub(super) async fn agree(&self, path: &str, route: &'static str, status: u16) -> Response {
        self.agree_on(Method::GET, path, route, status).await
    }

    /// As [`Scene::agree`], with another method.
    pub(super) async fn agree_on(
        &self,
        method: Method,
        path: &str,
        route: &'static str,
        status: u16,
    ) -> Response {
        let id = id_of(&format!("{method}-{path}"));
        let before = self.before(route).await;
        let answer = self.world.request(method, path, &[("x-request-id", &id)]).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        self.agrees(&before, &id, Some(&answer)).await;
        answer
    }

    /// Holds the places to each other: the answer, its `Cache-Status`, its text, the log event, the metrics of the
    /// request and of the layer where it came about, and the spans of both. Nobody got an answer where there is none.
    pub(super) async fn agrees(&self, before: &Before, id: &str, answer: Option<&Response>) {
        let Row { outcome, statuses, levels, .. } = self.trial.row;
        let status = answer.map_or(LEFT, |answer| answer.status.as_u16());
        assert!(statuses.contains(&status), "{outcome} is no {status}");
        if let Some(answer) = answer {
            self.is_told(answer, id);
        }
        let event = self.event(id).await;
        assert_eq!((&event["outcome"], &event["route"]), (&outcome.into(), &before.route.into()));
        assert_eq!(event["http-status"], status, "{event}");
        let sent = answer.map_or(0, |answer| answer.body.len());
        assert_eq!(event["sent-bytes"], sent, "{event}");
        let level = event["level"].as_str().unwrap_or_default().to_lowercase();
        assert!(levels.contains(&level.as_str()), "{event}");
        let text = answer.filter(|_| status >= 400).map(|answer| answer.text().trim_end());
        assert_eq!(event.get("error").and_then(Value::as_str), text, "{event}");

        self.is_traced(before.route, &event, answer).await;
        self.is_counted(before).await;
        self.trial.statuses.lock().insert(status);
        self.trial.levels.lock().insert(level);
    }

    fn is_told(&self, answer: &Response, id: &str) {
        let Row { outcome, .. } = self.trial.row;
        assert_eq!(answer.header("x-request-id"), Some(id));
        // What stands before the last word is of other caches.
        let said = answer.header("cache-status").unwrap_or_default();
        let own = said.rsplit(", ").next().unwrap_or_default();
        let end = format!("; detail={outcome}");
        let how = own.strip_prefix("dipylon").and_then(|own| own.strip_suffix(&end));
        let how = how.unwrap_or_else(|| panic!("{said}: the last is not the gateway's"));
        self.trial.cache_statuses.lock().insert(without_seconds(how.trim_start_matches("; ")));
    }

    /// The event comes when the last byte has gone, so a moment after it came.
    async fn event(&self, id: &str) -> Value {
        let event = || {
            let is_it = |event: &Value| event["msg"] == "request" && event["request-id"] == id;
            self.world.events().into_iter().rfind(is_it)
        };
        self.world.until(&format!("{id} is logged"), || event().is_some()).await;
        event().expect("it is logged")
    }

    async fn is_counted(&self, before: &Before) {
        let Counted { requests, calls } = before.counted;
        let outcome = self.outcome();
        until(&format!("{outcome} is counted"), async || {
            let now = self.counted(before.route).await;
            now.requests > requests && now.calls > calls
        })
        .await;
        // Asking for the count is itself a request that ends in `ok`.
        if outcome != "ok" {
            assert_eq!(self.counted(before.route).await.requests, requests + 1.0, "{outcome}");
        }
    }

    async fn is_traced(&self, route: &str, event: &Value, answer: Option<&Response>) {
        let Row { outcome, layers, .. } = self.trial.row;
        let trace = event["trace-id"].as_str().unwrap_or_default();
        // Of several layers the one that is named first is the innermost.
        let part_of = |spans: &[Received]| {
            let is_of = |span: &&Received, layer: &str| {
                // A route and a layer have one name: `sumdb`.
                !span.is_server
                    && span.name == layer
                    && span.attribute("dipylon.outcome") == outcome
            };
            let found = layers.iter().map(|layer| spans.iter().find(|span| is_of(span, layer)));
            found.flatten().next().cloned()
        };
        let root_of = |spans: &[Received]| spans.iter().find(|span| span.is_server).cloned();
        let what = format!("the trace of {outcome} has come, with a part of {layers:?}");
        self.world
            .until(&what, || {
                let spans = self.traces.of(trace);
                root_of(&spans).is_some() && part_of(&spans).is_some()
            })
            .await;
        let spans = self.traces.of(trace);
        let root = root_of(&spans).expect("it has come");
        let part = part_of(&spans).expect("it has come");
        assert_eq!((root.name.as_str(), root.attribute("http.route")), (route, route));
        assert_eq!(root.attribute("dipylon.outcome"), outcome);
        let status = event["http-status"].to_string();
        assert_eq!(root.attribute("http.response.status_code"), status);
        assert_eq!(root.attribute("dipylon.request_id"), event["request-id"]);
        assert_eq!(root.attribute("http.response.body.size"), event["sent-bytes"].to_string());
        if let Some(answer) = answer {
            let named = answer.header("traceparent").unwrap_or_default();
            assert_eq!(named, format!("00-{trace}-{}-01", root.id));
        }
        // By the semantic conventions a refusal is the client's affair: only 5xx make the server's span an error.
        let text = event.get("error").and_then(Value::as_str);
        let is_error = answer.is_some_and(|answer| answer.status.is_server_error());
        assert_eq!(root.error.as_deref(), text.filter(|_| is_error), "{outcome}");
        assert!(!root.is_ok && !part.is_ok, "what went well says nothing");
        // A layer's span is an error where the layer failed, whosever affair that is. `route` makes an answer of what
        // fails within it.
        let text = text.filter(|_| part.name != "route");
        assert_eq!(part.error.as_deref(), text, "{} of {outcome}", part.name);
        self.trial.layers.lock().insert(part.name);
    }
}

/// `N` for the number of seconds in `ttl`, which is another each time; its sign is not.
fn without_seconds(how: &str) -> String {
    let part = |part: &str| match part.strip_prefix("ttl=").map(str::parse::<i64>) {
        None => part.to_owned(),
        Some(Ok(seconds)) if seconds < 0 => "ttl=-N".to_owned(),
        Some(Ok(_)) => "ttl=N".to_owned(),
        Some(Err(error)) => panic!("{part}: {error}"),
    };
    how.split("; ").map(part).collect::<Vec<_>>().join("; ")
}

/// Keeps every trace, and sends it there at once.
pub(super) fn keeping_all(setup: Setup, traces: &Traces) -> Setup {
    setup
        .env("ATHENS_TRACE_EXPORTER", "otlp")
        .env("ATHENS_TRACE_EXPORTER_URL", &traces.url())
        .env("DIPYLON_OTLP_PROTOCOL", "http")
        .env("ATHENS_TRACE_SAMPLING_FRACTION", "1")
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
}

/// An id that a request can have, made of its path.
fn id_of(text: &str) -> String {
    format!("id-of-{}", text.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}
