//! `StorageType = "minio"`: MinIO, DigitalOcean Spaces, Alibaba OSS and other stores that speak S3, in
//! Athens's directory layout, which is not that of `s3`.
//!
//! `Bucket` may carry a folder, `bucket/folder`. The bucket is made at start if it is missing, as in
//! Athens. Credentials are those of the configuration and no others.

use std::sync::Arc;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, Storage};
use http::{Method, Request};
use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;

use super::object::{
    Access, Connector, ContentTypes, Dialect, Keyring, Kind, LargeCommit, Layout, MakeBucket,
    ObjectStorage, Place, Presigning, Resume, SigV4, Signing, client_options, retries,
};
use crate::config::{MinioStorage, UrlText};

/// What stores take for a signature where no region is named.
const DEFAULT_REGION: &str = "us-east-1";
/// Longest answer to a refused request that is looked at.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Athens names no media type here.
const OCTETS: &str = "application/octet-stream";
const TYPES: ContentTypes = ContentTypes { info: OCTETS, go_mod: OCTETS, zip: OCTETS };

const KIND: Kind = Kind {
    name: "minio",
    layout: Layout::Directory,
    large_commit: LargeCommit::ConditionalEnd,
    resume: Resume::Name,
    foreign_tokens: false,
};

/// Opens the store; makes the bucket if it is missing.
///
/// # Errors
/// `Storage` when the endpoint is no URL, the bucket cannot be made, or the credentials are refused. A
/// server that cannot be reached is a warning.
pub async fn open(
    config: &MinioStorage,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Arc<dyn Storage>, Error> {
    open_with(config, environment, None).await
}

/// As [`open`]; clients may be sent to the store for large zips.
///
/// # Errors
/// Those of [`open`].
pub async fn open_with(
    config: &MinioStorage,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
    presigning: Option<Presigning>,
) -> Result<Arc<dyn Storage>, Error> {
    let connector = Connector::new(environment)?;
    let target = Target::of(config)?;
    let builder = AmazonS3Builder::new()
        .with_endpoint(target.endpoint())
        .with_region(target.region.as_str())
        .with_bucket_name(target.place.bucket.as_str())
        .with_virtual_hosted_style_request(target.is_virtual_hosted)
        .with_access_key_id(config.key.expose())
        .with_secret_access_key(config.secret.expose())
        .with_client_options(client_options(TYPES))
        .with_retry(retries())
        .with_http_connector(connector.clone());
    let store = builder.clone().build().map_err(|error| refused(&error.to_string()))?;
    let signing = match presigning {
        Some(rules) => Some(signing(rules, config, builder, &store)?),
        None => None,
    };
    let credential = credential(config);
    let make = bucket_maker(connector.clone(), target.clone(), credential);
    let storage = ObjectStorage::new(&KIND, &target.place, Arc::new(store), &connector, Some(make))
        .signing(signing);
    storage.start().await?;
    Ok(Arc::new(storage))
}

fn credential(config: &MinioStorage) -> AwsCredential {
    AwsCredential {
        key_id: config.key.expose().to_owned(),
        secret_key: config.secret.expose().to_owned(),
        token: None,
    }
}

/// A way into the bucket past the store, for locks. Asks nobody yet.
///
/// # Errors
/// `Storage` when the endpoint is no URL.
pub fn access(
    config: &MinioStorage,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Access, Error> {
    let connector = Connector::new(environment)?;
    let target = Target::of(config)?;
    let provider = Arc::new(StaticCredentialProvider::new(credential(config)));
    let credentials = Keyring::of(provider);
    let signer = SigV4 { credentials, region: target.region.clone() };
    let (base, place) = (target.bucket_url(), &target.place);
    Ok(Access::new(Dialect::S3, base, &place.bucket, connector, signer).below(&place.folder))
}

/// Signs for the address at which clients reach the store.
fn signing(
    rules: Presigning,
    config: &MinioStorage,
    builder: AmazonS3Builder,
    store: &AmazonS3,
) -> Result<Signing, Error> {
    let Some(endpoint) = rules.endpoint() else { return Ok(rules.by(Arc::new(store.clone()))) };
    let seen = MinioStorage { endpoint: UrlText::new(endpoint), ..config.clone() };
    let target = Target::of(&seen)?;
    let signer = builder
        .with_endpoint(target.endpoint())
        .with_virtual_hosted_style_request(target.is_virtual_hosted)
        .build();
    Ok(rules.by(Arc::new(signer.map_err(|error| refused(&error.to_string()))?)))
}

fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("minio storage cannot be set up: {reason}"))
}

