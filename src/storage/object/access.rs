//! A way into a bucket past the engine: for locks, which have to see each answer as it came, and must wait
//! for no save.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::ports::BoxFuture;
use futures::FutureExt as _;
use futures::future::Shared;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use object_store::CredentialProvider;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpRequestBody};
use parking_lot::Mutex;

use super::http::Connector;

/// Largest answer that is read: a lock has some 200 bytes, an error a page.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Makes a request the gateway's own.
pub(in crate::storage) trait Sign: Send + Sync + 'static {
    /// Adds what proves who asks.
    fn sign<'a>(&'a self, request: &'a mut HttpRequest) -> BoxFuture<'a, object_store::Result<()>>;
}

/// How requests are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Amazon's.
    S3,
    /// Google's JSON API.
    Gcs,
    /// Azure's blobs.
    Azure,
}

/// A bucket, and connections of its own to it.
pub struct Access {
    pub(crate) dialect: Dialect,
    /// The URL of the bucket without a slash at its end; of Google the API's own, since its paths differ.
    pub(crate) base: String,
    pub(crate) bucket: String,
    /// The folder with its slash, or nothing.
    pub(crate) folder: String,
    /// Whether its conditions need no trial: those of Google's own store are promised.
    pub(crate) is_proven: bool,
    connector: Connector,
    signer: Box<dyn Sign>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({:?} {}/{})", self.dialect, self.bucket, self.folder)
    }
}

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Access {
    /// Into a bucket at its root.
    pub(in crate::storage) fn new(
        dialect: Dialect,
        base: String,
        bucket: &str,
        connector: Connector,
        signer: impl Sign,
    ) -> Self {
        let (bucket, folder, signer) = (bucket.to_owned(), String::new(), Box::new(signer));
        Self { dialect, base, bucket, folder, is_proven: false, connector, signer }
    }

    /// As `is_proven` says.
    #[cfg(feature = "gcp")]
    pub(in crate::storage) fn proven(mut self, is_proven: bool) -> Self {
        self.is_proven = is_proven;
        self
    }

    /// Below a folder, which has no slashes at its ends.
    #[cfg(feature = "minio")]
    pub(in crate::storage) fn below(mut self, folder: &str) -> Self {
        if !folder.is_empty() {
            self.folder = format!("{folder}/");
        }
        self
    }

    /// Signs a request. Who stops waiting for the credentials does not end their coming.
    ///
    /// # Errors
    /// There are no credentials.
    pub(crate) async fn sign(&self, request: Request<Bytes>) -> Result<Signed, Unanswered> {
        let mut request = request.map(HttpRequestBody::from);
        self.signer.sign(&mut request).await?;
        Ok(Signed(request))
    }

    /// Sends one signed request, once.
    ///
    /// # Errors
    /// What kept the answer from coming whole; any status is an answer.
    pub(crate) async fn send(&self, request: Signed) -> Result<Answer, Unanswered> {
        Ok(self.answer(request).await?)
    }

    async fn answer(&self, Signed(request): Signed) -> object_store::Result<Answer> {
        let answer = self.connector.send(request).await.map_err(transport)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body
            .map_err(|error| transport(HttpError::new_boxed(HttpErrorKind::Interrupted, error)))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

fn transport(error: HttpError) -> object_store::Error {
    object_store::Error::Generic { store: "lock", source: Box::new(error) }
}

/// A request that proves who asks.
pub(crate) struct Signed(HttpRequest);

/// Why there is no answer.
pub(crate) struct Unanswered {
    /// In one line, without secrets.
    pub(crate) cause: String,
    /// Whether the connection broke before the answer, as one does that the server closed while it lay idle.
    pub(crate) is_broken_connection: bool,
}

impl From<object_store::Error> for Unanswered {
    fn from(error: object_store::Error) -> Self {
        let is_broken_connection = super::failure::is_broken_connection(&error);
        Self { cause: super::failure::short(&error), is_broken_connection }
    }
}

type Fetching<C> = Shared<BoxFuture<'static, Result<Arc<C>, Arc<object_store::Error>>>>;

/// Credentials, fetched on a task of its own for all that wait. A question about a lock has less time than a
/// service of identities may take: one that gives up must not end a fetch that the next would begin anew.
pub(in crate::storage) struct Keyring<C> {
    provider: Arc<dyn CredentialProvider<Credential = C>>,
    fetching: Mutex<Option<Fetching<C>>>,
}

impl<C: Send + Sync + 'static> Keyring<C> {
    pub(in crate::storage) fn of(provider: Arc<dyn CredentialProvider<Credential = C>>) -> Self {
        Self { provider, fetching: Mutex::new(None) }
    }

    /// What the provider has, which knows itself how long that holds.
    pub(in crate::storage) async fn get(&self) -> object_store::Result<Arc<C>> {
        let fetching = self.fetching();
        fetching.await.map_err(|error| object_store::Error::Generic {
            store: "lock",
            source: Box::new(error),
        })
    }

    fn fetching(&self) -> Fetching<C> {
        let mut known = self.fetching.lock();
        if let Some(fetching) = known.as_ref().filter(|fetching| fetching.peek().is_none()) {
            return fetching.clone();
        }
        let provider = Arc::clone(&self.provider);
        let task = tokio::spawn(async move { provider.get_credential().await });
        let fetched = task.map(|fetched| match fetched {
            Ok(credential) => credential.map_err(Arc::new),
            Err(source) => Err(Arc::new(object_store::Error::JoinError { source })),
        });
        let fetching = fetched.boxed().shared();
        // Followed to its end also when nobody waits any more: what came is for those who wait, and a result
        // that nobody took would be given to who asks hours later.
        drop(tokio::spawn(fetching.clone()));
        *known = Some(fetching.clone());
        fetching
    }
}

/// Sets a bearer's token.
#[cfg(feature = "gcp")]
pub(in crate::storage) fn bearer(
    request: &mut HttpRequest,
    token: &str,
) -> object_store::Result<()> {
    if token.is_empty() {
        return Ok(());
    }
    let value = http::HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value =
        value.map_err(|error| transport(HttpError::new(HttpErrorKind::Unknown, error)))?;
    value.set_sensitive(true);
    request.headers_mut().insert(http::header::AUTHORIZATION, value);
    Ok(())
}

/// Signs for S3.
#[cfg(any(feature = "minio", feature = "s3"))]
pub(in crate::storage) struct SigV4 {
    pub(in crate::storage) credentials: Keyring<object_store::aws::AwsCredential>,
    pub(in crate::storage) region: String,
}

#[cfg(any(feature = "minio", feature = "s3"))]
impl Sign for SigV4 {
    fn sign<'a>(&'a self, request: &'a mut HttpRequest) -> BoxFuture<'a, object_store::Result<()>> {
        Box::pin(async move {
            let credential = self.credentials.get().await?;
            object_store::aws::AwsAuthorizer::new(&credential, "s3", &self.region)
                .try_authorize(request, None)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use object_store::aws::AwsCredential;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Takes five seconds the first time, and knows the answer from then on.
    #[derive(Debug, Default)]
    struct Slow {
        asked: AtomicUsize,
        fetches: AtomicUsize,
        known: tokio::sync::OnceCell<Arc<AwsCredential>>,
    }

    impl CredentialProvider for Slow {
        type Credential = AwsCredential;

        fn get_credential<'life0, 'async_trait>(
            &'life0 self,
        ) -> std::pin::Pin<
            Box<
                dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'async_trait,
            >,
        >
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let fetch = async || {
                    self.fetches.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_secs(5)).await;
                    Arc::new(AwsCredential {
                        key_id: "key".to_owned(),
                        secret_key: "secret".to_owned(),
                        token: None,
                    })
                };
                Ok(Arc::clone(self.known.get_or_init(fetch).await))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_come_later_than_anybody_waits_come_all_the_same_and_once() {
        let slow = Arc::new(Slow::default());
        let credentials = Keyring::of(Arc::<Slow>::clone(&slow));
        for _ in 0..2 {
            let (one, other) = (credentials.get(), credentials.get());
            let (one, other) = futures::join!(timeout(SECOND, one), timeout(SECOND, other));
            assert!(one.is_err() && other.is_err(), "nobody waits for so long");
        }
        sleep(SECOND * 4).await;
        let credential = timeout(SECOND, credentials.get()).await.unwrap().unwrap();
        assert_eq!(credential.key_id, "key");
        assert_eq!(slow.fetches.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_when_nobody_waited_any_more_is_asked_for_again_by_who_comes_later() {
        let slow = Arc::new(Slow::default());
        let credentials = Keyring::of(Arc::<Slow>::clone(&slow));
        assert!(timeout(SECOND, credentials.get()).await.is_err(), "nobody waits for so long");
        sleep(SECOND * 3_600).await;
        credentials.get().await.unwrap();
        assert_eq!(slow.asked.load(Ordering::Relaxed), 2, "the provider knows what still holds");
    }

    const SECOND: Duration = Duration::from_secs(1);
}
