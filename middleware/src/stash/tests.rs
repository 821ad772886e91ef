mod body;
mod checksum;
mod small;
mod zip;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::{Stash, StashPorts};
use crate::error::Error;
use crate::ports::{Expected, Fetched, Index, Verifier};
use crate::request::{FetchRequest, StashKey, StashRequest, Want};
use crate::response::Stashed;
use crate::spool::Spools;
use crate::stack::Border;
use crate::telemetry::{Saved, Telemetry, Verification};
use crate::testing::release::Release;
use crate::testing::storage::MemoryStorage;
use crate::testing::upstream::ScriptedUpstream;
use crate::testing::verifier::{MemoryIndex, ScriptedVerifier};
use crate::testing::{SECOND, bytes_of, call, context_for, module, query, telemetry};

/// Bytes of a zip that are held back.
const HOLD_BACK: usize = 1000;

/// A stash with everything around it in memory.
struct Bench {
    stash: Stash,
    ports: StashPorts,
    storage: Arc<MemoryStorage>,
    upstream: Arc<ScriptedUpstream>,
    verifier: Arc<ScriptedVerifier>,
    index: Arc<MemoryIndex>,
    telemetry: Telemetry,
    patience: Duration,
    directory: TempDir,
}

/// The release most tests are about: its zip is longer than what is held back.
fn release() -> Release {
    Release::with_filler("example.com/m", "v1.0.0", 20_000)
}

fn bench(upstream: Arc<ScriptedUpstream>, answer: Result<Expected, Error>) -> Bench {
    bench_with(upstream, ScriptedVerifier::new(answer))
}

fn bench_with(upstream: Arc<ScriptedUpstream>, verifier: Arc<ScriptedVerifier>) -> Bench {
    let (telemetry, storage, index) = (telemetry(), MemoryStorage::new(), MemoryIndex::new());
    let directory = tempfile::tempdir().expect("a directory");
    let ports = StashPorts {
        upstream: upstream.border(&telemetry),
        verifier: Arc::<ScriptedVerifier>::clone(&verifier) as Arc<dyn Verifier>,
        storage: storage.handle(&telemetry),
        index: Arc::<MemoryIndex>::clone(&index) as Arc<dyn Index>,
        spools: Spools::new(directory.path(), 1 << 20, &telemetry),
        hold_back_bytes: HOLD_BACK as u64,
        tasks: TaskTracker::new(),
        telemetry: telemetry.clone(),
    };
    let (stash, patience) = (Stash::new(ports.clone()), 60 * SECOND);
    Bench { stash, ports, storage, upstream, verifier, index, telemetry, patience, directory }
}

/// An upstream with the release, and a checksum database that knows it.
fn good() -> (Release, Bench) {
    let release = release();
    let bench = bench(ScriptedUpstream::serving(&release), Ok(release.expected()));
    (release, bench)
}

impl Bench {
    /// The same stash over another upstream.
    fn over(&self, upstream: Border<FetchRequest, Fetched>) -> Stash {
        Stash::new(StashPorts { upstream, ..self.ports.clone() })
    }

    fn request(&self, asked: VersionQuery, want: Want) -> StashRequest {
        let key = StashKey { module: module("example.com/m"), version: asked, want };
        StashRequest { context: context_for(self.patience), key }
    }

    async fn ask(&self, asked: VersionQuery, want: Want) -> Result<Stashed, Error> {
        call(&self.stash, self.request(asked, want)).await
    }

    async fn file(&self, asked: &str, kind: FileKind) -> Result<Stashed, Error> {
        self.ask(query(asked), Want::File(kind)).await
    }

    /// A zip as a client gets it, when all work for it has ended.
    async fn zip(&self) -> Result<Bytes, Error> {
        let stashed = self.file("v1.0.0", FileKind::Zip).await?;
        let read = read(&stashed, FileKind::Zip).await;
        stashed.finished.wait().await;
        read
    }

    fn saves(&self, saved: Saved) -> u64 {
        self.telemetry.metrics.saves.get((saved,)).get()
    }

    fn verifications(&self, result: Verification) -> u64 {
        self.telemetry.metrics.verifications.get((result,)).get()
    }

    fn stored(&self) -> Option<Release> {
        let release = release();
        self.storage.release(&release.module, &release.version)
    }

    /// Tasks that run, and spools on disk.
    fn left(&self) -> (usize, usize) {
        let spools = std::fs::read_dir(self.directory.path()).expect("a directory");
        (self.ports.tasks.len(), spools.count())
    }

    /// Whether a file is kept before its zip.
    fn is_early(&self, kind: FileKind) -> bool {
        self.storage.extra(&format!("early/example.com/m/@/v1.0.0/{kind}")).is_some()
    }

    /// Whether the version is in quarantine.
    fn quarantined(&self) -> bool {
        self.storage.extra(QUARANTINE).is_some()
    }
}

const QUARANTINE: &str = "quarantine/example.com/m/@/v1.0.0.json";

/// The bytes of a file of a stash.
async fn read(stashed: &Stashed, kind: FileKind) -> Result<Bytes, Error> {
    bytes_of(&stashed.files.get(kind).expect("the wanted file")).await
}
