//! `azureblob` with a managed identity: what the identity service is asked for, and that its token, and no
//! other, comes with every request to the store.
//!
//! Azure's identity service answers at an address that no other network has. Requests to it go through an
//! HTTP proxy on loopback, which stands for it. The store is a real server behind a front that takes no
//! request without the youngest token, and signs it with the account's key, since the server knows no
//! tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dipylon::config::{AzureBlobStorage, Secret};
use dipylon::storage::azureblob::{self, Extensions};
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{SaveResult, Storage};
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::Subject;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, Response};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequestBody;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use crate::azureblob::{bench, config, server};
use crate::bench::{Bench, names};
use crate::front::{Front, PassOn};

const RESOURCE: &str = "/subscriptions/0/resourceGroups/g/providers/\
                        Microsoft.ManagedIdentity/userAssignedIdentities/dipylon";
/// A token is asked for again when it ends within five minutes.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);

/// Stands for the identity service. Its tokens are numbered.
struct Identity {
    front: Front,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How long a token holds.
    lifetime: Duration,
    /// The service refuses to give any.
    is_refusing: bool,
    /// How often it was asked.
    asked: usize,
}

impl Identity {
    async fn start(lifetime: Duration) -> Self {
        let state = Arc::new(Mutex::new(State { lifetime, ..State::default() }));
        let shared = Arc::clone(&state);
        let front = Front::start(move |request| {
            let answer = answer(&request, &mut shared.lock());
            async move { answer }
        });
        Self { front: front.await, state }
    }

    fn asked(&self) -> usize {
        self.state.lock().asked
    }

    fn environment(&self) -> impl Fn(&str) -> Option<String> + Sync {
        let url = self.front.url.clone();
        move |name| (name == "HTTP_PROXY").then(|| url.clone())
    }
}

