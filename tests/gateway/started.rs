//! The program started by hand, where the test itself says how it listens.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::world::{PROGRAM, until};

/// A process with exactly these variables, killed when dropped.
pub(crate) struct Started {
    child: Child,
    folder: TempDir,
}

impl Started {
    /// Starts it in a folder of its own, without any upstream.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("dipylon-test-").expect("a temporary folder");
        let file = |name: &str| File::create(folder.path().join(name)).expect("a file for output");
        let child = Command::new(PROGRAM)
            .env_clear()
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("GO_BINARY_PATH", folder.path().join("there-is-no-go"))
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the program can be started");
        Self { child, folder }
    }

    /// Waits until it says that it serves.
    pub(crate) async fn until_serving(&self) {
        until("the program serves", async || self.stdout().contains("Starting application")).await;
    }

    /// Waits for its end; the exit code and standard error.
    pub(crate) async fn end(&mut self) -> (Option<i32>, String) {
        let child = std::sync::Mutex::new(&mut self.child);
        until("the program ends", async || {
            let mut child = child.lock().expect("no one panics with it");
            child.try_wait().expect("a child of ours can be waited for").is_some()
        })
        .await;
        let status = self.child.wait().expect("it has ended");
        (status.code(), read(&self.folder.path().join("stderr")))
    }

    pub(crate) fn stdout(&self) -> String {
        read(&self.folder.path().join("stdout"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// A path for a socket: short, because the kernel allows 107 bytes.
pub(crate) fn socket_path(folder: &Path) -> PathBuf {
    folder.join("s.sock")
}
