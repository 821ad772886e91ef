//! What suites need from the machine: found first, installed by package name where that can be done,
//! and started where it is a server.
//!
//! In `#[ignore = "needs …: …"]` the name of a server (`needs redis`) has it running and its address
//! in `DIPYLON_TEST_REDIS`; `needs the redis program` has it installed and its path in
//! `DIPYLON_PROGRAM_REDIS`, for suites that start and stop it themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::report::Ignored;
use crate::stack::{self, ForSuites, Launch, Service};
use crate::step::ask;

/// The oldest `go` the suites are written for.
const GO_MINOR_MIN: u32 = 21;
/// A small module that every mirror has: it proves that `go env GOPROXY` answers.
const PROBE_MODULE: &str = "golang.org/x/mod@v0.30.0";
/// `go` sets no deadline of its own on a silent mirror.
const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// The user that has no rights, on every Linux.
const NOBODY: u32 = 65_534;

/// One thing a suite may need, by the words that stand in its `#[ignore = "needs …: …"]`.
struct Need {
    words: &'static str,
    /// What may help where it is not found.
    remedy: Remedy,
    /// `Ok` says what was found, `Err` what is wrong.
    find: fn(&Path) -> Result<String, String>,
}

/// How something that is missing may be had.
#[derive(Clone, Copy)]
enum Remedy {
    /// Not by us.
    None,
    /// Only the person who runs the suites can bring it: to go without is a choice.
    Choice,
    /// Debian's package of this name.
    Package(&'static str),
}

/// Why a test is left out, in one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LeftOut {
    /// It was not asked for: nobody misses it.
    ByChoice(String),
    /// The machine should have what it needs, and has not.
    Missing(String),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::ByChoice(why) | Self::Missing(why)) = self;
        out.write_str(why)
    }
}

const NEEDS: &[Need] = &[
    Need { words: "the go command", remedy: Remedy::Package("golang-go"), find: find_go },
    Need { words: "git", remedy: Remedy::Package("git"), find: find_git },
    Need { words: "strace", remedy: Remedy::Package("strace"), find: find_strace },
    Need { words: "network", remedy: Remedy::None, find: find_network },
    Need { words: "shared memory", remedy: Remedy::None, find: find_shared_memory },
    Need { words: "small file systems", remedy: Remedy::None, find: find_mounts },
    Need { words: "another user", remedy: Remedy::None, find: find_user },
    Need { words: "ATHENS_BIN", remedy: Remedy::Choice, find: find_athens },
];

/// Answers, once for each need of a run, whether it can be met. Servers run as long as it lives.
#[derive(Default)]
pub(crate) struct Machine {
    known: BTreeMap<String, Result<String, LeftOut>>,
    servers: Option<ForSuites>,
    programs: Vec<(String, String)>,
    /// Whether to install also what takes minutes and few suites need.
    installs_all: bool,
}

impl Machine {
    /// A machine on which nothing has been looked for yet.
    pub(crate) fn new(installs_all: bool) -> Self {
        Self { installs_all, ..Self::default() }
    }

    /// `Ok` when all that `test` asks for is here, else what is not.
    ///
    /// # Errors
    /// The first need that is not met.
    pub(crate) fn meets(&mut self, root: &Path, test: &Ignored) -> Result<(), LeftOut> {
        let Some(wanted) = wanted(&test.reason) else {
            let why = format!("its reason \"{}\" does not begin with \"needs \"", test.reason);
            return Err(LeftOut::Missing(why));
        };
        for words in wanted {
            self.have(root, words)?;
        }
        Ok(())
    }

    /// What suites that use servers or programs are told.
    ///
    /// # Errors
    /// One line: the stack's state cannot be read.
    pub(crate) fn environment(&self) -> Result<Vec<(String, String)>, String> {
        let mut all = self.servers.as_ref().map_or(Ok(Vec::new()), ForSuites::environment)?;
        all.extend(self.programs.iter().cloned());
        Ok(all)
    }

    /// Looks once for one need, and says what it found.
    ///
    /// # Errors
    /// Why it is not met.
    pub(crate) fn have(&mut self, root: &Path, words: &str) -> Result<(), LeftOut> {
        if !self.known.contains_key(words) {
            let answer = self.look(root, words);
            match &answer {
                Ok(what) => println!("found {words}: {what}"),
                Err(LeftOut::ByChoice(why)) => println!("without {words}: {why}"),
                Err(LeftOut::Missing(why)) => println!("MISSING {words}: {why}"),
            }
            self.known.insert(words.to_owned(), answer);
        }
        self.known[words].clone().map(|_| ())
    }

