//! A question about a lock that the service comes to when nobody waits for the answer any more.

use dipylon_testkit::module::FakeModule;

use crate::fleet::{Fleet, assert_whole, until, zip};
use crate::leash::Leash;
use crate::service::{LAPSED, Service};

#[tokio::test]
#[ignore = "needs azurite: run by cargo xtask test"]
async fn a_lease_that_azure_grants_to_nobody_is_given_back() {
    let mut service = Service::azurite().await;
    let leash = Leash::to(&mut service).await;
    let others = service.variables();
    let first = leash.variables(&others);
    let (first, others) = (texts(&first), texts(&others));
    let fleet = Fleet::start_each([&first, &others, &others]).await;
    let module = fleet.add(FakeModule::new("example.com/lib", "v1.2.3"));
    let (late, other) = (&fleet.gateways[0], &fleet.gateways[1]);
    leash.hold();
    let (client, path) = (late.client(), zip(&module));
    let asking = tokio::spawn(async move { client.get(&path).await });
    let waits = async || late.metrics().await.metric("dipylon_lock_waiting").sum() == 1.0;
    until("the first asks for the lock", waits).await;
    assert_whole(&[other.get(&zip(&module)).await], &module.zip());
    // The first has no answer, looks into the store, and finds there what the other has put there.
    assert_whole(&[asking.await.expect("no panic")], &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
    leash.let_go();
    until("what was granted is given back", async || {
        let metrics = late.metrics().await;
        let releases =
            metrics.metric("dipylon_lock_operations_total").label("operation", "release");
        releases.label("result", "done").sum() == 1.0
    })
    .await;
    // Sooner than by itself.
    assert!(LAPSED < service.default_lease());
    assert_eq!(service.left_after(LAPSED).await, Vec::<String>::new());
    fleet.assert_at_rest().await;
}

fn texts<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
