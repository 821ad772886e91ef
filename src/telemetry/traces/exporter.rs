//! The OTLP exporter, over gRPC or HTTP.

#[cfg(feature = "otlp")]
use opentelemetry_sdk::trace::SpanExporter as _;

use super::settings::Settings;

/// # Errors
/// A malformed URL, header or certificate.
#[cfg(feature = "otlp")]
pub(super) fn build(settings: &Settings) -> Result<opentelemetry_otlp::SpanExporter, String> {
    let headers = headers(settings)?;
    let trusted = trusted(settings)?;
    let mut exporter = match settings.http {
        true => over_http(settings, headers, &trusted),
        false => over_grpc(settings, headers, &trusted),
    }?;
    exporter.set_resource(&settings.resource);
    Ok(exporter)
}

/// Certificates in PEM to trust besides the system's; empty where no file is named.
#[cfg(feature = "otlp")]
fn trusted(settings: &Settings) -> Result<Vec<u8>, String> {
    let Some(path) = &settings.certificate else { return Ok(Vec::new()) };
    std::fs::read(path).map_err(|error| {
        format!("OTEL_EXPORTER_OTLP_CERTIFICATE names {path:?}, which cannot be read: {error}")
    })
}

#[cfg(feature = "otlp")]
fn headers(settings: &Settings) -> Result<http::HeaderMap, String> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &settings.headers {
        let bad = || format!("the header {name:?} in TraceHeaders is no legal header");
        let key = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        headers.insert(key, http::HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    Ok(headers)
}

#[cfg(feature = "otlp")]
fn over_grpc(
    settings: &Settings,
    headers: http::HeaderMap,
    trusted: &[u8],
) -> Result<opentelemetry_otlp::SpanExporter, String> {
    use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
    let ours = tonic::metadata::MetadataMap::from_headers(headers);
    // After the exporter has put on those of the standard variables: a key comes before a variable.
    let put_on = move |mut request: tonic::Request<()>| {
        for pair in ours.iter() {
            if let tonic::metadata::KeyAndValueRef::Ascii(name, value) = pair {
                request.metadata_mut().insert(name.clone(), value.clone());
            }
        }
        Ok(request)
    };
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&settings.endpoint)
        .with_timeout(settings.timeout)
        .with_interceptor(put_on);
    if !settings.endpoint.starts_with("http://") {
        let mut tls = ClientTlsConfig::new().with_native_roots();
        if !trusted.is_empty() {
            tls = tls.ca_certificate(Certificate::from_pem(trusted));
        }
        builder = builder.with_tls_config(tls);
    }
    builder.build().map_err(|error| error.to_string())
}

#[cfg(feature = "otlp")]
fn over_http(
    settings: &Settings,
    headers: http::HeaderMap,
    trusted: &[u8],
) -> Result<opentelemetry_otlp::SpanExporter, String> {
    use opentelemetry_http::hyper::HyperClient;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
    let roots = roots(trusted)?;
    let tls = crate::fetch::http_tls::trusting(&roots).map_err(|error| error.to_string())?;
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    let client = HyperClient::new(connector, settings.timeout, None);
    SpanExporter::builder()
        .with_http()
        .with_http_client(WithOurs { client, headers })
        .with_endpoint(&settings.endpoint)
        .with_timeout(settings.timeout)
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(feature = "otlp")]
fn roots(pem: &[u8]) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("OTEL_EXPORTER_OTLP_CERTIFICATE holds no certificate: {error}"))
}

/// Puts our headers on, after the exporter has put on those of the standard variables: a key comes before a
/// variable.
#[cfg(feature = "otlp")]
struct WithOurs<C> {
    client: C,
    headers: http::HeaderMap,
}

#[cfg(feature = "otlp")]
impl<C> std::fmt::Debug for WithOurs<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WithOurs")
    }
}

#[cfg(feature = "otlp")]
type Sent = Result<http::Response<bytes::Bytes>, opentelemetry_http::HttpError>;

#[cfg(feature = "otlp")]
impl<C: opentelemetry_http::HttpClient> opentelemetry_http::HttpClient for WithOurs<C> {
    fn send_bytes<'client, 'future>(
        &'client self,
        mut request: http::Request<bytes::Bytes>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Sent> + Send + 'future>>
    where
        'client: 'future,
        Self: 'future,
    {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        self.client.send_bytes(request)
    }
}

/// # Errors
/// Always: this build has no exporter.
#[cfg(not(feature = "otlp"))]
pub(super) fn build(_: &Settings) -> Result<NoExporter, String> {
    Err("this build cannot export traces: it lacks the cargo feature `otlp`".to_owned())
}

/// Stands for the exporter that a build without `otlp` does not have; never made.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
pub(super) enum NoExporter {}

#[cfg(not(feature = "otlp"))]
impl opentelemetry_sdk::trace::SpanExporter for NoExporter {
    async fn export(
        &self,
        _: Vec<opentelemetry_sdk::trace::SpanData>,
    ) -> opentelemetry_sdk::error::OTelSdkResult {
        match *self {}
    }
}
