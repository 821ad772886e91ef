//! Servers that the run gives: `cargo xtask test` starts them and says in `DIPYLON_TEST_…` where they are.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// What the run says of a server.
///
/// # Panics
/// When it says nothing: a suite without its server is left out by the run, and never passes.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: cargo xtask test sets it"))
}

/// A server with a key, as its variable names it: `http://KEY:SECRET@HOST:PORT`.
#[derive(Clone, Debug)]
pub struct KeyedServer {
    /// `http://HOST:PORT`.
    pub endpoint: String,
    /// Who we are there.
    pub key: String,
    /// The proof of it.
    pub secret: String,
}

impl KeyedServer {
    /// That of a variable.
    ///
    /// # Panics
    /// When the variable is not set, or no such URL.
    pub fn of(name: &str) -> Self {
        Self::at(&variable(name))
    }

    /// That of a URL.
    ///
    /// # Panics
    /// When it is no such URL.
    pub fn at(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a scheme");
        let (user, host) = rest.split_once('@').expect("credentials");
        let (key, secret) = user.split_once(':').expect("a key and a secret");
        Self {
            endpoint: format!("{scheme}://{}", host.trim_end_matches('/')),
            key: key.to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// What a gateway is told that keeps its versions there, in a bucket that it makes.
    pub fn as_minio(&self, bucket: &str) -> Vec<(&'static str, String)> {
        vec![
            ("ATHENS_STORAGE_TYPE", "minio".to_owned()),
            ("ATHENS_MINIO_ENDPOINT", self.endpoint.clone()),
            ("ATHENS_MINIO_ACCESS_KEY_ID", self.key.clone()),
            ("ATHENS_MINIO_SECRET_ACCESS_KEY", self.secret.clone()),
            ("ATHENS_MINIO_BUCKET_NAME", bucket.to_owned()),
        ]
    }
}

/// A name of a bucket or database that nobody else has.
pub fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{}-{number}", time.as_millis(), std::process::id())
}
