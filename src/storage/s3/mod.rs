//! `StorageType = "s3"`: Amazon S3, or another server that speaks it, in Athens's blob layout.
//!
//! Where credentials come from is `credentials.rs`. The region is the configuration's, else that of the
//! chain that AWS documents (environment, profile, instance). The bucket must exist.

use std::net::IpAddr;
use std::sync::Arc;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::Storage;
use object_store::aws::{AmazonS3, AmazonS3Builder};

use super::object::{
    Access, Connector, ContentTypes, Dialect, Keyring, Kind, LargeCommit, Layout, ObjectStorage,
    Place, Presigning, Resume, SigV4, Signing, client_options, retries,
};
use crate::config::{S3Storage, UrlText};

mod chain;
mod credentials;

use chain::Chain;
use credentials::Credentials;

const TYPES: ContentTypes = ContentTypes {
    info: "application/json",
    go_mod: "text/plain",
    zip: "application/octet-stream",
};

const KIND: Kind = Kind {
    name: "s3",
    layout: Layout::Blob,
    large_commit: LargeCommit::ConditionalEnd,
    resume: Resume::Name,
    foreign_tokens: false,
};

/// Opens the store.
///
/// # Errors
/// `Storage` when there is no region, the endpoint is no URL, the bucket is missing, or the credentials
/// are refused. A server that cannot be reached is a warning.
pub async fn open(
    config: &S3Storage,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Arc<dyn Storage>, Error> {
    open_with(config, environment, None).await
}

/// As [`open`]; clients may be sent to the store for large zips.
///
/// # Errors
/// Those of [`open`].
pub async fn open_with(
    config: &S3Storage,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
    presigning: Option<Presigning>,
) -> Result<Arc<dyn Storage>, Error> {
    let connector = Connector::new(environment)?;
    let chain = Chain::load(&config.region).await;
    let region = chain.region().ok_or_else(no_region)?;
    let target = Target::of(config, &region)?;
    let credentials = Credentials::new(config, connector.clone(), chain)?;
    let builder = AmazonS3Builder::new()
        .with_endpoint(target.endpoint())
        .with_region(region.as_str())
        .with_bucket_name(config.bucket.as_str())
        .with_virtual_hosted_style_request(target.is_virtual_hosted)
        .with_credentials(Arc::new(credentials))
        .with_client_options(client_options(TYPES))
        .with_retry(retries())
        .with_http_connector(connector.clone());
    let store = builder.clone().build().map_err(|error| refused(&error.to_string()))?;
    let signing = match presigning {
        Some(rules) => Some(signing(rules, config, &region, builder, &store)?),
        None => None,
    };
    let place = Place { bucket: config.bucket.clone(), folder: String::new() };
    let storage =
        ObjectStorage::new(&KIND, &place, Arc::new(store), &connector, None).signing(signing);
    storage.start().await?;
    Ok(Arc::new(storage))
}

/// A way into the bucket past the store, for locks. Asks nobody yet but for a region that is not set.
///
/// # Errors
/// `Storage` when there is no region, or the endpoint is no URL.
pub async fn access(
    config: &S3Storage,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Access, Error> {
    let connector = Connector::new(environment)?;
    let chain = Chain::load(&config.region).await;
    let region = chain.region().ok_or_else(no_region)?;
    let base = Target::of(config, &region)?.bucket_url();
    let provider = Arc::new(Credentials::new(config, connector.clone(), chain)?);
    let credentials = Keyring::of(provider);
    let signer = SigV4 { credentials, region };
    Ok(Access::new(Dialect::S3, base, &config.bucket, connector, signer))
}

fn no_region() -> Error {
    refused("no region is known: set Storage.S3.Region in the file, or AWS_REGION")
}

/// Signs for the address at which clients reach the store.
fn signing(
    rules: Presigning,
    config: &S3Storage,
    region: &str,
    builder: AmazonS3Builder,
    store: &AmazonS3,
) -> Result<Signing, Error> {
    let Some(endpoint) = rules.endpoint() else { return Ok(rules.by(Arc::new(store.clone()))) };
    let seen = S3Storage { endpoint: UrlText::new(endpoint), ..config.clone() };
    let target = Target::of(&seen, region)?;
    let signer = builder
        .with_endpoint(target.endpoint())
        .with_virtual_hosted_style_request(target.is_virtual_hosted)
        .build();
    Ok(rules.by(Arc::new(signer.map_err(|error| refused(&error.to_string()))?)))
}

fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("s3 storage cannot be set up: {reason}"))
}

/// Where requests go.
struct Target {
    scheme: String,
    /// Host and port.
    authority: String,
    bucket: String,
    is_virtual_hosted: bool,
}

impl Target {
    fn of(config: &S3Storage, region: &str) -> Result<Self, Error> {
        let endpoint = config.endpoint.as_str();
        let (scheme, authority) = match endpoint.split_once("://") {
            Some((scheme @ ("http" | "https"), authority)) => (scheme, authority.to_owned()),
            Some(_) => return Err(refused("Endpoint begins with neither http:// nor https://")),
            None if endpoint.is_empty() => ("https", format!("s3.{region}.{}", domain(region))),
            None => ("https", endpoint.to_owned()),
        };
        let authority = authority.trim_end_matches('/').to_owned();
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(refused("Endpoint is a host, or a URL without a path"));
        }
        let bucket = config.bucket.clone();
        if bucket.is_empty() || bucket.contains('/') {
            return Err(refused("Bucket is a bucket's name, without a folder"));
        }
        let stands_in_the_path = config.force_path_style
            || is_address(&authority)
            || (scheme == "https" && bucket.contains('.'));
        let is_virtual_hosted = !stands_in_the_path;
        Ok(Self { scheme: scheme.to_owned(), authority, bucket, is_virtual_hosted })
    }

    fn endpoint(&self) -> String {
        let Self { scheme, authority, bucket, .. } = self;
        match self.is_virtual_hosted {
            true => format!("{scheme}://{bucket}.{authority}"),
            false => format!("{scheme}://{authority}"),
        }
    }

    /// The URL under which the objects lie.
    fn bucket_url(&self) -> String {
        match self.is_virtual_hosted {
            true => self.endpoint(),
            false => format!("{}/{}", self.endpoint(), self.bucket),
        }
    }
}

/// The regions in China have a domain of their own.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// An address takes no bucket before it, as in Amazon's own clients.
fn is_address(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
