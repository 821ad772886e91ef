//! From the configuration to a client: the URL, limits where the URL names none, and TLS.
//!
//! `CertPath` turns TLS on, as it does in Athens, and is believed in addition to the machine's own
//! authorities, which Athens meant to do and does not. `Insecure` matters only where there is TLS.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::redact::{HIDDEN, redact_prose};
use mongodb::Client;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, Tls, TlsOptions, WriteConcern,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::NamedTempFile;

use super::layout::{CHUNKS, FILES};
use crate::config::MongoStorage;

/// Name lookup, TCP and TLS, where the URL has no `connectTimeoutMS`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a server that can be used, where the URL has no `serverSelectionTimeoutMS`.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the other members of a replica set to have a write.
const ACKNOWLEDGEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to each server, where the URL has no `maxPoolSize`.
const MAX_CONNECTIONS: u32 = 64;
/// Longest name of a database, in bytes.
const MAX_DATABASE_BYTES: usize = 63;
/// Bytes of a base64 line in PEM.
const PEM_LINE_BYTES: usize = 64;

/// A client, and what has to stay as long as it.
pub(super) struct Connected {
    pub(super) client: Client,
    /// The authorities that are believed: the driver opens the file whenever it meets a new server.
    pub(super) authorities: Option<NamedTempFile>,
}

/// Makes a client; it connects when it is first used.
///
/// # Errors
/// `Storage` when the settings cannot be right, or a `mongodb+srv://` name cannot be looked up.
pub(super) async fn connect(config: &MongoStorage) -> Result<Connected, Error> {
    check(config)?;
    let options = ClientOptions::parse(config.url.as_str()).await;
    let mut options = options.map_err(|error| bad_url(config, &error))?;
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
    options.max_pool_size.get_or_insert(MAX_CONNECTIONS);
    options.app_name.get_or_insert_with(|| "dipylon".to_owned());
    options.write_concern.get_or_insert_with(|| {
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .w_timeout(ACKNOWLEDGEMENT_TIMEOUT)
            .build()
    });
    let authorities = use_tls(&mut options, config)?;
    let client = Client::with_options(options).map_err(|error| bad_url(config, &error))?;
    Ok(Connected { client, authorities })
}

/// Everything that can be said of the settings without a network.
///
/// # Errors
/// `Storage`, with the setting that is wrong.
pub(super) fn check(config: &MongoStorage) -> Result<(), Error> {
    ConnectionString::parse(config.url.as_str()).map_err(|error| bad_url(config, &error))?;
    let database = config.default_db_name.as_str();
    let unfit = |c: char| c.is_control() || "/\\. \"$*<>:|?".contains(c);
    if database.is_empty() || database.len() > MAX_DATABASE_BYTES || database.contains(unfit) {
        let why = "is no name of a database: at most 63 bytes, without blanks and /\\.\"$*<>:|?";
        return Err(wrong(&format!("Storage.Mongo.DefaultDBName {database:?} {why}")));
    }
    let collection = config.default_collection_name.as_str();
    let taken = collection == FILES || collection == CHUNKS || collection.starts_with("system.");
    let unfit = collection.is_empty() || collection.contains(['$', '\0']);
    if taken || unfit {
        let why = "is no name for the collection: MongoDB or GridFS uses it, or it has a `$`";
        return Err(wrong(&format!("Storage.Mongo.DefaultCollectionName {collection:?} {why}")));
    }
    config.cert_path.as_deref().map_or(Ok(Vec::new()), read_authorities).map(drop)
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("mongo storage cannot be set up: {what}"))
}

fn bad_url(config: &MongoStorage, error: &mongodb::error::Error) -> Error {
    let said = without_secrets(&error.kind.to_string(), config.url.as_str());
    wrong(&format!("Storage.Mongo.URL {}: {said}", config.url))
}

/// A parser may repeat what it could not read.
fn without_secrets(text: &str, url: &str) -> String {
    let mut shown = redact_prose(text).into_owned();
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    if let Some((user_info, _)) = after.rsplit_once('@') {
        let password = user_info.split_once(':').map_or("", |(_, password)| password);
        for secret in [user_info, password].into_iter().filter(|secret| !secret.is_empty()) {
            shown = shown.replace(secret, HIDDEN);
        }
    }
    shown.replace('\n', " ")
}

