//! The real modules of a load: what a large program needs, downloaded once by the `go` command.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::json::Json;

/// Where they are, and which.
pub(super) struct Graph {
    /// Laid out as a GOPROXY: the module cache's `cache/download`.
    pub(super) tree: PathBuf,
    /// A file of lines `ESCAPED_PATH ESCAPED_VERSION BYTES`.
    pub(super) list: PathBuf,
}

impl Graph {
    /// Downloads what the module cache of this user does not have yet.
    ///
    /// # Errors
    /// One line: the `go` command is missing, or cannot download them.
    pub(super) fn download(root: &Path, folder: &Path) -> Result<Self, String> {
        println!("the modules of loadtest/graph/go.mod (go mod download)");
        let work = folder.join("graph");
        let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir_all(&work).map_err(|error| told(&work, error))?;
        let wanted = root.join("loadtest/graph/go.mod");
        std::fs::copy(&wanted, work.join("go.mod")).map_err(|error| told(&wanted, error))?;
        let cache = go(&work, &["env", "GOMODCACHE"])?;
        let tree = PathBuf::from(cache.trim()).join("cache/download");
        let downloaded = Json::parse_all(&go(&work, &["mod", "download", "-json"])?)?;
        let lines: Vec<String> = downloaded.iter().map(line).collect::<Result<_, _>>()?;
        if lines.is_empty() {
            return Err("go mod download names no modules".to_owned());
        }
        println!("{} modules", lines.len());
        let list = work.join("modules.txt");
        std::fs::write(&list, lines.concat()).map_err(|error| told(&list, error))?;
        Ok(Self { tree, list })
    }
}

fn line(module: &Json) -> Result<String, String> {
    let text = |name: &str| {
        let found = module.get(name).text();
        found.ok_or_else(|| format!("go mod download says no {name}: {module:?}"))
    };
    let zip = text("Zip")?;
    let bytes = std::fs::metadata(zip).map_err(|error| format!("{zip}: {error}"))?.len();
    Ok(format!("{} {} {bytes}\n", escaped(text("Path")?), escaped(text("Version")?)))
}

/// As module paths and versions stand in URLs and in the cache.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(c.to_ascii_lowercase());
    }
    escaped
}

fn go(folder: &Path, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("go");
    // Only what go.mod names: no workspace above it, no vendor folder, no other toolchain.
    command.args(words).current_dir(folder).env("GOWORK", "off").env("GOFLAGS", "-mod=mod");
    let output = command.output().map_err(|error| format!("the go command: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("go {}: {said}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_in_urls() {
        assert_eq!(escaped("github.com/Azure/X"), "github.com/!azure/!x");
    }

    #[test]
    fn the_graph_is_that_of_a_large_program() {
        let text = crate::workspace_root().join("loadtest/graph/go.mod");
        let text = std::fs::read_to_string(text).unwrap();
        assert!(text.lines().filter(|line| line.starts_with('\t')).count() >= 200);
    }
}
