//! The log of the running program, in its three forms.

use std::collections::BTreeSet;

use dipylon_middleware::telemetry::catalogue::REQUEST_EVENT;
use dipylon_testkit::client::raw_get;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use serde_json::Value;

use crate::world::{VERSION, World, file, until};

/// Paths of every sort, and the status of each.
fn requests() -> [(String, u16); 6] {
    [
        (file(VERSION, "zip"), 200),
        (file(VERSION, "zip"), 200),
        (file("v1.9.9", "mod"), 404),
        ("/example.com/Raw/@v/list".to_owned(), 404),
        ("/healthz".to_owned(), 200),
        ("/no/such/page".to_owned(), 404),
    ]
}

/// Makes the requests, each under an id of its own, ends the gateway and hands over its log.
async fn log(variables: &[(&str, &str)]) -> String {
    let mut world = World::start(variables).await;
    for (number, (path, status)) in requests().iter().enumerate() {
        let id = format!("request-{number}");
        let answer = world.get_with(path, &[("Athens-Request-ID", &id)]).await;
        assert_eq!(answer.status, *status, "{path}: {:?}", answer.body);
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
    }
    world.end().await;
    world.gateway.stdout()
}

/// Field names as JSON logs have them; those that may be left out end in `?`.
fn documented() -> (BTreeSet<String>, BTreeSet<String>) {
    let all = REQUEST_EVENT.iter().map(|(name, _)| name.replace('_', "-"));
    let (optional, required): (BTreeSet<_>, BTreeSet<_>) =
        all.partition(|name| name.ends_with('?'));
    (required, optional.iter().map(|name| name.trim_end_matches('?').to_owned()).collect())
}

/// Asserts the one event of each request, in a JSON form with these three keys.
fn assert_events(log: &str, [time, level, message]: [&str; 3]) {
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    let (required, optional) = documented();
    for (number, (path, status)) in requests().iter().enumerate() {
        let id = format!("request-{number}");
        let of_request: Vec<&Value> = events
            .iter()
            .filter(|event| event["request-id"] == id.as_str() && event[message] == "request")
            .collect();
        assert_eq!(of_request.len(), 1, "{path}: one event, not {of_request:#?}");
        let event = of_request[0].as_object().expect("an event is an object");
        let fields: BTreeSet<String> = event
            .keys()
            .filter(|key| ![time, level, message].contains(&key.as_str()))
            .cloned()
            .collect();
        let lacking: Vec<_> = required.difference(&fields).collect();
        assert!(lacking.is_empty(), "{path}: no {lacking:?} in {event:?}");
        let known: BTreeSet<String> = required.union(&optional).cloned().collect();
        let strange: Vec<_> = fields.difference(&known).collect();
        assert!(strange.is_empty(), "{path}: {strange:?} are not documented");
        assert_eq!(event["http-status"], *status);
        assert_eq!(event["http-path"], path.as_str());
        assert_eq!(event.contains_key("error"), *status == 404, "{event:?}");
        assert_eq!(event.contains_key("module"), path.starts_with("/example.com/lib"), "{event:?}");
        let stamp = event[time].as_str().unwrap_or_default();
        assert!(stamp.ends_with('Z') && stamp.contains('T'), "{stamp:?} is no RFC 3339 time");
        assert!(event["duration-ms"].as_f64().is_some_and(|ms| ms > 0.0), "{event:?}");
    }
    let outcome = |id: &str| {
        let of =
            events.iter().find(|event| event["request-id"] == id && event[message] == "request");
        of.map(|event| event["outcome"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(outcome("request-0").as_deref(), Some("miss_leader"));
    assert_eq!(outcome("request-2").as_deref(), Some("upstream_not_found"));
    assert_eq!(outcome("request-3").as_deref(), Some("invalid"));
}

#[tokio::test]
async fn json_has_one_event_a_request_with_the_documented_fields() {
    let log = log(&[("ATHENS_LOG_FORMAT", "json")]).await;
    assert_events(&log, ["time", "level", "msg"]);
}

#[tokio::test]
async fn gcp_has_the_same_events_under_its_own_keys() {
    let log = log(&[("ATHENS_CLOUD_RUNTIME", "GCP")]).await;
    assert_events(&log, ["timestamp", "severity", "message"]);
}

#[tokio::test]
async fn plain_has_one_line_a_request_in_athens_form() {
    let log = log(&[]).await;
    for (number, (path, status)) in requests().iter().enumerate() {
        let of_request: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(&format!(" request_id=request-{number} ")))
            .filter(|line| line.contains("]: request\t"))
            .collect();
        assert_eq!(of_request.len(), 1, "{path}: one line, not {of_request:#?}");
        let line = of_request[0];
        assert!(line.contains(&format!(" http_status={status} ")), "{line}");
        assert!(line.contains(&format!(" http_path={path} ")), "{line}");
    }
    for line in log.lines() {
        let (level, rest) = line.split_once('[').unwrap_or_else(|| panic!("no level: {line:?}"));
        assert!(["DEBUG", "INFO", "WARNING", "ERROR"].contains(&level), "{line:?}");
        let clock = rest.split_once("]: ").unwrap_or_else(|| panic!("no clock: {line:?}")).0;
        assert!(clock.ends_with("AM") || clock.ends_with("PM"), "{line:?}");
    }
}

#[tokio::test]
async fn nothing_in_a_request_can_forge_a_line() {
    const FORGED: &str = "ERROR[1:11AM]: the store is gone";
    for (form, variables) in
        [("plain", ("ATHENS_LOG_FORMAT", "plain")), ("json", ("ATHENS_LOG_FORMAT", "json"))]
    {
        let mut world = World::start(&[variables, ("ATHENS_LOG_LEVEL", "debug")]).await;
        let paths = [
            "/example.com/lib%0AERROR[1:11AM]:%20the%20store%20is%20gone/@v/list",
            "/example.com/lib/@v/v1.0.0%0D%0AERROR[1:11AM]:%20the%20store%20is%20gone.info",
            "/%0aERROR[1:11AM]:%20the%20store%20is%20gone",
            "/example.com/lib/@v/list?%0AERROR[1:11AM]:%20the%20store%20is%20gone",
            "/catalog?token=%0AERROR[1:11AM]:%20the%20store%20is%20gone",
            "/example.com/%1b[31mred/@v/list",
            "/example.com/%C2%85%E2%80%A8line/@v/list",
        ];
        for path in paths {
            let text = format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: x\tERROR[1:11AM]:\r\n\
                 Athens-Request-ID: a b\r\nConnection: close\r\n\r\n"
            );
            let answer = raw_get(world.gateway.address(), &text).await;
            assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
        }
        // A bare line feed within a header ends it: whatever the server makes of it, no line is forged.
        let smuggled = format!(
            "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\n{FORGED}\r\n\
            Connection: close\r\n\r\n"
        );
        raw_get(world.gateway.address(), &smuggled).await;
        world.end().await;
        let log = world.gateway.stdout();
        assert!(!log.lines().any(|line| line.trim_start().starts_with("ERROR")), "{form}: {log}");
        let control = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!log.contains(control), "{form}: a control character in the log: {log:?}");
        let requests = log.lines().filter(|line| line.contains("http")).count();
        assert!(requests >= paths.len(), "{form}: {requests} lines");
    }
}

