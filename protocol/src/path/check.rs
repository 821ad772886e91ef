//! The character and element rules that module paths, file paths and queries share.
//!
//! Source followed: `golang.org/x/mod/module`, `checkPath`, `checkElem` and the `…OK` functions.

use super::letters::is_letter;

/// Names Windows keeps for devices, in any case and with any extension.
const RESERVED_NAMES: [&str; 22] = [
    "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8",
    "COM9", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
];

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
    path.split('/').try_for_each(|element| check_element(element, kind))
}

/// Checks one element: no slash, no reserved name, allowed characters only.
pub(super) fn check_element(element: &str, kind: Kind) -> Result<(), PathReason> {
    if element.is_empty() {
        return Err(PathReason::EmptyElement);
    }
    if element.bytes().all(|byte| byte == b'.') {
        return Err(PathReason::DotsOnly);
    }
    if element.starts_with('.') && kind == Kind::Module {
        return Err(PathReason::LeadingDot);
    }
    if element.ends_with('.') {
        return Err(PathReason::TrailingDot);
    }
    if let Some(character) = element.chars().find(|&character| !is_allowed(character, kind)) {
        return Err(PathReason::Character(character));
    }
    let stem = element.split('.').next().unwrap_or(element);
    if RESERVED_NAMES.iter().any(|name| name.eq_ignore_ascii_case(stem)) {
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
    stem.rsplit_once('~').is_some_and(|(_, digits)| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
