//! The pages that are not about modules: health, readiness, version, catalog, index, metrics, home.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::body::Body;
use dipylon_middleware::ports::{BoxFuture, CatalogPage, Index};
use dipylon_middleware::render::whole;
use dipylon_middleware::request::{EdgeRequest, RequestContext};
use dipylon_middleware::route::AdminPages;
use dipylon_middleware::storage_io::StorageHandle;
use dipylon_middleware::telemetry::{RouteName, Telemetry};
use dipylon_middleware::{Error, ErrorKind};
use http::{Method, Response, StatusCode};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{HomePage, Operator};
use super::{exposition, query};

pub(super) const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Entries of a catalog page where the client does not say.
const CATALOG_PAGE: usize = 1000;
/// Lines of an index page where the client does not say.
const INDEX_PAGE: usize = 2000;
/// Lines of an index page at most; Athens has no limit.
const INDEX_PAGE_MAX: usize = 100_000;
/// The largest `robots.txt`, in bytes.
const ROBOTS_BYTES_MAX: u64 = 1024 * 1024;

/// A part of the program that may not be ready.
pub trait Readiness: Send + Sync + 'static {
    /// Its name in `/readyz`.
    fn part(&self) -> &'static str;
    /// Whether it can do its work now.
    fn check<'a>(&'a self, context: &'a RequestContext) -> BoxFuture<'a, Result<(), Error>>;
    /// Whether requests fail without it. What costs only time is shown, and no reason to send no request.
    fn is_vital(&self) -> bool {
        true
    }
}

/// What the pages are told.
pub struct AdminConfig {
    /// The configured path prefix, or empty.
    pub path_prefix: String,
    /// The home page.
    pub home: HomePage,
    /// The file behind `/robots.txt`.
    pub robots_file: PathBuf,
    /// Whether `/metrics` is served.
    pub metrics: bool,
}

/// The pages.
pub struct Admin {
    config: AdminConfig,
    storage: StorageHandle,
    index: Arc<dyn Index>,
    readiness: Vec<Arc<dyn Readiness>>,
    operator: Option<Operator>,
    telemetry: Telemetry,
}

impl Admin {
    /// Over these.
    pub fn new(
        config: AdminConfig,
        storage: StorageHandle,
        index: Arc<dyn Index>,
        readiness: Vec<Arc<dyn Readiness>>,
        telemetry: &Telemetry,
    ) -> Self {
        let telemetry = telemetry.clone();
        Self { config, storage, index, readiness, operator: None, telemetry }
    }

    /// With the pages under `/-/`.
    #[must_use]
    pub fn with_operator(mut self, operator: Operator) -> Self {
        self.operator = Some(operator);
        self
    }

    async fn page(&self, path: &str, request: &EdgeRequest) -> Result<Response<Body>, Error> {
        match path {
            "/" => self.root(request),
            "/healthz" => Ok(whole("application/json", Bytes::new())),
            "/readyz" => self.ready(&request.context).await,
            "/version" => Ok(whole(JSON, version())),
            "/robots.txt" => self.robots(),
            "/metrics" => self.metrics(request),
            "/catalog" => self.catalog(request).await,
            "/index" => self.index(request).await,
            _ => match &self.operator {
                Some(operator) => operator.page(path, request).await,
                None => Err(Error::new(ErrorKind::InvalidPath, "404 page not found")),
            },
        }
    }

    /// The home page; with a path prefix the bare `/` is a health check, as in Athens.
    fn root(&self, request: &EdgeRequest) -> Result<Response<Body>, Error> {
        if !self.config.path_prefix.is_empty() && request.head.uri.path() == "/" {
            only_get(request)?;
            return Ok(whole("application/json", Bytes::new()));
        }
        let headers = &request.head.headers;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let authority = request.head.uri.authority().map(http::uri::Authority::as_str);
        let host = header("host").or(authority).unwrap_or("localhost");
        let secure = request.secure || header("x-forwarded-proto") == Some("https");
        let scheme = if secure { "https" } else { "http" };
        let base = format!("{scheme}://{host}{}", self.config.path_prefix);
        Ok(whole("text/html; charset=utf-8", self.config.home.render(&base)))
    }

