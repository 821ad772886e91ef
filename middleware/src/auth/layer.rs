use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tower::Layer;

use super::service::Auth;

/// The one user and password that are let in, kept as a digest.
#[derive(Clone, Copy)]
pub struct Credentials {
    digest: [u8; 32],
}

impl Credentials {
    /// Takes them as they are configured.
    pub fn new(user: &str, password: &str) -> Self {
        Self { digest: Sha256::digest(format!("{user}:{password}")).into() }
    }

    /// Whether `pair` is `user:password`, in constant time.
    pub(super) fn are(&self, pair: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(pair).into();
        self.digest.ct_eq(&given).into()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// Makes [`Auth`]s.
#[derive(Clone, Copy, Debug)]
pub struct AuthLayer {
    credentials: Credentials,
    prefixed: bool,
}

impl AuthLayer {
    /// Lets `credentials` in; `prefixed` says whether there is a path prefix.
    pub fn new(credentials: Credentials, prefixed: bool) -> Self {
        Self { credentials, prefixed }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, credentials: self.credentials, prefixed: self.prefixed }
    }
}