/// Sets TLS as the configuration has it; returns the file with the authorities that are believed.
fn use_tls(
    options: &mut ClientOptions,
    config: &MongoStorage,
) -> Result<Option<NamedTempFile>, Error> {
    let mut tls = match (&options.tls, &config.cert_path) {
        (Some(Tls::Enabled(tls)), _) => tls.clone(),
        (_, Some(_)) => TlsOptions::default(),
        (_, None) => return Ok(None),
    };
    if config.insecure {
        tls.allow_invalid_certificates = Some(true);
    }
    let mut authorities = None;
    // A `tlsCAFile` in the URL stands alone; else the driver would not look at the machine's own.
    if config.cert_path.is_some() || tls.ca_file_path.is_none() {
        let mut believed = rustls_native_certs::load_native_certs().certs;
        if let Some(path) = &config.cert_path {
            believed.extend(read_authorities(path)?);
        }
        if !believed.is_empty() {
            let file = write_authorities(&believed)
                .map_err(|error| wrong(&format!("a temporary file for authorities: {error}")))?;
            tls.ca_file_path = Some(file.path().to_owned());
            authorities = Some(file);
        }
    }
    options.tls = Some(Tls::Enabled(tls));
    Ok(authorities)
}

fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unfit = |why: &dyn std::fmt::Display| {
        wrong(&format!("Storage.Mongo.CertPath {}: {why}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| unfit(&error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unfit(&"there is no certificate in PEM in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unfit(&error)),
    }
}

fn write_authorities(believed: &[CertificateDer<'_>]) -> std::io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("dipylon-authorities-").tempfile()?;
    file.write_all(pem(believed).as_bytes())?;
    file.flush()?;
    Ok(file)
}

fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = BASE64_STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(PEM_LINE_BYTES) {
            let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UrlText;

    fn config(url: &str) -> MongoStorage {
        MongoStorage {
            url: UrlText::new(url),
            default_db_name: "athens".to_owned(),
            default_collection_name: "modules".to_owned(),
            cert_path: None,
            insecure: false,
        }
    }

    async fn options(url: &str) -> ClientOptions {
        ClientOptions::parse(url).await.unwrap()
    }

    #[test]
    fn names_that_mongo_cannot_have_are_refused() {
        for name in ["", "a/b", "a.b", "a b", "a$b", &"x".repeat(64)] {
            let config = MongoStorage { default_db_name: name.to_owned(), ..config("mongodb://h") };
            let error = check(&config).unwrap_err().to_string();
            assert!(error.contains("Storage.Mongo.DefaultDBName"), "{error}");
        }
        for name in ["", "fs.files", "fs.chunks", "system.users", "a$b"] {
            let config =
                MongoStorage { default_collection_name: name.to_owned(), ..config("mongodb://h") };
            let error = check(&config).unwrap_err().to_string();
            assert!(error.contains("Storage.Mongo.DefaultCollectionName"), "{error}");
        }
        check(&config("mongodb://h")).unwrap();
    }

    #[test]
    fn a_url_that_cannot_be_read_is_told_without_its_password() {
        for url in [
            "mongodb://user:hunter2@h/?authMechanism=NONE-SUCH",
            "mongodb://user:hunter2@h:port/db",
            "mongodb://user:hunter2@h/?w=-1",
            "mongodb://user:hunter2@h/?tls=maybe",
            "mongodb://us%er:hunter2@h",
        ] {
            let error = check(&config(url)).unwrap_err().to_string();
            assert!(error.starts_with("mongo storage cannot be set up: Storage.Mongo.URL "));
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn authorities_are_written_as_they_are_read() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let file = write_authorities(&[made.cert.der().clone(), made.cert.der().clone()]).unwrap();
        let read = read_authorities(file.path()).unwrap();
        assert_eq!(read, [made.cert.der().clone(), made.cert.der().clone()]);
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        let config = MongoStorage { cert_path: Some(path.clone()), ..config("mongodb://h") };
        let error = check(&config).unwrap_err().to_string();
        assert!(error.contains("CertPath") && error.contains("no certificate"), "{error}");
        drop(file);
        assert!(check(&config).unwrap_err().to_string().contains("No such file"));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn tls_is_on_where_the_url_or_a_certificate_path_says_so() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let authority = write_authorities(&[made.cert.der().clone()]).unwrap();
        let path = Some(authority.path().to_owned());
        let is_on = |options: &ClientOptions| matches!(options.tls, Some(Tls::Enabled(_)));
        for (url, cert_path, want) in [
            ("mongodb://h", None, false),
            ("mongodb://h/?tls=true", None, true),
            ("mongodb://h", path.clone(), true),
            ("mongodb://h/?tls=false", path, true),
        ] {
            let config = MongoStorage { cert_path, insecure: true, ..config(url) };
            let mut options = options(url).await;
            let file = use_tls(&mut options, &config).unwrap();
            assert_eq!(is_on(&options), want, "{url}");
            if let Some(Tls::Enabled(tls)) = &options.tls {
                assert_eq!(tls.allow_invalid_certificates, Some(true));
                assert_eq!(tls.ca_file_path.as_deref(), file.as_ref().map(NamedTempFile::path));
            }
        }
    }
}