fn answer(request: &Request<Bytes>, state: &mut State) -> Response<Bytes> {
    state.asked += 1;
    let uri = request.uri();
    let wanted = "http://169.254.169.254/metadata/identity/oauth2/token?";
    assert!(uri.to_string().starts_with(wanted), "{uri}");
    assert_eq!(request.headers()["metadata"], "true");
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pairs = uri.query().unwrap().split('&').filter_map(|pair| pair.split_once('='));
    let query: HashMap<&str, String> = pairs.map(|(name, text)| (name, decoded(text))).collect();
    assert_eq!(query["resource"], "https://storage.azure.com");
    assert_eq!(query["msi_res_id"], RESOURCE);
    if state.is_refusing {
        let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        return Response::builder().status(400).body(body.into()).unwrap();
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let until = (now + state.lifetime).as_secs();
    let body = format!(r#"{{"access_token":"token-{}","expires_on":"{until}"}}"#, state.asked);
    Response::new(body.into())
}

/// A front before the store: it takes the youngest token alone.
async fn guarded(identity: &Identity) -> Front {
    let (endpoint, account, key) = server();
    let origin = endpoint.strip_suffix(&format!("/{account}")).unwrap().to_owned();
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(&key).unwrap());
    let shared = Arc::new((origin, account, credential, Arc::clone(&identity.state)));
    Front::start(move |request| {
        let shared = Arc::clone(&shared);
        async move {
            let (origin, account, credential, state) = &*shared;
            let want = format!("Bearer token-{}", state.lock().asked);
            let has = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            if has != Some(&want) {
                // In the form that Azure has for it, with more in it than Azure says.
                let said = format!(
                    "<?xml version=\"1.0\"?><Error><Code>InvalidAuthenticationInfo</Code><Message>{} in \
                     place of {want}</Message></Error>",
                    has.unwrap_or_default()
                );
                return Response::builder().status(401).body(said.into()).unwrap();
            }
            PassOn::to(origin).send(signed(request, origin, account, credential)).await
        }
    })
    .await
}

/// The same request with the account's signature in place of the token.
fn signed(
    request: Request<Bytes>,
    origin: &str,
    account: &str,
    credential: &AzureCredential,
) -> Request<Bytes> {
    let (mut head, body) = request.into_parts();
    head.uri = format!("{origin}{}", head.uri.path_and_query().unwrap()).parse().unwrap();
    head.headers.remove(AUTHORIZATION);
    head.headers.remove(HOST);
    let mut request = Request::from_parts(head, HttpRequestBody::from(body.clone()));
    AzureAuthorizer::new(credential, account).try_authorize(&mut request).unwrap();
    request.map(|_| body)
}

async fn open(
    identity: &Identity,
    guard: &Front,
    bench: &Bench,
) -> Result<Arc<dyn Storage>, Error> {
    let (_, account, _) = server();
    let (_, container) =
        bench.settings.iter().find(|(name, _)| *name == "ATHENS_AZURE_CONTAINER_NAME").unwrap();
    let config = AzureBlobStorage {
        account_key: Secret::default(),
        managed_identity_resource_id: RESOURCE.to_owned(),
        credential_scope: "https://storage.azure.com/.default".to_owned(),
        ..config(&account, "", container)
    };
    let endpoint = format!("{}/{account}", guard.url);
    let ours = Extensions { endpoint: &endpoint, create_container: false };
    azureblob::open(&config, ours, &identity.environment()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs azurite: run by cargo xtask test"]
async fn versions_go_in_and_out_with_one_token() {
    let bench = bench().await;
    let identity = Identity::start(Duration::from_secs(3_600)).await;
    let guard = guarded(&identity).await;
    let subject = Subject::new(open(&identity, &guard, &bench).await.unwrap());
    // One in a piece, one in parts.
    for module in [
        FakeModule::new("example.com/small", "v1.0.0"),
        FakeModule::new("example.com/large", "v1.0.0").filler(9 << 20),
    ] {
        assert_eq!(subject.save(&module).await.unwrap(), SaveResult::Created);
        assert!(bench.is_stored(&module).await, "as another client sees it");
        let (path, version) = names(&module);
        for kind in FileKind::ALL {
            assert!(subject.storage().read(&path, &version, kind).await.unwrap().is_some());
        }
        assert_eq!(subject.storage().list(&path).await.unwrap(), [version]);
    }
    assert_eq!(subject.storage().catalog(None, 0).await.unwrap().entries.len(), 2);
    assert_eq!(identity.asked(), 1, "a token is asked for once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs azurite: run by cargo xtask test"]
async fn a_token_is_replaced_before_its_end() {
    let bench = bench().await;
    let identity = Identity::start(RENEWED_BEFORE + Duration::from_secs(3)).await;
    let guard = guarded(&identity).await;
    let storage = open(&identity, &guard, &bench).await.unwrap();
    storage.check().await.unwrap();
    assert_eq!(identity.asked(), 1);
    tokio::time::sleep(Duration::from_secs(4)).await;
    identity.state.lock().lifetime = Duration::from_secs(3_600);
    for _ in 0..3 {
        storage.check().await.unwrap();
    }
    assert_eq!(identity.asked(), 2, "once again, and no more");
}

/// The start says which backend has no credentials, and no token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs azurite: run by cargo xtask test"]
async fn an_identity_that_is_not_known_ends_the_start() {
    let bench = bench().await;
    let identity = Identity::start(Duration::from_secs(3_600)).await;
    identity.state.lock().is_refusing = true;
    let guard = guarded(&identity).await;
    let refused = open(&identity, &guard, &bench).await.err().expect("no token, no store");
    assert_eq!(refused.kind(), ErrorKind::Storage);
    assert!(refused.message().starts_with("azureblob storage cannot list "), "{refused}");
    let want = ": no token was given: 400 Bad Request: Identity not found";
    assert!(refused.message().ends_with(want), "{refused}");
}

/// A token that the store refuses is an error and no miss, and nobody sees the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs azurite: run by cargo xtask test"]
async fn a_token_that_the_store_refuses_is_an_error() {
    let bench = bench().await;
    let identity = Identity::start(Duration::from_secs(3_600)).await;
    let guard = guarded(&identity).await;
    let storage = open(&identity, &guard, &bench).await.unwrap();
    // The store believes a younger one alone.
    identity.state.lock().asked += 1;
    let (path, version) = names(&FakeModule::new("example.com/a", "v1.0.0"));
    for failed in [
        storage.read(&path, &version, FileKind::Mod).await.expect_err("an error"),
        storage.list(&path).await.expect_err("an error"),
        storage.check().await.expect_err("an error"),
        Subject::new(Arc::clone(&storage))
            .save(&FakeModule::new("example.com/a", "v1.0.0"))
            .await
            .expect_err("an error"),
    ] {
        assert_eq!(failed.kind(), ErrorKind::Storage);
        let text = format!("{failed} {failed:?}");
        assert!(text.starts_with("azureblob storage cannot "), "{text}");
        let why = "InvalidAuthenticationInfo; check the credentials";
        assert!(failed.message().ends_with(why), "{text}");
        assert!(!text.contains("token-") && !text.contains("Bearer"), "{text}");
    }
}