/// Where the configuration points to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    scheme: &'static str,
    /// Host and port.
    authority: String,
    place: Place,
    region: String,
    is_virtual_hosted: bool,
}

impl Target {
    /// A scheme written in the endpoint wins over `EnableSSL`.
    pub(super) fn of(config: &MinioStorage) -> Result<Self, Error> {
        let endpoint = config.endpoint.as_str();
        let (scheme, authority) = match endpoint.split_once("://") {
            Some(("http", authority)) => ("http", authority),
            Some(("https", authority)) => ("https", authority),
            Some(_) => return Err(refused("Endpoint begins with neither http:// nor https://")),
            None if config.enable_ssl => ("https", endpoint),
            None => ("http", endpoint),
        };
        let authority = authority.trim_end_matches('/').to_owned();
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(refused("Endpoint is a host with a port if need be, and no path"));
        }
        let (bucket, folder) = config.bucket.split_once('/').unwrap_or((&config.bucket, ""));
        let folder = folder.trim_matches('/');
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        if bucket.is_empty() || !(folder.is_empty() || folder.split('/').all(is_plain)) {
            return Err(refused("Bucket is a bucket's name, or bucket/folder"));
        }
        let region = match config.region.as_str() {
            "" => DEFAULT_REGION,
            region => region,
        };
        Ok(Self {
            scheme,
            is_virtual_hosted: wants_virtual_hosts(&authority, bucket, scheme),
            authority,
            place: Place { bucket: bucket.to_owned(), folder: folder.to_owned() },
            region: region.to_owned(),
        })
    }

    /// The URL under which the bucket's objects lie, as the client wants it.
    fn endpoint(&self) -> String {
        match self.is_virtual_hosted {
            true => self.bucket_url(),
            false => format!("{}://{}", self.scheme, self.authority),
        }
    }

    fn bucket_url(&self) -> String {
        let Self { scheme, authority, place: Place { bucket, .. }, .. } = self;
        match self.is_virtual_hosted {
            true => format!("{scheme}://{bucket}.{authority}"),
            false => format!("{scheme}://{authority}/{bucket}"),
        }
    }
}

/// Stores that take the bucket in the host's name alone. A bucket with a dot in its name does not fit
/// into a certificate for one label.
fn wants_virtual_hosts(authority: &str, bucket: &str, scheme: &str) -> bool {
    let host = authority.split(':').next().unwrap_or(authority).to_ascii_lowercase();
    let known = [".aliyuncs.com", ".digitaloceanspaces.com", ".amazonaws.com"];
    known.iter().any(|suffix| host.ends_with(suffix))
        && !(scheme == "https" && bucket.contains('.'))
}

fn bucket_maker(connector: Connector, target: Target, credential: AwsCredential) -> MakeBucket {
    let shared = Arc::new((connector, target, credential));
    Box::new(move || -> BoxFuture<'static, Result<(), Error>> {
        let shared = Arc::clone(&shared);
        Box::pin(async move { make_bucket(&shared.0, &shared.1, &shared.2).await })
    })
}

