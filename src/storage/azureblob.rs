//! `StorageType = "azureblob"`: Azure Blob Storage, in Athens's blob layout.
//!
//! Credentials are a managed identity, by its resource id, or the account's key. Another endpoint than the
//! account's own may be set, for emulators and private clouds, and the container made if it is missing.

use std::sync::Arc;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, Storage};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use object_store::azure::{
    AzureAccessKey, AzureAuthorizer, AzureConfigKey, AzureCredential, MicrosoftAzure,
    MicrosoftAzureBuilder,
};
use object_store::client::{HttpRequest, HttpRequestBody};

use super::object::{
    Access, Connector, ContentTypes, Dialect, Keyring, Kind, LargeCommit, Layout, MakeBucket,
    ObjectStorage, Place, Presigning, Resume, Sign, client_options, retries,
};
use crate::config::AzureBlobStorage;

const TYPES: ContentTypes = ContentTypes {
    info: "application/json",
    go_mod: "text/plain",
    zip: "application/octet-stream",
};

const KIND: Kind = Kind {
    name: "azureblob",
    layout: Layout::Blob,
    // A copy may go on after its request has ended.
    large_commit: LargeCommit::CheckedEnd,
    resume: Resume::Page,
    foreign_tokens: true,
};

/// The scope that a managed identity's tokens have.
const SCOPE: &str = "https://storage.azure.com";

/// What `[Dipylon]` adds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extensions<'a> {
    /// Another blob endpoint; empty for the account's own.
    pub endpoint: &'a str,
    /// Makes the container if it is missing.
    pub create_container: bool,
}

/// Opens the store.
///
/// # Errors
/// `Storage` when the key is not base64, the container is missing, or the credentials are refused. A
/// server that cannot be reached is a warning.
pub async fn open(
    config: &AzureBlobStorage,
    ours: Extensions<'_>,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Arc<dyn Storage>, Error> {
    open_with(config, ours, environment, None).await
}

/// As [`open`]; clients may be sent to the store for large zips.
///
/// # Errors
/// Those of [`open`].
pub async fn open_with(
    config: &AzureBlobStorage,
    ours: Extensions<'_>,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
    presigning: Option<Presigning>,
) -> Result<Arc<dyn Storage>, Error> {
    let connector = Connector::new(environment)?;
    let endpoint = endpoint_of(config, ours);
    let identity = config.managed_identity_resource_id.as_str();
    if !identity.is_empty() {
        warn_of_scope(&config.credential_scope);
    }
    let builder = builder(config, &endpoint, &connector);
    let store = build(builder.clone())?;
    let signing = match presigning {
        Some(rules) => {
            let signer = match rules.endpoint() {
                None => store.clone(),
                Some(seen) => build(
                    builder
                        .with_endpoint(seen.to_owned())
                        .with_allow_http(seen.starts_with("http:")),
                )?,
            };
            Some(rules.by(Arc::new(signer)))
        }
        None => None,
    };
    let make = match ours.create_container && identity.is_empty() {
        true => Some(container_maker(config, &endpoint, &connector)?),
        false => None,
    };
    let place = Place { bucket: config.container_name.clone(), folder: String::new() };
    let storage =
        ObjectStorage::new(&KIND, &place, Arc::new(store), &connector, make).signing(signing);
    storage.start().await?;
    Ok(Arc::new(storage))
}

fn endpoint_of(config: &AzureBlobStorage, ours: Extensions<'_>) -> String {
    match ours.endpoint.trim_end_matches('/') {
        "" => format!("https://{}.blob.core.windows.net", config.account_name),
        endpoint => endpoint.to_owned(),
    }
}

