//! Where HTTP ends: a path and a method become a call of the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::blob::{Blob, BlobSource};
use dipylon_middleware::body::{self, Body};
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::BoxFuture;
use dipylon_middleware::render::{self, Served, Wanted};
use dipylon_middleware::request::{EdgeRequest, RequestContext};
use dipylon_middleware::response::{Answer, Content, ModuleResponse};
use dipylon_middleware::route::AdminPages as _;
use dipylon_middleware::spool::Spools;
use dipylon_middleware::storage_io::StorageHandle;
use dipylon_middleware::telemetry::{Outcome, RouteName, Telemetry};
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;
use dipylon_protocol::info::MAX_INFO_BYTES;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Response};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::budget::{Budget, MAX_ANSWER_BYTES, MAX_ARRIVING_BYTES};
use super::route::{self, Route, bad};
use super::save::{self, Intake, Received};
use super::turns::{Turns, WALK_WAIT_MAX};
use crate::http::{Admin, AdminConfig, HomePage, Incoming, Readiness, RequestBody};
use crate::index::NoIndex;
use crate::storage::external::wire::{
    CATALOG_PATH, EXTENSION_HEADER, EXTENSION_VERSION, SAVED_HEADER,
};
use crate::storage::extra_key::{self, MAX_EXTRA_BYTES};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// Pages that the gateway has too; the others of its pages are not served here.
const PAGES: [&str; 5] = ["/healthz", "/readyz", "/version", "/metrics", "/catalog"];

/// Lists and catalogue pages that are made at once: each may have to be in memory twice, as the store gives it
/// and as it is sent.
pub const MAX_WALKS: usize = 8;

/// The handler under the edge's layers.
#[derive(Clone)]
pub(super) struct Leaf {
    storage: StorageHandle,
    intake: Intake,
    answers: Budget,
    walks: Turns,
    call_timeout: Duration,
    pages: Arc<Admin>,
}

impl Leaf {
    pub(super) fn new(
        storage: StorageHandle,
        spools: Spools,
        call_timeout: Duration,
        telemetry: &Telemetry,
    ) -> Self {
        let config = AdminConfig {
            path_prefix: String::new(),
            home: HomePage { template: "".into(), no_sum_patterns: String::new() },
            robots_file: "".into(),
            metrics: true,
        };
        let ready: Arc<dyn Readiness> = Arc::new(StoreReady(storage.clone()));
        let pages = Admin::new(config, storage.clone(), Arc::new(NoIndex), vec![ready], telemetry);
        let intake = Intake::new(spools, Budget::new(MAX_ARRIVING_BYTES));
        let answers = Budget::new(MAX_ANSWER_BYTES);
        let walks = Turns::new("lists and pages of the catalogue", MAX_WALKS, WALK_WAIT_MAX);
        Self { storage, intake, answers, walks, call_timeout, pages: Arc::new(pages) }
    }

    /// Every answer, errors among them, says that the extension is there.
    pub(super) async fn answer(self, request: EdgeRequest) -> Response<Body> {
        let mut served = Served::default();
        let result = self.serve(&request, &mut served).await;
        let mut response = result.unwrap_or_else(|error| {
            let mut response = render::error(&error);
            if error.kind() == ErrorKind::MethodNotAllowed {
                response.headers_mut().insert(ALLOW, allowed(&request));
            }
            response
        });
        let name = HeaderName::from_static(EXTENSION_HEADER);
        response.headers_mut().insert(name, HeaderValue::from_static(EXTENSION_VERSION));
        let told = response.extensions_mut().get_or_insert_default::<Served>();
        (told.route, told.module) = (served.route, served.module);
        told.version = served.version.or(told.version.take());
        response
    }

    async fn serve(
        &self,
        request: &EdgeRequest,
        served: &mut Served,
    ) -> Result<Response<Body>, Error> {
        let Some(path) = request.path.as_deref() else {
            return Err(Error::new(ErrorKind::InvalidPath, "404 page not found: no such prefix"));
        };
        if PAGES.contains(&path) {
            served.route = self.pages.route(path).unwrap_or(RouteName::Admin);
            if path != CATALOG_PATH {
                return self.pages.serve(path, request).await;
            }
            let _turn = self.walks.take().await?;
            return self.counted(self.pages.serve(path, request).await?).await;
        }
        let route = route::parse(path)?;
        note(&route, served);
        let context = self.context(request);
        let method = &request.head.method;
        let reads = method == Method::GET || method == Method::HEAD;
        match route {
            Route::List(module) if reads => self.list(&context, &module, request).await,
            Route::File(module, version, kind) if reads => {
                self.file(&context, &module, version, kind, request).await
            }
            Route::Save(module, version) if method == Method::POST => {
                self.save(request, module, version).await
            }
            Route::Delete(module, version) if method == Method::DELETE => {
                let text = format!(
                    "{module}@{version} is not deleted: a saved version never changes; remove it \
                     where the store keeps it"
                );
                Err(Error::new(ErrorKind::Unsupported, text))
            }
            Route::Check if reads => {
                self.storage.check(&context).await?;
                Ok(render::whole(TEXT, "ok\n"))
            }
            Route::Extra(key) => self.extra(request, &context, &key).await,
            _ => Err(not_allowed(method)),
        }
    }

    /// A context whose time begins now: a body may have taken longer than a call of the store may.
    fn context(&self, request: &EdgeRequest) -> RequestContext {
        RequestContext { deadline: Instant::now() + self.call_timeout, ..request.context.clone() }
    }

