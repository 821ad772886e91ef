//! Scenes in which a gateway is at a limit: of a disk, of its own, or of what it is told.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use tempfile::TempDir;

use super::scene::{Scene, ask_well};
use crate::load::{fresh, path};
use crate::world::{PROGRAM, World};

/// Makes a file system of 2 MiB at `$SMALL`, for this process alone, and becomes the program.
const WRAPPER: &str = "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c \
    'mkdir -p \"$SMALL\" && mount -t tmpfs -o size=2m tmpfs \"$SMALL\" && exec \"$PROGRAM\" \"$@\"' \
    sh \"$@\"\n";
/// What fills a disk, in bytes written at a time; and what is left in the end is less than a page.
const FILL_CHUNK: usize = 4_096;
/// More of those than a disk of the scene has room for.
const FILL_MAX: usize = 2_048;
/// The file that fills a disk.
const FILLER: &str = "filler";
/// What spools may take together, and a zip that takes more.
const SPOOL_BYTES: &str = "1048576";
const LARGE_BYTES: usize = 2 * 1024 * 1024;
/// Connections that a gateway takes, and more.
const CONNECTIONS: &str = "12";
const IDLE: usize = 24;

/// A gateway one of whose folders is a small disk.
struct SmallDisk {
    world: World,
    /// The disk, as only the gateway sees it.
    disk: PathBuf,
    _wrapper: TempDir,
}

impl SmallDisk {
    /// The folder is one of those that [`World`] makes for every gateway.
    async fn start(folder: &str, settings: &[(&str, &str)]) -> Self {
        let wrappers = tempfile::tempdir().expect("a temporary folder");
        let wrapper = wrappers.path().join("gateway");
        std::fs::write(&wrapper, WRAPPER).expect("a program");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&wrapper, mode).expect("it may be run");
        let small = format!("{{folder}}/{folder}");
        let mut all = vec![("PROGRAM", PROGRAM), ("SMALL", small.as_str())];
        all.extend(settings);
        let world = World::start_by(&wrapper, &all).await;
        let path = world.folder().join(folder);
        let inside = path.strip_prefix("/").expect("an absolute path");
        let root = PathBuf::from(format!("/proc/{}/root", world.gateway.pid()));
        Self { disk: root.join(inside), world, _wrapper: wrappers }
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = File::create(self.disk.join(FILLER)).expect("a file on the disk");
        let mut room = (0..FILL_MAX).map(|_| file.write_all(&[7; FILL_CHUNK]));
        let full = room.find_map(Result::err).expect("the disk has an end");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    fn empty(&self) {
        std::fs::remove_file(self.disk.join(FILLER)).expect("what fills the disk");
    }

    /// A version that takes little room, and is not stored yet.
    async fn ask_new(&self, name: &str, round: usize) {
        let new = small(&self.world, name, round);
        assert_eq!(self.world.gateway.get(&path(&new, "zip")).await.status, 200);
    }
}

/// The disk of the store is full.
pub(super) struct Disk(SmallDisk);

impl Disk {
    pub(super) async fn start() -> Self {
        let settings = [
            ("DIPYLON_TIERED_DIRECTORY", ""),
            ("DIPYLON_SPOOL_DIR", "{folder}/spool"),
            ("DIPYLON_HOT_CACHE_BYTES", "0"),
        ];
        Self(SmallDisk::start("storage", &settings).await)
    }
}

impl Scene for Disk {
    const JOB: &'static str = "disk";
    const ALERTS: &'static [&'static str] = &["DipylonStorageFails"];

    fn gateway(&self) -> &Gateway {
        &self.0.world.gateway
    }

    async fn well(&self, round: usize) {
        ask_well(&self.0.world).await;
        // Seldom, because each takes room.
        if round.is_multiple_of(16) {
            self.0.ask_new("new", round).await;
        }
    }

    async fn spoil(&mut self) {
        self.0.fill();
    }

    /// It is answered, and not stored.
    async fn ill(&self, round: usize) {
        self.0.ask_new("homeless", round).await;
    }

    async fn mend(&mut self) {
        self.0.empty();
    }
}

/// The disk of the near tier is full.
pub(super) struct NearDisk(SmallDisk);

impl NearDisk {
    pub(super) async fn start() -> Self {
        Self(SmallDisk::start("near", &[]).await)
    }
}

impl Scene for NearDisk {
    const JOB: &'static str = "near-disk";
    const ALERTS: &'static [&'static str] = &["DipylonNearTierPaused"];

    fn gateway(&self) -> &Gateway {
        &self.0.world.gateway
    }

    /// A copy that is tried is what ends a pause.
    async fn well(&self, round: usize) {
        ask_well(&self.0.world).await;
        self.0.ask_new("new", round).await;
    }

    async fn spoil(&mut self) {
        self.0.fill();
    }

    async fn ill(&self, round: usize) {
        self.0.ask_new("far", round).await;
    }

    async fn mend(&mut self) {
        self.0.empty();
    }
}

/// All the room that spools may take is taken.
pub(super) struct Spools {
    world: World,
    /// More than there is room for, where it has been published.
    large: Option<FakeModule>,
}

