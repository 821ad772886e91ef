//! The modules of a real program, as a GOPROXY tree on disk. They are named by `testkit/graph/go.mod` and come once
//! from
//! the module proxy that `go` is set up with.

use std::path::{Path, PathBuf};
use std::process::Command;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;

use crate::module::FakeModule;

/// The modules, each with the version that the program's build list has.
const GO_MOD: &str = include_str!("../../graph/go.mod");
/// Folders below the tree are no deeper than a module path may be long.
const DEPTH_MAX: usize = 64;

/// A GOPROXY tree, and what is in it.
#[derive(Clone, Debug)]
pub struct Graph {
    root: PathBuf,
    versions: Vec<String>,
}

impl Graph {
    /// The real one, below `folder`, where it is fetched to when it is not there yet; that takes a minute.
    ///
    /// # Errors
    /// What `go` says.
    pub fn fetched(folder: &Path) -> Result<Self, String> {
        let in_full = folder.join("in-full.go.mod");
        let cache = folder.join("cache");
        if std::fs::read_to_string(&in_full).is_ok_and(|held| held == GO_MOD) {
            return Ok(Self::in_tree(&cache.join("cache/download")));
        }
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(failed)?;
        }
        std::fs::create_dir_all(folder).map_err(failed)?;
        std::fs::write(folder.join("go.mod"), GO_MOD).map_err(failed)?;
        let downloaded = Command::new("go")
            .args(["mod", "download"])
            .current_dir(folder)
            .env("GOMODCACHE", &cache)
            .env("GOFLAGS", "-mod=mod -modcacherw")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .output()
            .map_err(|error| format!("cannot run go: {error}"))?;
        if !downloaded.status.success() {
            let said = String::from_utf8_lossy(&downloaded.stderr);
            return Err(format!("go mod download of the graph: {}", said.trim()));
        }
        // What `go` has unpacked is of no use here.
        for entry in std::fs::read_dir(&cache).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "cache") {
                std::fs::remove_dir_all(path).map_err(failed)?;
            }
        }
        std::fs::write(in_full, GO_MOD).map_err(failed)?;
        Ok(Self::in_tree(&cache.join("cache/download")))
    }

    /// One that is made up: so many small modules, below `folder`.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn made_up(folder: &Path, modules: usize) -> Self {
        for number in 0..modules {
            let module = FakeModule::new(&format!("example.com/graph/m{number}"), "v1.0.0");
            let at = folder.join(module.path()).join("@v");
            std::fs::create_dir_all(&at).expect("a folder for a module");
            let put = |end: &str, bytes: &[u8]| {
                let file = at.join(format!("{}.{end}", module.version()));
                std::fs::write(file, bytes).expect("a file of a module");
            };
            put("info", module.info().as_bytes());
            put("mod", &module.go_mod_bytes());
            put("zip", &module.zip());
        }
        Self::in_tree(folder)
    }

    fn in_tree(root: &Path) -> Self {
        let mut versions = Vec::new();
        collect(root, "", DEPTH_MAX, &mut versions);
        versions.sort();
        Self { root: root.to_owned(), versions }
    }

    /// Where the tree begins.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many modules there are.
    pub fn modules(&self) -> usize {
        self.versions.len()
    }

    /// Of each module the three paths that `go` asks for, in its order: info, mod, zip.
    pub fn paths(&self) -> Vec<[String; 3]> {
        let of = |version: &String| ["info", "mod", "zip"].map(|kind| format!("/{version}.{kind}"));
        self.versions.iter().map(of).collect()
    }

    /// A file's bytes.
    ///
    /// # Panics
    /// When it is gone.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let file = self.root.join(path.trim_start_matches('/'));
        std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// How long all files together are.
    ///
    /// # Panics
    /// When one is gone.
    pub fn total_bytes(&self) -> u64 {
        let paths = self.paths().into_iter().flatten();
        let files = paths.map(|path| self.root.join(path.trim_start_matches('/')));
        files.map(|file| file.metadata().expect("a file of the graph").len()).sum()
    }
}

/// Whole versions below a folder, each without the end of its files' names.
fn collect(folder: &Path, below: &str, depth: usize, versions: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            if depth > 0 {
                collect(&entry.path(), &path, depth - 1, versions);
            }
        } else if let Some(version) = path.strip_suffix(".zip")
            && is_version(version)
        {
            versions.push(version.to_owned());
        }
    }
}

/// Whether this is `MODULE/@v/VERSION`, escaped as in a URL.
fn is_version(path: &str) -> bool {
    path.split_once("/@v/").is_some_and(|(module, version)| {
        ModulePath::from_escaped(module).is_ok() && Version::from_escaped(version).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_that_is_made_up_has_three_files_for_each_module() {
        let folder = tempfile::tempdir().unwrap();
        let graph = Graph::made_up(folder.path(), 3);
        assert_eq!(graph.modules(), 3);
        let [info, go_mod, _] = &graph.paths()[1];
        assert_eq!(info, "/example.com/graph/m1/@v/v1.0.0.info");
        assert!(graph.bytes(go_mod).starts_with(b"module example.com/graph/m1\n"));
        assert!(graph.total_bytes() > 0);
    }

    #[test]
    fn the_real_one_has_at_least_two_hundred_modules() {
        assert!(GO_MOD.lines().filter(|line| line.starts_with('\t')).count() >= 200);
    }
}
