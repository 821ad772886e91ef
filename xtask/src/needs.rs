//! What suites need from the machine: found first, installed by package name where that can be done.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::report::Ignored;
use crate::stack;
use crate::step::ask;

/// The oldest `go` the suites are written for.
const GO_MINOR_MIN: u32 = 21;
/// A small module that every mirror has: it proves that `go env GOPROXY` answers.
const PROBE_MODULE: &str = "golang.org/x/mod@v0.30.0";
/// `go` sets no deadline of its own on a silent mirror.
const PROBE_LIMIT: Duration = Duration::from_secs(60);

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
    /// Debian's package of this name.
    Package(&'static str),
    /// A server of our own stack, built by package name.
    Build(&'static str),
}

const NEEDS: &[Need] = &[
    Need { words: "the go command", remedy: Remedy::Package("golang-go"), find: find_go },
    Need { words: "git", remedy: Remedy::Package("git"), find: find_git },
    Need { words: "network", remedy: Remedy::None, find: find_network },
    Need { words: "otelcol", remedy: Remedy::Build("otelcol"), find: find_otelcol },
    Need { words: "ATHENS_BIN", remedy: Remedy::None, find: find_athens },
];

/// Answers, once for each need of a run, whether it can be met.
#[derive(Default)]
pub(crate) struct Machine {
    known: BTreeMap<&'static str, Result<String, String>>,
    apt_is_fresh: bool,
}

impl Machine {
    /// `Ok` when all that `test` asks for is here, else one line that says what is missing.
    pub(crate) fn meets(&mut self, root: &Path, test: &Ignored) -> Result<(), String> {
        let Some(wanted) = wanted(&test.reason) else {
            return Err(format!("its reason \"{}\" does not begin with \"needs \"", test.reason));
        };
        for words in wanted {
            let Some(need) = NEEDS.iter().find(|need| need.words == words) else {
                return Err(format!("xtask does not know how to provide \"{words}\""));
            };
            self.have(root, need)?;
        }
        Ok(())
    }

    fn have(&mut self, root: &Path, need: &Need) -> Result<(), String> {
        if !self.known.contains_key(need.words) {
            let answer = self.look(root, need);
            match &answer {
                Ok(what) => println!("found {}: {what}", need.words),
                Err(why) => println!("MISSING {}: {why}", need.words),
            }
            self.known.insert(need.words, answer);
        }
        self.known[need.words].clone().map(|_| ())
    }

    fn look(&mut self, root: &Path, need: &Need) -> Result<String, String> {
        let first = (need.find)(root);
        let Err(why) = &first else { return first };
        let helped = match need.remedy {
            Remedy::None => return first,
            Remedy::Package(package) => self.install(root, package),
            Remedy::Build(name) => stack::ensure(name).map(drop),
        };
        helped.map_err(|error| format!("{why}; {error}"))?;
        (need.find)(root)
    }

    /// Installs a Debian package, where we are root and apt is here.
    fn install(&mut self, root: &Path, package: &str) -> Result<(), String> {
        let is_root = ask(root, "id", &["-u"]).is_some_and(|id| id.trim() == "0");
        if !is_root || ask(root, "apt-get", &["--version"]).is_none() {
            return Err(format!("install it (Debian: apt-get install {package})"));
        }
        println!("installing {package}");
        if !self.apt_is_fresh {
            ask(root, "apt-get", &["update"]).ok_or("apt-get update failed")?;
            self.apt_is_fresh = true;
        }
        let lock = "DPkg::Lock::Timeout=120";
        let args = ["-o", lock, "install", "-y", "--no-install-recommends", package];
        ask(root, "apt-get", &args)
            .map(|_| ())
            .ok_or_else(|| format!("apt-get install {package} failed"))
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

fn find_otelcol(_: &Path) -> Result<String, String> {
    stack::find("otelcol").map(|path| path.display().to_string())
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
        assert_eq!(refused, Err("xtask does not know how to provide \"a unicorn\"".to_owned()));
    }

    #[test]
    fn the_minor_version_of_go_is_read() {
        assert_eq!(go_minor("go1.26.8\n"), Some(26));
        assert_eq!(go_minor("go1.21rc2"), Some(21));
        assert_eq!(go_minor("devel"), None);
    }
}
