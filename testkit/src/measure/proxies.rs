//! Proxies as processes, each started so that it keeps what it fetches on a disk, and asks one upstream.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::services::free_address;

/// The longest that a start may take.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether it is up.
const PAUSE: Duration = Duration::from_millis(10);

/// Which program it is, and so how it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Dipylon,
    /// Athens, with its variables.
    Athens,
    /// The `goproxy` command, with its flags.
    Goproxy,
}

impl Kind {
    /// By its name.
    ///
    /// # Errors
    /// The name, where none has it.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "dipylon" => Ok(Self::Dipylon),
            "athens" => Ok(Self::Athens),
            "goproxy" => Ok(Self::Goproxy),
            _ => Err(format!("no kind of proxy is called {name:?}: athens, goproxy, dipylon are")),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dipylon => "dipylon",
            Self::Athens => "athens",
            Self::Goproxy => "goproxy",
        }
    }
}

/// How to start one.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is called in tables.
    pub name: String,
    /// Which program it is.
    pub kind: Kind,
    /// Where it lies.
    pub path: PathBuf,
    /// Variables beside those that every one of its kind is given.
    pub more: Vec<(String, String)>,
}

/// What it asks.
#[derive(Clone, Debug)]
pub struct Asks {
    /// The upstream's URL.
    pub upstream: String,
    /// The checksum database as `GOSUMDB` names it, or `off`.
    pub checksums: String,
}

/// A running one; it is killed when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Program {
    /// Starts it in `folder`, which has nothing in it yet, so that it begins with an empty store.
    ///
    /// # Panics
    /// When it ends or is not up in time, with what it said.
    pub fn start(&self, folder: &Path, asks: &Asks) -> Proxy {
        let address = free_address();
        let mut command = self.command(folder, address, asks);
        for (name, value) in &self.more {
            command.env(name, value);
        }
        let shown = self.path.display();
        let mut process = Process::spawn(&mut command)
            .unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
        let said = || {
            let said = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            format!("{}\n{}", said("stdout"), said("stderr"))
        };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.ended() {
                panic!("{shown} ended at its start ({status}):\n{}", said());
            }
            assert!(began.elapsed() < START_MAX, "{shown} does not listen:\n{}", said());
            std::thread::sleep(PAUSE);
        }
        Proxy { process, address }
    }

    fn command(&self, folder: &Path, address: SocketAddr, asks: &Asks) -> Command {
        let Asks { upstream, checksums } = asks;
        let store = folder.join("store");
        std::fs::create_dir_all(&store).expect("a folder for the store");
        let output = |name: &str| {
            std::fs::File::create(folder.join(name)).expect("a file for what it prints")
        };
        let mut command = Command::new(&self.path);
        command.current_dir(folder).env_clear();
        command.stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.env("HOME", folder).env("TMPDIR", folder).env("GOTOOLCHAIN", "local");
        match self.kind {
            Kind::Dipylon => {
                command
                    .env("ATHENS_PORT", address.to_string())
                    .env("ATHENS_STORAGE_TYPE", "disk")
                    .env("ATHENS_DISK_STORAGE_ROOT", store)
                    .env("ATHENS_LOG_LEVEL", "info")
                    .env("ATHENS_LOG_FORMAT", "json")
                    .env("GO_BINARY_PATH", "there-is-no-go")
                    .env("GOPROXY", upstream)
                    .env("GOSUMDB", checksums);
            }
            Kind::Athens => {
                let child = format!("GOPROXY={upstream};GOSUMDB={checksums};GOFLAGS=-modcacherw");
                command
                    .env("ATHENS_PORT", address.to_string())
                    .env("ATHENS_STORAGE_TYPE", "disk")
                    .env("ATHENS_DISK_STORAGE_ROOT", store)
                    .env("ATHENS_LOG_LEVEL", "info")
                    .env("ATHENS_GO_BINARY_ENV_VARS", child);
            }
            Kind::Goproxy => {
                command
                    .args(["server", "--address", &address.to_string(), "--cacher-dir"])
                    .arg(store)
                    .env("GOPROXY", upstream)
                    .env("GOSUMDB", checksums)
                    .env("GOFLAGS", "-modcacherw")
                    .env("GOMODCACHE", folder.join("modules"));
            }
        }
        command
    }
}

impl Proxy {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
