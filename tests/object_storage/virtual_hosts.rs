//! The bucket in the host's name, as Amazon, DigitalOcean Spaces and Alibaba OSS have it.
//!
//! A real server answers under those names. No name service knows them here, so requests go through an
//! HTTP proxy on loopback, which passes them on as they are, and notes which hosts they were for.

use dipylon_testkit::services::given::fresh_name;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dipylon::config::{MinioStorage, PresignedKeys, S3Storage, UrlText};
use dipylon::storage::object::{Connector, PART_BYTES, Presigning};
use dipylon_middleware::blob::BlobSource;
use dipylon_middleware::ports::{SaveResult, Storage};
use dipylon_middleware::telemetry::Telemetry;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{Subject, read_range};
use http::header::HOST;
use object_store::client::HttpRequestBody;
use parking_lot::Mutex;

use crate::bench::names;
use crate::front::{Front, PassOn};
use crate::minio::{self, MANY_VERSIONS, no_environment};
use crate::s3;

/// Names under which the stack's MinIO takes the bucket in the host's name.
const AMAZON: &str = "s3.eu-central-1.amazonaws.com";
const DIGITAL_OCEAN: &str = "ams3.digitaloceanspaces.com";
const ALIBABA: &str = "oss-eu-central-1.aliyuncs.com";
const ALIBABA_REGION: &str = "oss-eu-central-1";

mod suite_as_amazon {
    dipylon_testkit::storage_suite!(super::amazon, "needs minio: run by cargo xtask test");
}

mod suite_as_digitalocean_spaces {
    dipylon_testkit::storage_suite!(super::digital_ocean, "needs minio: run by cargo xtask test");
}

mod suite_as_alibaba_oss {
    dipylon_testkit::storage_suite!(super::alibaba, "needs minio: run by cargo xtask test");
}

/// An HTTP proxy before MinIO.
struct Proxy {
    front: Front,
    hosts: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    async fn start() -> Self {
        let hosts = Arc::new(Mutex::new(BTreeSet::new()));
        let (seen, server) = (Arc::clone(&hosts), PassOn::to(&minio::server().endpoint));
        let front = Front::start(move |request| {
            let host = request.headers()[HOST].to_str().unwrap().to_owned();
            assert_eq!(
                request.uri().host(),
                Some(host.as_str()),
                "a proxy is asked for whole URLs"
            );
            seen.lock().insert(host);
            let server = server.clone();
            async move { server.send(request).await }
        });
        Self { front: front.await, hosts }
    }

    fn environment(&self) -> impl Fn(&str) -> Option<String> + Sync + 'static {
        let url = self.front.url.clone();
        move |name| (name == "HTTP_PROXY").then(|| url.clone())
    }

    fn hosts(&self) -> Vec<String> {
        self.hosts.lock().iter().cloned().collect()
    }
}

/// A store behind a proxy.
struct Behind {
    storage: Arc<dyn Storage>,
    proxy: Proxy,
    bucket: String,
}

impl Behind {
    fn subject(self) -> Subject {
        let subject = Subject::new(self.storage).refusing_token("no name");
        subject.many_versions(MANY_VERSIONS).keep(self.proxy.front)
    }
}

fn presigning() -> Option<Presigning> {
    let keys = PresignedKeys {
        min_bytes: 1,
        lifetime: Duration::from_secs(60),
        endpoint: UrlText::default(),
    };
    Presigning::new(&keys, &Telemetry::new().unwrap())
}

async fn as_amazon() -> Behind {
    let (server, bucket, proxy) = (minio::server(), fresh_name(), Proxy::start().await);
    // This kind makes no bucket; the other one does.
    dipylon::storage::minio::open(&minio::config(&server, &bucket), &no_environment).await.unwrap();
    let config = S3Storage {
        endpoint: UrlText::new(format!("http://{AMAZON}")),
        force_path_style: false,
        ..s3::config(&server, &bucket)
    };
    let opened = dipylon::storage::s3::open_with(&config, &proxy.environment(), presigning()).await;
    Behind { storage: opened.unwrap(), proxy, bucket }
}

/// As minio, which makes its bucket.
async fn as_minio(host: &str, region: &str) -> Behind {
    let (bucket, proxy) = (fresh_name(), Proxy::start().await);
    let config = MinioStorage {
        endpoint: UrlText::new(format!("http://{host}")),
        region: region.to_owned(),
        ..minio::config(&minio::server(), &bucket)
    };
    let environment = proxy.environment();
    let opened = dipylon::storage::minio::open_with(&config, &environment, presigning()).await;
    Behind { storage: opened.unwrap(), proxy, bucket }
}

async fn amazon() -> Subject {
    as_amazon().await.subject()
}

async fn digital_ocean() -> Subject {
    as_minio(DIGITAL_OCEAN, "").await.subject()
}

async fn alibaba() -> Subject {
    as_minio(ALIBABA, ALIBABA_REGION).await.subject()
}

/// Every request, of whatever kind, is for the bucket's own host; so is the URL that a client is sent to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test"]
async fn the_bucket_stands_in_the_host_of_every_request_and_url() {
    for (host, behind) in [
        (AMAZON, as_amazon().await),
        (DIGITAL_OCEAN, as_minio(DIGITAL_OCEAN, "").await),
        (ALIBABA, as_minio(ALIBABA, ALIBABA_REGION).await),
    ] {
        let Behind { storage, proxy, bucket } = behind;
        let subject = Subject::new(storage);
        let large = FakeModule::new("example.com/large", "v1.0.0")
            .filler(3 * usize::try_from(PART_BYTES).unwrap());
        assert_eq!(subject.save(&large).await.unwrap(), SaveResult::Created, "{host}");
        let (module, version) = names(&large);
        let storage = subject.storage();
        assert_eq!(storage.list(&module).await.unwrap(), std::slice::from_ref(&version), "{host}");
        assert_eq!(storage.catalog(None, 0).await.unwrap().entries.len(), 1, "{host}");
        let blob = storage.read(&module, &version, FileKind::Zip).await.unwrap().unwrap();
        assert!(read_range(&blob, 0..blob.length()).await.unwrap() == large.zip(), "{host}");
        let BlobSource::Remote(object) = blob.source() else { panic!("{blob:?}") };
        let url = object.presigned().await.expect("a URL");
        let want = format!("http://{bucket}.{host}/");
        assert!(url.expose().starts_with(&want), "not under {want}");
        let request = http::Request::builder().uri(url.expose());
        let request = request.body(HttpRequestBody::empty()).unwrap();
        let client = Connector::new(&proxy.environment()).unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{host}");
        assert!(answer.into_body().bytes().await.unwrap() == large.zip(), "{host}");
        assert_eq!(proxy.hosts(), [format!("{bucket}.{host}")]);
    }
}
