//! The thread that checks a zip while it comes in.

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::{Look, ZipCheck, ZipSummary, look};
use tokio::sync::mpsc;

use super::behind::{Refusal, whole};
use crate::error::{Error, ErrorKind};
use crate::spool::{Spool, SpoolWriter};

/// What was made of a zip that came in.
pub(super) enum Taken {
    /// All of it was checked.
    Checked(ZipSummary),
    /// It says that it is a sound one, and its content is to be checked.
    Looked(Look),
}

/// What the network hands to the checking thread.
pub(super) enum Piece {
    /// The next bytes.
    Data(Bytes),
    /// The body begins again.
    Restart,
    /// The body is whole.
    End,
}

/// What the checking thread leaves behind.
pub(super) struct Checked {
    pub(super) writer: SpoolWriter,
    /// What it is, or nothing where the body broke off.
    pub(super) result: Result<Option<Taken>, Refusal>,
}

/// Hashes, inflates and writes on a blocking thread, so that the network threads never do.
pub(super) struct Checker {
    writer: SpoolWriter,
    named: (ModulePath, Version),
    /// Nothing where the zip is looked at when it is whole.
    check: Option<ZipCheck>,
    position: u64,
}

impl Checker {
    pub(super) fn new(
        writer: SpoolWriter,
        named: (ModulePath, Version),
        is_looked_at: bool,
    ) -> Self {
        let check = (!is_looked_at).then(|| ZipCheck::new(&named.0, &named.1));
        Self { writer, named, check, position: 0 }
    }

    pub(super) fn run(mut self, mut pieces: mpsc::Receiver<Piece>) -> Checked {
        while let Some(piece) = pieces.blocking_recv() {
            let taken = match piece {
                Piece::Data(bytes) => self.take(&bytes),
                Piece::Restart => {
                    self.position = 0;
                    Ok(())
                }
                Piece::End => {
                    let Self { writer, named, check, .. } = self;
                    let result = match check {
                        Some(check) => check.finish().map(Taken::Checked).map_err(Refusal::Zip),
                        None => looked_at(writer.spool(), &named),
                    };
                    return Checked { writer, result: result.map(Some) };
                }
            };
            if let Err(refusal) = taken {
                return Checked { writer: self.writer, result: Err(refusal) };
            }
        }
        Checked { writer: self.writer, result: Ok(None) }
    }

    /// Takes the next bytes of the body. After a restart they must repeat what is written, because
    /// readers may have it already.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let written = self.writer.written();
        let repeated = usize::try_from(written - self.position.min(written)).unwrap_or(usize::MAX);
        let (old, new) = bytes.split_at(repeated.min(bytes.len()));
        if !old.is_empty() {
            let before =
                self.writer.spool().read_at(self.position, old.len()).map_err(Refusal::Other)?;
            if before != old {
                let text = "a zip broke off, and asked again upstream sent other bytes";
                return Err(Refusal::Other(Error::new(ErrorKind::BadContent, text)));
            }
        }
        if !new.is_empty() {
            if let Some(check) = &mut self.check {
                check.push(new).map_err(Refusal::Zip)?;
            }
            self.writer.write(new).map_err(Refusal::Other)?;
        }
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// A look at a zip that has come whole; where that does not tell, all of it is checked.
fn looked_at(spool: &Spool, (module, version): &(ModulePath, Version)) -> Result<Taken, Refusal> {
    let read = |at, length| spool.read_at(at, length);
    match look(module, version, spool.written(), read).map_err(Refusal::Other)? {
        Some(look) => Ok(Taken::Looked(look)),
        None => whole(spool, ZipCheck::new(module, version)).map(Taken::Checked),
    }
}