    /// Each part with "ok" or its reason; 503 where one that is vital is not ready.
    async fn ready(&self, context: &RequestContext) -> Result<Response<Body>, Error> {
        let mut parts = serde_json::Map::new();
        let mut ready = true;
        for part in &self.readiness {
            let text = match part.check(context).await {
                Ok(()) => "ok".to_owned(),
                Err(error) => {
                    if part.is_vital() {
                        tracing::warn!(part = part.part(), %error, "not ready");
                        ready = false;
                    }
                    error.message().to_owned()
                }
            };
            parts.insert(part.part().to_owned(), text.into());
        }
        let mut response = whole(JSON, format!("{}\n", json!({ "ready": ready, "parts": parts })));
        if !ready {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(response)
    }

    fn robots(&self) -> Result<Response<Body>, Error> {
        let path = &self.config.robots_file;
        let missing =
            || Error::new(ErrorKind::NotStored, "404 page not found: there is no robots.txt");
        let length = std::fs::metadata(path).map_err(|_| missing())?.len();
        if length > ROBOTS_BYTES_MAX {
            return Err(Error::new(ErrorKind::Internal, "RobotsFile is larger than 1 MiB"));
        }
        let text = std::fs::read(path).map_err(|_| missing())?;
        Ok(whole(TEXT, text))
    }

    fn metrics(&self, request: &EdgeRequest) -> Result<Response<Body>, Error> {
        only_get(request)?;
        if !self.config.metrics {
            return Err(Error::new(
                ErrorKind::NotStored,
                "404 page not found: StatsExporter is off",
            ));
        }
        exposition::page(&request.head.headers, &self.telemetry)
    }

    async fn catalog(&self, request: &EdgeRequest) -> Result<Response<Body>, Error> {
        let parameters = query::parse(request.head.uri.query());
        let limit = match parameters.get("pagesize").map(String::as_str) {
            None | Some("") => CATALOG_PAGE,
            Some(text) => number("pagesize", text)?,
        };
        let token = parameters.get("token").filter(|token| !token.is_empty()).cloned();
        let CatalogPage { entries, next } =
            self.storage.catalog(&request.context, token, limit).await?;
        let modules: Vec<_> = entries
            .iter()
            .map(|entry| json!({ "module": entry.module, "version": entry.version }))
            .collect();
        let mut page = json!({ "modules": modules });
        if let Some(next) = next {
            page["next"] = next.into();
        }
        Ok(whole(JSON, format!("{page}\n")))
    }

    async fn index(&self, request: &EdgeRequest) -> Result<Response<Body>, Error> {
        let parameters = query::parse(request.head.uri.query());
        let since = match parameters.get("since").map(String::as_str) {
            None | Some("") => OffsetDateTime::UNIX_EPOCH,
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|error| bad(&format!("since {text:?} is no RFC 3339 time: {error}")))?,
        };
        let limit = match parameters.get("limit").map(String::as_str) {
            None | Some("") => INDEX_PAGE,
            Some(text) => number("limit", text)?,
        };
        if limit == 0 {
            return Err(bad("limit 0 is refused: it must be positive"));
        }
        let mut lines = String::new();
        for entry in self.index.since(since, limit.min(INDEX_PAGE_MAX)).await? {
            let timestamp = entry.timestamp.format(&Rfc3339).map_err(|error| {
                Error::new(ErrorKind::Internal, format!("an index entry has a bad time: {error}"))
            })?;
            // Written by hand: the order of the keys is Athens's.
            let [path, version, timestamp] =
                [entry.path, entry.version, timestamp].map(|text| json!(text).to_string());
            let line =
                format!("{{\"Path\":{path},\"Version\":{version},\"Timestamp\":{timestamp}}}\n");
            lines.push_str(&line);
        }
        Ok(whole(JSON, lines))
    }
}

impl AdminPages for Admin {
    fn route(&self, path: &str) -> Option<RouteName> {
        match path {
            "/" | "/healthz" | "/readyz" | "/version" | "/robots.txt" | "/metrics" => {
                Some(RouteName::Admin)
            }
            "/catalog" => Some(RouteName::Catalog),
            "/index" => Some(RouteName::Index),
            _ if self.operator.is_some() && Operator::has(path) => Some(RouteName::Admin),
            _ => None,
        }
    }

    fn serve<'a>(
        &'a self,
        path: &'a str,
        request: &'a EdgeRequest,
    ) -> BoxFuture<'a, Result<Response<Body>, Error>> {
        Box::pin(self.page(path, request))
    }
}

/// What `/version` says; `date` only where the build knows it.
pub(crate) fn version() -> String {
    let mut version = json!({ "version": concat!("v", env!("CARGO_PKG_VERSION")) });
    if let Some(date) = option_env!("DIPYLON_BUILD_DATE") {
        version["date"] = date.into();
    }
    format!("{version}\n")
}

pub(super) fn only_get(request: &EdgeRequest) -> Result<(), Error> {
    let method = &request.head.method;
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    let text = format!("method {method} is not allowed here: use GET");
    Err(Error::new(ErrorKind::MethodNotAllowed, text))
}

pub(super) fn number(name: &str, text: &str) -> Result<usize, Error> {
    text.parse().map_err(|_| bad(&format!("{name} {text:?} is refused: it must be a number")))
}

pub(super) fn bad(text: &str) -> Error {
    Error::new(ErrorKind::BadRequest, text)
}
