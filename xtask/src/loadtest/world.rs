//! What the load meets: Redis, MinIO, the upstream, and two gateways that share them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::figures::Figures;
use super::options::{Broken, Options};
use crate::stack::{self, ForSuites, Place, Plan, Probe, Start};
use crate::step::{cargo, run_with};

/// The servers that the gateways share, by the names of the stack's table.
const SERVERS: &[&str] = &["redis", "minio"];
/// Gateways that share them.
const GATEWAYS: usize = 2;
/// Time for an answer of a gateway or the upstream to a question of ours.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of such an answer.
const MAX_ANSWER_BYTES: u64 = 32 * 1024 * 1024;
/// What the gateways' names begin with, and the folders' of their logs.
const GATEWAY: &str = "gateway";

/// The programs that were built.
pub(super) struct Programs {
    gateway: PathBuf,
    upstream: PathBuf,
}

impl Programs {
    /// Builds what is not built yet. The smoke test takes what `cargo test` builds: a test is named, so
    /// that cargo picks the same features, and finds it all done.
    ///
    /// # Errors
    /// One line: it cannot be built, or where it should lie it does not.
    pub(super) fn build(root: &Path, smoke: bool) -> Result<Self, String> {
        let (profile, args): (&str, &[&str]) = if smoke {
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

/// All that runs; it ends when this is dropped, or soon after this process has ended in any other way.
pub(super) struct World {
    pub(super) stack: ForSuites,
    pub(super) upstream: u16,
    pub(super) gateways: Vec<u16>,
}

impl World {
    /// Starts everything.
    ///
    /// # Errors
    /// What cannot be started, and the end of its log.
    pub(super) fn start(
        root: &Path,
        programs: &Programs,
        options: &Options,
    ) -> Result<Self, String> {
        let stack = ForSuites::new(root)?;
        for name in SERVERS {
            stack.start(stack::service(name)?)?;
        }
        let upstream = start(&stack, "upstream", &|place| upstream(place, programs, options))?;
        let mut settings = stack.settings()?;
        settings.extend(gateway_settings(upstream, options));
        let mut gateways = Vec::new();
        for number in 1..=GATEWAYS {
            let name = format!("{GATEWAY}-{number}");
            gateways.push(start(&stack, &name, &|place| gateway(place, programs, &settings))?);
        }
        Ok(Self { stack, upstream, gateways })
    }

    /// What all gateways have counted, added up.
    ///
    /// # Errors
    /// One line: a gateway does not answer.
    pub(super) fn figures(&self) -> Result<Figures, String> {
        let mut sum = Figures::default();
        for port in &self.gateways {
            sum.add(&Figures::parse(&get(*port, "/metrics")?));
        }
        Ok(sum)
    }

    /// How often the upstream was asked for each path: lines of `COUNT PATH`.
    ///
    /// # Errors
    /// One line: it does not answer.
    pub(super) fn upstream_counts(&self) -> Result<String, String> {
        get(self.upstream, "/__counts")
    }

    /// Copies what the gateways and the upstream have said to a folder that stays.
    ///
    /// # Errors
    /// One line: the file that cannot be copied.
    pub(super) fn keep_logs(&self, folder: &Path) -> Result<(), String> {
        let names = (1..=GATEWAYS).map(|number| format!("{GATEWAY}-{number}"));
        for name in names.chain(["upstream".to_owned()]) {
            let (from, to) = (self.stack.log(&name, &name), folder.join(format!("{name}.log")));
            std::fs::copy(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
        }
        Ok(())
    }
}

/// Starts one process with one port, and answers the port.
fn start(stack: &ForSuites, name: &str, plan: &dyn Fn(&Place) -> Plan) -> Result<u16, String> {
    let port = std::cell::Cell::new(0);
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

fn upstream(place: &Place, programs: &Programs, options: &Options) -> Plan {
    let mut args = vec![place.host(0), options.upstream_delay.as_millis().to_string()];
    match options.broken {
        Some(Broken::Errors) => args.push("errors".to_owned()),
        Some(Broken::Bytes) => args.push("bytes".to_owned()),
        Some(Broken::Lock) | None => {}
    }
    let process = Start {
        name: String::new(),
        port: place.ports[0],
        program: programs.upstream.clone(),
        args,
        env: Vec::new(),
    };
    let probes = vec![Probe::get(place.ports[0], "/__counts")];
    Plan { processes: vec![process], probes, ..Plan::default() }
}

/// What is the same for all gateways, beside the addresses of the servers. What a person gives wins.
fn gateway_settings(upstream: u16, options: &Options) -> Vec<(String, String)> {
    let lock = if options.broken == Some(Broken::Lock) { "memory" } else { "redis" };
    let upstream = format!("http://127.0.0.1:{upstream}");
    let ours = [
        ("ATHENS_STORAGE_TYPE", "minio"),
        ("ATHENS_SINGLE_FLIGHT_TYPE", lock),
        ("GOPROXY", &upstream),
        // Nobody vouches for modules that are made up.
        ("GOSUMDB", "off"),
        ("GO_BINARY_PATH", "no-go-command"),
        // As in production: what is measured is the gateway and not its log of every request.
        ("GO_ENV", "load"),
        ("ATHENS_LOG_LEVEL", "warning"),
    ];
    let ours = ours.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ours.chain(options.env.iter().cloned()).collect()
}

fn gateway(place: &Place, programs: &Programs, settings: &[(String, String)]) -> Plan {
    let temporary = place.folder.join("tmp");
    let own = [
        ("ATHENS_PORT".to_owned(), place.host(0)),
        ("HOME".to_owned(), place.folder.display().to_string()),
        ("TMPDIR".to_owned(), temporary.display().to_string()),
    ];
    // `env -i` starts it with nothing of this shell's; the words are addresses and the stack's own
    // passwords, which are no secrets.
    let mut args = vec!["-i".to_owned()];
    let path = std::env::var("PATH").unwrap_or_default();
    args.push(format!("PATH={path}"));
    args.extend(own.iter().chain(settings).map(|(name, value)| format!("{name}={value}")));
    args.push(programs.gateway.display().to_string());
    let process = Start {
        name: String::new(),
        port: place.ports[0],
        program: "env".into(),
        args,
        env: Vec::new(),
    };
    let probes = vec![Probe::get(place.ports[0], "/readyz")];
    Plan { folders: vec![temporary], processes: vec![process], probes, ..Plan::default() }
}

/// The body of an answer of 200.
fn get(port: u16, path: &str) -> Result<String, String> {
    let told = |error: std::io::Error| format!("http://127.0.0.1:{port}{path}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(told)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(told)?;
    stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(told)?;
    // 1.0: the body ends with the connection, and never comes in chunks.
    let asked = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(asked.as_bytes()).map_err(told)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).map_err(told)?;
    body(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| format!("http://127.0.0.1:{port}{path} is not answered with 200"))
}

fn body(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    (status == "200").then(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_of_200_has_a_body() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\nyes").as_deref(), Some("yes"));
        assert_eq!(body("HTTP/1.0 503 no\r\n\r\nno"), None);
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b"), None);
    }

    #[test]
    fn what_a_person_gives_comes_last_and_so_wins() {
        let options =
            Options::parse(&["--env", "ATHENS_LOG_LEVEL=info", "--break", "lock"]).unwrap();
        let settings = gateway_settings(7, &options);
        let last = |wanted: &str| {
            let found = settings.iter().rev().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(last("ATHENS_LOG_LEVEL"), Some("info"));
        assert_eq!(last("ATHENS_SINGLE_FLIGHT_TYPE"), Some("memory"));
        assert_eq!(last("GOPROXY"), Some("http://127.0.0.1:7"));
    }
}
