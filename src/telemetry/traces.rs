//! Traces: a provider that is always there, so that every request has ids, and an OTLP exporter where
//! one is configured.

#[cfg(feature = "otlp")]
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

/// The flush at exit may take this long: a dead collector must not hold a drain.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// One export over HTTP may take this long.
#[cfg(feature = "otlp")]
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go, and how many.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// Whether there is a collector.
    pub export: bool,
    /// Its URL; empty leaves it to the standard `OTEL_EXPORTER_OTLP_*` variables.
    pub url: String,
    /// HTTP with protobuf in place of gRPC.
    pub http: bool,
    /// Headers for the collector: secret.
    pub headers: Vec<(String, String)>,
    /// The share of new traces that is kept, 0 to 1; a sampled parent is always followed.
    pub fraction: f64,
}

/// Flushes what is left when the program ends.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Installs the global provider. Call inside the runtime.
///
/// # Errors
/// When the exporter cannot be built: a malformed URL or header, or a build without `otlp`.
pub fn init(config: &TraceConfig) -> Result<Traces, String> {
    let resource = Resource::builder()
        .with_service_name("dipylon")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = if config.export {
        Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.fraction)))
    } else {
        // Ids still travel in and out; nothing is recorded.
        Sampler::AlwaysOff
    };
    let mut builder = SdkTracerProvider::builder().with_resource(resource).with_sampler(sampler);
    if config.export {
        builder = builder.with_batch_exporter(exporter(config)?);
    }
    let provider = builder.build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    Ok(Traces { provider })
}

impl Traces {
    /// Sends what is left, for a bounded time.
    pub async fn flush(self) {
        let provider = self.provider;
        let flushed =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT))
                .await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

#[cfg(feature = "otlp")]
fn exporter(config: &TraceConfig) -> Result<opentelemetry_otlp::SpanExporter, String> {
    if config.http { http_exporter(config) } else { grpc_exporter(config) }
}

#[cfg(feature = "otlp")]
fn grpc_exporter(config: &TraceConfig) -> Result<opentelemetry_otlp::SpanExporter, String> {
    use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
    use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
    let mut headers = http::HeaderMap::new();
    for (name, value) in &config.headers {
        let key = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad_header(name))?;
        let value = http::HeaderValue::from_str(value).map_err(|_| bad_header(name))?;
        headers.insert(key, value);
    }
    let headers = MetadataMap::from_headers(headers);
    let mut builder = SpanExporter::builder().with_tonic().with_metadata(headers);
    if config.url.starts_with("https://") {
        builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
    }
    if !config.url.is_empty() {
        builder = builder.with_endpoint(&config.url);
    }
    builder.build().map_err(|error| error.to_string())
}

#[cfg(feature = "otlp")]
fn http_exporter(config: &TraceConfig) -> Result<opentelemetry_otlp::SpanExporter, String> {
    use opentelemetry_http::hyper::HyperClient;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| error.to_string())?
        .https_or_http()
        .enable_http1()
        .build();
    let client = OnRuntime {
        client: Arc::new(HyperClient::new(connector, EXPORT_TIMEOUT, None)),
        runtime: tokio::runtime::Handle::current(),
    };
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_headers(config.headers.iter().cloned().collect());
    if !config.url.is_empty() {
        let url = config.url.trim_end_matches('/');
        let full =
            if url.ends_with("/v1/traces") { url.to_owned() } else { format!("{url}/v1/traces") };
        builder = builder.with_endpoint(full);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Sends on the runtime: the batch processor exports from a plain thread, where no socket can be opened.
#[cfg(feature = "otlp")]
#[derive(Debug)]
struct OnRuntime<C> {
    client: Arc<C>,
    runtime: tokio::runtime::Handle,
}

#[cfg(feature = "otlp")]
type Sent = Result<http::Response<bytes::Bytes>, opentelemetry_http::HttpError>;

#[cfg(feature = "otlp")]
impl<C: opentelemetry_http::HttpClient + 'static> opentelemetry_http::HttpClient for OnRuntime<C> {
    fn send_bytes<'client, 'future>(
        &'client self,
        request: http::Request<bytes::Bytes>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Sent> + Send + 'future>>
    where
        'client: 'future,
        Self: 'future,
    {
        let client = Arc::clone(&self.client);
        let sending = self.runtime.spawn(async move { client.send_bytes(request).await });
        Box::pin(async move { sending.await? })
    }
}

#[cfg(feature = "otlp")]
fn bad_header(name: &str) -> String {
    format!("the header {name:?} in TraceHeaders is no legal header")
}

#[cfg(not(feature = "otlp"))]
fn exporter(_: &TraceConfig) -> Result<NoExporter, String> {
    Err("this build cannot export traces: it lacks the cargo feature `otlp`".to_owned())
}

/// Stands for the exporter that a build without `otlp` does not have; never made.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
enum NoExporter {}

#[cfg(not(feature = "otlp"))]
impl opentelemetry_sdk::trace::SpanExporter for NoExporter {
    async fn export(
        &self,
        _: Vec<opentelemetry_sdk::trace::SpanData>,
    ) -> opentelemetry_sdk::error::OTelSdkResult {
        match *self {}
    }
}
