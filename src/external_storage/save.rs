//! Taking a version in: the form, what is looked at of it, and the store.
//!
//! A form that is refused is read to its end all the same, within its limits: a client that is still
//! sending would not see the answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{NewVersion, SaveResult};
use dipylon_middleware::spool::{Spool, SpoolWriter, Spools};
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;
use dipylon_protocol::info::{Info, MAX_INFO_BYTES};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::MAX_ZIP_BYTES;
use tokio::sync::mpsc;

use super::form::{Form, boundary_of, next_data};
use super::route::bad;
use crate::http::Incoming;
use crate::storage::external::wire::{
    INFO_PART, MOD_PART, SAVED_CREATED, SAVED_DIFFERENT, SAVED_SAME, ZIP_PART,
};
use crate::storage::whole::go_mod_is_whole;
use crate::storage::zip_end::ends_as_a_zip;

/// Saves, and writes of extras, that are taken in at once: each may hold a `.mod` of 16 MiB.
pub const MAX_SAVES: usize = 16;
/// A save beyond that waits this long for a place, and is refused then.
pub const SAVE_WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest silence within a body.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Chunks between the network and the thread that writes.
const MAX_CHUNKS_WAITING: usize = 4;
/// Bytes that are passed over of a form that is refused.
const MAX_PASSED_BYTES: u64 = MAX_ZIP_BYTES + (16 << 20);

/// Reads the version that a form holds.
///
/// # Errors
/// `BadRequest` for a form that is malformed, cut or incomplete, and for files that cannot be the
/// version's; those of the spools.
pub(super) async fn receive(
    body: Incoming,
    content_type: &str,
    spools: &Spools,
    module: ModulePath,
    version: Version,
) -> Result<NewVersion, Error> {
    let boundary = boundary_of(content_type)?;
    let mut form = Form::new(body, &boundary, BODY_IDLE_TIMEOUT);
    let read = read_parts(&mut form, spools).await;
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
    let zip = zip.ok_or_else(|| missing(ZIP_PART))?;
    check_texts(&info, &go_mod, &version)?;
    Ok(NewVersion { module, version, info, go_mod, zip })
}

/// What a save came to, in the words of the answer's header.
pub(super) fn word(saved: SaveResult) -> &'static str {
    match saved {
        SaveResult::Created => SAVED_CREATED,
        SaveResult::Existed { same: true } => SAVED_SAME,
        SaveResult::Existed { same: false } => SAVED_DIFFERENT,
    }
}

/// A body of at most `bytes_max` bytes.
///
/// # Errors
/// `BadRequest` where it is larger, cut or stalls.
pub(super) async fn whole(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = next_data(&mut body, BODY_IDLE_TIMEOUT).await? {
        if whole.len() + chunk.len() > bytes_max {
            return Err(bad(&format!("the body is larger than {bytes_max} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

#[derive(Default)]
struct Files {
    info: Option<Bytes>,
    go_mod: Option<Bytes>,
    zip: Option<Spool>,
}

async fn read_parts(form: &mut Form, spools: &Spools) -> Result<Files, Error> {
    let mut files = Files::default();
    while let Some(name) = form.next_part().await? {
        let is_new = match name.as_str() {
            INFO_PART => files.info.replace(small(form, &name, MAX_INFO_BYTES).await?).is_none(),
            MOD_PART => files.go_mod.replace(small(form, &name, MAX_GO_MOD_BYTES).await?).is_none(),
            ZIP_PART => files.zip.replace(spool(form, spools).await?).is_none(),
            // Others are nothing to us, nor to Athens.
            _ => true,
        };
        if !is_new {
            return Err(bad(&format!("the form has two parts {name}")));
        }
    }
    Ok(files)
}

async fn small(form: &mut Form, name: &str, bytes_max: usize) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = form.chunk().await? {
        if whole.len() + chunk.len() > bytes_max {
            return Err(bad(&format!("the part {name} is larger than {bytes_max} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
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

/// Reads on to the end of a form that is refused. What goes wrong now changes nothing.
async fn pass_over(form: &mut Form) {
    let mut passed = 0;
    while let Ok(Some(_)) = form.next_part().await {
        while let Ok(Some(chunk)) = form.chunk().await {
            passed += chunk.len() as u64;
            if passed > MAX_PASSED_BYTES {
                return;
            }
        }
    }
}
