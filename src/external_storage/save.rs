//! Taking a version in: the form, what is looked at of it, and the store.
//!
//! A form takes a place when its zip begins, not before: a client that dawdles over the rest is in nobody's
//! way. One that is refused is read to its end all the same, within its limits: a client that is still
//! sending would not see the answer.

use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{NewVersion, SaveResult};
use dipylon_middleware::spool::{Spool, SpoolWriter, Spools};
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;
use dipylon_protocol::info::{Info, MAX_INFO_BYTES};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::MAX_ZIP_BYTES;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::budget::{Budget, Gathering};
use super::form::{Form, boundary_of};
use super::pace::Paced;
use super::route::bad;
use super::turns::{Turns, WAIT_MAX};
use crate::http::Incoming;
use crate::storage::external::wire::{
    INFO_PART, MOD_PART, SAVED_CREATED, SAVED_DIFFERENT, SAVED_SAME, SAVED_TAKEN, ZIP_PART,
};
use crate::storage::whole::go_mod_is_whole;
use crate::storage::zip_end::ends_as_a_zip;

/// Zips that are taken in at once.
pub const MAX_SAVES: usize = 16;
/// A save beyond that waits this long for a place, and is refused then: longer than a client may have one
/// and send next to nothing.
pub const SAVE_WAIT_MAX: Duration = Duration::from_secs(90);
/// Extras that are written at once. They wait for no zip: a client of ours does not wait long for them.
pub const MAX_EXTRA_WRITES: usize = 16;
/// Chunks between the network and the thread that writes.
const MAX_CHUNKS_WAITING: usize = 4;
/// Largest form in bytes: the three files, and room for heads and other parts.
pub const MAX_FORM_BYTES: u64 =
    MAX_ZIP_BYTES + MAX_GO_MOD_BYTES as u64 + MAX_INFO_BYTES as u64 + (1 << 20);

/// What the saves share.
#[derive(Clone)]
pub(super) struct Intake {
    spools: Spools,
    /// Of zips, until they are saved.
    saves: Turns,
    /// Of writes of extras.
    pub(super) extras: Turns,
    memory: Budget,
}

impl Intake {
    pub(super) fn new(spools: Spools, memory: Budget) -> Self {
        let saves = Turns::new("saves", MAX_SAVES, SAVE_WAIT_MAX);
        let extras = Turns::new("writes of extras", MAX_EXTRA_WRITES, WAIT_MAX);
        Self { spools, saves, extras, memory }
    }

    /// A body of at most `bytes_max` bytes, whole.
    ///
    /// # Errors
    /// `BadRequest` where it is larger, cut or too slow; `Overloaded` where there is no memory for it.
    pub(super) async fn whole(&self, body: Incoming, bytes_max: usize) -> Result<Bytes, Error> {
        let mut body = Paced::new(body, bytes_max as u64)?;
        let mut gathering = Gathering::new("the body", bytes_max, &self.memory);
        while let Some(chunk) = body.next().await? {
            gathering.add(&chunk).await?;
        }
        Ok(gathering.finish())
    }
}

/// A version that came in, and the place that it has until it is saved.
pub(super) struct Received {
    pub(super) new: NewVersion,
    pub(super) place: OwnedSemaphorePermit,
}

/// Reads the version that a form holds.
///
/// # Errors
/// `BadRequest` for a form that is malformed, cut, too large, too slow or incomplete, and for files that
/// cannot be the version's; `Overloaded` where there is no place or no memory for it; those of the spools.
pub(super) async fn receive(
    body: Incoming,
    content_type: &str,
    intake: &Intake,
    module: ModulePath,
    version: Version,
) -> Result<Received, Error> {
    let boundary = boundary_of(content_type)?;
    let mut form = Form::new(Paced::new(body, MAX_FORM_BYTES)?, &boundary);
    let read = read_parts(&mut form, intake).await;
    let files = match read {
        Ok(files) => files,
        Err(error) => {
            pass_over(&mut form).await;
            return Err(error);
        }
    };
    form.finish().await?;
    let Files { info, go_mod, zip } = files;
    let missing = |name: &str| bad(&format!("the form has no part {name}"));
    let info = info.ok_or_else(|| missing(INFO_PART))?;
    let go_mod = go_mod.ok_or_else(|| missing(MOD_PART))?;
    let (zip, place) = zip.ok_or_else(|| missing(ZIP_PART))?;
    check_texts(&info, &go_mod, &version)?;
    Ok(Received { new: NewVersion { module, version, info, go_mod, zip }, place })
}

