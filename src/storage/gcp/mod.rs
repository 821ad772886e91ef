//! `StorageType = "gcp"`: Google Cloud Storage, in Athens's blob layout.
//!
//! Credentials are `JSONKey`, else the application default ones: the file that
//! `GOOGLE_APPLICATION_CREDENTIALS` names, the one that `gcloud` keeps, or the instance's service account.
//! An emulator takes none. The bucket must exist.

mod api;
mod store;
#[cfg(test)]
mod tests;
mod upload;

use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, Storage};
use object_store::StaticCredentialProvider;
use object_store::client::HttpRequest;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use serde::Deserialize;

use super::object::{
    Access, Connector, ContentTypes, Dialect, Keyring, Kind, LargeCommit, Layout, ObjectStorage,
    Place, Presigning, Resume, Sign, Signing, bearer, client_options, retries,
};
use crate::config::GcpStorage;
use api::Api;
use store::GcsStore;

/// What Google's own client makes of the first bytes.
const TYPES: ContentTypes = ContentTypes {
    info: "text/plain; charset=utf-8",
    go_mod: "text/plain; charset=utf-8",
    zip: "application/zip",
};

const KIND: Kind = Kind {
    name: "gcp",
    layout: Layout::Blob,
    large_commit: LargeCommit::ConditionalBeginning,
    resume: Resume::Name,
    foreign_tokens: true,
};

/// Opens the store. `emulator` is a host and port, or a URL; empty for Google's own.
///
/// # Errors
/// `Storage` when the credentials cannot be read or are refused, or the bucket is missing. A server that
/// cannot be reached is a warning.
pub async fn open(
    config: &GcpStorage,
    emulator: &str,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Arc<dyn Storage>, Error> {
    open_with(config, emulator, environment, None).await
}

/// As [`open`]; clients may be sent to the store for large zips. An emulator's signatures are worth nothing,
/// so there they go through the gateway.
///
/// # Errors
/// Those of [`open`].
pub async fn open_with(
    config: &GcpStorage,
    emulator: &str,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
    presigning: Option<Presigning>,
) -> Result<Arc<dyn Storage>, Error> {
    let connector = Connector::new(environment)?;
    let base = base_url(emulator);
    let reads = client(config, emulator, environment, &connector)?;
    let signing = match presigning {
        Some(rules) if emulator.is_empty() => Some(signing(rules, config, &reads, &connector)?),
        Some(_) => {
            return Err(refused("Dipylon.Presigned.MinBytes: an emulator checks no signature"));
        }
        None => None,
    };
    let api = Api { connector: connector.clone(), credentials: Arc::clone(reads.credentials()) };
    let store = GcsStore { reads, api, base, bucket: config.bucket.clone(), types: TYPES };
    let place = Place { bucket: config.bucket.clone(), folder: String::new() };
    let storage =
        ObjectStorage::new(&KIND, &place, Arc::new(store), &connector, None).signing(signing);
    storage.start().await?;
    Ok(Arc::new(storage))
}

/// The crate's client of the bucket.
fn client(
    config: &GcpStorage,
    emulator: &str,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
    connector: &Connector,
) -> Result<Store, Error> {
    if config.bucket.contains(['/', '?', '#', '%', ' ']) {
        return Err(refused("Bucket is a bucket's name, without a folder"));
    }
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(config.bucket.as_str())
        .with_client_options(client_options(TYPES))
        .with_retry(retries())
        .with_http_connector(connector.clone());
    match emulator {
        "" => with_credentials(builder, config, environment),
        _ => with_emulator(builder, &base_url(emulator)).build().map_err(|error| said(&error)),
    }
}

/// A way into the bucket past the store, for locks. Asks nobody yet.
///
/// # Errors
/// `Storage` when the credentials cannot be read.
pub fn access(
    config: &GcpStorage,
    emulator: &str,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Access, Error> {
    let connector = Connector::new(environment)?;
    let client = client(config, emulator, environment, &connector)?;
    let signer = Bearer(Keyring::of(Arc::clone(client.credentials())));
    let base = base_url(emulator);
    let access = Access::new(Dialect::Gcs, base, &config.bucket, connector, signer);
    Ok(access.proven(emulator.is_empty()))
}

/// Signs with a token; an emulator has none.
struct Bearer(Keyring<GcpCredential>);

impl Sign for Bearer {
    fn sign<'a>(&'a self, request: &'a mut HttpRequest) -> BoxFuture<'a, object_store::Result<()>> {
        Box::pin(async move {
            let credential = self.0.get().await?;
            bearer(request, &credential.bearer)
        })
    }
}

/// Signs for the address at which clients reach the store.
fn signing(
    rules: Presigning,
    config: &GcpStorage,
    store: &Store,
    connector: &Connector,
) -> Result<Signing, Error> {
    let Some(endpoint) = rules.endpoint() else { return Ok(rules.by(Arc::new(store.clone()))) };
    let signer = GoogleCloudStorageBuilder::new()
        .with_bucket_name(config.bucket.as_str())
        .with_base_url(endpoint)
        .with_credentials(Arc::clone(store.credentials()))
        .with_signing_credentials(Arc::clone(store.signing_credentials()))
        .with_client_options(client_options(TYPES))
        .with_retry(retries())
        .with_http_connector(connector.clone())
        .build();
    Ok(rules
        .by(Arc::new(signer.map_err(|_| refused("Dipylon.Presigned.Endpoint is no base URL"))?)))
}

fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("gcp storage cannot be set up: {reason}"))
}