#[tokio::test]
async fn access_lines_can_be_switched_off() {
    let log = log(&[("DIPYLON_LOG_ACCESS", "false")]).await;
    assert!(!log.contains("]: request\t"), "{log}");
}

/// Every event of a log in JSON.
fn events_of(log: &str) -> Vec<Value> {
    let parsed =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    log.lines().map(parsed).collect()
}

#[tokio::test]
async fn every_line_about_a_request_has_its_trace() {
    let mut world =
        World::start(&[("ATHENS_LOG_FORMAT", "json"), ("ATHENS_LOG_LEVEL", "debug")]).await;
    let list = "/example.com/lib/@v/list";
    assert_eq!(world.get(list).await.status, 200);
    world.upstream.fault(When::any(), Fault::RetryAfter(503, 120));
    let failing = world.get(&file("v1.7.0", "zip")).await;
    assert_eq!(failing.status, 502, "{}", failing.text());
    let parent = failing.header("traceparent").expect("a trace").to_owned();
    world.end().await;
    let trace = parent.split('-').nth(1).expect("an id");
    let events = events_of(&world.gateway.stdout());
    let about: Vec<&Value> = events.iter().filter(|event| event["trace-id"] == trace).collect();
    let said = |text: &str| {
        about.iter().any(|event| event["msg"].as_str().unwrap_or_default().contains(text))
    };
    assert!(said("request") && said("left alone for as long as it asks"), "{about:#?}");
    let of_nobody = |event: &&Value| event["msg"] == "Starting application";
    let start = events.iter().find(of_nobody).expect("it has started");
    assert!(start.get("trace-id").is_none(), "{start}");
}

#[tokio::test]
async fn what_is_said_too_often_is_left_out_and_counted_and_requests_never_are() {
    const MANY: usize = 100;
    let mut world = World::start(&[
        ("ATHENS_LOG_FORMAT", "json"),
        ("DIPYLON_FRESH_FOR", "0"),
        ("DIPYLON_STALE_WHILE_REVALIDATE", "0"),
    ])
    .await;
    for number in 0..MANY {
        world.upstream.add(FakeModule::new(&format!("example.com/many{number}"), VERSION));
        let list = format!("/example.com/many{number}/@v/list");
        assert_eq!(world.get(&list).await.status, 200);
    }
    let once = Fault::Status(500, "text/plain", bytes::Bytes::from_static(b"sick\n"));
    world.upstream.fault(When::any(), once);
    for number in 0..MANY {
        let list = format!("/example.com/many{number}/@v/list");
        let stale = world.get(&list).await;
        assert!(stale.header("cache-status").is_some_and(|status| status.contains("stale_error")));
    }
    // A line is counted when it is written, which is a moment after it was said.
    let lines = async |fate| {
        let metrics = world.gateway.metrics().await;
        metrics.metric("dipylon_log_lines_total").label("result", fate).sum()
    };
    until("the lines are written", async || lines("written").await >= 2.0 * MANY as f64).await;
    let left_out = lines("left_out").await;
    assert!(left_out >= 40.0 && lines("lost").await == 0.0, "{left_out}");
    world.end().await;
    let events = events_of(&world.gateway.stdout());
    let count = |text: &str| {
        events.iter().filter(|event| event["msg"].as_str().unwrap_or_default() == text).count()
    };
    let warned = count("upstream fails: answered with an older list");
    assert!((20..=60).contains(&warned), "{warned} of {MANY}");
    assert!(count("request") >= 2 * MANY);
}
