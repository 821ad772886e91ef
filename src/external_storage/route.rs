//! The paths of the protocol.

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::{FileKind, MAX_ROUTE_BYTES};
use dipylon_protocol::version::Version;

use crate::fetch::base_url::percent_decode;
use crate::storage::external::wire::{CHECK_PATH, EXTRAS_PATH};
use crate::storage::extra_key::MAX_EXTRA_KEY_BYTES;

/// Longest path in bytes, as it arrives: an extra's key may be encoded byte for byte.
const MAX_PATH_BYTES: usize = MAX_ROUTE_BYTES + 3 * MAX_EXTRA_KEY_BYTES;

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    List(ModulePath),
    File(ModulePath, Version, FileKind),
    Save(ModulePath, Version),
    Delete(ModulePath, Version),
    Check,
    Extra(String),
}

/// Reads a path: still percent-encoded, below any prefix.
///
/// # Errors
/// `BadRequest` for a module path, or a version to save, that cannot be; `NotStored` for a version to read
/// that cannot be stored, such as a branch, which Athens asks for first; `InvalidPath` for any other path.
pub(super) fn parse(raw: &str) -> Result<Route, Error> {
    if raw.len() > MAX_PATH_BYTES {
        return Err(bad(&format!("the path of {} bytes is too long", raw.len())));
    }
    let decoded = percent_decode(raw).and_then(|bytes| String::from_utf8(bytes).ok());
    let path = decoded.ok_or_else(|| bad("the path is not percent-encoded text"))?;
    if path == CHECK_PATH {
        return Ok(Route::Check);
    }
    if let Some(key) = path.strip_prefix(EXTRAS_PATH) {
        return Ok(Route::Extra(key.to_owned()));
    }
    let parts = path.strip_prefix('/').and_then(|path| path.rsplit_once("/@v/"));
    let (module, file) = parts.ok_or_else(|| unknown(&path))?;
    let module = ModulePath::from_escaped(module).map_err(|error| bad(&error.to_string()))?;
    if file == "list" {
        return Ok(Route::List(module));
    }
    let (version, suffix) = file.rsplit_once('.').ok_or_else(|| unknown(&path))?;
    let kind = FileKind::ALL.into_iter().find(|kind| kind.as_str() == suffix);
    let parsed = Version::parse(version);
    match (kind, suffix, parsed) {
        (Some(kind), _, Ok(version)) => Ok(Route::File(module, version, kind)),
        (Some(_), _, Err(error)) => {
            Err(Error::new(ErrorKind::NotStored, format!("not stored: {module}: {error}")))
        }
        (None, "save", Ok(version)) => Ok(Route::Save(module, version)),
        (None, "delete", Ok(version)) => Ok(Route::Delete(module, version)),
        (None, "save" | "delete", Err(error)) => Err(bad(&format!("{module}: {error}"))),
        _ => Err(unknown(&path)),
    }
}

pub(super) fn bad(text: &str) -> Error {
    Error::new(ErrorKind::BadRequest, format!("bad request: {text}"))
}

fn unknown(path: &str) -> Error {
    let shown: String = path.chars().take(200).collect();
    let text = format!("404 page not found: {shown} is no path of the external storage protocol");
    Error::new(ErrorKind::InvalidPath, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str) -> ModulePath {
        ModulePath::parse(path).unwrap()
    }

    fn kind_of(path: &str) -> ErrorKind {
        parse(path).unwrap_err().kind()
    }

    #[test]
    fn modules_are_unescaped_and_versions_are_not() {
        let azure = module("github.com/Azure/SDK");
        let list = parse("/github.com/!azure/!s!d!k/@v/list").unwrap();
        assert_eq!(list, Route::List(azure.clone()));
        let version = Version::parse("v1.0.0-RC1").unwrap();
        let file = parse("/github.com/%21azure/!s!d!k/@v/v1.0.0-RC1.zip").unwrap();
        assert_eq!(file, Route::File(azure.clone(), version.clone(), FileKind::Zip));
        let save = parse("/github.com/!azure/!s!d!k/@v/v1.0.0-RC1.save").unwrap();
        assert_eq!(save, Route::Save(azure, version));
        let incompatible = parse("/example.com/a/@v/v2.0.0+incompatible.info").unwrap();
        let version = Version::parse("v2.0.0+incompatible").unwrap();
        assert_eq!(incompatible, Route::File(module("example.com/a"), version, FileKind::Info));
    }

    #[test]
    fn a_branch_is_not_stored_and_cannot_be_saved() {
        assert_eq!(kind_of("/example.com/a/@v/main.info"), ErrorKind::NotStored);
        assert_eq!(kind_of("/example.com/a/@v/feature/x.mod"), ErrorKind::NotStored);
        assert_eq!(kind_of("/example.com/a/@v/main.save"), ErrorKind::BadRequest);
        assert_eq!(kind_of("/example.com/a/@v/v1.delete"), ErrorKind::BadRequest);
    }

    #[test]
    fn what_cannot_be_a_module_is_a_bad_request() {
        for path in [
            "/github.com/Azure/@v/list",
            "/../etc/@v/v1.0.0.info",
            "/example.com/!/@v/v1.0.0.info",
            "/example.com/a%00/@v/list",
            "/example.com/%zz/@v/list",
            "/.dipylon/a/@v/list",
        ] {
            assert_eq!(kind_of(path), ErrorKind::BadRequest, "{path}");
        }
    }

    #[test]
    fn other_paths_are_not_found() {
        for path in ["/", "/favicon.ico", "/example.com/a/@v/v1.0.0", "/example.com/a/@latest"] {
            assert_eq!(kind_of(path), ErrorKind::InvalidPath, "{path}");
        }
        assert_eq!(kind_of("/example.com/a/@v/v1.0.0.exe"), ErrorKind::InvalidPath);
    }

    #[test]
    fn the_extension_lies_where_no_module_can() {
        assert_eq!(parse("/.dipylon/check").unwrap(), Route::Check);
        let extra = parse("/.dipylon/extras/early/a/%40/x%25.mod").unwrap();
        assert_eq!(extra, Route::Extra("early/a/@/x%.mod".to_owned()));
    }
}
