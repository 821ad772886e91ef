//! A store on this machine's own disk: the columns `disk` and `memory` of the table. Spools lie elsewhere,
//! as they should where the disk of the store may fail: an answer of upstream's needs one.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::backend::Settings;
use crate::world::{MODULE, Site, builder, bytes_of, path_of};

/// What answers may take that nothing holds up, on a busy machine: less than a call that hangs is waited
/// for.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A gateway over a fresh store on disk.
struct OnDisk {
    site: Site,
    /// What holds the store.
    root: PathBuf,
    _folder: TempDir,
}

impl OnDisk {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        fs::create_dir(&root).unwrap();
        let site = Site::start("disk", settings(&folder, &root)).await;
        Self { site, root, _folder: folder }
    }

    /// The memory store is one on disk, below the program's temporary directory; its errors name the disk.
    async fn in_memory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(&folder, folder.path());
        settings.push(("ATHENS_STORAGE_TYPE", "memory".to_owned()));
        let site = Site::start("disk", settings).await;
        let ours = fs::read_dir(site.gateway.folder()).unwrap().map(|entry| entry.unwrap().path());
        let is_store = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("dipylon-memory-"))
        };
        let root = ours.into_iter().find(is_store).expect("a store").join("store");
        assert!(root.is_dir(), "{}", root.display());
        Self { site, root, _folder: folder }
    }

    /// The root goes away, and an empty directory is in its place: what an unmounted volume leaves, or a
    /// tool that sweeps the temporary directory.
    fn unmount(&self) {
        fs::rename(&self.root, self.away()).unwrap();
        fs::create_dir(&self.root).unwrap();
    }

    fn mount(&self) {
        fs::remove_dir(&self.root).unwrap();
        fs::rename(self.away(), &self.root).unwrap();
    }

    fn away(&self) -> PathBuf {
        self.root.with_extension("away")
    }
}

fn settings(folder: &TempDir, root: &Path) -> Settings {
    let spools = folder.path().join("spools");
    fs::create_dir(&spools).unwrap();
    vec![
        ("ATHENS_STORAGE_TYPE", "disk".to_owned()),
        ("ATHENS_DISK_STORAGE_ROOT", root.display().to_string()),
        ("DIPYLON_SPOOL_DIR", spools.display().to_string()),
    ]
}

fn stored() -> FakeModule {
    FakeModule::new(MODULE, "v1.0.0").filler(50_000)
}

fn new() -> FakeModule {
    FakeModule::new(MODULE, "v1.1.0").filler(50_000)
}