    fn look(&mut self, root: &Path, words: &str) -> Result<String, LeftOut> {
        if let Some(need) = NEEDS.iter().find(|need| need.words == words) {
            return meet(root, need);
        }
        let program = words.strip_prefix("the ").and_then(|rest| rest.strip_suffix(" program"));
        if let Some(name) = program {
            return self.install(name);
        }
        if stack::service(words).is_ok() {
            return self.serve(root, words);
        }
        if stack::component(words).is_ok() {
            return self.install(words);
        }
        Err(LeftOut::Missing(format!("xtask does not know how to provide \"{words}\"")))
    }

    /// A server that the person who runs the suites names comes before one of ours.
    fn serve(&mut self, root: &Path, name: &str) -> Result<String, LeftOut> {
        let variable = variable("DIPYLON_TEST", name);
        if std::env::var_os(&variable).is_some_and(|value| !value.is_empty()) {
            return Ok(format!("{variable} is set"));
        }
        let service = stack::service(name).map_err(LeftOut::Missing)?;
        for name in service.components {
            self.launch(name)?;
        }
        self.start(root, service).map_err(LeftOut::Missing)?;
        Ok(format!("started, {variable} says where"))
    }

    fn start(&mut self, root: &Path, service: &'static Service) -> Result<(), String> {
        if self.servers.is_none() {
            self.servers = Some(ForSuites::new(root)?);
        }
        self.servers.as_ref().ok_or("there is no stack")?.start(service)
    }

    fn install(&mut self, name: &str) -> Result<String, LeftOut> {
        let launch = self.launch(name)?;
        let path = launch.before.first().cloned();
        let path = path.unwrap_or_else(|| launch.program.display().to_string());
        self.programs.push((variable("DIPYLON_PROGRAM", name), path.clone()));
        Ok(path)
    }

    fn launch(&self, name: &str) -> Result<Launch, LeftOut> {
        let component = stack::component(name).map_err(LeftOut::Missing)?;
        if component.usual || self.installs_all {
            stack::ensure(component).map_err(LeftOut::Missing)
        } else {
            component.find().map_err(|why| LeftOut::ByChoice(format!("{why}; --slow gets it")))
        }
    }
}

/// `DIPYLON_TEST_ETCD3`, of a prefix and a name of the tables.
fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}_{}", name.to_uppercase().replace('-', "_"))
}

fn meet(root: &Path, need: &Need) -> Result<String, LeftOut> {
    let why = match (need.find)(root) {
        Ok(found) => return Ok(found),
        Err(why) => why,
    };
    match need.remedy {
        Remedy::None => Err(LeftOut::Missing(why)),
        Remedy::Choice => Err(LeftOut::ByChoice(why)),
        Remedy::Package(package) => {
            let got = stack::apt(&[package]).map_err(|error| format!("{why}; {error}"));
            got.and_then(|()| (need.find)(root)).map_err(LeftOut::Missing)
        }
    }
}

/// The words of a reason: `needs the go command and network: run by …` wants two things.
fn wanted(reason: &str) -> Option<Vec<&str>> {
    let list = reason.strip_prefix("needs ")?.split(':').next()?;
    Some(list.split(" and ").flat_map(|part| part.split(", ")).map(str::trim).collect())
}

fn find_go(root: &Path) -> Result<String, String> {
    let said = ask(root, "go", &["env", "GOVERSION"]).ok_or("no go command on PATH")?;
    let minor = go_minor(&said).ok_or_else(|| format!("go says version {}", said.trim()))?;
    if minor < GO_MINOR_MIN {
        return Err(format!("{} is older than go1.{GO_MINOR_MIN}", said.trim()));
    }
    Ok(said.trim().to_owned())
}

