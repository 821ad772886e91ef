//! Typed requests, one per stage. Data flows one way: HTTP ends at `route`, and a layer in the wrong
//! place does not compile.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::{FileKind, Route, SumDbPath};
use dipylon_protocol::version::Version;
use tokio::time::Instant;

use crate::budget::RateClass;
use crate::error::{Error, ErrorKind};
use crate::ports::{Decision, Policy};
use crate::telemetry::{FetchKind, Timings, Trace};

/// What travels with every request through every stage.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Request id: the client's, or a new one.
    pub id: Arc<str>,
    /// The trace, and in it the span of the layer that is calling.
    pub trace: Trace,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// Where the time went.
    pub timings: Arc<Timings>,
}

impl RequestContext {
    /// A context outside any HTTP request: start-up, background work, tests.
    pub fn detached(deadline: Instant) -> Self {
        Self { id: "-".into(), trace: Trace::default(), deadline, timings: Arc::default() }
    }
}

/// A request that carries a [`RequestContext`].
pub trait HasContext {
    /// The context.
    fn context(&self) -> &RequestContext;
    /// The context, to put a child span into.
    fn context_mut(&mut self) -> &mut RequestContext;
}

macro_rules! has_context {
    ($($request:ty => $($path:ident).+;)+) => {$(
        impl HasContext for $request {
            fn context(&self) -> &RequestContext { &self.$($path).+ }
            fn context_mut(&mut self) -> &mut RequestContext { &mut self.$($path).+ }
        }
    )+};
}

has_context! {
    EdgeRequest => context;
    ModuleRequest => context;
    FileRequest => context;
    Missed => request.context;
    Planned => request.context;
    StashRequest => context;
    StorageRequest => context;
    FetchRequest => context;
    SumDbFetch => context;
    SumDbRequest => context;
}

/// An HTTP request on the edge: the head only. Where a page takes a body, the server has put it among the
/// extensions. It is one reference, because so many layers hand it on.
#[derive(Clone, Debug)]
pub struct EdgeRequest(Box<EdgeParts>);

/// What an [`EdgeRequest`] is made of.
#[derive(Clone, Debug)]
pub struct EdgeParts {
    /// Context.
    pub context: RequestContext,
    /// Method, headers, URI as they came.
    pub head: Box<http::request::Parts>,
    /// Path without the configured prefix, still percent-encoded; `None` outside the prefix.
    pub path: Option<String>,
    /// Who is connected: a socket address, or nothing for a unix socket.
    pub peer: Option<std::net::SocketAddr>,
    /// Whether the connection is TLS.
    pub secure: bool,
}

impl From<EdgeParts> for EdgeRequest {
    fn from(parts: EdgeParts) -> Self {
        Self(Box::new(parts))
    }
}

impl Deref for EdgeRequest {
    type Target = EdgeParts;

    fn deref(&self) -> &EdgeParts {
        &self.0
    }
}

impl DerefMut for EdgeRequest {
    fn deref_mut(&mut self) -> &mut EdgeParts {
        &mut self.0
    }
}

impl EdgeRequest {
    /// Whether a load balancer asks for our health: `/healthz` and `/readyz` below the prefix, and the
    /// bare `/` where there is a prefix (`prefixed`), which makes it a health check as in Athens.
    pub fn is_health_check(&self, prefixed: bool) -> bool {
        let below = matches!(self.path.as_deref(), Some("/healthz" | "/readyz"));
        below || (prefixed && self.head.uri.path() == "/")
    }
}

/// What a client asks of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Its versions.
    List,
    /// Its newest version.
    Latest,
    /// One file of one version.
    File(VersionQuery, FileKind),
}

/// Anything about a module: enters the module stack.
#[derive(Clone, Debug)]
pub struct ModuleRequest {
    /// Context.
    pub context: RequestContext,
    /// Decoded, valid module path.
    pub module: ModulePath,
    /// What is asked.
    pub ask: Ask,
}

