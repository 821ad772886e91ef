//! What `/-/status` of each replica shows of locks: who has one, who waits for it, and that their service is down.

use bytes::Bytes;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, When};
use futures::future::join_all;
use http::Method;

use crate::cases::{holder, start};
use crate::fleet::{assert_whole, until, zip};
use crate::service::Service;

/// Traces are recorded, so that an owner says which it is; nobody is there to take them.
const TRACED: [(&str, &str); 2] =
    [("ATHENS_TRACE_EXPORTER", "otlp"), ("ATHENS_TRACE_EXPORTER_URL", "http://127.0.0.1:1")];
/// The client's span, which it does not keep.
const PARENT: &str = "00f067aa0ba902b7";

/// The cells of a row of a table, whose first cell this is; nothing where it has no such row.
async fn row(gateway: &Gateway, table: &str, first: &str) -> Option<Vec<String>> {
    let answer = gateway.get("/-/status").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut tables = answer.text().split("<h2>");
    let table = tables.find(|text| text.starts_with(&format!("{table}</h2>")));
    let begin = format!("<tr><td>{first}</td>");
    let line = table.expect("the table").lines().find(|line| line.starts_with(&begin))?;
    let cells = line.trim_start_matches("<tr><td>").trim_end_matches("</td></tr>");
    Some(cells.split("</td><td>").map(str::to_owned).collect())
}

/// What the first table says of it now.
async fn now(gateway: &Gateway, first: &str) -> String {
    let cells = row(gateway, "Now", first).await.unwrap_or_else(|| panic!("no row {first}"));
    cells[1].clone()
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn the_status_page_shows_who_has_a_lock_who_waits_for_it_and_that_the_service_is_down() {
    let mut service = Service::redis().await;
    let fleet = start(&service, &TRACED).await;
    let module = fleet.add(FakeModule::new("example.com/lib", "v1.2.3"));
    let version = format!("{}@{}", module.path(), module.version());
    for gateway in &fleet.gateways {
        let page = gateway.get("/-/status").await;
        assert!(page.text().contains("<h2>Locks</h2>\n<p>none</p>"), "{}", page.text());
        assert_eq!(now(gateway, "lock service").await, "works");
    }

    let gate = Gate::default();
    fleet.upstream.fault(When::suffix(".zip"), Fault::Gate(gate.clone()));
    let trace = |number: usize| format!("{:032x}", 0xabc + number);
    let asking = fleet.gateways.iter().enumerate().map(|(number, gateway)| {
        let (client, path) = (gateway.client(), zip(&module));
        let (id, parent) = (request(number), format!("00-{}-{PARENT}-01", trace(number)));
        tokio::spawn(async move {
            let headers = [("x-request-id", id.as_str()), ("traceparent", parent.as_str())];
            client.request(Method::GET, &path, &headers, Bytes::new()).await
        })
    });
    let asking: Vec<_> = asking.collect();
    let holds = holder(&fleet).await;
    for (number, gateway) in fleet.gateways.iter().enumerate() {
        let is_holder = number == holds;
        let (standing, by) = match is_holder {
            true => ("held", String::new()),
            false => ("awaited", trace(holds)),
        };
        until("the page shows the lock, and whose it is", async || {
            let cells = row(gateway, "Locks", &version).await;
            cells.is_some_and(|cells| cells.len() == 5 && cells[1] == standing && cells[4] == by)
        })
        .await;
        let cells = row(gateway, "Locks", &version).await.expect("it was there a moment ago");
        assert!(cells[2].ends_with('s') && cells[2].starts_with(char::is_numeric), "{cells:?}");
        assert_eq!(cells[3], request(number), "{cells:?}");
        let [held, awaited] = if is_holder { ["1", "0"] } else { ["0", "1"] };
        assert_eq!(now(gateway, "locks held").await, held, "{number}");
        assert_eq!(now(gateway, "locks awaited").await, awaited, "{number}");
    }
    gate.open();
    for answer in join_all(asking).await {
        assert_whole(&[answer.expect("no panic")], &module.zip());
    }
    fleet.assert_at_rest().await;
    for gateway in &fleet.gateways {
        assert_eq!(row(gateway, "Locks", &version).await, None);
    }

    service.stop();
    // Each finds it out by a miss of its own.
    for (number, gateway) in fleet.gateways.iter().enumerate() {
        let module = fleet.add(FakeModule::new("example.com/down", &format!("v1.0.{number}")));
        assert_whole(&[gateway.get(&zip(&module)).await], &module.zip());
        let stands = now(gateway, "lock service").await;
        let why = stands.strip_prefix("down, misses go on without locks: ");
        assert!(why.is_some_and(|why| !why.is_empty()), "{number}: {stands}");
    }
    service.restart();
    for gateway in &fleet.gateways {
        until("the page shows that the service works again", async || {
            now(gateway, "lock service").await == "works"
        })
        .await;
    }
}

/// The id of the request of each.
fn request(number: usize) -> String {
    format!("request-of-{number}")
}