/// `CreateBucket`. That it is there, and ours, is success: another replica may just have made it.
async fn make_bucket(
    connector: &Connector,
    target: &Target,
    credential: &AwsCredential,
) -> Result<(), Error> {
    let bucket = &target.place.bucket;
    let failed = |reason: String| {
        let text = format!("minio storage cannot make the bucket {bucket}: {reason}");
        Error::new(ErrorKind::Storage, text)
    };
    let mut request = Request::builder()
        .method(Method::PUT)
        .uri(format!("{}/", target.bucket_url().trim_end_matches('/')))
        .body(HttpRequestBody::from(location_of(&target.region)))
        .map_err(|error| failed(error.to_string()))?;
    AwsAuthorizer::new(credential, "s3", &target.region)
        .try_authorize(&mut request, None)
        .map_err(|error| failed(error.to_string()))?;
    let answer = connector.send(request).await.map_err(|error| failed(error.to_string()))?;
    let status = answer.status();
    if status.is_success() {
        tracing::info!(bucket = bucket.as_str(), "the bucket was missing and has been made");
        return Ok(());
    }
    let body = answer.into_body();
    let said = match http_body_util::BodyExt::collect(http_body_util::Limited::new(
        body,
        MAX_ANSWER_BYTES,
    ))
    .await
    {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => format!("its answer cannot be read: {error}"),
    };
    let code = said.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    match code.map(|(code, _)| code) {
        Some("BucketAlreadyOwnedByYou") => Ok(()),
        Some(code) => Err(failed(format!("{code} ({status})"))),
        None => Err(failed(status.to_string())),
    }
}

/// The body that names a region; the default one has none.
fn location_of(region: &str) -> String {
    if region == DEFAULT_REGION {
        return String::new();
    }
    let plain: String = region.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!(
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <LocationConstraint>{plain}</LocationConstraint></CreateBucketConfiguration>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn target(endpoint: &str, enable_ssl: bool, bucket: &str) -> Target {
        let config = MinioStorage {
            endpoint: UrlText::new(endpoint),
            key: Secret::new("k"),
            secret: Secret::new("s"),
            enable_ssl,
            bucket: bucket.to_owned(),
            region: String::new(),
        };
        Target::of(&config).unwrap()
    }

    #[test]
    fn a_scheme_in_the_endpoint_wins() {
        for (endpoint, enable_ssl, want) in [
            ("host:9000", true, "https://host:9000"),
            ("host:9000", false, "http://host:9000"),
            ("http://host:9000/", true, "http://host:9000"),
            ("https://host", false, "https://host"),
        ] {
            assert_eq!(target(endpoint, enable_ssl, "b").endpoint(), want);
        }
    }

    #[test]
    fn a_folder_may_follow_the_bucket() {
        let place = |bucket| target("h", true, bucket).place;
        assert_eq!((&*place("b").bucket, &*place("b").folder), ("b", ""));
        assert_eq!((&*place("b/").bucket, &*place("b/").folder), ("b", ""));
        assert_eq!((&*place("b/x/y/").bucket, &*place("b/x/y/").folder), ("b", "x/y"));
    }

    #[test]
    fn some_stores_want_the_bucket_in_the_hosts_name() {
        for (endpoint, want) in [
            ("oss-eu-central-1.aliyuncs.com", "https://mods.oss-eu-central-1.aliyuncs.com"),
            ("ams3.digitaloceanspaces.com", "https://mods.ams3.digitaloceanspaces.com"),
            ("s3.eu-west-1.amazonaws.com:443", "https://mods.s3.eu-west-1.amazonaws.com:443"),
            ("minio.example.com", "https://minio.example.com/mods"),
            ("127.0.0.1:9000", "https://127.0.0.1:9000/mods"),
            ("aliyuncs.com.example.com", "https://aliyuncs.com.example.com/mods"),
        ] {
            assert_eq!(target(endpoint, true, "mods").bucket_url(), want);
        }
        let dotted = target("oss-x.aliyuncs.com", true, "my.mods");
        assert_eq!(dotted.bucket_url(), "https://oss-x.aliyuncs.com/my.mods");
    }
}