/// What a save came to, in the words of the answer's header.
pub(super) fn word(saved: SaveResult) -> &'static str {
    match saved {
        SaveResult::Created => SAVED_CREATED,
        SaveResult::Existed { same: true } => SAVED_SAME,
        SaveResult::Existed { same: false } => SAVED_DIFFERENT,
        SaveResult::Taken => SAVED_TAKEN,
    }
}

#[derive(Default)]
struct Files {
    info: Option<Bytes>,
    go_mod: Option<Bytes>,
    zip: Option<(Spool, OwnedSemaphorePermit)>,
}

async fn read_parts(form: &mut Form, intake: &Intake) -> Result<Files, Error> {
    let mut files = Files::default();
    let memory = &intake.memory;
    while let Some(name) = form.next_part().await? {
        let is_second = match name.as_str() {
            INFO_PART => files.info.is_some(),
            MOD_PART => files.go_mod.is_some(),
            ZIP_PART => files.zip.is_some(),
            _ => false,
        };
        if is_second {
            return Err(bad(&format!("the form has two parts {name}")));
        }
        match name.as_str() {
            INFO_PART => files.info = Some(small(form, &name, MAX_INFO_BYTES, memory).await?),
            MOD_PART => files.go_mod = Some(small(form, &name, MAX_GO_MOD_BYTES, memory).await?),
            ZIP_PART => {
                let place = intake.saves.take().await?;
                files.zip = Some((spool(form, &intake.spools).await?, place));
            }
            // Others are nothing to us, nor to Athens.
            _ => {}
        }
    }
    Ok(files)
}

async fn small(
    form: &mut Form,
    name: &str,
    bytes_max: usize,
    memory: &Budget,
) -> Result<Bytes, Error> {
    let what = format!("the part {name}");
    let mut gathering = Gathering::new(&what, bytes_max, memory);
    while let Some(chunk) = form.chunk().await? {
        gathering.add(&chunk).await?;
    }
    Ok(gathering.finish())
}

/// Writes the zip to a spool, on a thread that may block.
async fn spool(form: &mut Form, spools: &Spools) -> Result<Spool, Error> {
    let (writer, spool) = spools.create(None, 0)?;
    let (sender, receiver) = mpsc::channel(MAX_CHUNKS_WAITING);
    let writing = tokio::task::spawn_blocking(move || write(writer, receiver));
    let received = send_chunks(form, &sender).await;
    drop(sender);
    let written = writing.await.unwrap_or_else(|error| {
        let text = format!("the writing of a spool was cut off: {error}");
        Err(Error::new(ErrorKind::Internal, text))
    });
    // A writer that is dropped fails its spool.
    let writer = received.and(written)?;
    let checked = spool.clone();
    let check =
        tokio::task::spawn_blocking(move || ends_as_a_zip(checked.file(), checked.written()));
    match check.await {
        Ok(Ok(true)) => {
            writer.finish();
            Ok(spool)
        }
        Ok(Ok(false)) => Err(bad("the zip has no end: it was cut, or is no zip")),
        Ok(Err(error)) => Err(Error::new(ErrorKind::Storage, format!("a spool: {error}"))),
        Err(error) => Err(Error::new(ErrorKind::Internal, format!("a spool: {error}"))),
    }
}

async fn send_chunks(form: &mut Form, sender: &mpsc::Sender<Bytes>) -> Result<(), Error> {
    let mut bytes = 0;
    while let Some(chunk) = form.chunk().await? {
        bytes += chunk.len() as u64;
        if bytes > MAX_ZIP_BYTES {
            return Err(bad(&format!("the zip is larger than {MAX_ZIP_BYTES} bytes")));
        }
        if sender.send(chunk).await.is_err() {
            // The writer has failed, and says why.
            return Ok(());
        }
    }
    Ok(())
}

fn write(
    mut writer: SpoolWriter,
    mut receiver: mpsc::Receiver<Bytes>,
) -> Result<SpoolWriter, Error> {
    while let Some(chunk) = receiver.blocking_recv() {
        writer.write(&chunk)?;
    }
    Ok(writer)
}

fn check_texts(info: &[u8], go_mod: &[u8], version: &Version) -> Result<(), Error> {
    match Info::parse(info) {
        Ok(named) if named.version.as_str() == version.as_str() => {}
        Ok(named) => {
            return Err(bad(&format!("{INFO_PART} names {}, the path {version}", named.version)));
        }
        Err(error) => return Err(bad(&format!("{INFO_PART}: {error}"))),
    }
    if !go_mod_is_whole(go_mod) {
        return Err(bad(&format!("{MOD_PART} has no text")));
    }
    Ok(())
}

/// Reads on to the end of a form that is refused, as far as a form may go. What goes wrong now changes
/// nothing.
async fn pass_over(form: &mut Form) {
    while let Ok(Some(_)) = form.next_part().await {}
}
