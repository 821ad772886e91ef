//! The native stack: the real servers that suites and people use, without containers.
//!
//! - `components` is the table of programs, `install` gets them through the ordinary clients.
//! - `services` is the table of servers, `plans` says how each is started, `probe` when it is ready.
//! - `running` starts and stops, `process` knows processes, `state` remembers them in a file.
//!
//! Programs lie in a cache folder that all clones share; a running stack lies in one clone's target
//! folder. Every port is the kernel's choice, on loopback only.

mod collector;
mod components;
mod install;
mod lock;
mod plans;
mod probe;
mod process;
#[cfg(test)]
mod reached_tests;
mod running;
mod services;
mod state;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) use components::{COMPONENTS, Launch, component};
pub(crate) use install::{apt, ensure};
pub(crate) use probe::Probe;
pub(crate) use running::Stack;
pub(crate) use services::{Place, Plan, SERVICES, Service, Start, service};

use process::Identity;

/// How often the guard looks after the process it stands behind.
const GUARD_POLL: Duration = Duration::from_millis(500);
/// What `up` starts where nothing is named: one etcd is enough, and no failover is rehearsed.
const NOT_BY_DEFAULT: &[&str] = &["etcd3", "sentinel"];

/// Does what stands after `cargo xtask stack`.
///
/// # Errors
/// What went wrong, for people.
pub(crate) fn command(root: &Path, words: &[&str]) -> Result<(), String> {
    match words {
        [] => list(),
        ["up", names @ ..] => up(&ours(root)?, names),
        ["down"] => {
            let ended = ours(root)?.stop()?;
            eprintln!("{ended} processes ended");
            Ok(())
        }
        ["status"] => status(&ours(root)?),
        ["guard", folder, pid, start] => guard(folder, pid, start),
        names => install(names),
    }
}

/// The stack of this clone for people.
fn ours(root: &Path) -> Result<Stack, String> {
    Stack::at(root.join("target/stack"))
}

fn up(stack: &Stack, names: &[&str]) -> Result<(), String> {
    stack.start(&chosen(names)?)?;
    for (name, value) in stack.environment()? {
        println!("{}", export(&name, &value));
    }
    Ok(())
}

/// The services of these names in the table's order; all that people want where none is named.
fn chosen(names: &[&str]) -> Result<Vec<&'static Service>, String> {
    for name in names {
        service(name)?;
    }
    let wanted = |service: &&Service| match names {
        [] => !NOT_BY_DEFAULT.contains(&service.name),
        names => names.contains(&service.name),
    };
    Ok(SERVICES.iter().filter(wanted).collect())
}

/// A line for a shell; whatever the value holds is one word.
fn export(name: &str, value: &str) -> String {
    format!("export {name}='{}'", value.replace('\'', "'\\''"))
}

