//! Which store a configuration names, so that what was kept of one is never taken for another's.

use std::path::Path;

use crate::config::{Config, StorageType};

/// A text that two configurations have in common where they name the same store. It has no credentials: new
/// ones do not make another store. A memory store is never the same again.
pub fn identity(config: &Config) -> String {
    let storage = &config.storage;
    let place: Vec<String> = match config.storage_type {
        StorageType::Memory => vec![once()],
        StorageType::Disk => vec![absolute(&storage.disk.root_path)],
        StorageType::Minio => {
            let minio = &storage.minio;
            vec![without_credentials(minio.endpoint.as_str()), minio.bucket.clone()]
        }
        StorageType::S3 => {
            let s3 = &storage.s3;
            vec![without_credentials(s3.endpoint.as_str()), s3.bucket.clone()]
        }
        StorageType::Gcp => {
            let emulator = config.dipylon.storage_emulator_host.as_str();
            vec![without_credentials(emulator), storage.gcp.bucket.clone()]
        }
        StorageType::AzureBlob => {
            let azure = &storage.azure_blob;
            let endpoint = without_credentials(config.dipylon.azure_endpoint.as_str());
            vec![endpoint, azure.account_name.clone(), azure.container_name.clone()]
        }
        StorageType::Mongo => {
            let mongo = &storage.mongo;
            let (database, collection) = (&mongo.default_db_name, &mongo.default_collection_name);
            vec![servers(mongo.url.as_str()), database.clone(), collection.clone()]
        }
        StorageType::External => vec![without_credentials(storage.external.url.as_str())],
    };
    format!("{}\n{}", config.storage_type.as_str(), place.join("\n"))
}

/// A text that no other start of the program has.
fn once() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{} {}", std::process::id(), now.unwrap_or_default().as_nanos())
}

/// A root that does not exist is refused when it is opened.
fn absolute(root: &Path) -> String {
    let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    root.to_string_lossy().into_owned()
}

/// A URL as it is written, less its user and its last slash.
fn without_credentials(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// The hosts of a MongoDB URL. What else it says is how they are spoken to.
fn servers(url: &str) -> String {
    let bare = without_credentials(url);
    let hosts = bare.split_once("://").map_or(bare.as_str(), |(_, rest)| rest);
    hosts.split(['/', '?']).next().unwrap_or(hosts).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadArgs, Secret, UrlText};

    fn of(kind: StorageType, change: impl FnOnce(&mut Config)) -> String {
        let nothing = std::collections::BTreeMap::<String, String>::new();
        let args = LoadArgs { config_file: None, cwd: "/nonexistent".into() };
        let mut config = Config::load(args, &nothing).unwrap().config;
        config.storage_type = kind;
        change(&mut config);
        identity(&config)
    }

    #[test]
    fn other_credentials_are_no_other_store() {
        let minio = |key: &'static str| {
            of(StorageType::Minio, |config| {
                config.storage.minio.endpoint = UrlText::new("https://minio.example.com");
                config.storage.minio.bucket = "mods/a".to_owned();
                config.storage.minio.key = Secret::new(key);
            })
        };
        assert_eq!(minio("one"), minio("two"));
        for (one, other) in [
            ("https://u:p@store.example.com/x", "https://store.example.com/x/"),
            ("https://u:p@store.example.com/x", "https://v:q@store.example.com/x"),
        ] {
            let url =
                |url| of(StorageType::External, |c| c.storage.external.url = UrlText::new(url));
            assert_eq!(url(one), url(other));
            assert!(!url(one).contains("u:p"), "{}", url(one));
        }
        for (one, other) in [
            ("mongodb://u:p@a:1,b:2/?replicaSet=rs0", "mongodb://a:1,b:2"),
            ("mongodb://u:p@a:1,b:2/admin", "mongodb://v:q@a:1,b:2/?tls=true"),
        ] {
            let url = |url| of(StorageType::Mongo, |c| c.storage.mongo.url = UrlText::new(url));
            assert_eq!(url(one), url(other));
        }
    }

    #[test]
    fn another_kind_server_bucket_folder_database_or_root_is_another_store() {
        let minio = |kind, endpoint, bucket: &str| {
            of(kind, |config| {
                config.storage.minio.endpoint = UrlText::new(endpoint);
                config.storage.minio.bucket = bucket.to_owned();
                config.storage.s3.endpoint = UrlText::new(endpoint);
                config.storage.s3.bucket = bucket.to_owned();
            })
        };
        let azure = |account: &str, container: &str| {
            of(StorageType::AzureBlob, |config| {
                config.storage.azure_blob.account_name = account.to_owned();
                config.storage.azure_blob.container_name = container.to_owned();
            })
        };
        let gcp = |emulator, bucket: &str| {
            of(StorageType::Gcp, |config| {
                config.dipylon.storage_emulator_host = UrlText::new(emulator);
                config.storage.gcp.bucket = bucket.to_owned();
            })
        };
        let mongo = |url, database: &str, collection: &str| {
            of(StorageType::Mongo, |config| {
                config.storage.mongo.url = UrlText::new(url);
                config.storage.mongo.default_db_name = database.to_owned();
                config.storage.mongo.default_collection_name = collection.to_owned();
            })
        };
        let external =
            |url| of(StorageType::External, |c| c.storage.external.url = UrlText::new(url));
        let disk = |root: &str| of(StorageType::Disk, |c| c.storage.disk.root_path = root.into());
        let all = [
            minio(StorageType::Minio, "https://a", "b"),
            minio(StorageType::Minio, "https://a", "b/c"),
            minio(StorageType::Minio, "https://c", "b"),
            minio(StorageType::S3, "https://a", "b"),
            minio(StorageType::S3, "https://a", "c"),
            azure("a", "b"),
            azure("a", "c"),
            azure("b", "b"),
            gcp("", "a"),
            gcp("", "b"),
            gcp("localhost:1", "a"),
            mongo("mongodb://a", "athens", "modules"),
            mongo("mongodb://b", "athens", "modules"),
            mongo("mongodb://a", "other", "modules"),
            mongo("mongodb://a", "athens", "other"),
            external("https://a/x"),
            external("https://a/y"),
            external("https://b/x"),
            disk("/one"),
            disk("/two"),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:#?}");
    }

    #[test]
    fn a_memory_store_is_never_the_same_again() {
        let memory = || of(StorageType::Memory, |_| {});
        assert_ne!(memory(), memory());
    }
}
