//! A policy that changes while something is under way: what is asked of whom from then on.

use dipylon_testkit::client::Response;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, Upstream, When};
use tokio::task::JoinHandle;

use crate::policy_file::{FETCHES, rewrite, secret, started, with_file};
use crate::world::{MODULE, Setup, VERSION, World, file, latest, list, outcome, path_of, until};

#[tokio::test]
async fn a_name_that_becomes_private_is_asked_of_nobody_else_by_what_is_under_way() {
    let private = Upstream::start().await;
    let text = format!(
        "{FETCHES}download \"example.com/lib\" {{\n  mode = \"sync\"\n  upstreams = [{:?}]\n}}\n",
        private.url()
    );
    let mut world = started(&text).await;
    private.add(FakeModule::new(MODULE, VERSION));
    let gate = Gate::default();
    private.fault(When::suffix(".zip"), Fault::Gate(gate.clone()));
    let (client, path) = (world.gateway.client(), file("zip"));
    let asking = tokio::spawn(async move {
        let _ended = client.try_request(http::Method::GET, &path, &[], "").await;
    });
    until("its upstream is asked", async || private.count(&file("zip")) == 1).await;
    rewrite(&mut world, &secret(), "applied").await;
    gate.open();
    // Whole, cut off or refused, as far as it had come: what counts is who was asked.
    asking.await.expect("no panic");
    until("nothing is under way", async || {
        world.metrics().await.metric("dipylon_single_flight_active").sum() == 0.0
    })
    .await;
    assert_eq!(world.module_requests(), 0, "the gateway's own upstream has seen the name");
    let told = |asked: &[String]| asked.iter().any(|path| path.contains(MODULE));
    let (carried, direct) = (world.upstream.requests(), world.database.requests());
    let carried: Vec<String> = carried.into_iter().map(|request| request.path).collect();
    assert!(!told(&carried) && !told(&direct), "a checksum database has: {carried:?} {direct:?}");
}

#[tokio::test]
async fn a_name_that_becomes_private_is_asked_of_no_other_entry_and_not_once_more() {
    let spare = Upstream::start().await;
    let setup = Setup::disk().env("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "2");
    let setup = setup.env("GOPROXY", &format!("{{upstream}}|{}", spare.url()));
    let mut world = with_file(setup, FETCHES).start().await;
    spare.add(FakeModule::new(MODULE, VERSION));
    world.upstream.fault(When::any(), Fault::HangBeforeHeaders);
    let (client, path) = (world.gateway.client(), file("info"));
    let asking = tokio::spawn(async move { client.get(&path).await });
    until("the first entry is asked", async || world.asked(&file("info")) == 1).await;
    rewrite(&mut world, &secret(), "applied").await;
    let refused = asking.await.expect("no panic");
    assert_eq!(
        (refused.status.as_u16(), outcome(&refused)),
        (404, "not_stored"),
        "{}",
        refused.text()
    );
    assert_eq!((world.module_requests(), spare.total()), (1, 0));
}

/// A gateway with one request slot for its upstream.
async fn with_one_slot() -> World {
    let setup = Setup::disk().env("DIPYLON_UPSTREAM_CONCURRENCY", "1");
    let world = with_file(setup, FETCHES).start().await;
    world.add_module();
    world
}

fn ask(world: &World, path: &str) -> JoinHandle<Response> {
    let (client, path) = (world.gateway.client(), path.to_owned());
    tokio::spawn(async move { client.get(&path).await })
}

/// Takes the slot; it is free again when the gate is opened.
async fn take_the_slot(world: &World) -> (JoinHandle<Response>, Gate) {
    let (gate, other) = (Gate::default(), path_of("example.com/other", VERSION, "info"));
    world.add(FakeModule::new("example.com/other", VERSION));
    world.upstream.fault(When::path(&other), Fault::Gate(gate.clone()));
    let holder = ask(world, &other);
    until("the slot is taken", async || world.asked(&other) == 1).await;
    (holder, gate)
}

/// Asks, until that stands in line for the slot.
async fn in_line(world: &World, path: &str) -> JoinHandle<Response> {
    let waiting = ask(world, path);
    until("it stands in line", async || {
        let metrics = world.metrics().await;
        metrics.metric("dipylon_layer_active_calls").label("layer", "upstream_limit").sum() == 2.0
    })
    .await;
    waiting
}

#[tokio::test]
async fn a_name_that_becomes_private_while_it_stands_in_line_is_not_asked_for() {
    let mut world = with_one_slot().await;
    let (holder, gate) = take_the_slot(&world).await;
    let waiting = in_line(&world, &file("info")).await;
    rewrite(&mut world, &secret(), "applied").await;
    gate.open();
    assert_eq!(holder.await.expect("no panic").status, 200);
    let refused = waiting.await.expect("no panic");
    let said = (refused.status.as_u16(), outcome(&refused));
    assert_eq!(said, (404, "not_stored"), "{}", refused.text());
    assert_eq!(world.asked(&file("info")), 0);
}

#[tokio::test]
async fn what_stands_in_line_when_its_upstreams_become_others_is_asked_of_those() {
    let other = Upstream::start().await;
    other.add(FakeModule::new(MODULE, VERSION));
    let mut world = with_one_slot().await;
    let (holder, gate) = take_the_slot(&world).await;
    let waiting = in_line(&world, &file("info")).await;
    let elsewhere = format!(
        "{FETCHES}download \"example.com/lib\" {{\n  mode = \"sync\"\n  upstreams = {:?}\n}}\n",
        other.url()
    );
    rewrite(&mut world, &elsewhere, "applied").await;
    gate.open();
    assert_eq!(holder.await.expect("no panic").status, 200);
    let answer = waiting.await.expect("no panic");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((world.asked(&file("info")), other.count(&file("info"))), (0, 1));
}

#[tokio::test]
async fn what_stands_in_line_when_its_module_becomes_private_is_storage_s_to_answer() {
    for path in [list(), latest(), path_of(MODULE, "v1", "info")] {
        let mut world = with_one_slot().await;
        world.get_ok(&file("zip")).await;
        until("it is stored", async || world.is_stored(MODULE, VERSION)).await;
        let (holder, gate) = take_the_slot(&world).await;
        let waiting = in_line(&world, &path).await;
        rewrite(&mut world, &secret(), "applied").await;
        gate.open();
        assert_eq!(holder.await.expect("no panic").status, 200);
        let answer = waiting.await.expect("no panic");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.text().contains(VERSION), "{path}: {}", answer.text());
        assert_eq!(world.asked(&path), 0);
    }
}
