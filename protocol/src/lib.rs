//! What Go says about modules, as pure functions over text and bytes.
//!
//! Nothing here does I/O, waits or keeps time: the caller brings bytes and gets values or typed
//! errors back. Names and rules follow `golang.org/x/mod` and the `go` command, which the ignored
//! tests run as the oracle. Every error prints as one line that is fit to be shown to a person.
//!
//! * Names: [`path`], [`semver`], [`version`], [`pseudo`], [`query`].
//! * The GOPROXY grammar: [`route`].
//! * What an upstream answers: [`info`], [`gomod`], [`list`], [`zip`].
//! * Hashes and the checksum database: [`dirhash`], [`sumdb`].
//! * Pattern lists such as GOPRIVATE: [`pattern`].

pub mod dirhash;
pub mod gomod;
pub mod info;
pub mod list;
pub mod path;
pub mod pattern;
mod percent;
pub mod pseudo;
pub mod query;
pub mod route;
pub mod semver;
mod shown;
pub mod sumdb;
pub mod version;
pub mod zip;

pub use gomod::GoMod;
pub use info::Info;
pub use list::ListFilter;
pub use path::ModulePath;
pub use query::VersionQuery;
pub use route::{FileKind, Route, RouteError, SumDbPath};
pub use version::Version;