/// One file of one version: what is left when list and latest are answered.
#[derive(Clone, Debug)]
pub struct FileRequest {
    /// Context.
    pub context: RequestContext,
    /// Decoded, valid module path.
    pub module: ModulePath,
    /// Canonical version, or a query such as a branch.
    pub version: VersionQuery,
    /// Which file.
    pub kind: FileKind,
}

impl FileRequest {
    /// The route a client used, without a path prefix: what a redirect appends.
    pub fn route(&self) -> Route {
        Route::File { module: self.module.clone(), version: self.version.clone(), kind: self.kind }
    }
}

/// A file that storage does not have.
#[derive(Clone, Debug)]
pub struct Missed {
    /// The request.
    pub request: FileRequest,
}

/// What to do about a miss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Fetch now and answer with it.
    Stash,
    /// Answer 404 and fetch in the background.
    StashInBackground,
    /// Send the client to this location.
    Redirect(String),
    /// Send the client to this location and fetch in the background.
    RedirectAndStash(String),
    /// Answer 404.
    Refuse,
}

/// A miss with the plan for it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The request.
    pub request: FileRequest,
    /// What to do.
    pub plan: Plan,
}

/// How much one stash fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// One file first: `.mod` and `.info` never wait for a zip.
    File(FileKind),
    /// All three at once: the `go` command cannot fetch less, so all requests share one.
    Version,
}

impl Want {
    /// Its name on the pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File(kind) => kind.as_str(),
            Self::Version => "version",
        }
    }
}

/// What a stash is identified by: two requests with equal keys share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StashKey {
    /// Module path.
    pub module: ModulePath,
    /// Version or query, as asked.
    pub version: VersionQuery,
    /// How much is fetched.
    pub want: Want,
}

/// Fetch, verify, save, index.
#[derive(Clone, Debug)]
pub struct StashRequest {
    /// Context.
    pub context: RequestContext,
    /// What to stash.
    pub key: StashKey,
}

/// A call of a storage backend.
#[derive(Clone, Debug)]
pub struct StorageRequest {
    /// Context.
    pub context: RequestContext,
    /// The operation.
    pub operation: crate::ports::StorageCall,
}

/// What to ask an upstream for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FetchAsk {
    /// Versions of the module.
    List,
    /// The newest version.
    Latest,
    /// `.info` of a version or query.
    Info(VersionQuery),
    /// `.mod` of a version.
    Mod(Version),
    /// `.zip` of a version.
    Zip(Version),
}

impl FetchAsk {
    /// The metric label.
    pub fn kind(&self) -> FetchKind {
        match self {
            Self::List => FetchKind::List,
            Self::Latest => FetchKind::Latest,
            Self::Info(_) => FetchKind::Info,
            Self::Mod(_) => FetchKind::Mod,
            Self::Zip(_) => FetchKind::Zip,
        }
    }

    /// The route under an upstream's base URL.
    pub fn route(&self, module: &ModulePath) -> Route {
        let module = module.clone();
        let file = |version, kind| Route::File { module: module.clone(), version, kind };
        match self {
            Self::List => Route::List { module },
            Self::Latest => Route::Latest { module },
            Self::Info(version) => file(version.clone(), FileKind::Info),
            Self::Mod(version) => file(VersionQuery::Version(version.clone()), FileKind::Mod),
            Self::Zip(version) => file(VersionQuery::Version(version.clone()), FileKind::Zip),
        }
    }
}

/// A question to an upstream.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// Context.
    pub context: RequestContext,
    /// Module path.
    pub module: ModulePath,
    /// What to ask for.
    pub ask: FetchAsk,
    /// Whose budget it counts in, beside that of the upstream's host.
    pub rate_class: Option<Arc<RateClass>>,
    /// How long it may wait for its turn, where upstreams are asked at a pace; never longer than its deadline.
    pub turn_patience: Duration,
    /// By what it goes out; nothing where no policy has a say.
    pub permit: Option<Permit>,
}

