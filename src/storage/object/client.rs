//! The operations that the engine needs of an object store, below one prefix, with errors that say
//! what, where and why.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::blob::ByteStream;
use dipylon_middleware::error::{Error, ErrorKind};
use futures::StreamExt as _;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, UpdateVersion,
};

use super::failure::{self, failed};
use super::http::Conditions;

/// What a backend's client has to be able to do.
pub(in crate::storage) trait Backend:
    ObjectStore + PaginatedListStore + MultipartStore
{
}

impl<T: ObjectStore + PaginatedListStore + MultipartStore> Backend for T {}

/// One page of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// What there is below the prefix, in the order of the names' bytes.
    pub(super) objects: Vec<Listed>,
    /// The store's own token of the next page; `None` at the end.
    pub(super) next: Option<String>,
}

/// An object as a list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its name below the prefix.
    pub(super) key: String,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// A client of one bucket.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) store: Arc<dyn Backend>,
    pub(super) conditions: Conditions,
    /// The `StorageType`.
    pub(super) kind: &'static str,
    /// The bucket with its folder, as messages show it.
    pub(super) place: Arc<str>,
    /// The folder with its slash, or nothing.
    pub(super) prefix: Arc<str>,
}

impl Client {
    /// The whole name. Taken as it is: the crate's other way to make one encodes `~`.
    pub(super) fn path(&self, key: &str) -> Result<Path, Error> {
        let whole = format!("{}{key}", self.prefix);
        Path::parse(&whole).map_err(|error| {
            let text = format!("{} storage has no object named {whole:?}: {error}", self.kind);
            Error::new(ErrorKind::Internal, text)
        })
    }

    pub(super) fn failed(&self, what: &str, key: &str, error: &object_store::Error) -> Error {
        failed(self.kind, what, &self.place, key, error)
    }

    /// An error of ours about an object.
    pub(super) fn wrong(&self, key: &str, what: &str) -> Error {
        let text = format!("{} storage: {}/{key} {what}", self.kind, self.place);
        Error::new(ErrorKind::Storage, text)
    }

