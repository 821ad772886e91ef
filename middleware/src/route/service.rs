use std::fmt;
use std::sync::Arc;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::{Route as Path, RouteError};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::ports::BoxFuture;
use crate::render::{self, Served, Wanted};
use crate::request::{Ask, EdgeRequest, ModuleRequest, SumDbRequest};
use crate::response::{Answer, ModuleResponse, SumDbResponse};
use crate::stack::{Border, stage};
use crate::telemetry::RouteName;

/// Pages that are not about modules: health, metrics, catalog and the like.
pub trait AdminPages: Send + Sync + 'static {
    /// Which page `path` is, or `None` if it is none.
    fn route(&self, path: &str) -> Option<RouteName>;
    /// The page.
    fn serve<'a>(
        &'a self,
        path: &'a str,
        request: &'a EdgeRequest,
    ) -> BoxFuture<'a, Result<Response<Body>, Error>>;
}

/// Routes a request to its stack.
#[derive(Clone)]
pub struct Route {
    modules: Border<ModuleRequest, ModuleResponse>,
    sumdb: Border<SumDbRequest, SumDbResponse>,
    admin: Arc<dyn AdminPages>,
    cache_control: Option<HeaderValue>,
}

impl Route {
    /// To these. A `cache_control` that is not empty replaces the header of info, mod and zip
    /// (`CacheControl`).
    pub fn new(
        modules: Border<ModuleRequest, ModuleResponse>,
        sumdb: Border<SumDbRequest, SumDbResponse>,
        admin: Arc<dyn AdminPages>,
        cache_control: &str,
    ) -> Self {
        let configured = Some(cache_control).filter(|value| !value.is_empty());
        let cache_control = configured.and_then(|value| HeaderValue::from_str(value).ok());
        Self { modules, sumdb, admin, cache_control }
    }

    async fn handle(&self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        let mut served = Served::default();
        let result = self.serve(&request, &mut served).await;
        let mut response = result.unwrap_or_else(|error| render::error(&error));
        let told = response.extensions_mut().get_or_insert_default::<Served>();
        (told.route, told.module) = (served.route, served.module);
        told.version = told.version.take().or(served.version);
        if request.head.method == Method::HEAD {
            response = without_body(response);
        }
        Ok(response)
    }

    async fn serve(
        &self,
        request: &EdgeRequest,
        served: &mut Served,
    ) -> Result<Response<Body>, Error> {
        let path = request.path.as_deref().ok_or_else(|| no_page(request.head.uri.path()))?;
        let method = &request.head.method;
        if let Some(route) = self.admin.route(path) {
            served.route = route;
            return self.admin.serve(path, request).await;
        }
        let parsed = Path::parse(path).map_err(|error| invalid(path, &error))?;
        if method != Method::GET && method != Method::HEAD {
            let text = format!("method {method} is not allowed here: use GET or HEAD");
            return Err(Error::new(ErrorKind::MethodNotAllowed, text));
        }
        served.route = route_name(&parsed);
        self.send(parsed, request, served).await
    }

    async fn send(
        &self,
        path: Path,
        request: &EdgeRequest,
        served: &mut Served,
    ) -> Result<Response<Body>, Error> {
        let context = request.context.clone();
        let (module, ask) = match path {
            Path::SumDb { name, path } => {
                let answer = self.sumdb.send(SumDbRequest { context, name, path }).await?;
                return Ok(render::sumdb(answer));
            }
            Path::List { module } => (module, Ask::List),
            Path::Latest { module } => (module, Ask::Latest),
            Path::File { module, version, kind } => {
                served.version = Some(version.shared());
                (module, Ask::File(version, kind))
            }
        };
        served.module = Some(module.shared());
        refuse_impossible(&module)?;
        let mut answer = self.modules.send(ModuleRequest { context, module, ask }).await?;
        take_along(&mut answer, request.head.uri.query());
        // The answer to a branch changes with the branch: only what never changes takes the operator's word.
        let is_immutable = matches!(answer.answer, Answer::File { .. }) && answer.asked.is_none();
        let wanted = Wanted { method: &request.head.method, headers: &request.head.headers };
        let mut response = render::module(answer, wanted).await?;
        let not_the_file = [StatusCode::RANGE_NOT_SATISFIABLE, StatusCode::FOUND];
        let replaced = is_immutable && !not_the_file.contains(&response.status());
        if let Some(value) = self.cache_control.as_ref().filter(|_| replaced) {
            response.headers_mut().insert(http::header::CACHE_CONTROL, value.clone());
        }
        Ok(response)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route")
    }
}

stage!(Route: EdgeRequest => Response<Body>);

fn route_name(path: &Path) -> RouteName {
    match path {
        Path::List { .. } => RouteName::List,
        Path::Latest { .. } => RouteName::Latest,
        Path::SumDb { .. } => RouteName::SumDb,
        Path::File { kind, .. } => (*kind).into(),
    }
}

fn invalid(path: &str, error: &RouteError) -> Error {
    match error {
        RouteError::NotModule => no_page(path),
        // Its text begins with "not found: " already.
        error => Error::new(ErrorKind::InvalidPath, error.to_string()),
    }
}

fn no_page(path: &str) -> Error {
    let shown: String = path.chars().take(200).collect();
    Error::new(ErrorKind::InvalidPath, format!("404 page not found: {shown}"))
}

/// A redirect goes to the same file elsewhere, so what stands behind the `?` of the request goes with it.
/// No base URL has a query of its own.
fn take_along(answer: &mut ModuleResponse, query: Option<&str>) {
    if let (Answer::Redirect { location, .. }, Some(query)) = (&mut answer.answer, query) {
        location.push('?');
        location.push_str(query);
    }
}

/// The `go` command asks for every prefix of an import path; most of them cannot exist.
fn refuse_impossible(module: &ModulePath) -> Result<(), Error> {
    match module.impossible() {
        None => Ok(()),
        Some(reason) => {
            Err(Error::new(ErrorKind::ImpossiblePath, format!("not found: {module}: {reason}")))
        }
    }
}

/// HEAD has the headers of GET, the length included, and no body. An empty body says nothing: a file
/// whose length is not known yet has none here, nor has a 304.
fn without_body(response: Response<Body>) -> Response<Body> {
    use http_body::Body as _;
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0)
        && !parts.headers.contains_key(http::header::CONTENT_LENGTH)
    {
        parts.headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, crate::body::empty())
}