/// What the client says of itself or of a file, unless its parser may have quoted a key.
fn said(error: &object_store::Error) -> Error {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |cause| cause.source());
    match causes.any(|cause| cause.is::<serde_json::Error>()) {
        true => refused(
            "the application default credentials are no JSON of type service_account or \
             authorized_user",
        ),
        false => refused(&error.to_string()),
    }
}

/// Google's own address, or the emulator's.
fn base_url(emulator: &str) -> String {
    let emulator = emulator.trim_end_matches('/');
    match emulator {
        "" => "https://storage.googleapis.com".to_owned(),
        emulator if emulator.contains("://") => emulator.to_owned(),
        emulator => format!("http://{emulator}"),
    }
}

fn with_emulator(builder: GoogleCloudStorageBuilder, base: &str) -> GoogleCloudStorageBuilder {
    // Given ones keep the client from looking for others.
    let nobody = StaticCredentialProvider::new(GcpCredential { bearer: String::new() });
    builder.with_base_url(base).with_skip_signature(true).with_credentials(Arc::new(nobody))
}

/// The part of a credentials file that says what it is.
#[derive(Deserialize)]
struct Credentials {
    #[serde(rename = "type", default)]
    kind: String,
}

type Store = object_store::gcp::GoogleCloudStorage;

fn with_credentials(
    builder: GoogleCloudStorageBuilder,
    config: &GcpStorage,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Store, Error> {
    if config.json_key.is_empty() {
        let named = environment("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.is_empty());
        let builder = match named {
            Some(path) => builder.with_application_credentials(path),
            None => builder,
        };
        return builder.build().map_err(|error| said(&error));
    }
    let text: String =
        config.json_key.expose().chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let json = STANDARD.decode(text).map_err(|_| refused("JSONKey is not base64"))?;
    // What the parser or the client says of a key may quote it.
    let read: Credentials =
        serde_json::from_slice(&json).map_err(|_| refused("JSONKey holds no JSON"))?;
    let unusable = |_| refused("JSONKey holds credentials that cannot be used");
    match read.kind.as_str() {
        "service_account" => {
            let text = String::from_utf8(json).map_err(|_| refused("JSONKey holds no text"))?;
            builder.with_service_account_key(text).build().map_err(unusable)
        }
        // The client takes these from a file alone; it has read it when it is built.
        "authorized_user" => {
            let cannot = |error: std::io::Error| refused(&format!("a temporary file: {error}"));
            let mut file = tempfile::NamedTempFile::new().map_err(cannot)?;
            file.write_all(&json).map_err(cannot)?;
            let path = file.path().to_string_lossy().into_owned();
            builder.with_application_credentials(path).build().map_err(unusable)
        }
        kind => {
            let known = "service_account and authorized_user are known";
            Err(refused(&format!("JSONKey holds credentials of type {kind:?}; {known}")))
        }
    }
}