    /// `None` where there is no such object.
    fn found<T>(
        &self,
        result: object_store::Result<T>,
        what: &str,
        key: &str,
    ) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if failure::is_absent(&error) => Ok(None),
            Err(error) => Err(self.failed(what, key, &error)),
        }
    }

    /// Length, tag and time of an object.
    pub(super) async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, Error> {
        self.found(self.store.head(&self.path(key)?).await, "look at", key)
    }

    /// A whole object of at most `bytes_max` bytes.
    pub(super) async fn get(
        &self,
        key: &str,
        bytes_max: usize,
    ) -> Result<Option<(Bytes, ObjectMeta)>, Error> {
        let got = self.store.get_opts(&self.path(key)?, GetOptions::default()).await;
        let Some(got) = self.found(got, "read", key)? else { return Ok(None) };
        let meta = got.meta.clone();
        if meta.size > bytes_max as u64 {
            return Err(self.wrong(key, &format!("is larger than {bytes_max} bytes; remove it")));
        }
        let mut bytes = BytesMut::new();
        let mut stream = got.into_stream();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| self.failed("read", key, &error))?);
        }
        if bytes.len() as u64 != meta.size {
            let text = format!("has {} bytes and came with {}", meta.size, bytes.len());
            return Err(self.wrong(key, &text));
        }
        Ok(Some((bytes.freeze(), meta)))
    }

    /// Streams a part of an object that has not changed since `tag` was seen.
    pub(super) fn stream(&self, key: &str, range: Range<u64>, tag: Option<String>) -> ByteStream {
        if range.is_empty() {
            return futures::stream::empty().boxed();
        }
        let (client, key) = (self.clone(), key.to_owned());
        let opened = async move {
            let range = Some(GetRange::Bounded(range));
            let options = GetOptions { range, if_match: tag, ..GetOptions::default() };
            let got = client.store.get_opts(&client.path(&key)?, options).await;
            let got = got.map_err(|error| client.failed("read", &key, &error))?;
            let chunks = got.into_stream();
            Ok(chunks.map(move |chunk| chunk.map_err(|error| client.failed("read", &key, &error))))
        };
        futures::stream::once(opened).flat_map(parts).boxed()
    }

    /// Writes an object unless there is one of that name; `None` where there is.
    pub(super) async fn create(
        &self,
        key: &str,
        payload: PutPayload,
    ) -> Result<Option<UpdateVersion>, Error> {
        if !self.conditions.are_known() {
            return self.create_unconditionally(key, payload).await;
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.path(key)?, payload.clone(), options).await {
            Ok(result) => Ok(Some(result.into())),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
            Err(error) if failure::is_not_implemented(&error) => {
                self.warn_of_missing_conditions();
                self.create_unconditionally(key, payload).await
            }
            Err(error) => Err(self.failed("write", key, &error)),
        }
    }

    /// The next best thing: two writers at the same instant may both believe they were first.
    async fn create_unconditionally(
        &self,
        key: &str,
        payload: PutPayload,
    ) -> Result<Option<UpdateVersion>, Error> {
        if self.head(key).await?.is_some() {
            return Ok(None);
        }
        let result = self.store.put(&self.path(key)?, payload).await;
        Ok(Some(result.map_err(|error| self.failed("write", key, &error))?.into()))
    }

    pub(super) fn warn_of_missing_conditions(&self) {
        if self.conditions.are_unknown() {
            tracing::warn!(
                storage = self.kind,
                place = &*self.place,
                "the store has no conditional writes (If-None-Match): of two replicas that save one \
                 version at the same instant the last may win"
            );
        }
    }

    /// Writes an object in place of the one seen as `version`; `None` where it is another by now.
    pub(super) async fn replace(
        &self,
        key: &str,
        payload: PutPayload,
        version: UpdateVersion,
    ) -> Result<Option<UpdateVersion>, Error> {
        if !self.conditions.are_known() {
            return self.put(key, payload).await.map(Some);
        }
        let options = PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
        match self.store.put_opts(&self.path(key)?, payload.clone(), options).await {
            Ok(result) => Ok(Some(result.into())),
            Err(object_store::Error::Precondition { .. }) => Ok(None),
            Err(error) if failure::is_absent(&error) => Ok(None),
            Err(error) if failure::is_not_implemented(&error) => {
                self.warn_of_missing_conditions();
                self.put(key, payload).await.map(Some)
            }
            Err(error) => Err(self.failed("write", key, &error)),
        }
    }

    /// Writes an object, whatever was there.
    pub(super) async fn put(&self, key: &str, payload: PutPayload) -> Result<UpdateVersion, Error> {
        let result = self.store.put(&self.path(key)?, payload).await;
        Ok(result.map_err(|error| self.failed("write", key, &error))?.into())
    }

    /// Removes an object; one that is not there is removed already.
    pub(super) async fn delete(&self, key: &str) -> Result<(), Error> {
        let deleted = self.store.delete(&self.path(key)?).await;
        self.found(deleted, "remove", key).map(drop)
    }

    /// One page of at most `keys_max` names that begin with `begins`, after the name `after` or from the
    /// store's own `token` on. One that breaks off after its head is asked for once more: up to there the
    /// crate repeats a request, and with the page all pages before it would be lost.
    pub(super) async fn page(
        &self,
        begins: &str,
        after: Option<&str>,
        token: Option<String>,
        keys_max: usize,
    ) -> object_store::Result<Page> {
        match self.page_once(begins, after, token.clone(), keys_max).await {
            Err(error) if failure::is_broken_off(&error) => {
                // In our words: the crate's error may hold what was signed.
                let error = self.failed("list", begins, &error);
                tracing::debug!(%error, "a page of a list broke off: it is asked for again");
                self.page_once(begins, after, token, keys_max).await
            }
            answered => answered,
        }
    }

    async fn page_once(
        &self,
        begins: &str,
        after: Option<&str>,
        token: Option<String>,
        keys_max: usize,
    ) -> object_store::Result<Page> {
        let begins = format!("{}{begins}", self.prefix);
        let options = PaginatedListOptions {
            offset: after.map(|after| format!("{}{after}", self.prefix)),
            max_keys: Some(keys_max),
            page_token: token,
            ..PaginatedListOptions::default()
        };
        let begins = (!begins.is_empty()).then_some(begins.as_str());
        let listed = self.store.list_paginated(begins, options).await?;
        let below = |meta: ObjectMeta| {
            let name = String::from(meta.location);
            let key = name.strip_prefix(&*self.prefix)?.to_owned();
            Some(Listed { key, size: meta.size })
        };
        let objects = listed.result.objects.into_iter().filter_map(below).collect();
        Ok(Page { objects, next: listed.page_token })
    }
}

/// The chunks of an opened stream, or the one error of opening it.
fn parts<S>(opened: Result<S, Error>) -> ByteStream
where
    S: futures::Stream<Item = Result<Bytes, Error>> + Send + 'static,
{
    match opened {
        Ok(chunks) => chunks.boxed(),
        Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
    }
}
