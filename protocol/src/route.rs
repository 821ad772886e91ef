//! The GOPROXY grammar: a request path becomes a [`Route`], and a route becomes a path again.
//!
//! The path is percent-decoded once and then `!`-decoded, so `%21azure` and `!azure` are the same
//! route, and a route compares and hashes by what it means. Everything the grammar does not know is
//! refused here, before any storage or upstream sees it.

use std::fmt;

use crate::path::ModulePath;
use crate::percent;
use crate::query::VersionQuery;
use crate::shown::shown;
use crate::version::Version;

mod sumdb;
#[cfg(test)]
mod tests;

pub use sumdb::{MAX_DATABASE_NAME_BYTES, SumDbPath};

/// Longest request path in bytes, as it arrives.
pub const MAX_ROUTE_BYTES: usize = 4096;

/// One of the three files of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// `.info`: version and commit time as JSON.
    Info,
    /// `.mod`: the go.mod file.
    Mod,
    /// `.zip`: the module's files.
    Zip,
}

impl FileKind {
    /// Every kind, in the order the `go` command asks for them.
    pub const ALL: [Self; 3] = [Self::Info, Self::Mod, Self::Zip];

    /// The file name extension without its dot.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Mod => "mod",
            Self::Zip => "zip",
        }
    }

    /// The media type of the body.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Info => "application/json",
            Self::Mod => "text/plain; charset=utf-8",
            Self::Zip => "application/zip",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request as the protocol means it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// `/<module>/@v/list`
    List {
        /// Whose versions.
        module: ModulePath,
    },
    /// `/<module>/@latest`
    Latest {
        /// Whose latest version.
        module: ModulePath,
    },
    /// `/<module>/@v/<version>.info`, `.mod` or `.zip`
    File {
        /// The module.
        module: ModulePath,
        /// The version, or the query that resolves to one; a version fits the module path.
        version: VersionQuery,
        /// Which file of the version.
        kind: FileKind,
    },
    /// `/sumdb/<name>/…`
    SumDb {
        /// The database's name, such as `sum.golang.org`.
        name: String,
        /// What is asked of it.
        path: SumDbPath,
    },
}

/// Why a request path is no route. Each prints as one line of at most 600 bytes without control
/// characters, so the `go` command shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The path has none of `/@v/`, `/@latest` and `/sumdb/`: it is not of this protocol.
    #[error("not found: the path is not one of the module proxy protocol")]
    NotModule,
    /// The path is longer than [`MAX_ROUTE_BYTES`].
    #[error("not found: the request path of {0} bytes is over the limit of {MAX_ROUTE_BYTES}")]
    TooLong(usize),
    /// The path is of this protocol but names nothing that can exist.
    #[error("not found: {reason}")]
    Invalid {
        /// What is wrong, and where.
        reason: String,
    },
}

impl RouteError {
    pub(crate) fn invalid(reason: impl fmt::Display) -> Self {
        Self::Invalid { reason: reason.to_string() }
    }
}

impl Route {
    /// Reads a request path: still percent-encoded, beginning with `/`, without a query string, any
    /// configured prefix already cut off.
    ///
    /// # Errors
    /// [`RouteError::NotModule`] when it is another handler's path, the others when it is malformed.
    pub fn parse(raw_path: &str) -> Result<Self, RouteError> {
        if raw_path.len() > MAX_ROUTE_BYTES {
            return Err(RouteError::TooLong(raw_path.len()));
        }
        let path = percent::decode(raw_path).map_err(|reason| {
            RouteError::invalid(format_args!(
                "malformed request path {}: {reason}",
                shown(raw_path)
            ))
        })?;
        if let Some(tail) = path.strip_prefix("/sumdb/") {
            return sumdb::parse(tail);
        }
        // A module path has no `@`, so the first one divides.
        let at = path.as_bytes().windows(2).position(|two| two == b"/@");
        let Some(at) = at.filter(|_| path.starts_with('/')) else {
            return Err(RouteError::NotModule);
        };
        let (module, tail) = (&path[..at], &path[at + "/@".len()..]);
        let file = tail.strip_prefix("v/");
        if file.is_none() && !tail.starts_with("latest") {
            return Err(RouteError::NotModule);
        }
        let module = module.strip_prefix('/').unwrap_or(module);
        let module = ModulePath::from_escaped(module).map_err(RouteError::invalid)?;
        match file {
            Some("list") => Ok(Self::List { module }),
            Some(file) => parse_file(module, file),
            None if tail == "latest" => Ok(Self::Latest { module }),
            None => Err(unknown_file(tail)),
        }
    }

    /// The path that asks an upstream for this: `!` and `+` raw, other odd characters encoded.
    /// [`Route::parse`] reads it back to an equal route.
    pub fn path(&self) -> String {
        let plain = match self {
            Self::List { module } => format!("/{}/@v/list", module.escaped()),
            Self::Latest { module } => format!("/{}/@latest", module.escaped()),
            Self::File { module, version, kind } => {
                format!("/{}/@v/{}.{kind}", module.escaped(), version.escaped())
            }
            Self::SumDb { name, path } => format!("/sumdb/{name}/{path}"),
        };
        percent::encode(&plain)
    }

    /// The module the route is about; `None` for the checksum database, except its lookups.
    pub fn module(&self) -> Option<&ModulePath> {
        match self {
            Self::List { module } | Self::Latest { module } | Self::File { module, .. } => {
                Some(module)
            }
            Self::SumDb { path, .. } => path.module(),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// Reads `<escaped version>.<kind>`.
fn parse_file(module: ModulePath, file: &str) -> Result<Route, RouteError> {
    let (escaped, extension) = file.rsplit_once('.').ok_or_else(|| unknown_file(file))?;
    let kind = FileKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == extension)
        .ok_or_else(|| unknown_file(file))?;
    let version = VersionQuery::from_escaped(escaped).map_err(RouteError::invalid)?;
    if let Some(canonical) = version.canonical() {
        check_fit(&module, canonical)?;
    }
    Ok(Route::File { module, version, kind })
}

/// A version that does not fit its path is refused with both named.
fn check_fit(module: &ModulePath, version: &Version) -> Result<(), RouteError> {
    module.accepts(version).map_err(|error| {
        RouteError::invalid(format_args!("module {}: {error}", shown(module.as_str())))
    })
}

fn unknown_file(file: &str) -> RouteError {
    RouteError::invalid(format_args!(
        "unknown file {}: want list, latest, or a version with .info, .mod or .zip",
        shown(file)
    ))
}