/// The minor number of `go1.26.8` is 26.
fn go_minor(version: &str) -> Option<u32> {
    let rest = version.trim().strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn find_git(root: &Path) -> Result<String, String> {
    let said = ask(root, "git", &["--version"]).ok_or("no git command on PATH")?;
    Ok(said.trim().to_owned())
}

/// The network is there when the mirror that `go` is set up with hands over one small module.
fn find_network(root: &Path) -> Result<String, String> {
    find_go(root)?;
    let limit = format!("{}s", PROBE_LIMIT.as_secs());
    let args = ["--kill-after=5s", &limit, "go", "mod", "download", "-json", PROBE_MODULE];
    ask(&std::env::temp_dir(), "timeout", &args)
        .map(|_| "the module mirror of `go env GOPROXY` answers".to_owned())
        .ok_or_else(|| format!("go mod download {PROBE_MODULE} failed: see go env GOPROXY"))
}

/// A sandbox may have the program and forbid what it does.
fn find_strace(root: &Path) -> Result<String, String> {
    ask(root, "strace", &["-qq", "-e", "trace=none", "true"])
        .map(|_| "it traces".to_owned())
        .ok_or_else(|| "strace cannot trace a command here".to_owned())
}

/// A second file system, for what cannot be linked from one to the other.
fn find_shared_memory(_: &Path) -> Result<String, String> {
    let device = |path: &Path| {
        let found = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()));
        found.map(|found| found.dev())
    };
    let (memory, temporary) = (Path::new("/dev/shm"), std::env::temp_dir());
    if device(memory)? == device(&temporary)? {
        return Err(format!("{} and temporary files are on one file system", memory.display()));
    }
    Ok(memory.display().to_string())
}

/// Whether a process may have mounts of its own.
fn find_mounts(root: &Path) -> Result<String, String> {
    let args = ["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"];
    match ask(root, "unshare", &args) {
        Some(_) => Ok("unshare".to_owned()),
        None => Err("unshare cannot make a file system of its own".to_owned()),
    }
}

/// The superuser runs as nobody what an ordinary user sees: nobody must be able to run what we build.
fn find_user(root: &Path) -> Result<String, String> {
    let ours = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let is_superuser = ask(root, "id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if !is_superuser {
        return Ok("an ordinary one runs this".to_owned());
    }
    let mut command = Command::new(ours);
    command.arg("help").stdin(Stdio::null()).stdout(Stdio::null()).uid(NOBODY).gid(NOBODY);
    match command.status() {
        Ok(status) if status.success() => Ok(format!("user {NOBODY}")),
        Ok(status) => Err(format!("user {NOBODY} cannot run what is built here: {status}")),
        Err(error) => Err(format!("user {NOBODY} cannot run what is built here: {error}")),
    }
}

/// An Athens to compare with is nobody's to install but the person's who wants the comparison.
fn find_athens(_: &Path) -> Result<String, String> {
    let Some(path) = std::env::var_os("ATHENS_BIN").filter(|value| !value.is_empty()) else {
        return Err("ATHENS_BIN is not set: give it the path of an Athens binary".to_owned());
    };
    let path = Path::new(&path);
    if !path.is_file() {
        return Err(format!("ATHENS_BIN names {}, which is no file", path.display()));
    }
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_lists_its_needs() {
        let reason = "needs the go command and network: run by cargo xtask test";
        assert_eq!(wanted(reason), Some(vec!["the go command", "network"]));
        assert_eq!(wanted("needs git, the go command"), Some(vec!["git", "the go command"]));
        assert_eq!(wanted("flaky"), None);
    }

    #[test]
    fn an_unknown_need_is_refused_by_name() {
        let test = Ignored { name: "t".to_owned(), reason: "needs a unicorn: x".to_owned() };
        let refused = Machine::default().meets(Path::new("."), &test);
        let why = "xtask does not know how to provide \"a unicorn\"".to_owned();
        assert_eq!(refused, Err(LeftOut::Missing(why)));
    }

    #[test]
    fn a_program_is_installed_and_its_path_told() {
        let mut machine = Machine::default();
        machine.programs.push((variable("DIPYLON_PROGRAM", "fake-gcs"), "/p".to_owned()));
        let told = machine.environment().unwrap();
        assert_eq!(told, [("DIPYLON_PROGRAM_FAKE_GCS".to_owned(), "/p".to_owned())]);
        let refused = machine.look(Path::new("."), "the unicorn program").unwrap_err();
        assert!(refused.to_string().starts_with("no program \"unicorn\" is known"), "{refused}");
    }

    #[test]
    fn what_the_machine_lacks_is_told_from_what_nobody_asked_for() {
        let lacks = |remedy| Need { words: "x", remedy, find: |_| Err("no x".to_owned()) };
        let here = Path::new(".");
        let missing = meet(here, &lacks(Remedy::None));
        assert_eq!(missing, Err(LeftOut::Missing("no x".to_owned())));
        let chosen = meet(here, &lacks(Remedy::Choice));
        assert_eq!(chosen, Err(LeftOut::ByChoice("no x".to_owned())));
    }

    #[test]
    fn the_minor_version_of_go_is_read() {
        assert_eq!(go_minor("go1.26.8\n"), Some(26));
        assert_eq!(go_minor("go1.21rc2"), Some(21));
        assert_eq!(go_minor("devel"), None);
    }
}