fn builder(
    config: &AzureBlobStorage,
    endpoint: &str,
    connector: &Connector,
) -> MicrosoftAzureBuilder {
    let builder = MicrosoftAzureBuilder::new()
        .with_account(config.account_name.as_str())
        .with_container_name(config.container_name.as_str())
        .with_endpoint(endpoint.to_owned())
        .with_allow_http(endpoint.starts_with("http://"))
        .with_client_options(client_options(TYPES))
        .with_retry(retries())
        .with_http_connector(connector.clone());
    match config.managed_identity_resource_id.as_str() {
        "" => builder.with_access_key(config.account_key.expose()),
        identity => builder.with_config(AzureConfigKey::MsiResourceId, identity),
    }
}

fn build(builder: MicrosoftAzureBuilder) -> Result<MicrosoftAzure, Error> {
    // What the client says of a key may quote it.
    builder.build().map_err(|_| refused("the account's key or endpoint is malformed"))
}

/// A way into the container past the store, for locks. Asks nobody yet.
///
/// # Errors
/// `Storage` when the key is not base64, or the endpoint is no URL.
pub fn access(
    config: &AzureBlobStorage,
    ours: Extensions<'_>,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Access, Error> {
    let connector = Connector::new(environment)?;
    let endpoint = endpoint_of(config, ours);
    let client = build(builder(config, &endpoint, &connector))?;
    let account = config.account_name.clone();
    let signer = Signer { credentials: Keyring::of(Arc::clone(client.credentials())), account };
    let base = format!("{endpoint}/{}", config.container_name);
    Ok(Access::new(Dialect::Azure, base, &config.container_name, connector, signer))
}

/// Signs with the account's key, or with a managed identity's token.
struct Signer {
    credentials: Keyring<AzureCredential>,
    account: String,
}

impl Sign for Signer {
    fn sign<'a>(&'a self, request: &'a mut HttpRequest) -> BoxFuture<'a, object_store::Result<()>> {
        Box::pin(async move {
            let credential = self.credentials.get().await?;
            AzureAuthorizer::new(&credential, &self.account).try_authorize(request)
        })
    }
}

fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("azureblob storage cannot be set up: {reason}"))
}

fn warn_of_scope(scope: &str) {
    if scope.trim_end_matches("/.default").trim_end_matches('/') != SCOPE {
        tracing::warn!(scope, "CredentialScope is not used: tokens are for {SCOPE}");
    }
}

fn container_maker(
    config: &AzureBlobStorage,
    endpoint: &str,
    connector: &Connector,
) -> Result<MakeBucket, Error> {
    let key = AzureAccessKey::try_new(config.account_key.expose())
        .map_err(|_| refused("AccountKey is not base64"))?;
    let maker = Maker {
        credential: AzureCredential::AccessKey(key),
        account: config.account_name.clone(),
        container: config.container_name.clone(),
        endpoint: endpoint.to_owned(),
        connector: connector.clone(),
    };
    let maker = Arc::new(maker);
    Ok(Box::new(move || -> BoxFuture<'static, Result<(), Error>> {
        let maker = Arc::clone(&maker);
        Box::pin(async move { maker.make().await })
    }))
}

struct Maker {
    credential: AzureCredential,
    account: String,
    container: String,
    endpoint: String,
    connector: Connector,
}

impl Maker {
    /// `Create Container`. That it is there is success: another replica may just have made it.
    async fn make(&self) -> Result<(), Error> {
        let failed = |reason: String| {
            let text =
                format!("azureblob storage cannot make the container {}: {reason}", self.container);
            Error::new(ErrorKind::Storage, text)
        };
        let mut request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/{}?restype=container", self.endpoint, self.container))
            .header(CONTENT_LENGTH, 0)
            .body(HttpRequestBody::empty())
            .map_err(|error| failed(error.to_string()))?;
        AzureAuthorizer::new(&self.credential, &self.account)
            .try_authorize(&mut request)
            .map_err(|error| failed(error.to_string()))?;
        let answer = self.connector.send(request).await;
        let status = answer.map_err(|error| failed(error.to_string()))?.status();
        if status == StatusCode::CONFLICT {
            return Ok(());
        }
        if !status.is_success() {
            return Err(failed(status.to_string()));
        }
        tracing::info!(container = self.container, "the container was missing and has been made");
        Ok(())
    }
}
