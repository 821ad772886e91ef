//! The character and element rules that module paths, file paths and queries share.
//!
//! Source followed: `golang.org/x/mod/module`, `checkPath`, `checkElem` and the `…OK` functions.

use std::ops::RangeInclusive;

use super::letters::is_letter;

/// Names Windows keeps for devices, in any case and with any extension.
const RESERVED_NAMES: [&str; 22] = [
    "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8",
    "COM9", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
];

/// What they begin with.
const RESERVED_INITIALS: [u8; 5] = *b"CPANL";

/// Bytes that they have.
const RESERVED_LENGTHS: RangeInclusive<usize> = 3..=4;

/// ASCII punctuation allowed in file names, the space included.
const FILE_PUNCTUATION: &str = "!#$%&()+,-.=@[]^_{}~ ";

/// What is wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathReason {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// More bytes than [`super::MAX_MODULE_PATH_BYTES`].
    #[error("it has {0} bytes, the limit is {limit}", limit = super::MAX_MODULE_PATH_BYTES)]
    TooLong(usize),
    /// Begins with `-`, so that a tool could read it as a flag.
    #[error("it begins with a dash")]
    LeadingDash,
    /// A leading, doubled or trailing slash.
    #[error("it has an empty element")]
    EmptyElement,
    /// An element of dots only.
    #[error("it has an element of dots only")]
    DotsOnly,
    /// An element that begins with a dot.
    #[error("it has an element with a leading dot")]
    LeadingDot,
    /// An element that ends with a dot.
    #[error("it has an element with a trailing dot")]
    TrailingDot,
    /// A character outside the allowed set.
    #[error("it has the invalid character {0:?}")]
    Character(char),
    /// A device name of Windows.
    #[error("it has an element that Windows keeps for a device")]
    ReservedName,
    /// An element like `name~1`, as Windows makes short names.
    #[error("it has an element that ends in a tilde and digits")]
    ShortName,
    /// The first element of a module path has no dot, which is kept for the standard library.
    #[error("its first element has no dot, so it is no host name")]
    NoHost,
    /// The first element of a module path has a character no host name has.
    #[error("its first element has {0:?}, which a host name in lower case cannot have")]
    HostCharacter(char),
    /// A final `/v0`, `/v1`, `/v02`, `/v1.2`, or a gopkg.in path without `.vN`.
    #[error("its major version suffix is malformed")]
    MajorSuffix,
    /// A raw capital, a `!` without a lower-case letter after it, or non-ASCII text.
    #[error("it is not escaped: a capital is written as `!` and its lower case")]
    NotEscaped,
}

/// Which rules apply to a path's elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Module,
    File,
}

/// Checks every element of a slash-separated path.
pub(super) fn check_elements(path: &str, kind: Kind) -> Result<(), PathReason> {
    if path.is_empty() {
        return Err(PathReason::Empty);
    }
    if path.starts_with('-') && kind == Kind::Module {
        return Err(PathReason::LeadingDash);
    }
    let mut begin = 0;
    for (end, byte) in path.bytes().enumerate() {
        if byte == b'/' {
            check_element(&path[begin..end], kind)?;
            begin = end + 1;
        }
    }
    check_element(&path[begin..], kind)
}

/// Checks one element: no slash, no reserved name, allowed characters only.
pub(super) fn check_element(element: &str, kind: Kind) -> Result<(), PathReason> {
    if element.is_empty() {
        return Err(PathReason::EmptyElement);
    }
    let bytes = element.as_bytes();
    if bytes.iter().all(|byte| *byte == b'.') {
        return Err(PathReason::DotsOnly);
    }
    if bytes.starts_with(b".") && kind == Kind::Module {
        return Err(PathReason::LeadingDot);
    }
    if bytes.ends_with(b".") {
        return Err(PathReason::TrailingDot);
    }
    // Nearly every path has nothing else, and this is looked at in each request.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !bytes.iter().all(is_plain)
        && let Some(character) = element.chars().find(|&character| !is_allowed(character, kind))
    {
        return Err(PathReason::Character(character));
    }
    let end = bytes.iter().position(|byte| *byte == b'.').unwrap_or(bytes.len());
    let stem = &element[..end];
    let is_reserved = |stem| RESERVED_NAMES.iter().any(|name| name.eq_ignore_ascii_case(stem));
    let may_be = RESERVED_LENGTHS.contains(&stem.len())
        && RESERVED_INITIALS.contains(&stem.as_bytes()[0].to_ascii_uppercase());
    if may_be && is_reserved(stem) {
        return Err(PathReason::ReservedName);
    }
    if kind == Kind::Module && is_short_name(stem) {
        return Err(PathReason::ShortName);
    }
    Ok(())
}

fn is_allowed(character: char, kind: Kind) -> bool {
    if character.is_ascii_alphanumeric() {
        return true;
    }
    match kind {
        Kind::Module => matches!(character, '-' | '.' | '_' | '~'),
        Kind::File if character.is_ascii() => FILE_PUNCTUATION.contains(character),
        Kind::File => is_letter(character),
    }
}

fn is_short_name(stem: &str) -> bool {
    let digits = stem.bytes().rev().take_while(u8::is_ascii_digit).count();
    digits > 0 && stem[..stem.len() - digits].ends_with('~')
}
