//! The content of one entry while it streams: inflated, counted, hashed and kept within its limits.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use sha2::{Digest as _, Sha256};

use super::descriptor::{DESCRIPTOR_WINDOW_BYTES, MAX_DESCRIPTOR_BYTES, descriptor, headers};
use super::error::{ZipError, quoted};
use super::fields::SIGNATURE_BYTES;
use super::names::{Name, Role};
use super::record::{Local, Method};
use super::{MAX_CONTENT_BYTES, MAX_GO_MOD_BYTES, MAX_LICENSE_BYTES};

/// Bytes inflated at a time.
const INFLATE_BUFFER_BYTES: usize = 64 << 10;

/// How many of the bytes at hand are content, and whether it ends there.
pub(super) struct Progress {
    pub(super) used: usize,
    pub(super) ended: bool,
}

/// One inflater for all entries of a zip: its window is the largest piece of memory here.
pub(super) struct Inflater {
    raw: Decompress,
    buffer: Box<[u8]>,
}

impl Inflater {
    pub(super) fn new() -> Self {
        let buffer = vec![0; INFLATE_BUFFER_BYTES].into_boxed_slice();
        Self { raw: Decompress::new(false), buffer }
    }

    pub(super) fn restart(&mut self) {
        self.raw.reset(false);
    }
}

/// An entry whose content is being read.
pub(super) struct Body {
    pub(super) offset: u64,
    pub(super) name: Name,
    pub(super) local: Local,
    /// Bytes of content before this entry, counted against the limit for all.
    before: u64,
    compressed: u64,
    uncompressed: u64,
    sha256: Sha256,
    crc: Crc,
    kept: Option<Vec<u8>>,
}

/// An entry whose content has been read.
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) rest: Box<str>,
    pub(super) is_dir: bool,
    pub(super) method: Method,
    pub(super) has_descriptor: bool,
    pub(super) sha256: [u8; 32],
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) uncompressed: u64,
    /// Whether the central directory has named it.
    pub(super) listed: bool,
}

impl Body {
    /// Begins an entry at `offset`; `before` is the content of all earlier entries in bytes.
    ///
    /// Declared sizes over a limit are refused here, before any content is read.
    pub(super) fn new(
        offset: u64,
        name: Name,
        local: Local,
        before: u64,
    ) -> Result<Self, ZipError> {
        let kept = (name.role == Role::GoMod).then(Vec::new);
        let (sha256, crc) = (Sha256::new(), Crc::new());
        let body =
            Self { offset, name, local, before, compressed: 0, uncompressed: 0, sha256, crc, kept };
        body.check_limits(body.local.uncompressed)?;
        // A stored entry is as long as it says twice; a directory has no content.
        let stored = body.local.method == Method::Stored;
        let is_dir = body.name.role == Role::Directory;
        if stored && body.local.compressed != body.local.uncompressed
            || is_dir && body.local.uncompressed > 0
        {
            return Err(body.size_mismatch());
        }
        Ok(body)
    }

    fn shown(&self) -> String {
        quoted(self.name.rest.as_bytes())
    }

    fn size_mismatch(&self) -> ZipError {
        ZipError::SizeMismatch { name: self.shown() }
    }

    /// Whether an entry of this size is within the limits of the go command.
    fn check_limits(&self, uncompressed: u64) -> Result<(), ZipError> {
        match self.name.role {
            Role::GoMod if uncompressed > MAX_GO_MOD_BYTES => {
                Err(ZipError::GoModTooLarge { limit: MAX_GO_MOD_BYTES })
            }
            Role::License if uncompressed > MAX_LICENSE_BYTES => {
                Err(ZipError::LicenseTooLarge { limit: MAX_LICENSE_BYTES })
            }
            _ if self.before.saturating_add(uncompressed) > MAX_CONTENT_BYTES => {
                Err(ZipError::TooLarge { what: "its content", limit: MAX_CONTENT_BYTES })
            }
            _ => Ok(()),
        }
    }

    /// Whether the sizes are known only from the descriptor after the content.
    fn is_open_ended(&self) -> bool {
        self.local.has_descriptor && self.local.compressed == 0 && self.local.uncompressed == 0
    }

