//! Credential files for what the `go` command runs: git, Mercurial and itself.
//!
//! `GithubToken` becomes a line of `~/.netrc`; `NETRCPath` and `HGRCPath` are copied into the home
//! directory, as in Athens: a netrc under its base name, where `netrc` with or without a dot or an
//! underscore becomes `.netrc`; an hgrc under its base name. What was there is overwritten.
//!
//! Each file is written under a temporary name with mode 0600 and renamed, so nobody ever sees a part of
//! it. A source that is its own target already stays as it is. Contents are never logged, nor shown in an
//! error. Limit: `policy::MAX_FILE_BYTES`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;

use crate::config::Config;
use crate::policy::read_small;

/// Where credentials of plain-text protocols are looked for.
const NETRC: &str = ".netrc";

/// Writes what is configured into `home`; does nothing, and needs no home, where nothing is.
///
/// # Errors
/// One line: the key, the file, and why it cannot be read or written.
pub fn install(config: &Config, home: Option<&Path>) -> Result<(), String> {
    if !config.github_token.is_empty() {
        let line = format!("machine github.com login {}\n", config.github_token.expose());
        write("GithubToken", home, OsStr::new(NETRC), line.as_bytes())?;
    }
    if let Some(path) = &config.netrc_path {
        let name = path.file_name().ok_or_else(|| no_file("NETRCPath", path))?;
        copy("NETRCPath", home, path, netrc_name(name))?;
    }
    if let Some(path) = &config.hgrc_path {
        let name = path.file_name().ok_or_else(|| no_file("HGRCPath", path))?;
        copy("HGRCPath", home, path, name)?;
    }
    Ok(())
}

/// Whether what [`install`] copies can be read; writes nothing.
///
/// # Errors
/// As [`install`], of the first file that cannot.
pub fn check(config: &Config) -> Result<(), String> {
    for (key, path) in [("NETRCPath", &config.netrc_path), ("HGRCPath", &config.hgrc_path)] {
        let Some(path) = path else { continue };
        path.file_name().ok_or_else(|| no_file(key, path))?;
        read_small(path).map_err(|reason| format!("{key}: {reason}"))?;
    }
    Ok(())
}

fn no_file(key: &str, path: &Path) -> String {
    format!("{key}: {} names no file", path.display())
}

/// Every usual spelling of a netrc becomes the one that is looked for.
fn netrc_name(name: &OsStr) -> &OsStr {
    let plain = name.to_str().map(|name| name.trim_start_matches(['.', '_']));
    if plain == Some("netrc") { OsStr::new(NETRC) } else { name }
}

fn copy(key: &str, home: Option<&Path>, from: &Path, name: &OsStr) -> Result<(), String> {
    let bytes = read_small(from).map_err(|reason| format!("{key}: {reason}"))?;
    let target = home.map(|home| home.join(name));
    let same = |target: &Path| match (from.canonicalize(), target.canonicalize()) {
        (Ok(from), Ok(target)) => from == target,
        _ => false,
    };
    if target.as_deref().is_some_and(same) {
        return Ok(());
    }
    write(key, home, name, &bytes)
}

