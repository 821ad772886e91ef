//! Google's JSON API behind the traits that the engine speaks.
//!
//! Reads and removals are the crate's own. Writes and lists are not, because the crate speaks the XML API
//! there: the JSON API has uploads in parts whose beginning carries the condition, so that a large zip
//! too is written only where there is none; and its page tokens are those that Athens hands out.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::Method;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::gcp::GoogleCloudStorage;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::super::object::ContentTypes;
use super::api::{Api, Call, generic};

/// A bucket.
#[derive(Debug)]
pub(super) struct GcsStore {
    pub(super) reads: GoogleCloudStorage,
    pub(super) api: Api,
    /// `https://storage.googleapis.com`, or the emulator's.
    pub(super) base: String,
    pub(super) bucket: String,
    pub(super) types: ContentTypes,
}

impl std::fmt::Display for GcsStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GcsStore({})", self.bucket)
    }
}

/// An object as the API describes it.
#[derive(Deserialize)]
struct Described {
    name: String,
    #[serde(default)]
    size: Option<String>,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    generation: Option<String>,
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    items: Vec<Described>,
    #[serde(default)]
    next_page_token: Option<String>,
}

/// An answer that is not what the API promises.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unexpected(pub(super) String);

pub(super) fn unexpected(text: impl Into<String>) -> Error {
    generic(HttpError::new(HttpErrorKind::Decode, Unexpected(text.into())))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl GcsStore {
    pub(super) fn upload_url(&self, path: &Path, how: &str, generation: Option<&str>) -> String {
        let Self { base, bucket, .. } = self;
        let name = encoded(path.as_ref());
        let condition =
            generation.map(|generation| format!("&ifGenerationMatch={}", encoded(generation)));
        let condition = condition.unwrap_or_default();
        format!("{base}/upload/storage/v1/b/{bucket}/o?uploadType={how}&name={name}{condition}")
    }

    async fn write(
        &self,
        path: &Path,
        payload: PutPayload,
        generation: Option<&str>,
    ) -> Result<PutResult> {
        let url = self.upload_url(path, "media", generation);
        let mut call = Call::new(Method::POST, url, path.as_ref());
        call.content_type = Some(self.types.of(path.as_ref()));
        call.body = payload;
        let answer = self.api.send(&call).await?;
        put_result(answer.body())
    }
}

pub(super) fn put_result(body: &[u8]) -> Result<PutResult> {
    let written: Described = serde_json::from_slice(body)
        .map_err(|_| unexpected("the answer to a write describes no object"))?;
    let extensions = object_store::Extensions::default();
    Ok(PutResult { e_tag: written.etag, version: written.generation, extensions })
}

#[async_trait]
impl ObjectStore for GcsStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match options.mode {
            PutMode::Overwrite => self.write(path, payload, None).await,
            // Generation 0 is "there is none".
            PutMode::Create => match self.write(path, payload, Some("0")).await {
                Err(Error::Precondition { path, source }) => {
                    Err(Error::AlreadyExists { path, source })
                }
                written => written,
            },
            PutMode::Update(seen) => {
                let generation =
                    seen.version.ok_or_else(|| unexpected("no generation is known"))?;
                self.write(path, payload, Some(&generation)).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.reads.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.reads.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.reads.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reads.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reads.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.reads.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.reads.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.reads.rename_opts(from, to, options).await
    }
}

#[async_trait]
impl PaginatedListStore for GcsStore {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let fields = "items(name,size,etag,generation),nextPageToken";
        let mut url = format!(
            "{}/storage/v1/b/{}/o?fields={}&maxResults={}",
            self.base,
            self.bucket,
            encoded(fields),
            options.max_keys.unwrap_or(1_000),
        );
        let offset = options.offset.as_deref();
        let token = options.page_token.as_deref();
        for (name, value) in [("prefix", prefix), ("startOffset", offset), ("pageToken", token)] {
            if let Some(value) = value {
                url.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        let answer = self.api.send(&Call::new(Method::GET, url, "")).await?;
        let listed: Listed = serde_json::from_slice(answer.body())
            .map_err(|_| unexpected("the answer to a list is none"))?;
        let mut objects = Vec::with_capacity(listed.items.len());
        for item in listed.items {
            // The offset itself is listed here, and nowhere else.
            if offset == Some(item.name.as_str()) {
                continue;
            }
            // Names that the crate's paths cannot hold are nobody's version.
            let Ok(location) = Path::parse(&item.name) else { continue };
            objects.push(ObjectMeta {
                location,
                last_modified: Default::default(),
                size: item.size.and_then(|size| size.parse().ok()).unwrap_or_default(),
                e_tag: item.etag,
                version: item.generation,
            });
        }
        let extensions = object_store::Extensions::default();
        let result = ListResult { common_prefixes: Vec::new(), objects, extensions };
        let page_token = listed.next_page_token.filter(|token| !token.is_empty());
        Ok(PaginatedListResult { result, page_token })
    }
}
