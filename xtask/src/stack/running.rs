//! A running stack: one folder with a state file, the servers' data and their logs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::components::{Launch, component};
use super::install::ensure;
use super::lock::alone;
use super::process::{self, Identity};
use super::services::{Place, Plan, SERVICES, Service, Start, target_file};
use super::state::{Process, State};

/// Time from a service's start to the right answer to its last probe.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often a probe is asked.
const READY_POLL: Duration = Duration::from_millis(50);
/// Another program may take a port between the kernel's answer and the server's start.
const MAX_START_ATTEMPTS: u32 = 3;
/// Time that servers have to end by themselves.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Time to wait for another command on the same stack: as long as it may take to start everything.
const LOCK_LIMIT: Duration = Duration::from_secs(600);
/// What a failure shows of a log.
const LOG_TAIL_LINES: usize = 12;
const LOG_TAIL_BYTES: usize = 16 * 1024;

/// A stack in its folder, whether anything of it runs or not.
pub(crate) struct Stack {
    folder: PathBuf,
    /// What this command has started, by the name of the process: its service, and how to start it again.
    started: Mutex<BTreeMap<String, (String, Start)>>,
}

/// What is to be started: a service of the table with its programs, or something of our own.
struct Wish<'a> {
    name: &'a str,
    ports: usize,
    programs: &'a [Launch],
    plan: &'a dyn Fn(&Place) -> Plan,
}

impl Stack {
    /// The stack of that folder, which is made if it is not there.
    pub(crate) fn at(folder: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(folder.join("targets"))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder, started: Mutex::default() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Installs and starts what is not up yet; if one cannot be started, all that this call started is
    /// stopped again.
    ///
    /// # Errors
    /// The service, what went wrong, and the end of its log.
    pub(crate) fn start(&self, services: &[&'static Service]) -> Result<(), String> {
        let installed: Vec<Vec<Launch>> =
            services.iter().map(|service| programs(service)).collect::<Result<_, _>>()?;
        let _alone = alone(&self.folder, "stack", LOCK_LIMIT)?;
        let mut state = State::read(&self.folder)?;
        let mut started: Vec<&str> = Vec::new();
        for (service, programs) in services.iter().zip(&installed) {
            if state.is_up(service.name) {
                eprintln!("{} is up already", service.name);
                continue;
            }
            started.push(service.name);
            let (name, ports) = (service.name, service.ports);
            let wish = Wish { name, ports, programs, plan: &service.plan };
            if let Err(why) = self.start_service(&mut state, &wish) {
                let mut why = format!("{}: {why}", service.name);
                for name in started {
                    if let Err(more) = self.stop_service(&mut state, name) {
                        why += &format!("\n{more}");
                    }
                }
                return Err(why);
            }
        }
        Ok(())
    }

    /// Starts processes of our own beside the servers: they end with them.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub(super) fn start_own(
        &self,
        name: &str,
        ports: usize,
        plan: &dyn Fn(&Place) -> Plan,
    ) -> Result<(), String> {
        let _alone = alone(&self.folder, "stack", LOCK_LIMIT)?;
        let mut state = State::read(&self.folder)?;
        let wish = Wish { name, ports, programs: &[], plan };
        self.start_service(&mut state, &wish).map_err(|why| {
            let left = self.stop_service(&mut state, name).err();
            left.map_or(format!("{name}: {why}"), |more| format!("{name}: {why}\n{more}"))
        })
    }

    /// Takes a running child of ours into the state, so that it ends with the others.
    ///
    /// # Errors
    /// One line: it has ended already, or the state cannot be written.
    pub(super) fn adopt(&self, name: &str, pid: u32) -> Result<(), String> {
        let identity = Identity::of(pid).ok_or_else(|| format!("{name} ended at once"))?;
        let _alone = alone(&self.folder, "stack", LOCK_LIMIT)?;
        let mut state = State::read(&self.folder)?;
        let (service, name) = (name.to_owned(), name.to_owned());
        state.processes.push(Process { service, name, identity, port: 0 });
        state.write(&self.folder)
    }

    /// Sends a signal to a process of this stack.
    ///
    /// # Errors
    /// One line: there is none of that name.
    pub(super) fn signal(&self, name: &str, signal: &str) -> Result<(), String> {
        self.identity(name)?.signal(signal);
        Ok(())
    }

    fn identity(&self, name: &str) -> Result<Identity, String> {
        let state = State::read(&self.folder)?;
        let found = state.processes.iter().find(|process| process.name == name);
        Ok(found.ok_or_else(|| format!("nothing is up that is called {name}"))?.identity)
    }

    /// Sends a signal to a process that this command has started, and waits until it has ended.
    ///
    /// # Errors
    /// One line: there is none of that name, or it has not ended in time.
    pub(super) fn end_process(
        &self,
        name: &str,
        signal: &str,
        limit: Duration,
    ) -> Result<(), String> {
        let identity = self.identity(name)?;
        identity.signal(signal);
        if process::until_gone(&[identity], limit).is_empty() {
            return Ok(());
        }
        Err(format!("{name} has not ended within {} s of SIG{signal}", limit.as_secs()))
    }

    /// Starts a process again that this command had started: with the same words, on the same port, in the
    /// folder as it was left.
    ///
    /// # Errors
    /// One line: there was none of that name, or it cannot be started.
    pub(super) fn again(&self, name: &str) -> Result<(), String> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let (service, start) = started
            .get(name)
            .ok_or_else(|| format!("nothing was started that is called {name}"))?;
        let _alone = alone(&self.folder, "stack", LOCK_LIMIT)?;
        let log = self.log(service, name);
        let identity = process::spawn(start, &self.folder.join(service), &log)?;
        let mut state = State::read(&self.folder)?;
        for process in state.processes.iter_mut().filter(|process| process.name == name) {
            process.identity = identity;
        }
        state.write(&self.folder)
    }

