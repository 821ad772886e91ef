//! What happens to the world while it is under load, and when it did.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::figures::Figures;
use super::http;
use super::options::Lock;
use super::proxies::Proxy;
use super::world::World;
use crate::json::Json;

/// The longest that a gateway may take from SIGTERM to its end: its own ShutdownTimeout, and a little.
const DRAIN_LIMIT: Duration = Duration::from_secs(70);
/// The longest that a process may take to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// The longest that something may take to be ready again.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long what was killed stays away.
const AWAY: Duration = Duration::from_secs(5);
/// Between the gateways of a rolling restart.
const BETWEEN_GATEWAYS: Duration = Duration::from_secs(3);
/// The longest that a holder of a lock is looked for.
const HOLDER_LIMIT: Duration = Duration::from_secs(20);
/// How often a question is asked again.
const POLL: Duration = Duration::from_millis(10);

/// Something that happens, at a time that the scenario says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(super) Action);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Every answer of upstream is late by so many milliseconds more.
    UpstreamLate(u32),
    UpstreamGone,
    UpstreamWell,
    LockLate(u32),
    LockGone,
    LockWell,
    StorageLate(u32),
    StorageWell,
    /// SIGKILL, and back after [`AWAY`] with the data it had.
    StorageRestarted,
    /// SIGKILL to the gateway that holds a lock, which is back after [`AWAY`].
    HolderKilled,
    /// SIGKILL to the Redis server that is the primary.
    PrimaryKilled,
    /// SIGKILL to the member of etcd that leads.
    LeaderKilled,
    /// What was killed of the lock service is started again.
    LockBack,
    /// SIGTERM to each gateway in turn, which is started again when it has ended.
    RollingRestart,
}

/// Something that has happened; times in seconds of the load.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) at: f64,
    pub(super) until: f64,
    pub(super) what: String,
}

/// Makes happen what a scenario wants.
pub(super) struct Faults<'a> {
    pub(super) world: &'a World,
    /// The first moment of the load.
    pub(super) began: Instant,
    /// The load has ended: nothing more is to happen.
    pub(super) over: &'a AtomicBool,
    /// What of the lock service has been killed.
    pub(super) killed: Option<String>,
    pub(super) events: Vec<Event>,
}