    /// Reads content from the bytes at hand.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        inflater: &mut Inflater,
    ) -> Result<Progress, ZipError> {
        match (self.local.method, self.is_open_ended()) {
            (Method::Deflate, _) => self.inflate(input, inflater),
            (Method::Stored, false) => self.copy(input),
            (Method::Stored, true) => self.search_end(input),
        }
    }

    /// Content bytes in the input when the header declares their number.
    fn declared_part<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let left = self.local.compressed.saturating_sub(self.compressed);
        let len = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        input.get(..len).unwrap_or(input)
    }

    /// Stored content of declared length.
    fn copy(&mut self, input: &[u8]) -> Result<Progress, ZipError> {
        let content = self.declared_part(input);
        self.compressed += content.len() as u64;
        self.absorb(content)?;
        Ok(Progress { used: content.len(), ended: self.compressed == self.local.compressed })
    }

    /// Stored content of unknown length: it ends where a descriptor describes exactly what came
    /// before it.
    fn search_end(&mut self, input: &[u8]) -> Result<Progress, ZipError> {
        let mut used = 0;
        for header in headers(input) {
            // Whatever ends before this header is a descriptor, so all before the longest one is
            // content.
            used = self.take(input, used, header.saturating_sub(MAX_DESCRIPTOR_BYTES))?;
            let window = input.get(used..header + SIGNATURE_BYTES).unwrap_or_default();
            if let Some(end) = self.end_before(window) {
                used = self.take(input, used, used + end)?;
                return Ok(Progress { used, ended: true });
            }
        }
        // The rest may be a descriptor whose header has not arrived.
        used = self.take(input, used, (input.len() + 1).saturating_sub(DESCRIPTOR_WINDOW_BYTES))?;
        Ok(Progress { used, ended: false })
    }

    /// Reads the stored content from `used` up to `end`, if that is further; returns how far it has
    /// come.
    fn take(&mut self, input: &[u8], used: usize, end: usize) -> Result<usize, ZipError> {
        let content = input.get(used..end).unwrap_or_default();
        self.compressed += content.len() as u64;
        self.absorb(content)?;
        Ok(used + content.len())
    }

    /// How many bytes of the window are content, if the rest is their descriptor and the signature
    /// of a header.
    fn end_before(&self, window: &[u8]) -> Option<usize> {
        (0..window.len()).find(|&content| {
            let (content, rest) = window.split_at(content);
            let size = self.uncompressed + content.len() as u64;
            let crc = || {
                let (mut all, mut last) = (Crc::new(), Crc::new());
                last.update(content);
                all.combine(&self.crc);
                all.combine(&last);
                all.sum()
            };
            descriptor(rest, crc, size, size).is_some_and(|len| len + SIGNATURE_BYTES == rest.len())
        })
    }

    /// Deflated content; without declared sizes it ends where the deflate stream does.
    fn inflate(&mut self, input: &[u8], inflater: &mut Inflater) -> Result<Progress, ZipError> {
        let declared = !self.is_open_ended();
        let input = if declared { self.declared_part(input) } else { input };
        let mut used = 0;
        loop {
            let (in_before, out_before) = (inflater.raw.total_in(), inflater.raw.total_out());
            let rest = input.get(used..).unwrap_or_default();
            let status = inflater.raw.decompress(rest, &mut inflater.buffer, FlushDecompress::None);
            let taken = inflater.raw.total_in() - in_before;
            let made = inflater.raw.total_out() - out_before;
            used += usize::try_from(taken).unwrap_or(usize::MAX);
            self.compressed += taken;
            let made_len = usize::try_from(made).unwrap_or(usize::MAX);
            self.absorb(inflater.buffer.get(..made_len).unwrap_or_default())?;
            // After what came before it, so that the reason is the same however the zip is cut.
            let status = status.map_err(|_| ZipError::BadDeflate { name: self.shown() })?;
            let is_whole = declared && self.compressed == self.local.compressed;
            match status {
                Status::StreamEnd if declared && !is_whole => return Err(self.size_mismatch()),
                Status::StreamEnd => return Ok(Progress { used, ended: true }),
                _ if taken > 0 || made > 0 => {}
                _ if is_whole => return Err(ZipError::BadDeflate { name: self.shown() }),
                _ => return Ok(Progress { used, ended: false }),
            }
        }
    }

    /// Counts and hashes content. Stops as soon as it is over what is declared or over a limit.
    fn absorb(&mut self, content: &[u8]) -> Result<(), ZipError> {
        self.uncompressed += content.len() as u64;
        self.check_limits(self.uncompressed)?;
        let declared = (self.local.uncompressed > 0 || !self.local.has_descriptor)
            .then_some(self.local.uncompressed);
        let is_dir = self.name.role == Role::Directory;
        if declared.is_some_and(|size| self.uncompressed > size) || is_dir && self.uncompressed > 0
        {
            return Err(self.size_mismatch());
        }
        self.sha256.update(content);
        self.crc.update(content);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(content);
        }
        Ok(())
    }

    /// Length of the descriptor at the start of the window, `None` if there is none that fits the
    /// content.
    pub(super) fn descriptor(&self, window: &[u8]) -> Option<usize> {
        descriptor(window, || self.crc.sum(), self.compressed, self.uncompressed)
    }

    /// Ends the entry: what the local header declared must be what was read. Returns a kept
    /// `go.mod` too.
    ///
    /// With a descriptor, a value of 0 in the header declares nothing: the descriptor did.
    pub(super) fn finish(self) -> Result<(Entry, Option<Vec<u8>>), ZipError> {
        let crc = self.crc.sum();
        let is_undeclared = |value: u64| self.local.has_descriptor && value == 0;
        let size_differs = |declared: u64, real: u64| declared != real && !is_undeclared(declared);
        if size_differs(self.local.uncompressed, self.uncompressed)
            || size_differs(self.local.compressed, self.compressed)
        {
            return Err(self.size_mismatch());
        }
        if self.local.crc != crc && !is_undeclared(u64::from(self.local.crc)) {
            return Err(ZipError::CrcMismatch { name: self.shown() });
        }
        let entry = Entry {
            offset: self.offset,
            is_dir: self.name.role == Role::Directory,
            rest: self.name.rest,
            method: self.local.method,
            has_descriptor: self.local.has_descriptor,
            sha256: self.sha256.finalize().into(),
            crc,
            compressed: self.compressed,
            uncompressed: self.uncompressed,
            listed: false,
        };
        Ok((entry, self.kept))
    }
}