    /// The ports of a service's processes, by name.
    pub(super) fn ports(&self, service: &str) -> Result<Vec<(String, u16)>, String> {
        let state = State::read(&self.folder)?;
        Ok(state.of(service).map(|process| (process.name.clone(), process.port)).collect())
    }

    fn start_service(&self, state: &mut State, service: &Wish) -> Result<(), String> {
        let began = Instant::now();
        let mut attempt = 1;
        loop {
            // Whatever an earlier, broken start has left.
            self.stop_service(state, service.name)?;
            let Err(why) = self.try_start(state, service) else { break };
            if attempt == MAX_START_ATTEMPTS
                || !why.to_lowercase().contains("address already in use")
            {
                return Err(why);
            }
            attempt += 1;
        }
        state.ready.push(service.name.to_owned());
        state.write(&self.folder)?;
        eprintln!("{} is up after {:.1} s", service.name, began.elapsed().as_secs_f64());
        Ok(())
    }

    fn try_start(&self, state: &mut State, service: &Wish) -> Result<(), String> {
        let folder = self.folder.join(service.name);
        let ports = free_ports(service.ports)?;
        let targets = self.folder.join("targets");
        let place =
            Place { folder: &folder, targets: &targets, ports: &ports, programs: service.programs };
        let plan = (service.plan)(&place);
        prepare(&folder, &plan)?;
        for start in &plan.processes {
            let identity = self.spawn(service, start)?;
            state.processes.push(Process {
                service: service.name.to_owned(),
                name: start.name.clone(),
                identity,
                port: start.port,
            });
            state.write(&self.folder)?;
        }
        let own = |(name, value): &(&str, String)| {
            (service.name.to_owned(), (*name).to_owned(), value.clone())
        };
        state.env.extend(plan.env.iter().map(own));
        self.until_ready(state, service, &plan)
    }

    fn spawn(&self, service: &Wish, start: &Start) -> Result<Identity, String> {
        let folder = self.folder.join(service.name);
        let log = self.log(service.name, &start.name);
        let spawned = process::spawn(start, &folder, &log);
        let known = (service.name.to_owned(), start.clone());
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.insert(start.name.clone(), known);
        spawned.map_err(|why| format!("{why}\n{}", tail(&log)))
    }

    fn until_ready(&self, state: &State, service: &Wish, plan: &Plan) -> Result<(), String> {
        let began = Instant::now();
        for probe in &plan.probes {
            while !probe.holds() {
                if let Some(gone) = state.of(service.name).find(|one| !one.identity.runs()) {
                    let log = tail(&self.log(service.name, &gone.name));
                    return Err(format!("{} ended before it was ready\n{log}", gone.name));
                }
                if began.elapsed() >= READY_LIMIT {
                    let logs: Vec<String> = state
                        .of(service.name)
                        .map(|one| tail(&self.log(service.name, &one.name)))
                        .collect();
                    let secs = READY_LIMIT.as_secs();
                    return Err(format!("not ready after {secs} s\n{}", logs.join("\n")));
                }
                std::thread::sleep(READY_POLL);
            }
        }
        Ok(())
    }

