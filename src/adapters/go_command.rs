//! The `go` command as the configuration has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dipylon_middleware::{Error, ErrorKind};

use super::temp_parent;
use crate::config::Config;
use crate::fetch::environment::GoSettings;
use crate::fetch::go_command::{DEFAULT_CLONE_CACHE_LIMIT_BYTES, GoCommand, GoCommandConfig};

/// Variables of our own environment that the `go` command sees: Athens's closed list.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "GOROOT",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSH_AUTH_SOCK",
];

/// The `go` command, if there is one. Missing, it is fatal only where nothing else can fetch.
pub(super) async fn open(
    config: &Config,
    settings: &GoSettings,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Arc<GoCommand>>, Error> {
    if !probe(config, settings, variable).await? {
        return Ok(None);
    }
    // Newer toolchains are downloaded with these two; a fetch never sees them.
    let mut child_env = settings.child_env.clone();
    let for_toolchains = settings.settings.iter().filter(|setting| {
        matches!(setting.name, "GOPROXY" | "GOSUMDB") && !setting.value.is_empty()
    });
    child_env
        .extend(for_toolchains.map(|setting| (setting.name.to_owned(), setting.value.clone())));
    let go = GoCommandConfig {
        binary: PathBuf::from(&config.go_binary),
        child_env,
        inherited: inherited(variable),
        temp_parent: temp_parent(config),
        cache_dir: go_cache_dir(config, variable),
        fetch_timeout: config.stash_timeout,
        list_timeout: config.timeout,
        clone_cache_limit_bytes: DEFAULT_CLONE_CACHE_LIMIT_BYTES,
    };
    let opened = tokio::task::spawn_blocking(move || GoCommand::new(go)).await;
    let go = opened.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))??;
    Ok(Some(Arc::new(go)))
}

/// What `go` gets of our environment.
fn inherited(variable: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    INHERITED
        .iter()
        .filter_map(|name| variable(name).map(|value| ((*name).to_owned(), value)))
        .filter(|(name, value)| name != "SSH_AUTH_SOCK" || is_socket(Path::new(value)))
        .collect()
}

/// Whether there is a `go` that runs.
pub(super) async fn probe(
    config: &Config,
    settings: &GoSettings,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<bool, Error> {
    let inherited = inherited(variable);
    let Err(error) = GoCommand::probe(Path::new(&config.go_binary), &inherited).await else {
        return Ok(true);
    };
    if settings.proxies.is_only_direct() {
        return Err(error);
    }
    tracing::info!(%error, "direct fetches are off");
    Ok(false)
}

/// `GoCacheDir`, else a directory below the user's own cache, else one that is named after the user in
/// a directory that others share; whether it is really ours is checked when it is opened.
fn go_cache_dir(config: &Config, variable: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    if let Some(directory) = &config.dipylon.go_cache_dir {
        return directory.clone();
    }
    // A relative path counts as none, as the XDG specification has it.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let of_user = caches.map(|caches| caches.join("dipylon/go"));
    // Containers often have a home that does not exist and cannot be made.
    match of_user.filter(|directory| private_directory(directory).is_ok()) {
        Some(directory) => directory,
        None => {
            let user = rustix::process::geteuid().as_raw();
            temp_parent(config).join(format!("dipylon-go-cache-{user}"))
        }
    }
}

fn private_directory(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).map_err(Into::into)
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}
