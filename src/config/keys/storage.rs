//! `[Storage.*]`: only the table that `StorageType` names is checked.

use std::path::PathBuf;

use super::super::key::{scheme, table, web_url};
use super::super::values::{Secret, UrlText};
use super::{text, url};

table! {
    /// The stores, one table each. Only the one that `StorageType` names is used; the others may
    /// be incomplete.
    pub struct StorageConfig {
        tables {
            /// A directory.
            disk: DiskStorage = "Disk";
            /// MongoDB.
            mongo: MongoStorage = "Mongo";
            /// Google Cloud Storage.
            gcp: GcpStorage = "GCP";
            /// MinIO and other stores that speak S3.
            minio: MinioStorage = "Minio";
            /// Amazon S3.
            s3: S3Storage = "S3";
            /// Azure Blob Storage.
            azure_blob: AzureBlobStorage = "AzureBlob";
            /// A store behind HTTP.
            external: ExternalStorage = "External";
        }
    }
}

table! {
    /// `StorageType = "disk"`.
    pub struct DiskStorage {
        /// The directory that holds the modules; it must exist.
        root_path: PathBuf = "RootPath", ["ATHENS_DISK_STORAGE_ROOT"], PathBuf::new(), required();
    }
}

table! {
    /// `StorageType = "mongo"`.
    pub struct MongoStorage {
        /// The connection string.
        url: UrlText = "URL", ["ATHENS_MONGO_STORAGE_URL"], url(""), required(),
            check(scheme(&["mongodb://", "mongodb+srv://"]));
        /// The database.
        default_db_name: String = "DefaultDBName", ["ATHENS_MONGO_DEFAULT_DATABASE"],
            text("athens"), required();
        /// The collection.
        default_collection_name: String = "DefaultCollectionName",
            ["ATHENS_MONGO_DEFAULT_COLLECTION"],
            text("modules"), required();
        /// A certificate authority in PEM that the server's certificate is checked against.
        cert_path: Option<PathBuf> = "CertPath", ["ATHENS_MONGO_CERT_PATH"], None;
        /// Accepts any certificate of the server. Athens's name for it, `InsecureConn`, works too.
        insecure: bool = "Insecure", ["ATHENS_MONGO_INSECURE"], false, alias(&["InsecureConn"]);
    }
}

table! {
    /// `StorageType = "gcp"`.
    pub struct GcpStorage {
        /// The project. Kept for Athens's files; the bucket's name is enough.
        project_id: String = "ProjectID", ["GOOGLE_CLOUD_PROJECT"], String::new();
        /// The bucket.
        bucket: String = "Bucket", ["ATHENS_STORAGE_GCP_BUCKET"], String::new(), required();
        /// Credentials in JSON, in base64. Empty: the application default credentials.
        json_key: Secret = "JSONKey", ["ATHENS_STORAGE_GCP_JSON_KEY"], Secret::default();
    }
}

table! {
    /// `StorageType = "minio"`: MinIO, DigitalOcean Spaces, Alibaba OSS and other stores that speak
    /// S3.
    pub struct MinioStorage {
        /// The host, with a port if need be. A scheme written here wins over `EnableSSL`.
        endpoint: UrlText = "Endpoint", ["ATHENS_MINIO_ENDPOINT"], url(""), required();
        /// The access key's id.
        key: Secret = "Key", ["ATHENS_MINIO_ACCESS_KEY_ID"], Secret::default(), required();
        /// The access key's secret.
        secret: Secret = "Secret", ["ATHENS_MINIO_SECRET_ACCESS_KEY"],
            Secret::default(), required();
        /// Speaks https. Athens's documentation gives true as the default and its program takes
        /// false, so a file that leaves this out gets a warning.
        enable_ssl: bool = "EnableSSL", ["ATHENS_MINIO_USE_SSL"], true;
        /// The bucket, with a folder if need be: `bucket/folder`.
        bucket: String = "Bucket", ["ATHENS_MINIO_BUCKET_NAME"], String::new(), required();
        /// The region. Empty: the server's default.
        region: String = "Region", ["ATHENS_MINIO_REGION"], String::new();
    }
}

table! {
    /// `StorageType = "s3"`. Credentials come from the credentials endpoint if it answers, else
    /// from the keys here, else from the chain that AWS documents (environment, profile files, web
    /// identity, container, instance metadata).
    pub struct S3Storage {
        /// The region. Empty: what the chain knows, from a profile or the instance.
        region: String = "Region", ["AWS_REGION"], String::new();
        /// The access key's id.
        key: Secret = "Key", ["AWS_ACCESS_KEY_ID"], Secret::default();
        /// The access key's secret.
        secret: Secret = "Secret", ["AWS_SECRET_ACCESS_KEY"], Secret::default();
        /// The session's token, for temporary credentials.
        token: Secret = "Token", ["AWS_SESSION_TOKEN"], Secret::default();
        /// The bucket.
        bucket: String = "Bucket", ["ATHENS_S3_BUCKET_NAME"], String::new(), required();
        /// Writes the bucket into the path, not into the host's name.
        force_path_style: bool = "ForcePathStyle", ["AWS_FORCE_PATH_STYLE"], false;
        /// Takes credentials from the documented chain only.
        use_default_configuration: bool = "UseDefaultConfiguration",
            ["AWS_USE_DEFAULT_CONFIGURATION"], false;
        /// A URL that gives credentials. Tried first.
        credentials_endpoint: UrlText = "CredentialsEndpoint", ["AWS_CREDENTIALS_ENDPOINT"],
            url(""),
            check(web_url());
        /// What is appended to the credentials endpoint, as it stands.
        aws_container_credentials_relative_uri: String = "AwsContainerCredentialsRelativeURI",
            ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"], String::new();
        /// Another server than Amazon's: a host, or a URL.
        endpoint: UrlText = "Endpoint", ["AWS_ENDPOINT"], url("");
    }
}

table! {
    /// `StorageType = "azureblob"`. It needs the account's key, or both keys of a managed identity,
    /// which win.
    pub struct AzureBlobStorage {
        /// The storage account.
        account_name: String = "AccountName", ["ATHENS_AZURE_ACCOUNT_NAME"],
            String::new(), required();
        /// The account's key, in base64.
        account_key: Secret = "AccountKey", ["ATHENS_AZURE_ACCOUNT_KEY"], Secret::default();
        /// The managed identity's resource id.
        managed_identity_resource_id: String = "ManagedIdentityResourceId",
            ["ATHENS_AZURE_MANAGED_IDENTITY_RESOURCE_ID"], String::new();
        /// The scope that the managed identity asks for. Tokens are for Azure's own storage scope; any
        /// other is warned about.
        credential_scope: String = "CredentialScope", ["ATHENS_AZURE_CREDENTIAL_SCOPE"],
            String::new();
        /// The container.
        container_name: String = "ContainerName", ["ATHENS_AZURE_CONTAINER_NAME"],
            String::new(), required();
    }
}

table! {
    /// `StorageType = "external"`.
    pub struct ExternalStorage {
        /// The URL of the server that stores.
        url: UrlText = "URL", ["ATHENS_EXTERNAL_STORAGE_URL"],
            url(""), required(), check(web_url());
    }
}