/// The decision by which an upstream is asked. What stands in line, or waits for its next attempt or for the next
/// upstream of its list, goes by it when its time has come: the policy may be another one by then.
#[derive(Clone)]
pub struct Permit {
    policy: Arc<dyn Policy>,
    by: Arc<Decision>,
}

impl Permit {
    /// By what `policy` has just decided.
    pub fn new(policy: Arc<dyn Policy>, by: Arc<Decision>) -> Self {
        Self { policy, by }
    }

    /// Whether the policy in force still has these upstreams asked this.
    pub fn holds(&self, module: &ModulePath, ask: &FetchAsk) -> bool {
        let now = self.policy.decide(module);
        Arc::ptr_eq(&now, &self.by) || (now.lets_ask(ask) && now.asks_the_same(&self.by))
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?})", self.by)
    }
}

/// How long a request waits for its turn that somebody waits for: who would wait longer is told when to ask again.
pub const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// What takes its turn before it goes to an upstream host.
pub trait TakesTurns: HasContext + Clone + Send + 'static {
    /// Whose budget it counts in, beside that of the host.
    fn rate_class(&self) -> Option<&Arc<RateClass>>;
    /// How long it may wait for its turn; never longer than its deadline.
    fn turn_patience(&self) -> Duration;
}

impl TakesTurns for FetchRequest {
    fn rate_class(&self) -> Option<&Arc<RateClass>> {
        self.rate_class.as_ref()
    }

    fn turn_patience(&self) -> Duration {
        self.turn_patience
    }
}

impl TakesTurns for SumDbFetch {
    /// Many modules share what it asks for.
    fn rate_class(&self) -> Option<&Arc<RateClass>> {
        None
    }

    /// A version on its way may need it.
    fn turn_patience(&self) -> Duration {
        Duration::MAX
    }
}

impl FetchRequest {
    /// A question about a module of no rate class.
    pub fn new(context: RequestContext, module: ModulePath, ask: FetchAsk) -> Self {
        let turn_patience = TURN_PATIENCE;
        Self { context, module, ask, rate_class: None, turn_patience, permit: None }
    }

    /// Whether it may go out now.
    pub fn is_permitted(&self) -> bool {
        self.permit.as_ref().is_none_or(|permit| permit.holds(&self.module, &self.ask))
    }
}

/// Something of a checksum database, from an upstream that carries it beside modules.
#[derive(Clone, Debug)]
pub struct SumDbFetch {
    /// Context.
    pub context: RequestContext,
    /// Below the database's place at the upstream; it begins with a slash and is percent-encoded.
    pub path: Arc<str>,
    /// Whose name it tells, if it tells one.
    pub names: Option<Named>,
}

/// A module whose name goes out where policy does not keep it from every upstream. This is asked when it leaves, as
/// for a [`Permit`].
#[derive(Clone)]
pub struct Named {
    policy: Arc<dyn Policy>,
    module: ModulePath,
}

impl Named {
    /// As `policy` has it when it is asked.
    pub fn new(policy: Arc<dyn Policy>, module: ModulePath) -> Self {
        Self { policy, module }
    }

    /// Whether it may go out now.
    ///
    /// # Errors
    /// `NotStored` where it must be kept from every upstream.
    pub fn check(&self) -> Result<(), Error> {
        if !self.policy.decide(&self.module).is_secret() {
            return Ok(());
        }
        let text = format!("not found: policy keeps {} from every upstream", self.module);
        Err(Error::new(ErrorKind::NotStored, text))
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Named({})", self.module)
    }
}

/// Anything under `/sumdb/NAME/`.
#[derive(Clone, Debug)]
pub struct SumDbRequest {
    /// Context.
    pub context: RequestContext,
    /// Name of the database, as in the URL.
    pub name: String,
    /// What is asked of it.
    pub path: SumDbPath,
}