impl Faults<'_> {
    /// Waits for each moment, and acts. Ends early where the load does.
    ///
    /// # Errors
    /// One line: what could not be done.
    pub(super) fn run(
        &mut self,
        faults: &[(f64, Fault)],
        duration: Duration,
    ) -> Result<(), String> {
        for (share, Fault(action)) in faults {
            let moment = duration.mul_f64(*share);
            while self.began.elapsed() < moment {
                if self.over.load(Ordering::Relaxed) {
                    return Err("the load ended before all of it had happened".to_owned());
                }
                std::thread::sleep(POLL);
            }
            self.act(*action)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        let world = self.world;
        let storage = || world.to_storage.as_ref().ok_or("there is no proxy before the store");
        match action {
            Action::UpstreamLate(millis) => {
                let what = format!("upstream {millis} ms late");
                self.event(what, |_| world.to_upstream.late(millis))
            }
            Action::UpstreamGone => {
                self.event("upstream gone".to_owned(), |_| world.to_upstream.close())
            }
            Action::UpstreamWell => {
                self.event("upstream well".to_owned(), |_| world.to_upstream.well())
            }
            Action::LockLate(millis) => self.event(format!("lock {millis} ms late"), |_| {
                world.to_lock.iter().try_for_each(|proxy| proxy.late(millis))
            }),
            Action::LockGone => self.event("lock service gone".to_owned(), |_| {
                world.to_lock.iter().try_for_each(Proxy::close)
            }),
            Action::LockWell => self.event("lock service well".to_owned(), |_| {
                world.to_lock.iter().try_for_each(Proxy::well)
            }),
            Action::StorageLate(millis) => {
                let proxy = storage()?;
                self.event(format!("store {millis} ms late"), |_| proxy.late(millis))
            }
            Action::StorageWell => {
                let proxy = storage()?;
                self.event("store well".to_owned(), |_| proxy.well())
            }
            Action::StorageRestarted => {
                self.event("minio killed, back after 5 s".to_owned(), |faults| {
                    faults.world.stack.end_process("minio", "KILL", KILL_LIMIT)?;
                    std::thread::sleep(AWAY);
                    faults.world.stack.again("minio")?;
                    let (_, port) = faults.world.stack.ports("minio")?.remove(0);
                    until_ready(port, "/minio/health/live")
                })
            }
            Action::HolderKilled => self.kill_a_holder(),
            Action::PrimaryKilled => self.kill_of_lock("sentinel-primary".to_owned()),
            Action::LeaderKilled => {
                let leader = leader(world)?;
                self.kill_of_lock(leader)
            }
            Action::LockBack => {
                let name = self.killed.take().ok_or("nothing of the lock service was killed")?;
                self.event(format!("{name} back"), |faults| faults.world.stack.again(&name))
            }
            Action::RollingRestart => world.gateways().try_for_each(|(name, port)| {
                self.event(format!("{name} restarted"), |faults| {
                    faults.world.stack.end_process(&name, "TERM", DRAIN_LIMIT)?;
                    faults.world.stack.again(&name)?;
                    until_ready(port, "/readyz")
                })?;
                std::thread::sleep(BETWEEN_GATEWAYS);
                Ok(())
            }),
        }
    }

    fn kill_of_lock(&mut self, name: String) -> Result<(), String> {
        self.event(format!("{name} killed"), |faults| {
            faults.world.stack.end_process(&name, "KILL", KILL_LIMIT)
        })?;
        self.killed = Some(name);
        Ok(())
    }

    fn kill_a_holder(&mut self) -> Result<(), String> {
        let world = self.world;
        let asked = Instant::now();
        let (name, port) = loop {
            let holder = world.gateways().find(|(_, port)| holds(*port));
            if let Some(found) = holder {
                break found;
            }
            if asked.elapsed() > HOLDER_LIMIT {
                return Err("no gateway holds a lock".to_owned());
            }
            std::thread::sleep(POLL);
        };
        self.event(format!("{name}, a holder, killed, back after 5 s"), |faults| {
            faults.world.stack.end_process(&name, "KILL", KILL_LIMIT)?;
            std::thread::sleep(AWAY);
            faults.world.stack.again(&name)?;
            until_ready(port, "/readyz")
        })
    }

    /// Acts, and notes when that began and ended.
    fn event(
        &mut self,
        what: String,
        act: impl FnOnce(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        println!("    {:.1} s: {what}", self.began.elapsed().as_secs_f64());
        let at = self.began.elapsed().as_secs_f64();
        act(self).map_err(|why| format!("{what}: {why}"))?;
        self.events.push(Event { at, until: self.began.elapsed().as_secs_f64(), what });
        Ok(())
    }
}

/// Whether a gateway holds a lock just now; one that does not answer holds none that we could kill it with.
pub(super) fn holds(port: u16) -> bool {
    http::get(port, "/metrics")
        .is_ok_and(|text| Figures::parse(&text).sum("dipylon_lock_held", &[]) > 0.0)
}

/// The process that leads the members of etcd.
fn leader(world: &World) -> Result<String, String> {
    if world.setup.lock != Lock::Etcd {
        return Err("there is no etcd".to_owned());
    }
    for (name, port) in world.stack.ports("etcd3")? {
        let host = format!("127.0.0.1:{port}");
        let said = Json::parse(&http::ask(&host, "POST", "/v3/maintenance/status", "{}")?)?;
        let own = said.get("header").get("member_id").text();
        if own.is_some() && own == said.get("leader").text() {
            return Ok(name);
        }
    }
    Err("no member of etcd leads".to_owned())
}

/// Waits until an address answers well.
pub(super) fn until_ready(port: u16, path: &str) -> Result<(), String> {
    let began = Instant::now();
    loop {
        match http::get(port, path) {
            Ok(_) => return Ok(()),
            Err(why) if began.elapsed() > READY_LIMIT => return Err(format!("not ready: {why}")),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
