//! The servers of the native stack: one table, and what each server's plan is made of.
//!
//! A plan is pure: given a folder, ports and programs it says which processes to start, how to tell
//! that they are ready, and the environment with which the gateway and the suites reach them. The
//! keys are for loopback only, where anybody who can connect may also read them here.

use std::path::{Path, PathBuf};

use super::components::Launch;
use super::plans;
use super::probe::Probe;

/// One server, or several that only make sense together.
pub(crate) struct Service {
    /// The word after `stack up`, and after `needs` in the reason of an ignored test.
    pub(crate) name: &'static str,
    /// What must be installed, by the names of the components table.
    pub(crate) components: &'static [&'static str],
    /// Ports that it listens on.
    pub(crate) ports: usize,
    /// Says what to start.
    pub(crate) plan: fn(&Place) -> Plan,
}

/// Where a service is started.
pub(crate) struct Place<'a> {
    /// A new folder of its own.
    pub(crate) folder: &'a Path,
    /// The folder whose JSON files tell Prometheus what to scrape.
    pub(crate) targets: &'a Path,
    /// Free ports, as many as the service asked for.
    pub(crate) ports: &'a [u16],
    /// Its components' programs, in the table's order.
    pub(crate) programs: &'a [Launch],
}

/// What to do to start a service.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Folders to make.
    pub(crate) folders: Vec<PathBuf>,
    /// Files to write.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// Processes, in the order in which they start.
    pub(crate) processes: Vec<Start>,
    /// All of these must hold, in this order, before the service counts as up.
    pub(crate) probes: Vec<Probe>,
    /// Names and values for whoever uses the service.
    pub(crate) env: Vec<(&'static str, String)>,
}

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) name: String,
    /// The port that people care about most.
    pub(crate) port: u16,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(&'static str, String)>,
}

/// The stack, in the order of starting. Where two give the same variable, the later wins.
pub(crate) const SERVICES: &[Service] = &[
    Service { name: "minio", components: &["minio"], ports: 1, plan: plans::minio },
    Service { name: "versitygw", components: &["versitygw"], ports: 1, plan: plans::versitygw },
    Service { name: "redis", components: &["redis"], ports: 1, plan: plans::redis },
    Service { name: "sentinel", components: &["redis"], ports: 5, plan: plans::sentinel },
    Service { name: "etcd3", components: &["etcd"], ports: 6, plan: plans::etcd3 },
    Service { name: "etcd", components: &["etcd"], ports: 2, plan: plans::etcd },
    Service { name: "mongo", components: &["ferretdb"], ports: 1, plan: plans::mongo },
    Service {
        name: "mongopg",
        components: &["ferretdb", "postgresql"],
        ports: 2,
        plan: plans::mongopg,
    },
    Service { name: "gcs", components: &["gcs"], ports: 1, plan: plans::gcs },
    Service { name: "azurite", components: &["azurite"], ports: 1, plan: plans::azurite },
    Service { name: "jaeger", components: &["jaeger"], ports: 12, plan: plans::jaeger },
    Service {
        name: "alertmanager",
        components: &["alertmanager"],
        ports: 1,
        plan: plans::alertmanager,
    },
    Service { name: "prometheus", components: &["prometheus"], ports: 1, plan: plans::prometheus },
    Service { name: "toxiproxy", components: &["toxiproxy"], ports: 1, plan: plans::toxiproxy },
];

/// The service of that name.
///
/// # Errors
/// One line: there is none, and which there are.
pub(crate) fn service(name: &str) -> Result<&'static Service, String> {
    let known: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    SERVICES
        .iter()
        .find(|service| service.name == name)
        .ok_or_else(|| format!("no server {name:?} is known: there are {}", known.join(", ")))
}

impl Place<'_> {
    /// `127.0.0.1:PORT` of the port at `index`.
    pub(crate) fn host(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.ports[index])
    }

    /// A path below the service's folder, as text for an argument.
    pub(super) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A process of the first component, with these arguments.
    pub(super) fn start(&self, name: &str, port: u16, args: &[&str]) -> Start {
        let Launch { program, before } = self.programs[0].clone();
        let args = before.into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect();
        Start { name: name.to_owned(), port, program, args, env: Vec::new() }
    }

    /// What Prometheus scrapes of this service, whose name is also the job's.
    pub(super) fn target(&self, service: &str, host: &str, path: &str) -> (PathBuf, String) {
        let text = format!(
            "[{{\"targets\": [\"{host}\"], \
             \"labels\": {{\"job\": \"{service}\", \"__metrics_path__\": \"{path}\"}}}}]\n"
        );
        (target_file(self.targets, service), text)
    }
}

/// Where Prometheus reads how to scrape a service.
pub(super) fn target_file(targets: &Path, service: &str) -> PathBuf {
    targets.join(format!("{service}.json"))
}