fn status(stack: &Stack) -> Result<(), String> {
    let lines = stack.status()?;
    if lines.is_empty() {
        println!("nothing is up: cargo xtask stack up [NAME...]");
    }
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

fn install(names: &[&str]) -> Result<(), String> {
    let all: Vec<_> = names.iter().map(|name| component(name)).collect::<Result<_, _>>()?;
    for component in all {
        println!("{}", ensure(component)?.program.display());
    }
    Ok(())
}

/// Installs, one after the other, what the suites of every run need. What fails here is tried again, and
/// counted, by the suite that needs it.
pub(crate) fn install_usual() {
    for component in COMPONENTS.iter().filter(|component| component.usual) {
        if let Err(why) = ensure(component) {
            eprintln!("not installed ahead of the suites: {why}");
        }
    }
}

fn list() -> Result<(), String> {
    for component in COMPONENTS {
        let here = match component.find() {
            Ok(_) => "installed",
            Err(_) if component.usual => "-",
            Err(_) => "- (slow)",
        };
        println!("{:<13}{here:<11}{}; {}", component.name, component.what, component.origin());
    }
    let names: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    println!("servers for `stack up`: {}", names.join(" "));
    Ok(())
}

/// A stack for one run of the suites, or of a load test: stopped and removed when dropped, and by a guard when this
/// process is killed before that.
pub(crate) struct ForSuites {
    stack: Stack,
}

impl ForSuites {
    pub(crate) fn new(root: &Path) -> Result<Self, String> {
        let folder = root.join(format!("target/stack-of-{}", std::process::id()));
        let stack = Stack::at(folder)?;
        let own = Self { stack };
        own.post_guard()?;
        Ok(own)
    }

    /// Starts one more service.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub(crate) fn start(&self, service: &'static Service) -> Result<(), String> {
        self.stack.start(&[service])
    }

    /// What the suites need to reach what is up.
    pub(crate) fn environment(&self) -> Result<Vec<(String, String)>, String> {
        let all = self.stack.environment()?;
        // The rest configures a gateway, and suites give theirs what they want to.
        Ok(all.into_iter().filter(|(name, _)| name.starts_with("DIPYLON_TEST_")).collect())
    }

    /// Starts something of our own beside the services; it ends with them.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub(crate) fn start_own(
        &self,
        name: &str,
        ports: usize,
        plan: &dyn Fn(&Place) -> Plan,
    ) -> Result<(), String> {
        self.stack.start_own(name, ports, plan)
    }

    /// Takes a running child of ours along: it is ended with the others, whoever ends them.
    ///
    /// # Errors
    /// One line: it has ended already, or the state cannot be written.
    pub(crate) fn adopt(&self, name: &str, pid: u32) -> Result<(), String> {
        self.stack.adopt(name, pid)
    }

    /// Where all of it lies; it is removed at the end.
    pub(crate) fn folder(&self) -> &Path {
        self.stack.folder()
    }

    /// Sends a signal to a process of this stack, and waits until it has ended.
    ///
    /// # Errors
    /// One line: there is none of that name, or it has not ended in time.
    pub(crate) fn end_process(
        &self,
        name: &str,
        signal: &str,
        limit: Duration,
    ) -> Result<(), String> {
        self.stack.end_process(name, signal, limit)
    }

    /// Sends a signal to a process of this stack: STOP, CONT.
    ///
    /// # Errors
    /// One line: there is none of that name.
    pub(crate) fn signal(&self, name: &str, signal: &str) -> Result<(), String> {
        self.stack.signal(name, signal)
    }

    /// Starts a process of this stack again, on the port and with the data that it had.
    ///
    /// # Errors
    /// One line: there was none of that name, or it cannot be started.
    pub(crate) fn again(&self, name: &str) -> Result<(), String> {
        self.stack.again(name)
    }

    /// The ports of a service's processes, by name.
    pub(crate) fn ports(&self, service: &str) -> Result<Vec<(String, u16)>, String> {
        self.stack.ports(service)
    }

    /// What a gateway is told, to reach what is up.
    pub(crate) fn settings(&self) -> Result<Vec<(String, String)>, String> {
        let all = self.stack.environment()?;
        Ok(all.into_iter().filter(|(name, _)| name.starts_with("ATHENS_")).collect())
    }

    /// Where a process of ours writes what it says.
    pub(crate) fn log(&self, service: &str, process: &str) -> PathBuf {
        self.stack.log(service, process)
    }

    /// Another process of this program, in a group of its own: what ends us may not end it.
    fn post_guard(&self) -> Result<(), String> {
        use std::os::unix::process::CommandExt;
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let this = Identity::of(std::process::id()).ok_or("/proc does not know this process")?;
        let mut command = Command::new(program);
        command.args(["stack", "guard"]).arg(self.stack.folder());
        command.arg(this.pid.to_string()).arg(this.start.to_string());
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|error| format!("the stack's guard: {error}"))?;
        Ok(())
    }
}

impl Drop for ForSuites {
    fn drop(&mut self) {
        if let Err(why) = end(&self.stack) {
            eprintln!("xtask: {why}");
        }
    }
}

fn end(stack: &Stack) -> Result<(), String> {
    let ended = stack.stop()?;
    let folder = stack.folder();
    std::fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    eprintln!("the servers have ended ({ended} processes)");
    Ok(())
}

/// Waits for the end of a run of the suites; ends its stack if the run did not.
fn guard(folder: &str, pid: &str, start: &str) -> Result<(), String> {
    let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{word}: {error}"));
    let pid = u32::try_from(number(pid)?).map_err(|error| format!("{pid}: {error}"))?;
    let guarded = Identity { pid, start: number(start)? };
    let folder = PathBuf::from(folder);
    while guarded.runs() {
        if !folder.exists() {
            return Ok(());
        }
        std::thread::sleep(GUARD_POLL);
    }
    if folder.exists() { end(&Stack::at(folder)?) } else { Ok(()) }
}

/// `$XDG_CACHE_HOME/dipylon-stack`, else `~/.cache/dipylon-stack`. The suites look in the same place.
fn cache_folder() -> Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let cache = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set: there is no cache folder")?;
    Ok(cache.join("dipylon-stack"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_of_a_shell() {
        assert_eq!(export("A", "b c"), "export A='b c'");
        assert_eq!(export("A", "it's"), "export A='it'\\''s'");
    }

    #[test]
    fn named_services_come_in_the_tables_order() {
        let names = |words: &[&str]| -> Vec<&str> {
            chosen(words).unwrap().iter().map(|service| service.name).collect()
        };
        assert_eq!(names(&["etcd", "minio"]), ["minio", "etcd"]);
        assert!(names(&[]).contains(&"redis"));
        assert!(!names(&[]).contains(&"etcd3"));
        assert!(chosen(&["unicorn"]).err().unwrap().starts_with("no server \"unicorn\""));
    }
}
