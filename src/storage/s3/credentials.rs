//! Where the credentials come from, in the documented order: the credentials endpoint, if it answers
//! validly; the configured keys, if they are given; the chain. `UseDefaultConfiguration` leaves the chain
//! alone.
//!
//! What was found is kept until it is about to end. A source that fails while what it gave still holds
//! changes nothing. No text here ever holds a key.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dipylon_middleware::error::Error;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Limited};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use object_store::client::HttpRequestBody;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Mutex;

use super::super::object::Connector;
use super::chain::Chain;
use crate::config::S3Storage;

/// Credentials are replaced this long before they end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Credentials of which no end is known are asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(900);
/// Longest time for one source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer of a credentials endpoint.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The three sources.
pub(super) struct Credentials {
    endpoint: Option<Uri>,
    keys: Option<Arc<AwsCredential>>,
    chain: Chain,
    connector: Connector,
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
struct Kept {
    credential: Arc<AwsCredential>,
    /// When they end, where that is known.
    ends: Option<SystemTime>,
    asked: SystemTime,
}

impl Kept {
    fn is_fresh(&self, now: SystemTime) -> bool {
        match self.ends {
            Some(ends) => now + RENEW_BEFORE < ends,
            None => now < self.asked + ASK_AGAIN,
        }
    }

    fn still_holds(&self, now: SystemTime) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}

/// What a credentials endpoint answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    expiration: Option<String>,
}

impl Credentials {
    pub(super) fn new(
        config: &S3Storage,
        connector: Connector,
        chain: Chain,
    ) -> Result<Self, Error> {
        let chain_only = config.use_default_configuration;
        let endpoint = config.credentials_endpoint.as_str();
        let endpoint = match endpoint.is_empty() || chain_only {
            true => None,
            false => {
                let uri = format!("{endpoint}{}", config.aws_container_credentials_relative_uri);
                Some(uri.parse().map_err(|_| {
                    super::refused(
                        "CredentialsEndpoint with AwsContainerCredentialsRelativeURI is no URL",
                    )
                })?)
            }
        };
        let given = !config.key.is_empty() && !config.secret.is_empty() && !chain_only;
        let keys = given.then(|| {
            let token = config.token.expose();
            Arc::new(AwsCredential {
                key_id: config.key.expose().to_owned(),
                secret_key: config.secret.expose().to_owned(),
                token: (!token.is_empty()).then(|| token.to_owned()),
            })
        });
        Ok(Self { endpoint, keys, chain, connector, kept: Mutex::new(None) })
    }

    async fn credential(&self) -> Result<Arc<AwsCredential>, NoCredentials> {
        let mut kept = self.kept.lock().await;
        let now = SystemTime::now();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_fresh(now)) {
            return Ok(Arc::clone(&kept.credential));
        }
        match self.find(now).await {
            Ok(found) => Ok(Arc::clone(&kept.insert(found).credential)),
            Err(error) => match kept.as_ref().filter(|kept| kept.still_holds(now)) {
                Some(kept) => {
                    tracing::warn!(%error, "s3 credentials cannot be renewed yet");
                    Ok(Arc::clone(&kept.credential))
                }
                None => Err(error),
            },
        }
    }

    async fn find(&self, asked: SystemTime) -> Result<Kept, NoCredentials> {
        let mut why = String::new();
        if let Some(uri) = &self.endpoint {
            match bounded(self.ask(uri)).await {
                Ok((credential, ends)) => {
                    return Ok(Kept { credential: Arc::new(credential), ends, asked });
                }
                Err(reason) => why = format!("the credentials endpoint: {reason}; "),
            }
        }
        if let Some(keys) = &self.keys {
            if !why.is_empty() {
                tracing::warn!(reason = why, "s3 takes the configured keys");
            }
            return Ok(Kept { credential: Arc::clone(keys), ends: None, asked });
        }
        match bounded(self.chain.credential()).await {
            Ok((credential, ends)) => Ok(Kept { credential: Arc::new(credential), ends, asked }),
            Err(reason) => Err(NoCredentials(format!("{why}the default chain: {reason}"))),
        }
    }

    async fn ask(&self, uri: &Uri) -> Result<(AwsCredential, Option<SystemTime>), String> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(uri)
            .body(HttpRequestBody::empty())
            .map_err(|error| error.to_string())?;
        let answer = self.connector.send(request).await;
        let answer = answer.map_err(|error| crate::fetch::http_client::causes(&error))?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        // What a parser says may quote what it read.
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| "its answer holds no credentials")?;
        let ends = answer.expiration.filter(|text| !text.is_empty());
        let ends = ends.map(|text| OffsetDateTime::parse(&text, &Rfc3339)).transpose();
        let ends = ends.map_err(|_| "its answer has an Expiration that is no time")?;
        let credential = AwsCredential {
            key_id: answer.access_key_id,
            secret_key: answer.secret_access_key,
            token: answer.token.filter(|token| !token.is_empty()),
        };
        let is_empty = credential.key_id.is_empty() || credential.secret_key.is_empty();
        if is_empty {
            Err("its answer has an empty key".to_owned())
        } else {
            Ok((credential, ends.map(Into::into)))
        }
    }
}

async fn bounded<T>(source: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let found = tokio::time::timeout(SOURCE_TIMEOUT, source).await;
    found.unwrap_or_else(|_| Err(format!("no answer within {SOURCE_TIMEOUT:?}")))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// No source has credentials.
#[derive(Debug, thiserror::Error)]
#[error("no credentials: {0}")]
struct NoCredentials(String);

type Finding<'a> =
    Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'a>>;

impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    fn get_credential<'life0, 'async_trait>(&'life0 self) -> Finding<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let found = self.credential().await;
            found.map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            })
        })
    }
}