/// Row "down".
async fn gone_in_mid_flight(place: OnDisk) {
    let site = &place.site;
    site.fill(&stored()).await;
    site.upstream.add(new());
    place.unmount();
    site.files(&stored(), &["miss_degraded"]).await;
    site.files(&new(), &["miss_degraded"]).await;
    site.assert_not_ready().await;
    for suffix in ["info", "mod", "zip"] {
        let answer = site.get(&path_of(&FakeModule::new(MODULE, "v1.9.9"), suffix)).await;
        assert_eq!(answer.status, 500, "{suffix}: {}", answer.text());
        site.assert_named(answer.text());
    }
    let list = site.get(&format!("/{MODULE}/@v/list")).await;
    assert_eq!((list.status.as_u16(), list.text()), (200, "v1.0.0\nv1.1.0\n"));
    let catalog = site.get("/catalog").await;
    assert_eq!(catalog.status, 500, "{}", catalog.text());
    assert_eq!(
        fs::read_dir(&place.root).unwrap().count(),
        0,
        "nothing is written beside the volume"
    );

    place.mount();
    site.until_ready().await;
    site.files(&stored(), &["hit_storage"]).await;
    site.until_stored(&new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_goes_away_costs_its_versions_a_fetch_and_no_restart() {
    gone_in_mid_flight(OnDisk::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_store_that_is_swept_away_costs_its_versions_a_fetch_and_no_restart() {
    gone_in_mid_flight(OnDisk::in_memory().await).await;
}

/// Row "offline and down": nobody else may be asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offline_a_disk_that_goes_away_is_an_error_and_never_an_absence() {
    let mut place = OnDisk::start().await;
    place.site.fill(&stored()).await;
    place.site.restart(&[("ATHENS_NETWORK_MODE", "offline")]).await;
    let (site, module) = (&place.site, stored());
    site.files(&module, &["hit_storage"]).await;
    place.unmount();
    let files = ["info", "mod", "zip"]
        .into_iter()
        .flat_map(|suffix| [path_of(&module, suffix), path_of(&new(), suffix)]);
    let others =
        [format!("/{MODULE}/@v/list"), format!("/{MODULE}/@latest"), "/catalog".to_owned()];
    for path in files.chain(others) {
        let answer = site.get(&path).await;
        assert_eq!(answer.status, 500, "{path}: {}", answer.text());
        site.assert_named(answer.text());
    }
    place.mount();
    site.until_ready().await;
    site.files(&module, &["hit_storage"]).await;
}

/// Row "down at start": a store of one machine is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_disk_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let settings = settings(&folder, &missing);
    let program = env!("CARGO_BIN_EXE_dipylon");
    let said = builder(program, &settings, "off").try_start().await.expect_err("no root, no start");
    assert!(
        said.contains(&format!("root directory `{}` does not exist", missing.display())),
        "{said}"
    );
    assert!(said.contains("ATHENS_DISK_STORAGE_ROOT"), "{said}");

    fs::write(&missing, "a file, below which nothing can be made").unwrap();
    let below = missing.join("below").display().to_string();
    let memory = builder(program, &settings, "off").env("ATHENS_STORAGE_TYPE", "memory");
    let memory = memory.env("TMPDIR", &below).try_start().await;
    let said = memory.expect_err("no temporary directory, no start");
    assert!(said.contains(&format!("cannot make the memory store in {below}: ")), "{said}");
}

/// Row "black hole". A pipe whose other end says nothing hangs whoever reads it, as every file does on a
/// network file system whose server is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_hangs_holds_up_its_own_version_for_a_while_and_no_other() {
    let place = OnDisk::start().await;
    let site = &place.site;
    site.fill(&stored()).await;
    site.upstream.add(new());
    let early = place.root.join(format!(".dipylon/early/{MODULE}/@/v1.1.0"));
    fs::create_dir_all(&early).unwrap();
    let pipe = early.join("info");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    let other_end = File::options().read(true).write(true).open(&pipe).unwrap();

    let held = async { site.file(&new(), "info").await };
    let others = async {
        let began = Instant::now();
        for _ in 0..3 {
            site.files(&stored(), &["hit_storage"]).await;
        }
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert_eq!(site.get("/readyz").await.status, 200);
    };
    let (outcome, ()) = tokio::join!(held, others);
    assert_eq!(outcome, "miss_degraded");
    let metrics = site.gateway.metrics().await;
    let hung = metrics
        .metric("dipylon_storage_operations_total")
        .label("operation", "read_extra")
        .label("outcome", "storage_unavailable");
    assert!(hung.sum() >= 1.0, "{:?}", hung.samples());

    // Whoever hangs reads to an end, and the next find no file.
    fs::remove_file(&pipe).unwrap();
    drop(other_end);
    site.until_ready().await;
    site.until_stored(&new()).await;
}

/// Makes a file system of 600 KiB where the store lies, for this process alone, and becomes the program.
const WRAPPER: &str = "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c \
                       'mount -t tmpfs -o size=600k tmpfs \"$ATHENS_DISK_STORAGE_ROOT\" && \
                       exec \"$PROGRAM\" \"$@\"' sh \"$@\"\n";
/// Versions of which some fit.
const MANY: usize = 8;

/// A disk that is full costs what has no room, says so, and tears nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs small file systems: run by cargo xtask test"]
async fn a_full_disk_costs_saves_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (wrapper, root) = (folder.path().join("gateway"), folder.path().join("store"));
    fs::create_dir(&root).unwrap();
    fs::write(&wrapper, WRAPPER).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let mut settings = settings(&folder, &root);
    settings.push(("PROGRAM", env!("CARGO_BIN_EXE_dipylon").to_owned()));
    let site = Site::start_by(wrapper.to_str().unwrap(), "disk", settings).await;
    let module = |number| FakeModule::new(MODULE, &format!("v1.{number}.0")).filler(150_000);
    (0..MANY).for_each(|number| site.upstream.add(module(number)));
    let mut hits = 0;
    for _ in 0..3 {
        hits = 0;
        for number in 0..MANY {
            if site.file(&module(number), "zip").await == "hit_storage" {
                hits += 1;
            }
        }
    }
    assert!((1..MANY).contains(&hits), "{hits} of {MANY} have room");
    let log = site.log();
    assert!(log.contains("disk storage cannot ") && log.contains("; make room"), "{log}");
    // What the store has is whole, and listed; what it has not is not.
    let catalog = site.get("/catalog").await;
    assert_eq!(catalog.text().matches("\"version\"").count(), hits, "{}", catalog.text());
    for number in 0..MANY {
        for suffix in ["info", "mod", "zip"] {
            let (path, want) =
                (path_of(&module(number), suffix), bytes_of(&module(number), suffix));
            let answer = site.get(&path).await;
            assert!(answer.status == 200 && answer.body == want, "{path}: {}", site.log());
        }
    }
}
