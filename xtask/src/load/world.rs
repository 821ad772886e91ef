//! What a load meets: a lock service and a store behind Toxiproxy, the upstream, gateways that share them, a
//! balancer before these, and what watches them.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::figures::Figures;
use super::http;
use super::options::{Lock, Options, Storage};
use super::proxies::Proxy;
use super::scenarios::Scenario;
use super::servers;
use crate::stack::{self, ForSuites, Place, Plan};
use crate::step::{cargo, run_with};

/// What the gateways' names begin with, and the folders' of their logs.
const GATEWAY: &str = "gateway";

/// The programs that were built.
pub(super) struct Programs {
    gateway: PathBuf,
    upstream: PathBuf,
}

impl Programs {
    /// Builds what is not built yet. The tests' build is what `cargo test` makes: a test is named, so
    /// that cargo picks the same features, and finds it all done.
    ///
    /// # Errors
    /// One line: it cannot be built, or where it should lie it does not.
    pub(super) fn build(root: &Path, tests_build: bool) -> Result<Self, String> {
        let (profile, args): (&str, &[&str]) = if tests_build {
            ("debug", &["build", "--workspace", "--bins", "--test", "config"])
        } else {
            let packages = ["-p", "dipylon", "-p", "dipylon-testkit", "--bins"];
            ("release", &[&["build", "--release"][..], &packages].concat())
        };
        if !run_with(root, &cargo(), args, &[]).good {
            return Err("what is to be loaded cannot be built".to_owned());
        }
        // This program lies in a folder of the same target folder.
        let here = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let target = here.parent().and_then(Path::parent).ok_or("this program has no folder")?;
        let folder = target.join(profile);
        let built = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { Ok(path) } else { Err(format!("{} is not there", path.display())) }
        };
        Ok(Self { gateway: built("dipylon")?, upstream: built("load_upstream")? })
    }
}

/// What one world is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setup {
    pub(super) lock: Lock,
    pub(super) storage: Storage,
    pub(super) gateways: u32,
    pub(super) upstream_delay_ms: u128,
    /// Variables of the gateways, after all others.
    pub(super) env: Vec<(String, String)>,
}

impl Setup {
    /// What a scenario needs; what a person gives wins, but where the scenario is about that very thing.
    pub(super) fn of(scenario: &Scenario, options: &Options) -> Self {
        let lock = scenario.lock.or(options.lock).unwrap_or(Lock::Redis);
        let storage = scenario.storage.or(options.storage).unwrap_or(Storage::Minio);
        let own =
            scenario.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let delay = options.upstream_delay.as_millis();
        Self {
            lock,
            storage,
            gateways: options.gateways,
            upstream_delay_ms: delay.max(u128::from(scenario.least_delay_ms)),
            env: own.chain(options.env.iter().cloned()).collect(),
        }
    }
}

/// All that runs; it ends when this is dropped, or soon after this process has ended in any other way.
pub(super) struct World {
    pub(super) stack: ForSuites,
    pub(super) setup: Setup,
    pub(super) upstream: u16,
    pub(super) gateways: Vec<u16>,
    pub(super) balancer: u16,
    pub(super) prometheus: u16,
    pub(super) to_upstream: Proxy,
    pub(super) to_storage: Option<Proxy>,
    /// To the lock service: one, or one for each member of etcd. None to sentinels, which name addresses themselves.
    pub(super) to_lock: Vec<Proxy>,
}

