//! A holder that is killed with SIGKILL, wherever it is in its work. Each moment is held from outside: by the
//! upstream, and by what stands between the holder and its lock service.

use std::io;
use std::time::{Duration, Instant};

use dipylon_testkit::client::Response;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{End, Fault, Gate, When};
use tokio::task::JoinHandle;

use crate::fleet::{Fleet, REPLICAS, assert_whole, until, zip};
use crate::leash::Leash;
use crate::service::{LAPSED, Service};

/// Shorter than the default, which another case measures: each case waits for one. Azure grants longer ones only.
const LEASE: Lease = Lease { seconds: "5", lasts: Duration::from_secs(5) };
/// That of the case in which nobody shall wait for one.
const LONG_LEASE: Lease = Lease { seconds: "12", lasts: Duration::from_secs(12) };
/// What is stored is served within this time, sooner than the lease ends, whatever became of the lock.
const STORED: Duration = Duration::from_secs(8);
/// What the zip carries: more than is held back from clients.
const ZIP_BYTES: usize = 3_000_000;

pub(crate) async fn a_holder_killed_before_the_first_byte_is_replaced_within_a_lease(
    service: Service,
) {
    let case = Case::begin(service).await;
    case.fault(".zip", Fault::HangBeforeHeaders);
    let asked = case.ask_all().await;
    case.received(0).await;
    case.replace_the_holder(asked).await;
}

pub(crate) async fn a_holder_killed_at_half_of_the_zip_is_replaced_within_a_lease(
    service: Service,
) {
    let case = Case::begin(service).await;
    let half = case.module.zip().len() / 2;
    case.fault(".zip", Fault::StallAfter(half));
    let asked = case.ask_all().await;
    case.received(half).await;
    case.replace_the_holder(asked).await;
}

/// The zip is complete; the `.mod`, without which there is nothing whole to commit, is still to come.
pub(crate) async fn a_holder_killed_after_the_last_byte_is_replaced_within_a_lease(
    service: Service,
) {
    let case = Case::begin(service).await;
    case.fault(".mod", Fault::HangBeforeHeaders);
    let asked = case.ask_all().await;
    case.received(case.module.zip().len()).await;
    let zip = zip(&case.module);
    let sent = case.fleet.upstream.requests();
    assert!(sent.iter().any(|asked| asked.path == zip && asked.end == End::Completed));
    assert!(!case.fleet.is_stored(&case.module).await);
    case.replace_the_holder(asked).await;
}

/// Whoever leads a cluster next begins all leases anew: that of the dead holder as well.
pub(crate) async fn a_holder_killed_with_the_leader_is_replaced_when_its_lease_began_anew(
    service: Service,
) {
    let mut case = Case::begin(service).await;
    case.fault(".zip", Fault::HangBeforeHeaders);
    let asked = case.ask_all().await;
    case.service.kill_leader();
    // What those that are left have seen: the one that is gone may have counted others.
    case.elections = case.service.elections();
    case.replace_the_holder(asked).await;
}

/// No question of the holder has reached the service since before the commit: it cannot give its lock back.
pub(crate) async fn a_holder_killed_after_the_commit_costs_no_second_fetch(service: Service) {
    let gate = Gate::default();
    let mut case = Case::begin_with(LONG_LEASE, service).await;
    case.fault(".zip", Fault::Gate(gate.clone()));
    let asked = case.ask_all().await;
    case.leash.hold();
    gate.open();
    until("it is stored", async || case.fleet.is_stored(&case.module).await).await;
    let lock = case.service.keys().await;
    assert_eq!(lock.len(), 1, "the lock is not given back: {lock:?}");
    case.kill();
    let killed = Instant::now();
    for asked in asked.others {
        let answer = asked.await.expect("no panic").expect("an answer");
        assert_whole(&[answer], &case.module.zip());
    }
    // And who asks only now.
    let answers = case.fleet.ask_all(&case.module, 1).await;
    assert_eq!(answers.len(), REPLICAS - 1);
    assert_whole(&answers, &case.module.zip());
    let took = killed.elapsed();
    println!("served {took:?} after the kill");
    assert!(took < STORED, "what is stored waits for no lease: {took:?}");
    assert_eq!(case.fleet.fetches(&case.module), 1);
    // An object has no lease of its own: it stays until somebody wants the same lock.
    let stays = if case.service.locks_stay() { lock } else { Vec::new() };
    case.ends_with(stays).await;
}

/// How long a lock stands that is renewed each second.
#[derive(Clone, Copy)]
struct Lease {
    seconds: &'static str,
    lasts: Duration,
}