    pub(super) fn log(&self, service: &str, process: &str) -> PathBuf {
        self.folder.join(service).join(format!("{process}.log"))
    }

    fn stop_service(&self, state: &mut State, name: &str) -> Result<(), String> {
        let processes: Vec<Process> = state.of(name).cloned().collect();
        stop_all(&processes)?;
        self.forget_target(name)?;
        state.remove(name);
        state.write(&self.folder)
    }

    /// Prometheus is not to go on asking for what has ended.
    fn forget_target(&self, service: &str) -> Result<(), String> {
        let path = target_file(&self.folder.join("targets"), service);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{}: {error}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Ends all that was started, the last first, and says how many processes that were.
    ///
    /// # Errors
    /// One line: which processes could not be ended; they stay in the state file.
    pub(crate) fn stop(&self) -> Result<usize, String> {
        let _alone = alone(&self.folder, "stack", LOCK_LIMIT)?;
        let mut state = State::read(&self.folder)?;
        let mut processes = std::mem::take(&mut state.processes);
        for process in &processes {
            self.forget_target(&process.service)?;
        }
        processes.retain(|process| process.identity.runs());
        processes.reverse();
        stop_all(&processes)?;
        State::default().write(&self.folder)?;
        Ok(processes.len())
    }

    /// Names and values for whoever uses what is up.
    pub(crate) fn environment(&self) -> Result<BTreeMap<String, String>, String> {
        Ok(environment(&State::read(&self.folder)?))
    }

    /// One line for each process: name, pid, resident memory, port.
    pub(super) fn status(&self) -> Result<Vec<String>, String> {
        let line = |process: &Process| {
            let Identity { pid, .. } = process.identity;
            let kib = process.identity.resident_kib().filter(|_| process.identity.runs());
            let memory =
                kib.map_or("gone".to_owned(), |kib| format!("{:.0} MiB", kib as f64 / 1024.0));
            format!("{:<18}{pid:>9}{memory:>10}  127.0.0.1:{}", process.name, process.port)
        };
        Ok(State::read(&self.folder)?.processes.iter().map(line).collect())
    }
}

/// Later services of the table win.
fn environment(state: &State) -> BTreeMap<String, String> {
    let up: Vec<&str> =
        SERVICES.iter().map(|service| service.name).filter(|name| state.is_up(name)).collect();
    let mut all = BTreeMap::new();
    for name in up {
        let own = state.env.iter().filter(|(service, ..)| service == name);
        all.extend(own.map(|(_, name, value)| (name.clone(), value.clone())));
    }
    all
}

fn programs(service: &Service) -> Result<Vec<Launch>, String> {
    service.components.iter().map(|name| ensure(component(name)?)).collect()
}

fn stop_all(processes: &[Process]) -> Result<(), String> {
    let identities: Vec<Identity> = processes.iter().map(|process| process.identity).collect();
    let left = process::stop(&identities, STOP_GRACE);
    if left.is_empty() {
        return Ok(());
    }
    let pids: Vec<String> = left.iter().map(|identity| identity.pid.to_string()).collect();
    Err(format!("these processes could not be ended: {}", pids.join(", ")))
}

/// A new folder for the service, with what its plan wants in it.
fn prepare(folder: &Path, plan: &Plan) -> Result<(), String> {
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|error| told(folder, error))?;
    }
    for path in std::iter::once(&folder.to_path_buf()).chain(&plan.folders) {
        std::fs::create_dir_all(path).map_err(|error| told(path, error))?;
    }
    for (path, text) in &plan.files {
        std::fs::write(path, text).map_err(|error| told(path, error))?;
    }
    Ok(())
}

/// Ports of loopback that nobody has now, all different: each is held until all are known.
fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let hold = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<TcpListener> = (0..count)
        .map(|_| hold())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("no free port on loopback: {error}"))?;
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("a port of loopback has no address: {error}"))
}

/// The end of a log, each line behind a bar.
fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_else(|error| error.to_string().into_bytes());
    let from = bytes.len().saturating_sub(LOG_TAIL_BYTES);
    let text = String::from_utf8_lossy(&bytes[from..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_TAIL_LINES);
    let shown: Vec<String> = lines[from..].iter().map(|line| format!("  | {line}")).collect();
    format!("  the end of {}:\n{}", log.display(), shown.join("\n"))
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;
