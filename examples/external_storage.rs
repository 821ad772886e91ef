//! A store of one's own behind Athens's external storage protocol. Copy this file, and replace the map.
//!
//! ```sh
//! cargo run --example external_storage -- 127.0.0.1:3200
//! ATHENS_STORAGE_TYPE=external ATHENS_EXTERNAL_STORAGE_URL=http://127.0.0.1:3200 dipylon   # or Athens
//! ```
//!
//! The store is a map in memory. Everything else comes from the library: paths, forms, streaming, ranges,
//! limits, checks of what is saved, metrics at `/metrics`, and a drain at Ctrl-C.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dipylon::external_storage::{Options, serve};
use dipylon::http::Listener;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{
    BoxFuture, CatalogEntry, CatalogPage, NewVersion, SaveResult, Storage,
};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

/// All zips together. A store in memory must end somewhere.
const MAX_ZIP_BYTES: u64 = 1 << 30;
/// All extras together.
const MAX_EXTRA_BYTES: usize = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3200".to_owned());
    let listener = Listener::tcp(&address).await?;
    println!("serving on http://{}", listener.address());
    let stop = async {
        // Where the signal cannot be caught it ends the process.
        let _ = tokio::signal::ctrl_c().await;
    };
    run(listener, stop).await?;
    println!("stopped");
    Ok(())
}

/// Serves an empty store until `stop`, then waits for the requests that are open.
pub(crate) async fn run(
    listener: Listener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    serve(Arc::new(MapStorage::default()), listener, Options::default(), stop).await
}

/// The store: what a key-value database would have in its place.
#[derive(Default)]
struct MapStorage {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    versions: BTreeMap<(String, String), Files>,
    extras: BTreeMap<String, Bytes>,
    zip_bytes: u64,
}

#[derive(Clone)]
struct Files {
    info: Bytes,
    go_mod: Bytes,
    zip: Bytes,
}

impl MapStorage {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A save is one insert: no reader sees a part, and of two savers the first stays.
    fn insert(&self, new: NewVersion, zip: Bytes) -> Result<SaveResult, Error> {
        let key = (new.module.to_string(), new.version.to_string());
        let mut inside = self.inside();
        if let Some(old) = inside.versions.get(&key) {
            let same = old.go_mod == new.go_mod && old.zip.len() == zip.len();
            return Ok(SaveResult::Existed { same });
        }
        let zip_bytes = inside.zip_bytes + zip.len() as u64;
        if zip_bytes > MAX_ZIP_BYTES {
            return Err(full("zips"));
        }
        inside.zip_bytes = zip_bytes;
        inside.versions.insert(key, Files { info: new.info, go_mod: new.go_mod, zip });
        Ok(SaveResult::Created)
    }

    fn page(&self, token: Option<&str>, limit: usize) -> Result<CatalogPage, Error> {
        // "After this entry", which need not be there any more.
        let after = match token.map(|token| token.split_once('|')) {
            None => None,
            Some(Some((module, version))) => Some((module.to_owned(), version.to_owned())),
            Some(None) => return Err(Error::new(ErrorKind::BadRequest, "no token of ours")),
        };
        let inside = self.inside();
        let mut keys = inside.versions.keys().filter(|key| Some(*key) > after.as_ref()).peekable();
        let mut entries = Vec::new();
        while (limit == 0 || entries.len() < limit)
            && let Some((module, version)) = keys.next()
        {
            entries.push(CatalogEntry { module: module.clone(), version: version.clone() });
        }
        let next = keys.peek().and_then(|_| entries.last());
        let next = next.map(|last| format!("{}|{}", last.module, last.version));
        Ok(CatalogPage { entries, next })
    }
}

fn full(what: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("the map is full: no room for more {what}"))
}

/// A store that has everything at hand answers at once.
fn now<'a, T: Send + 'a>(answer: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Storage for MapStorage {
    fn kind(&self) -> &'static str {
        "map"
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        let inside = self.inside();
        let of_module = inside.versions.keys().filter(|(name, _)| name == module.as_str());
        now(Ok(of_module.filter_map(|(_, version)| Version::parse(version).ok()).collect()))
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        let files = self.inside().versions.get(&(module.to_string(), version.to_string())).cloned();
        now(Ok(files.map(|files| {
            Blob::from_bytes(match kind {
                FileKind::Info => files.info,
                FileKind::Mod => files.go_mod,
                FileKind::Zip => files.zip,
            })
        })))
    }

    fn save(&self, new: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move {
            // A zip may still be coming in. A store on the disk or behind a network would copy it piece
            // by piece, from `new.zip.stream(..)`, and hold none of it.
            let length = new.zip.complete().await?;
            if length > MAX_ZIP_BYTES {
                return Err(full("zips"));
            }
            let zip = new.zip.read_at(0, usize::try_from(length).unwrap_or(usize::MAX))?;
            self.insert(new, zip)
        })
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        now(self.page(token, limit))
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        now(Ok(self.inside().extras.get(key).cloned()))
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        let mut inside = self.inside();
        let others = inside.extras.iter().filter(|(name, _)| name.as_str() != key);
        if others.map(|(_, bytes)| bytes.len()).sum::<usize>() + bytes.len() > MAX_EXTRA_BYTES {
            return now(Err(full("extras")));
        }
        inside.extras.insert(key.to_owned(), bytes);
        now(Ok(()))
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.inside().extras.remove(key);
        now(Ok(()))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        now(Ok(()))
    }
}