impl Spools {
    pub(super) async fn start() -> Self {
        let world = World::start(&[("DIPYLON_MAX_SPOOL_BYTES", SPOOL_BYTES)]).await;
        Self { world, large: None }
    }
}

impl Scene for Spools {
    const JOB: &'static str = "spools";
    const ALERTS: &'static [&'static str] = &["DipylonSheds"];

    fn gateway(&self) -> &Gateway {
        &self.world.gateway
    }

    async fn well(&self, round: usize) {
        ask_well(&self.world).await;
        let new = small(&self.world, "new", round);
        assert_eq!(self.world.gateway.get(&path(&new, "zip")).await.status, 200);
    }

    async fn spoil(&mut self) {
        let large = FakeModule::new("example.com/large", "v1.0.0").filler(LARGE_BYTES);
        self.world.upstream.add(large.clone());
        self.large = Some(large);
    }

    async fn ill(&self, _: usize) {
        let large = self.large.as_ref().expect("it is spoilt");
        let answer = self.world.gateway.get(&path(large, "zip")).await;
        // The first bytes may have gone before there is no more room.
        assert!(answer.status == 503 || answer.truncated, "{}: {}", answer.status, answer.text());
    }

    /// Nobody asks for it any more, and its spools are gone with those who did.
    async fn mend(&mut self) {
        self.large = None;
    }
}

/// A module of this round that takes little room.
fn small(world: &World, name: &str, round: usize) -> FakeModule {
    let module = FakeModule::new(&format!("example.com/{name}"), &format!("v1.{round}.0"));
    let module = module.filler(6_000);
    world.upstream.add(module.clone());
    module
}

/// More misses and connections than there may be.
pub(super) struct Overload(World);

impl Overload {
    pub(super) async fn start() -> Self {
        let settings = [
            ("ATHENS_PROTOCOL_WORKERS", "1"),
            ("DIPYLON_MISS_QUEUE_TIMEOUT", "1"),
            ("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "2"),
            ("DIPYLON_UPSTREAM_ATTEMPTS", "1"),
            ("DIPYLON_MAX_CONNECTIONS", CONNECTIONS),
        ];
        Self(World::start(&settings).await)
    }
}

impl Scene for Overload {
    const JOB: &'static str = "overload";
    const ALERTS: &'static [&'static str] = &["DipylonSheds"];

    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    async fn well(&self, _: usize) {
        ask_well(&self.0).await;
    }

    async fn spoil(&mut self) {
        self.0.upstream.fault(When::any(), Fault::HangBeforeHeaders);
    }

    async fn ill(&self, round: usize) {
        let client = self.0.gateway.client();
        let zips = (0..3).map(|n| format!("/example.com/wanted{n}/@v/v1.{round}.0.zip"));
        let waiting: Vec<_> = zips
            .map(|zip| {
                let client = client.clone();
                // It is refused, or its upstream is late; or its connection is refused, which is no answer.
                tokio::spawn(async move {
                    drop(client.try_request(http::Method::GET, &zip, &[], "").await)
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        let idle: Vec<_> =
            (0..IDLE).map(|_| TcpStream::connect(self.0.gateway.address())).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(idle);
    }

    async fn mend(&mut self) {
        self.0.upstream.clear_faults();
        // What hangs is given up, and the connections of before are gone.
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
}

/// More background fetches than may wait.
pub(super) struct Background(World);

impl Background {
    pub(super) async fn start() -> Self {
        let settings = [
            ("DIPYLON_QUEUE_MAX_ENTRIES", "3"),
            ("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "2"),
            ("DIPYLON_UPSTREAM_ATTEMPTS", "1"),
            ("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl"),
        ];
        Self(World::start(&settings).await)
    }
}

impl Scene for Background {
    const JOB: &'static str = "background";
    const ALERTS: &'static [&'static str] = &["DipylonBackgroundFull"];

    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    async fn well(&self, _: usize) {
        ask_well(&self.0).await;
    }

    async fn spoil(&mut self) {
        self.0.upstream.fault(When::prefix("/example.com/background/"), Fault::HangBeforeHeaders);
    }

    async fn ill(&self, round: usize) {
        for number in 0..4 {
            let zip = format!("/example.com/background/m{number}/@v/v1.{round}.0.zip");
            assert_eq!(self.0.gateway.get(&zip).await.status, 404);
        }
    }

    async fn mend(&mut self) {
        self.0.upstream.clear_faults();
    }
}

/// A download-mode file with a mistake.
pub(super) struct Modes(World);

impl Modes {
    pub(super) async fn start() -> Self {
        Self(World::start(&[("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl")]).await)
    }
}

impl Scene for Modes {
    const JOB: &'static str = "modes";
    const ALERTS: &'static [&'static str] = &["DipylonPolicyFileRefused"];

    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    async fn well(&self, round: usize) {
        ask_well(&self.0).await;
        let new = fresh(&self.0, "new", round);
        assert_eq!(self.0.gateway.get(&path(&new, "info")).await.status, 200);
    }

    async fn spoil(&mut self) {
        self.0.spoil_modes(true);
    }

    /// It goes by the older file.
    async fn ill(&self, round: usize) {
        self.well(round).await;
    }

    async fn mend(&mut self) {
        self.0.spoil_modes(false);
    }
}
