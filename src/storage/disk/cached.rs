//! A read that never waits for a disk: of a version that is remembered as whole, whose names and bytes the kernel has
//! in memory. It is made where it is asked for, without a thread in between, which costs more than the read itself.
//! Whatever is not so is nothing here, and is read on a blocking thread.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::body::read_cached;
use dipylon_middleware::hot_cache::FILE_BYTES_MAX;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};

use super::Store;
use super::layout::{file_name, version_directory};
use super::whole::{Stamp, Stamps};

impl Store {
    /// One file of a version that is as it was when it was found whole.
    pub(super) fn read_cached(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Option<Blob> {
        let stamps = self.remembered.known(module, version)?;
        let directory = version_directory(&self.root, module, version).ok()?;
        let directory = open(CWD, &directory, OFlags::PATH | OFlags::DIRECTORY)?;
        // All three are looked at: a version of which one has gone is whole no more.
        let mut asked = None;
        for each in FileKind::ALL {
            let flags = if each == kind { OFlags::RDONLY } else { OFlags::PATH };
            let file = open(&directory, Path::new(&file_name(version, each)), flags)?;
            if stamp(&file)? != stamps.of_file(each) {
                return None;
            }
            if each == kind {
                asked = Some(file);
            }
        }
        blob(asked?, kind, stamps)
    }
}

fn blob(file: File, kind: FileKind, stamps: Stamps) -> Option<Blob> {
    let stamp = stamps.of_file(kind);
    if kind == FileKind::Zip && stamp.bytes() > FILE_BYTES_MAX as u64 {
        return Some(Blob::from_file(file, stamp.bytes()).since(stamp.modified()));
    }
    let mut bytes = vec![0; usize::try_from(stamp.bytes()).ok()?];
    let read = read_cached(&file, &mut bytes, 0)?;
    let is_whole = read == bytes.len();
    is_whole.then(|| Blob::from_bytes(Bytes::from(bytes)).since(stamp.modified()))
}

/// The state of a file as the kernel has it: no server is asked whether it is still so.
fn stamp(file: &File) -> Option<Stamp> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let said = statx(file, "", flags, StatxFlags::BASIC_STATS).ok()?;
    Some(Stamp::new(said.stx_ino, said.stx_size, (said.stx_mtime.tv_sec, said.stx_mtime.tv_nsec)))
}

/// Opens what needs no disk to be found. Where the kernel cannot tell, it says so with an error.
fn open(directory: impl AsFd, name: &Path, flags: OFlags) -> Option<File> {
    let flags = flags | OFlags::CLOEXEC;
    openat2(directory, name, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}
