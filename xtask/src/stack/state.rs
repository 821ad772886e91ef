//! The state file: what was started, so that a later command finds and ends exactly that.
//!
//! Lines of words between tabs; the first names the format and the boot. The file is written anew,
//! beside itself, after every process, and then takes the old one's place: a reader never sees half.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::process::{self, Identity};

const NAME: &str = "state";
const FORMAT: &str = "dipylon-stack 1";

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) identity: Identity,
    pub(super) port: u16,
}

/// All that was started and not stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) processes: Vec<Process>,
    /// Services that answered all their probes.
    pub(super) ready: Vec<String>,
    /// Service, name, value.
    pub(super) env: Vec<(String, String, String)>,
}

impl State {
    /// What the file in `folder` says; nothing, where there is none or it is from before the last boot.
    ///
    /// # Errors
    /// One line: the file cannot be read, or is none of ours.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            read => read.map_err(|error| format!("{}: {error}", path.display()))?,
        };
        Self::parse(&text, &process::boot()?).map_err(|why| {
            format!("{}: {why}: end its processes by hand, then remove it", path.display())
        })
    }

    /// Puts itself in place of the file in `folder`, on the disk before this returns.
    pub(super) fn write(&self, folder: &Path) -> Result<(), String> {
        let path = folder.join(NAME);
        let beside = folder.join(format!("{NAME}.new"));
        let text = self.text(&process::boot()?);
        let put = || -> std::io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)
        };
        put().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Whether a service is up: it was ready, and all its processes still run.
    pub(super) fn is_up(&self, service: &str) -> bool {
        self.ready.iter().any(|name| name == service)
            && self.of(service).all(|process| process.identity.runs())
    }

    /// The processes of a service.
    pub(super) fn of(&self, service: &str) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.service == service)
    }

    /// Forgets a service.
    pub(super) fn remove(&mut self, service: &str) {
        self.processes.retain(|process| process.service != service);
        self.ready.retain(|name| name != service);
        self.env.retain(|(name, ..)| name != service);
    }

    fn text(&self, boot: &str) -> String {
        let mut text = format!("{FORMAT}\t{boot}\n");
        for Process { service, name, identity: Identity { pid, start }, port } in &self.processes {
            text += &format!("process\t{service}\t{name}\t{pid}\t{start}\t{port}\n");
        }
        for (service, name, value) in &self.env {
            text += &format!("env\t{service}\t{name}\t{value}\n");
        }
        for service in &self.ready {
            text += &format!("ready\t{service}\n");
        }
        text
    }

    fn parse(text: &str, boot: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let Some((FORMAT, written)) = first.split_once('\t') else {
            return Err(format!("its first line is not \"{FORMAT}\" and a boot"));
        };
        let mut state = Self::default();
        if written != boot {
            return Ok(state);
        }
        for line in lines {
            state.add(line).ok_or_else(|| format!("it has a line {line:?}"))?;
        }
        Ok(state)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split('\t').collect();
        match words.as_slice() {
            ["process", service, name, pid, start, port] => self.processes.push(Process {
                service: (*service).to_owned(),
                name: (*name).to_owned(),
                identity: Identity { pid: pid.parse().ok()?, start: start.parse().ok()? },
                port: port.parse().ok()?,
            }),
            ["env", service, name, value] => {
                self.env.push(((*service).to_owned(), (*name).to_owned(), (*value).to_owned()));
            }
            ["ready", service] => self.ready.push((*service).to_owned()),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            processes: vec![Process {
                service: "redis".to_owned(),
                name: "redis".to_owned(),
                identity: Identity { pid: 4_000_000_000, start: 7 },
                port: 4711,
            }],
            ready: vec!["redis".to_owned()],
            env: vec![("redis".to_owned(), "A".to_owned(), "b c=d".to_owned())],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(State::parse(&state().text("boot"), "boot"), Ok(state()));
    }

    #[test]
    fn nothing_of_an_earlier_boot_is_left() {
        assert_eq!(State::parse(&state().text("before"), "boot"), Ok(State::default()));
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        assert!(State::parse("", "boot").is_err());
        let broken = "dipylon-stack 1\tboot\nprocess\tx\n";
        assert_eq!(State::parse(broken, "boot"), Err("it has a line \"process\\tx\"".to_owned()));
    }

    #[test]
    fn a_service_whose_process_has_gone_is_not_up() {
        assert!(!state().is_up("redis"));
        assert!(!state().is_up("etcd"));
    }

    #[test]
    fn a_removed_service_leaves_nothing() {
        let mut left = state();
        left.remove("redis");
        assert_eq!(left, State::default());
    }

    #[test]
    fn the_file_takes_the_old_ones_place() {
        let folder = std::env::temp_dir().join(format!("dipylon-state-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(State::read(&folder), Ok(State::default()));
        state().write(&folder).unwrap();
        assert_eq!(State::read(&folder), Ok(state()));
        State::default().write(&folder).unwrap();
        assert_eq!(State::read(&folder), Ok(State::default()));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