impl World {
    /// Starts everything.
    ///
    /// # Errors
    /// What cannot be started, and the end of its log.
    pub(super) fn start(
        root: &Path,
        programs: &Programs,
        setup: &Setup,
        options: &Options,
        tree: Option<&Path>,
    ) -> Result<Self, String> {
        let stack = ForSuites::new(root)?;
        let services: &[&str] = match setup.lock {
            Lock::Redis => &["redis"],
            Lock::Sentinel => &["sentinel"],
            Lock::Etcd => &["etcd3"],
            Lock::S3 | Lock::Memory => &[],
        };
        let store: &[&str] = match setup.storage {
            Storage::Minio => &["minio"],
            Storage::Mongo => &["mongopg"],
            Storage::Disk => &[],
        };
        for name in store.iter().chain(services).chain(&["toxiproxy"]) {
            stack.start(stack::service(name)?)?;
        }
        let api = port_of(&stack, "toxiproxy")?;
        let delay = setup.upstream_delay_ms;
        let upstream = start(&stack, "upstream", &|place| {
            servers::upstream(place, &programs.upstream, tree, delay, options.broken)
        })?;
        let to_upstream = Proxy::before(api, "upstream", upstream)?;
        let mut settings = stack.settings()?;
        let to_storage = storage(&stack, api, setup.storage, &mut settings)?;
        let to_lock = locks(&stack, api, setup.lock, &mut settings)?;
        let otelcol = servers::program("otelcol")?;
        let collector = start(&stack, "collector", &|place| servers::collector(place, &otelcol))?;
        let kinds = (kind_of_storage(setup.storage), kind_of_lock(setup.lock));
        settings.extend(servers::gateway_settings(
            kinds.0,
            kinds.1,
            to_upstream.port,
            collector,
            options,
        ));
        settings.extend(setup.env.iter().cloned());
        let mut gateways = Vec::new();
        for number in 1..=setup.gateways {
            let name = format!("{GATEWAY}-{number}");
            let plan = |place: &Place| servers::gateway(place, &programs.gateway, &settings);
            gateways.push(start(&stack, &name, &plan)?);
        }
        let balancer = balancer(root, &stack, &gateways)?;
        let (program, rules) = (servers::program("prometheus")?, root.join("dashboards/rules"));
        let prometheus = start(&stack, "prometheus", &|place| {
            servers::prometheus(place, &program, &rules, &gateways)
        })?;
        let setup = setup.clone();
        Ok(Self {
            stack,
            setup,
            upstream,
            gateways,
            balancer,
            prometheus,
            to_upstream,
            to_storage,
            to_lock,
        })
    }

    /// What all gateways have counted, added up.
    ///
    /// # Errors
    /// One line: a gateway does not answer.
    pub(super) fn figures(&self) -> Result<Figures, String> {
        let mut sum = Figures::default();
        for port in &self.gateways {
            sum.add(&Figures::parse(&http::get(*port, "/metrics")?));
        }
        Ok(sum)
    }

    /// How often the upstream was asked for each path: lines of `COUNT PATH`.
    ///
    /// # Errors
    /// One line: it does not answer.
    pub(super) fn upstream_counts(&self) -> Result<String, String> {
        http::get(self.upstream, "/__counts")
    }

    /// The names of the gateways' processes, with their ports.
    pub(super) fn gateways(&self) -> impl Iterator<Item = (String, u16)> {
        self.gateways.iter().enumerate().map(|(at, port)| (format!("{GATEWAY}-{}", at + 1), *port))
    }

    /// Where the collector writes traces.
    pub(super) fn traces(&self) -> PathBuf {
        self.stack.folder().join("collector/traces.jsonl")
    }

    /// Copies what the gateways, the balancer and the upstream have said to a folder that stays.
    ///
    /// # Errors
    /// One line: the file that cannot be copied.
    pub(super) fn keep_logs(&self, folder: &Path) -> Result<(), String> {
        let gateways = self.gateways().map(|(name, _)| name);
        let mut files: Vec<(PathBuf, String)> = gateways
            .chain(["upstream".to_owned()])
            .map(|name| (self.stack.log(&name, &name), format!("{name}.log")))
            .collect();
        files.push((self.stack.folder().join("balancer/error.log"), "balancer.log".to_owned()));
        for (from, name) in files {
            std::fs::copy(&from, folder.join(name))
                .map_err(|error| format!("{}: {error}", from.display()))?;
        }
        Ok(())
    }
}

fn kind_of_lock(lock: Lock) -> &'static str {
    match lock {
        Lock::Memory => "memory",
        Lock::Redis => "redis",
        Lock::Sentinel => "redis-sentinel",
        Lock::Etcd => "etcd",
        Lock::S3 => "s3",
    }
}

fn kind_of_storage(storage: Storage) -> &'static str {
    match storage {
        Storage::Minio => "minio",
        Storage::Mongo => "mongo",
        Storage::Disk => "disk",
    }
}