    async fn list(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        request: &EdgeRequest,
    ) -> Result<Response<Body>, Error> {
        // Until it is counted: nobody knows yet how long it is.
        let _turn = self.walks.take().await?;
        let versions = self.storage.list(context, module).await?;
        let bytes = versions.iter().map(|version| version.as_str().len() + 1).sum();
        let mut lines = String::with_capacity(bytes);
        for version in versions {
            lines.push_str(version.as_str());
            lines.push('\n');
        }
        let lines = self.answers.hold(lines.len()).await?.by(lines);
        respond(Answer::List(lines), request).await
    }

    async fn file(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: Version,
        kind: FileKind,
        request: &EdgeRequest,
    ) -> Result<Response<Body>, Error> {
        // Before it is read: nobody knows yet how large it is.
        let held = self.answers.hold(bytes_max(kind)).await?;
        let Some(mut blob) = self.storage.read(context, module, &version, kind).await? else {
            let text = format!("not stored: {module}@{version}");
            return Err(Error::new(ErrorKind::NotStored, text));
        };
        if let BlobSource::Bytes(bytes) = blob.source() {
            blob = Blob::from_bytes(held.by(bytes.clone()));
        }
        let content = Content::Stored(blob);
        respond(Answer::File { kind, version, content }, request).await
    }

    async fn save(
        &self,
        request: &EdgeRequest,
        module: ModulePath,
        version: Version,
    ) -> Result<Response<Body>, Error> {
        let kind = request.head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let (body, kind) = (body_of(request)?, kind.unwrap_or_default());
        let received = save::receive(body, kind, &self.intake, module, version).await?;
        let Received { new, place: _place } = received;
        let saved = self.storage.save(&self.context(request), new).await?;
        let word = save::word(saved);
        let mut response = render::whole(TEXT, format!("{word}\n"));
        let name = HeaderName::from_static(SAVED_HEADER);
        response.headers_mut().insert(name, HeaderValue::from_static(word));
        Ok(response)
    }

    async fn extra(
        &self,
        request: &EdgeRequest,
        context: &RequestContext,
        key: &str,
    ) -> Result<Response<Body>, Error> {
        extra_key::check(key, &[]).map_err(|error| bad(error.message()))?;
        match request.head.method {
            Method::GET | Method::HEAD => {
                let held = self.answers.hold(MAX_EXTRA_BYTES).await?;
                match self.storage.read_extra(context, key).await? {
                    Some(bytes) => Ok(render::whole(BYTES, held.by(bytes))),
                    None => Err(Error::new(ErrorKind::NotStored, "not stored: no such extra")),
                }
            }
            Method::PUT => {
                let bytes = self.intake.whole(body_of(request)?, MAX_EXTRA_BYTES).await?;
                let _turn = self.intake.extras.take().await?;
                self.storage.write_extra(&self.context(request), key, bytes).await?;
                Ok(render::whole(TEXT, Bytes::new()))
            }
            Method::DELETE => {
                self.storage.remove_extra(context, key).await?;
                Ok(render::whole(TEXT, Bytes::new()))
            }
            ref method => Err(not_allowed(method)),
        }
    }

    /// An answer whose body is in memory already, counted.
    async fn counted(&self, answer: Response<Body>) -> Result<Response<Body>, Error> {
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let bytes = self.answers.hold(bytes.len()).await?.by(bytes);
        Ok(Response::from_parts(head, body::full(bytes)))
    }
}

/// What a file may take in memory; zips stream.
fn bytes_max(kind: FileKind) -> usize {
    match kind {
        FileKind::Info => MAX_INFO_BYTES,
        FileKind::Mod => MAX_GO_MOD_BYTES,
        FileKind::Zip => 0,
    }
}

async fn respond(answer: Answer, request: &EdgeRequest) -> Result<Response<Body>, Error> {
    let wanted = Wanted { method: &request.head.method, headers: &request.head.headers };
    render::module(ModuleResponse::new(answer, Outcome::HitStorage), wanted).await
}

fn body_of(request: &EdgeRequest) -> Result<Incoming, Error> {
    let body = request.head.extensions.get::<RequestBody>().and_then(RequestBody::take);
    body.ok_or_else(|| bad("the request has no body"))
}

fn note(route: &Route, served: &mut Served) {
    let of = |module: &ModulePath| Some(module.shared());
    match route {
        Route::List(module) => (served.route, served.module) = (RouteName::List, of(module)),
        Route::File(module, version, kind) => {
            served.route = match kind {
                FileKind::Info => RouteName::Info,
                FileKind::Mod => RouteName::Mod,
                FileKind::Zip => RouteName::Zip,
            };
            (served.module, served.version) = (of(module), Some(version.shared()));
        }
        Route::Save(module, version) | Route::Delete(module, version) => {
            served.route = RouteName::Admin;
            (served.module, served.version) = (of(module), Some(version.shared()));
        }
        Route::Check | Route::Extra(_) => served.route = RouteName::Admin,
    }
}

fn not_allowed(method: &Method) -> Error {
    let text = format!("method {method} is not allowed here");
    Error::new(ErrorKind::MethodNotAllowed, text)
}

/// What a path allows, for a client that tried something else.
fn allowed(request: &EdgeRequest) -> HeaderValue {
    let route = request.path.as_deref().and_then(|path| route::parse(path).ok());
    HeaderValue::from_static(match route {
        Some(Route::Save(..)) => "POST",
        Some(Route::Delete(..)) => "DELETE",
        Some(Route::Extra(_)) => "GET, HEAD, PUT, DELETE",
        _ => "GET, HEAD",
    })
}

struct StoreReady(StorageHandle);

impl Readiness for StoreReady {
    fn part(&self) -> &'static str {
        "storage"
    }

    fn check<'a>(&'a self, context: &'a RequestContext) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.0.check(context))
    }
}
