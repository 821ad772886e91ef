//! `StorageType = "azureblob"`, against an emulator.

use dipylon::config::{AzureBlobStorage, Secret};
use dipylon::storage::azureblob::Extensions;
use dipylon_testkit::athens::Names;
use dipylon_testkit::services::given::fresh_name;
use dipylon_testkit::storage_suite::Subject;

use crate::bench::Bench;
use crate::minio::{MANY_VERSIONS, no_environment};
use crate::raw::{self, Raw};
use crate::s3;

mod suite {
    dipylon_testkit::storage_suite!(super::fresh, "needs azurite: run by cargo xtask test");
}

/// The blob endpoint with the account in its path, the account, and its key.
pub(crate) fn server() -> (String, String, String) {
    let variable = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("{name}: cargo xtask test sets it"))
    };
    let endpoint = variable("DIPYLON_TEST_AZURITE");
    let account = endpoint.rsplit_once('/').expect("an account").1.to_owned();
    (endpoint, account, variable("DIPYLON_TEST_AZURITE_KEY"))
}

pub(crate) fn config(account: &str, key: &str, container: &str) -> AzureBlobStorage {
    AzureBlobStorage {
        account_name: account.to_owned(),
        account_key: Secret::new(key),
        managed_identity_resource_id: String::new(),
        credential_scope: String::new(),
        container_name: container.to_owned(),
    }
}

pub(crate) async fn bench() -> Bench {
    let ((endpoint, account, key), container) = (server(), fresh_name());
    let ours = Extensions { endpoint: &endpoint, create_container: true };
    let config = config(&account, &key, &container);
    let storage = dipylon::storage::azureblob::open(&config, ours, &no_environment).await;
    let raw = raw::azure(&endpoint, &key, &container);
    Bench {
        subject: Subject::new(storage.unwrap()),
        raw: Raw::Client(raw),
        names: Names::Blob,
        types: s3::TYPES,
        settings: vec![
            ("ATHENS_STORAGE_TYPE", "azureblob".to_owned()),
            ("DIPYLON_AZURE_ENDPOINT", endpoint),
            ("ATHENS_AZURE_ACCOUNT_NAME", account),
            ("ATHENS_AZURE_ACCOUNT_KEY", key),
            ("ATHENS_AZURE_CONTAINER_NAME", container),
        ],
    }
}

/// A token without a bar is the store's own, or Athens's; this server takes any.
async fn fresh() -> Subject {
    bench().await.subject.refusing_token("a\nb").many_versions(MANY_VERSIONS)
}
