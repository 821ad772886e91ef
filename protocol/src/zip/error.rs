//! Why a module zip is refused.

use crate::shown::{MAX_SHOWN_BYTES, shown};

/// A module zip that must not be served; prints as one line without control characters.
///
/// Names of entries come from the zip, so messages quote them, escaped and cut to 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ZipError {
    /// The first bytes are not those of a zip: a login page, or bytes before the first entry.
    #[error(
        "not a zip: it does not begin with the header of an entry; ask the upstream what it serves"
    )]
    NotAZip,
    /// The bytes ended inside a record.
    #[error("zip ends after {at} bytes inside a record; fetch it again")]
    Truncated {
        /// How many bytes there were.
        at: u64,
    },
    /// Between two entries is something that is no record of a zip.
    #[error("zip has bytes at offset {at} that belong to no entry")]
    UnknownRecord {
        /// Offset from the start of the zip in bytes.
        at: u64,
    },
    /// Bytes follow the end record.
    #[error("zip has bytes after its end at offset {at}")]
    TrailingBytes {
        /// Offset of the first one.
        at: u64,
    },
    /// A record that contradicts itself or uses what a module zip has no use for.
    #[error("zip has a malformed record at offset {at}: {what}")]
    BadRecord {
        /// Offset of the record from the start of the zip in bytes.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The local header, the content and the central directory do not say the same of an entry.
    #[error("zip entry {name}: its header, content and directory record disagree on {what}")]
    EntryMismatch {
        /// Name of the entry, escaped.
        name: String,
        /// What they disagree on.
        what: &'static str,
    },
    /// An entry's name does not begin with `<module path>@<version>/`.
    #[error("zip entry {name}: name does not begin with {prefix}")]
    ForeignPrefix {
        /// Name of the entry, escaped.
        name: String,
        /// What every name must begin with.
        prefix: String,
    },
    /// A name that the go command accepts on no system.
    #[error("zip entry {name}: bad file name: {why}")]
    BadName {
        /// Name of the entry, escaped.
        name: String,
        /// Which rule it breaks.
        why: String,
    },
    /// Two names that differ in case only.
    #[error("zip entry {name}: differs only in case from {other}")]
    CaseClash {
        /// Name of the later entry, escaped.
        name: String,
        /// Name of the earlier one, escaped.
        other: String,
    },
    /// One name is both a file and a directory.
    #[error("zip entry {name}: is both a file and a directory")]
    FileAndDirectory {
        /// The name, escaped.
        name: String,
    },
    /// Two files of one name.
    #[error("zip entry {name}: there are two files of this name")]
    Duplicate {
        /// The name, escaped.
        name: String,
    },
    /// A `go.mod` below the root: the file would be of another module.
    #[error("zip entry {name}: go.mod is allowed in the root of the module only")]
    NestedGoMod {
        /// Name of the entry, escaped.
        name: String,
    },
    /// `go.mod` in the root with capitals.
    #[error("zip entry {name}: go.mod must be in lower case")]
    GoModCase {
        /// Name of the entry, escaped.
        name: String,
    },
    /// An entry that is a symbolic link.
    #[error("zip entry {name}: is a symbolic link")]
    Symlink {
        /// Name of the entry, escaped.
        name: String,
    },
    /// An entry that is neither a file nor a directory, or whose mode and name disagree on which.
    #[error("zip entry {name}: is not a regular file")]
    Irregular {
        /// Name of the entry, escaped.
        name: String,
    },
    /// The zip, or its content, is larger than the go command takes.
    #[error("zip too large: {what} over {limit} bytes")]
    TooLarge {
        /// "the zip" or "its content".
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// `go.mod` is larger than the go command takes.
    #[error("go.mod in the zip is over {limit} bytes")]
    GoModTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// `LICENSE` is larger than the go command takes.
    #[error("LICENSE in the zip is over {limit} bytes")]
    LicenseTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// More entries, or more names and directories, than this check holds.
    #[error("zip has over {limit} {what}")]
    TooManyEntries {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// An entry's content is longer or shorter than declared.
    #[error("zip entry {name}: content is not of the declared size")]
    SizeMismatch {
        /// Name of the entry, escaped.
        name: String,
    },
    /// An entry's content has another CRC-32 than declared.
    #[error("zip entry {name}: content has another CRC-32 than declared; fetch it again")]
    CrcMismatch {
        /// Name of the entry, escaped.
        name: String,
    },
    /// An entry's compressed bytes are no deflate stream.
    #[error("zip entry {name}: cannot be inflated")]
    BadDeflate {
        /// Name of the entry, escaped.
        name: String,
    },
    /// A compression method other than stored and deflate.
    #[error("zip entry {name}: compression method {method} is not one the go command reads")]
    UnsupportedMethod {
        /// Name of the entry, escaped.
        name: String,
        /// Number of the method.
        method: u16,
    },
    /// An encrypted entry.
    #[error("zip entry {name}: is encrypted")]
    Encrypted {
        /// Name of the entry, escaped.
        name: String,
    },
}

impl ZipError {
    /// A label for metrics: one of a closed set, never text from the zip.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAZip => "not_a_zip",
            Self::Truncated { .. } => "truncated",
            Self::UnknownRecord { .. } => "unknown_record",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::BadRecord { .. } => "bad_record",
            Self::EntryMismatch { .. } => "entry_mismatch",
            Self::ForeignPrefix { .. } => "foreign_prefix",
            Self::BadName { .. } => "bad_name",
            Self::CaseClash { .. } => "case_clash",
            Self::FileAndDirectory { .. } => "file_and_directory",
            Self::Duplicate { .. } => "duplicate",
            Self::NestedGoMod { .. } => "nested_go_mod",
            Self::GoModCase { .. } => "go_mod_case",
            Self::Symlink { .. } => "symlink",
            Self::Irregular { .. } => "irregular_file",
            Self::TooLarge { .. } => "too_large",
            Self::GoModTooLarge { .. } => "go_mod_too_large",
            Self::LicenseTooLarge { .. } => "license_too_large",
            Self::TooManyEntries { .. } => "too_many_entries",
            Self::SizeMismatch { .. } => "size_mismatch",
            Self::CrcMismatch { .. } => "crc_mismatch",
            Self::BadDeflate { .. } => "bad_deflate",
            Self::UnsupportedMethod { .. } => "unsupported_method",
            Self::Encrypted { .. } => "encrypted",
        }
    }
}

/// A name from a zip, quoted, escaped and cut, so that it can stand in an error.
pub(super) fn quoted(name: &[u8]) -> String {
    // Cut before it is read as text: a name may have 65535 bytes.
    let start = name.get(..MAX_SHOWN_BYTES).unwrap_or(name);
    shown(&String::from_utf8_lossy(start))
}
