//! A store behind the external protocol, which can go away and come back.

use std::sync::Arc;

use dipylon::external_storage::{Options, serve};
use dipylon::http::Listener;
use dipylon::storage::disk::Disk;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::Storage;
use dipylon_testkit::module::FakeModule;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A module whose folder in the store leads to itself.
pub(crate) const LOOP: &str = "example.com/loop";

/// A server on loopback before a disk.
pub(crate) struct Store {
    folder: TempDir,
    disk: Arc<dyn Storage>,
    address: String,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Store {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::with_prefix("dipylon-dashboards-").expect("a temporary folder");
        std::fs::create_dir_all(folder.path().join("example.com")).expect("a folder of a host");
        std::os::unix::fs::symlink("loop", folder.path().join(LOOP)).expect("a link to itself");
        let disk = Arc::new(Disk::open(folder.path()).expect("the disk opens"));
        let listener = Listener::tcp("127.0.0.1:0").await.expect("a free port");
        let mut store = Self { folder, disk, address: listener.address(), running: None };
        store.run(listener);
        store
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nobody listens from then on, and no connection is left.
    pub(crate) async fn stop(&mut self) {
        let Running { stop, task } = self.running.take().expect("it is running");
        stop.send(()).expect("it waits for that");
        task.await.expect("it does not panic").expect("it ends in order");
    }

    /// Serves again, with all that it had.
    pub(crate) async fn restart(&mut self) {
        let listener = Listener::tcp(&self.address).await.expect("the port is still free");
        self.run(listener);
    }

    fn run(&mut self, listener: Listener) {
        let (stop, stopped) = oneshot::channel();
        let (disk, options) = (Arc::clone(&self.disk), Options::default());
        let served = serve(disk, listener, options, async move { drop(stopped.await) });
        self.running = Some(Running { stop, task: tokio::spawn(served) });
    }

    /// Lays a version into the store by hand, as another replica would.
    pub(crate) fn lay(&self, module: &FakeModule) {
        let folder = self.folder.path().join(module.path()).join(module.version());
        std::fs::create_dir_all(&folder).expect("a folder for the version");
        let info = format!("{}.info", module.version());
        std::fs::write(folder.join("go.mod"), module.go_mod_bytes()).expect("its go.mod");
        std::fs::write(folder.join("source.zip"), module.zip()).expect("its zip");
        std::fs::write(folder.join(info), module.info()).expect("its info");
    }
}
