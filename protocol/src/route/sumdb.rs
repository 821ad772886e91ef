//! The checksum database's part of the grammar: `/sumdb/<name>/…`.

use std::fmt;

use super::{Route, RouteError, check_fit};
use crate::path::ModulePath;
use crate::shown::shown;
use crate::version::Version;

/// Longest database name in bytes: that of a host name.
pub const MAX_DATABASE_NAME_BYTES: usize = 253;

/// Height of the tiles the `go` command uses: a full one has `2^8` hashes.
const TILE_HEIGHT: &str = "8";

/// Highest level a tile can have in a tree of less than `2^63` records.
const MAX_TILE_LEVEL: u8 = 63;

/// Most groups of three digits in a tile's number: more would not fit 63 bits.
const MAX_TILE_NUMBER_GROUPS: usize = 6;

/// What is asked of a checksum database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SumDbPath {
    /// `supported`: does the proxy carry this database? Answered by the proxy itself.
    Supported,
    /// `latest`: the newest signed tree head.
    Latest,
    /// `lookup/<module>@<version>`: the record of a version.
    Lookup {
        /// The module.
        module: ModulePath,
        /// The version; it fits the module path.
        version: Version,
    },
    /// `tile/8/<level>/<number>[.p/<width>]`: hashes, or records for the level `data`. The text is
    /// the path from `tile/` on, checked against the tile grammar (`tlog.ParseTilePath`).
    Tile(String),
}

impl SumDbPath {
    /// The module a lookup is about.
    pub fn module(&self) -> Option<&ModulePath> {
        match self {
            Self::Lookup { module, .. } => Some(module),
            Self::Supported | Self::Latest | Self::Tile(_) => None,
        }
    }
}

/// The path below the database's root, without a leading slash.
impl fmt::Display for SumDbPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supported => f.write_str("supported"),
            Self::Latest => f.write_str("latest"),
            Self::Lookup { module, version } => {
                write!(f, "lookup/{}@{}", module.escaped(), version.escaped())
            }
            Self::Tile(tile) => f.write_str(tile),
        }
    }
}

/// Reads what follows `/sumdb/`.
pub(super) fn parse(tail: &str) -> Result<Route, RouteError> {
    let (name, rest) = tail.split_once('/').unwrap_or((tail, ""));
    if !is_database_name(name) {
        return Err(RouteError::invalid(format_args!(
            "malformed checksum database name {}: want a host name",
            shown(name)
        )));
    }
    let path = match rest {
        "supported" => SumDbPath::Supported,
        "latest" => SumDbPath::Latest,
        _ if is_tile(rest) => SumDbPath::Tile(rest.to_owned()),
        _ => parse_lookup(rest)?,
    };
    Ok(Route::SumDb { name: name.to_owned(), path })
}

fn parse_lookup(rest: &str) -> Result<SumDbPath, RouteError> {
    let (module, version) =
        rest.strip_prefix("lookup/").and_then(|tail| tail.split_once('@')).ok_or_else(|| {
            RouteError::invalid(format_args!(
                "unknown checksum database path {}: want supported, latest, lookup/MODULE@VERSION or a tile",
                shown(rest)
            ))
        })?;
    let module = ModulePath::from_escaped(module).map_err(RouteError::invalid)?;
    let version = Version::from_escaped(version).map_err(RouteError::invalid)?;
    check_fit(&module, &version)?;
    Ok(SumDbPath::Lookup { module, version })
}

/// A host name, optionally with a port: no path of ours can be built from it.
fn is_database_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    !name.is_empty()
        && name.len() <= MAX_DATABASE_NAME_BYTES
        && name.bytes().all(allowed)
        && !name.starts_with(['.', '-'])
        && !name.contains("..")
}

/// Whether `path` is a tile path in its one canonical spelling.
fn is_tile(path: &str) -> bool {
    let (path, width) = match path.split_once(".p/") {
        Some((path, width)) => (path, Some(width)),
        None => (path, None),
    };
    let mut elements = path.split('/');
    elements.next() == Some("tile")
        && elements.next() == Some(TILE_HEIGHT)
        && elements.next().is_some_and(is_level)
        && is_tile_number(elements)
        && width.is_none_or(|width| canonical_u8(width).is_some_and(|width| width > 0))
}

fn is_level(level: &str) -> bool {
    level == "data" || canonical_u8(level).is_some_and(|level| level <= MAX_TILE_LEVEL)
}

/// Groups of three digits, each but the last behind an `x`, without a superfluous `x000` in front.
fn is_tile_number<'a>(groups: impl Iterator<Item = &'a str>) -> bool {
    let mut closed = false;
    for (count, group) in groups.enumerate() {
        let digits = group.strip_prefix('x');
        let spelled = digits.unwrap_or(group);
        let well_formed = spelled.len() == 3 && spelled.bytes().all(|byte| byte.is_ascii_digit());
        let superfluous = count == 0 && group == "x000";
        if closed || !well_formed || superfluous || count == MAX_TILE_NUMBER_GROUPS {
            return false;
        }
        closed = digits.is_none();
    }
    closed
}

/// A number below 256 without sign or leading zeros.
fn canonical_u8(text: &str) -> Option<u8> {
    text.parse().ok().filter(|number: &u8| number.to_string() == text)
}