fn write(key: &str, home: Option<&Path>, name: &OsStr, content: &[u8]) -> Result<(), String> {
    let home = home.filter(|home| !home.as_os_str().is_empty()).ok_or_else(|| {
        format!("{key} is written to the home directory, but HOME is not set: set it")
    })?;
    let target = home.join(name);
    let why = |error: std::io::Error| format!("{key}: cannot write {}: {error}", target.display());
    // Made with mode 0600, and removed again should a step fail.
    let mut file = tempfile::Builder::new().prefix(".dipylon-").tempfile_in(home).map_err(why)?;
    file.write_all(content).map_err(why)?;
    file.as_file().sync_all().map_err(why)?;
    file.persist(&target).map_err(|error| why(error.error))?;
    tracing::info!(key, file = %target.display(), "credentials are written");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::config::{LoadArgs, Secret};

    fn config() -> Config {
        let nothing = std::collections::BTreeMap::<String, String>::new();
        let args = LoadArgs { config_file: None, cwd: "/nonexistent".into() };
        Config::load(args, &nothing).unwrap().config
    }

    fn entries(home: &Path) -> Vec<(String, u32, String)> {
        let entry = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), mode, text)
        };
        let mut entries: Vec<_> = std::fs::read_dir(home).unwrap().map(entry).collect();
        entries.sort();
        entries
    }

    #[test]
    fn nothing_configured_writes_nothing_and_needs_no_home() {
        install(&config(), None).unwrap();
    }

    #[test]
    fn a_check_reads_and_writes_nothing() {
        let folder = TempDir::new().unwrap();
        let absent = folder.path().join("netrc");
        let config = Config { netrc_path: Some(absent.clone()), ..config() };
        let refused = check(&config).unwrap_err();
        assert!(refused.starts_with(&format!("NETRCPath: {}", absent.display())), "{refused}");
        std::fs::write(&absent, "machine a login b").unwrap();
        assert_eq!(check(&config), Ok(()));
        assert_eq!(entries(folder.path()).len(), 1);
    }

    #[test]
    fn a_token_becomes_a_private_netrc_in_place_of_the_old_one() {
        let home = TempDir::new().unwrap();
        std::fs::write(home.path().join(".netrc"), "old").unwrap();
        let config = Config { github_token: Secret::new("hunter2"), ..config() };
        install(&config, Some(home.path())).unwrap();
        let line = "machine github.com login hunter2\n".to_owned();
        assert_eq!(entries(home.path()), [(".netrc".to_owned(), 0o600, line)]);
    }

    #[test]
    fn files_are_copied_under_the_names_that_are_looked_for() {
        for (name, wanted) in [
            ("netrc", ".netrc"),
            (".netrc", ".netrc"),
            ("_netrc", ".netrc"),
            ("my-netrc", "my-netrc"),
        ] {
            let (home, from) = (TempDir::new().unwrap(), TempDir::new().unwrap());
            std::fs::write(from.path().join(name), "machine h").unwrap();
            std::fs::write(from.path().join(".hgrc"), "[auth]").unwrap();
            let config = Config {
                netrc_path: Some(from.path().join(name)),
                hgrc_path: Some(from.path().join(".hgrc")),
                ..config()
            };
            install(&config, Some(home.path())).unwrap();
            let mut files = [
                (wanted.to_owned(), 0o600, "machine h".to_owned()),
                (".hgrc".to_owned(), 0o600, "[auth]".to_owned()),
            ];
            files.sort();
            assert_eq!(entries(home.path()), files, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_in_place_already_stays_as_it_is() {
        let home = TempDir::new().unwrap();
        let path = home.path().join(".netrc");
        std::fs::write(&path, "machine h").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        let config = Config { netrc_path: Some(path), ..config() };
        install(&config, Some(home.path())).unwrap();
        assert_eq!(entries(home.path()), [(".netrc".to_owned(), 0o400, "machine h".to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_or_written_is_named_without_the_secret() {
        let home = TempDir::new().unwrap();
        let missing = Config { netrc_path: Some("/nonexistent/netrc".into()), ..config() };
        let error = install(&missing, Some(home.path())).unwrap_err();
        assert!(
            error.starts_with("NETRCPath: /nonexistent/netrc: cannot be read: No such"),
            "{error}"
        );
        let token = Config { github_token: Secret::new("hunter2"), ..config() };
        let error = install(&token, None).unwrap_err();
        assert!(error.contains("HOME is not set") && !error.contains("hunter2"), "{error}");
        let error = install(&token, Some(Path::new("/nonexistent"))).unwrap_err();
        assert!(error.starts_with("GithubToken: cannot write /nonexistent/.netrc"), "{error}");
        let hg = Config { hgrc_path: Some("/".into()), ..config() };
        assert_eq!(install(&hg, Some(home.path())).unwrap_err(), "HGRCPath: / names no file");
        assert!(entries(home.path()).is_empty());
    }
}
