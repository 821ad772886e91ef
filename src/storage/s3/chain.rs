//! The chain that AWS documents: environment, shared profile files (with SSO, roles and processes), web
//! identity, container, instance metadata. It is Amazon's own code, over ring.

use std::time::SystemTime;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use object_store::aws::AwsCredential;

/// What the chain found out.
pub(super) struct Chain {
    config: SdkConfig,
}

impl Chain {
    /// Finds the region out, unless it is given. Credentials are looked for when they are asked for.
    pub(super) async fn load(region: &str) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        if !region.is_empty() {
            loader = loader.region(Region::new(region.to_owned()));
        }
        Self { config: loader.load().await }
    }

    pub(super) fn region(&self) -> Option<String> {
        self.config.region().map(ToString::to_string).filter(|region| !region.is_empty())
    }

    /// Credentials, and when they end.
    ///
    /// # Errors
    /// In one line, why there are none; the chain's texts name sources and no secrets.
    pub(super) async fn credential(&self) -> Result<(AwsCredential, Option<SystemTime>), String> {
        let provider = self.config.credentials_provider();
        let provider = provider.ok_or_else(|| "the chain has no sources".to_owned())?;
        let found = provider.provide_credentials().await;
        let found = found.map_err(|error| crate::fetch::http_client::causes(&error))?;
        let credential = AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        };
        Ok((credential, found.expiry()))
    }
}