/// The port of a service with one process.
fn port_of(stack: &ForSuites, service: &str) -> Result<u16, String> {
    let ports = stack.ports(service)?;
    ports.first().map(|(_, port)| *port).ok_or_else(|| format!("{service} has no port"))
}

type Settings = Vec<(String, String)>;

fn storage(
    stack: &ForSuites,
    api: u16,
    kind: Storage,
    settings: &mut Settings,
) -> Result<Option<Proxy>, String> {
    let (proxy, name) = match kind {
        Storage::Minio => {
            (Proxy::before(api, "storage", port_of(stack, "minio")?)?, "ATHENS_MINIO_ENDPOINT")
        }
        Storage::Mongo => {
            let ports = stack.ports("mongopg")?;
            let front = ports.iter().find(|(name, _)| name == "mongopg");
            let port = front.ok_or("mongopg has no port")?.1;
            (Proxy::before(api, "storage", port)?, "ATHENS_MONGO_STORAGE_URL")
        }
        Storage::Disk => {
            let folder = stack.folder().join("store");
            std::fs::create_dir_all(&folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
            let folder = folder.display().to_string();
            settings.push(("ATHENS_DISK_STORAGE_ROOT".to_owned(), folder));
            return Ok(None);
        }
    };
    let scheme = if kind == Storage::Mongo { "mongodb" } else { "http" };
    settings.push((name.to_owned(), format!("{scheme}://127.0.0.1:{}", proxy.port)));
    Ok(Some(proxy))
}

fn locks(
    stack: &ForSuites,
    api: u16,
    kind: Lock,
    settings: &mut Settings,
) -> Result<Vec<Proxy>, String> {
    let mut proxies = Vec::new();
    match kind {
        Lock::Redis => {
            let proxy = Proxy::before(api, "lock", port_of(stack, "redis")?)?;
            settings
                .push(("ATHENS_REDIS_ENDPOINT".to_owned(), format!("127.0.0.1:{}", proxy.port)));
            proxies.push(proxy);
        }
        Lock::Etcd => {
            for (name, port) in stack.ports("etcd3")? {
                proxies.push(Proxy::before(api, &name, port)?);
            }
            let hosts = proxies.iter().map(|proxy| format!("http://127.0.0.1:{}", proxy.port));
            let hosts: Vec<String> = hosts.collect();
            settings.push(("ATHENS_ETCD_ENDPOINTS".to_owned(), hosts.join(",")));
        }
        Lock::Sentinel | Lock::S3 | Lock::Memory => {}
    }
    Ok(proxies)
}

fn balancer(root: &Path, stack: &ForSuites, gateways: &[u16]) -> Result<u16, String> {
    let program = servers::program("nginx")?;
    let shipped = root.join("deploy/nginx.conf");
    let text = std::fs::read_to_string(&shipped)
        .map_err(|error| format!("{}: {error}", shipped.display()))?;
    // What is wrong with it is told before anything is started.
    servers::balancer_conf(&text, Path::new("/"), "", gateways)?;
    start(stack, "balancer", &|place| {
        let conf = servers::balancer_conf(&text, place.folder, &place.host(0), gateways);
        servers::balancer(place, &program, &conf.unwrap_or_default())
    })
}

/// Starts one process with one port, and answers the port.
fn start(stack: &ForSuites, name: &str, plan: &dyn Fn(&Place) -> Plan) -> Result<u16, String> {
    let port = Cell::new(0);
    stack.start_own(name, 1, &|place| {
        port.set(place.ports[0]);
        let mut plan = plan(place);
        for process in &mut plan.processes {
            name.clone_into(&mut process.name);
        }
        plan
    })?;
    Ok(port.get())
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::scenario;
    use super::*;

    #[test]
    fn a_scenario_about_a_lock_service_has_that_one() {
        let options = Options::parse(&["--lock", "redis", "--env", "A=b"]).unwrap();
        let setup = |name: &str| Setup::of(scenario(name).unwrap(), &options);
        assert_eq!(setup("mixed").lock, Lock::Redis);
        assert_eq!(setup("leader-loss").lock, Lock::Etcd);
        assert_eq!(setup("redirects").env.last().unwrap().1, "b");
        assert_eq!(setup("holder-killed").upstream_delay_ms, 700);
    }
}