/// Three gateways, of which the first will hold the lock and has its own way to the service.
struct Case {
    service: Service,
    leash: Leash,
    fleet: Fleet,
    module: FakeModule,
    lease: Lease,
    /// Before the holder had the lock.
    elections: usize,
}

/// What clients have asked for.
struct Asked {
    holder: JoinHandle<io::Result<Response>>,
    others: Vec<JoinHandle<io::Result<Response>>>,
}

impl Case {
    async fn begin(service: Service) -> Self {
        Self::begin_with(LEASE, service).await
    }

    async fn begin_with(lease: Lease, mut service: Service) -> Self {
        let others = service.variables();
        let leash = Leash::to(&mut service).await;
        let first = leash.variables(&others);
        let (first, others) = (lease.keys_beside(&first), lease.keys_beside(&others));
        let fleet = Fleet::start_each([&first, &others, &others]).await;
        let module = FakeModule::new("example.com/lib", "v1.2.3").filler(ZIP_BYTES);
        let module = fleet.add(module);
        let elections = service.elections();
        Self { service, leash, fleet, module, lease, elections }
    }

    /// The first answer to such a path is broken.
    fn fault(&self, suffix: &str, fault: Fault) {
        self.fleet.upstream.fault(When::suffix(suffix).times(1), fault);
    }

    /// The first gateway gets the lock, the others wait for it.
    async fn ask_all(&self) -> Asked {
        let [first, rest @ ..] = &self.fleet.gateways[..] else { panic!("no gateway") };
        let holder = self.ask(first);
        until("the first has the lock", async || is_one(first, "dipylon_lock_held").await).await;
        let others = rest.iter().map(|gateway| self.ask(gateway)).collect();
        for gateway in rest {
            until("it waits", async || is_one(gateway, "dipylon_lock_waiting").await).await;
        }
        Asked { holder, others }
    }

    fn ask(&self, gateway: &Gateway) -> JoinHandle<io::Result<Response>> {
        let (client, path) = (gateway.client(), zip(&self.module));
        tokio::spawn(async move { client.try_request(http::Method::GET, &path, &[], "").await })
    }

    /// So many bytes of the zip have come to the holder, which has asked once.
    async fn received(&self, bytes: usize) {
        until("so many bytes have come", async || {
            let metrics = self.fleet.gateways[0].metrics().await;
            let received = metrics.metric("dipylon_upstream_received_bytes_total").sum();
            received == bytes as f64 && self.fleet.fetches(&self.module) == 1
        })
        .await;
    }

    fn kill(&mut self) {
        self.fleet.gateways[0].kill();
        self.fleet.gateways.remove(0);
    }

    /// Kills the holder: one of the others fetches in its place, and all have the bytes in time.
    async fn replace_the_holder(mut self, asked: Asked) {
        self.kill();
        let killed = Instant::now();
        for asked in asked.others {
            let answer = asked.await.expect("no panic").expect("an answer");
            assert_whole(&[answer], &self.module.zip());
        }
        let took = killed.elapsed();
        println!("served {took:?} after the kill");
        let limit = self.service.take_over_limit(self.lease.lasts, self.elections);
        assert!(took < limit, "{took:?}, not within {limit:?}");
        let cut_off = asked.holder.await.expect("no panic");
        let is_whole = cut_off.is_ok_and(|answer| answer.status == 200 && !answer.truncated);
        assert!(!is_whole, "the holder has not served what it could not commit");
        assert_eq!(self.fleet.fetches(&self.module), 2, "one took over");
        self.ends_with(Vec::new()).await;
    }

    /// The version is stored, nobody who lives holds or waits for anything, and this lies at the service.
    async fn ends_with(mut self, stays: Vec<String>) {
        until("it is stored", async || self.fleet.is_stored(&self.module).await).await;
        self.fleet.assert_at_rest().await;
        for gateway in &mut self.fleet.gateways {
            let status = gateway.terminate().await;
            assert!(status.success(), "{}", gateway.stderr());
        }
        let lease = self.service.lease(self.lease.lasts);
        let patience = if stays.is_empty() { lease + LAPSED } else { Duration::ZERO };
        assert_eq!(self.service.left_after(patience).await, stays);
    }
}

impl Lease {
    fn keys_beside<'a>(self, variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
        let variables = variables.iter().map(|(name, value)| (*name, value.as_str()));
        let ours = [("DIPYLON_LOCK_LEASE", self.seconds), ("DIPYLON_LOCK_RENEWAL", "1")];
        variables.chain(ours).collect()
    }
}

async fn is_one(gateway: &Gateway, gauge: &str) -> bool {
    gateway.metrics().await.metric(gauge).sum() == 1.0
}
