//! How layers are put together: an observed stack, and the border where a stack ends.

use std::fmt;
use std::sync::Arc;

use tower::util::{Either, ServiceExt as _, ServiceFn, option_layer};
use tower::{Layer, Service};

use crate::error::Error;
use crate::observe::{Observe, ObserveLayer};
use crate::ports::BoxFuture;
use crate::telemetry::{LayerName, Telemetry};

/// What every service of ours is: always ready, cheap to clone, failing with [`Error`].
///
/// A stage is a tower `Service` as well, whose `poll_ready` is `Ready` everywhere. Stages call one another here, by
/// reference: a call through a whole stack clones no layer, and its future is one piece of memory, not one for each
/// layer. What is only reached on a miss is boxed where it is called, so that the future of a hit stays small.
pub trait Stage<Request>: Clone + Send + Sync + 'static {
    /// What it answers.
    type Reply: Send + 'static;

    /// Answers a request.
    fn run(&self, request: Request) -> impl Future<Output = Result<Self::Reply, Error>> + Send;
}

/// A function as a stage: the end of a stack.
impl<F, Request> Stage<Request> for ServiceFn<F>
where
    Self: Service<Request, Error = Error> + Clone + Send + Sync + 'static,
    <Self as Service<Request>>::Response: Send + 'static,
    <Self as Service<Request>>::Future: Send,
    Request: Send,
{
    type Reply = <Self as Service<Request>>::Response;

    async fn run(&self, request: Request) -> Result<Self::Reply, Error> {
        self.clone().oneshot(request).await
    }
}

/// A layer that may be left out.
impl<A, B, Request> Stage<Request> for Either<A, B>
where
    A: Stage<Request>,
    B: Stage<Request, Reply = A::Reply>,
    Request: Send,
{
    type Reply = A::Reply;

    async fn run(&self, request: Request) -> Result<Self::Reply, Error> {
        match self {
            Self::Left(with) => with.run(request).await,
            Self::Right(without) => without.run(request).await,
        }
    }
}

/// Implements `Service` for a stage in the one idiom: always ready, cloned per call, one boxed future.
/// The stage itself is an `async fn handle(&self, request)`. Three forms: a layer that turns one request
/// into another, a leaf, and a layer that serves any request (`Request` may be named in the bounds).
macro_rules! stage {
    ($name:ident<$inner:ident> : $request:ty => $reply:ty, over $down:ty => $answer:ty) => {
        $crate::stack::stage! {
            @[$inner] $name<$inner>, $request => $reply,
            where [$inner: $crate::stack::Stage<$down, Reply = $answer>]
        }
    };
    ($name:ident : $request:ty => $reply:ty) => {
        $crate::stack::stage! { @[] $name, $request => $reply, where [] }
    };
    ($name:ident<$inner:ident> : any $request:ident $(, where $($bounds:tt)+)?) => {
        $crate::stack::stage! {
            @[$inner, $request] $name<$inner>, $request => $inner::Reply,
            where [
                $inner: $crate::stack::Stage<$request>,
                $request: $crate::request::HasContext + Send + 'static,
                $($($bounds)+)?
            ]
        }
    };
    (@[$($generic:ident),*] $name:ty, $request:ty => $reply:ty, where [$($bounds:tt)*]) => {
        impl<$($generic),*> $crate::stack::Stage<$request> for $name
        where
            $($bounds)*
        {
            type Reply = $reply;

            fn run(
                &self,
                request: $request,
            ) -> impl Future<Output = Result<$reply, $crate::error::Error>> + Send {
                self.handle(request)
            }
        }

        impl<$($generic),*> tower::Service<$request> for $name
        where
            $($bounds)*
        {
            type Response = $reply;
            type Error = $crate::error::Error;
            type Future = $crate::ports::BoxFuture<'static, Result<$reply, $crate::error::Error>>;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), $crate::error::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: $request) -> Self::Future {
                let stage = self.clone();
                Box::pin(async move { stage.handle(request).await })
            }
        }
    };
}
pub(crate) use stage;

/// The erased end of a stack: one reference and one boxed future, however deep the stack below.
pub struct Border<Request, Reply> {
    call: Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Reply, Error>> + Send + Sync>,
}

impl<Request: Send + 'static, Reply: Send + 'static> Border<Request, Reply> {
    /// Erases a stack.
    pub fn new<S>(stack: S) -> Self
    where
        S: Stage<Request, Reply = Reply>,
    {
        let stack = Arc::new(stack);
        let call = move |request| -> BoxFuture<'static, Result<Reply, Error>> {
            let stack = Arc::clone(&stack);
            Box::pin(async move { stack.run(request).await })
        };
        Self { call: Arc::new(call) }
    }

    /// Calls the stack.
    pub fn send(&self, request: Request) -> BoxFuture<'static, Result<Reply, Error>> {
        (self.call)(request)
    }
}

impl<Request, Reply> Clone for Border<Request, Reply> {
    fn clone(&self) -> Self {
        Self { call: Arc::clone(&self.call) }
    }
}

impl<Request, Reply> fmt::Debug for Border<Request, Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Border")
    }
}

impl<Request: Send + 'static, Reply: Send + 'static> Stage<Request> for Border<Request, Reply> {
    type Reply = Reply;

    fn run(&self, request: Request) -> impl Future<Output = Result<Reply, Error>> + Send {
        self.send(request)
    }
}

impl<Request: Send + 'static, Reply: Send + 'static> Service<Request> for Border<Request, Reply> {
    type Response = Reply;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Reply, Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.send(request)
    }
}

/// A stack under construction, outside in: the first layer pushed sees a request first. Each layer is
/// wrapped in `observe` under its name.
///
/// A miss is planned after storage was looked at:
///
/// ```
/// # use std::sync::Arc;
/// # use dipylon_middleware::{dispatch::Dispatch, download_mode::DownloadModeLayer};
/// # use dipylon_middleware::{lookup::LookupLayer, ports::Policy, request::FileRequest};
/// # use dipylon_middleware::{response::ModuleResponse, stack::{Border, Stack}};
/// # use dipylon_middleware::{storage_io::StorageHandle, telemetry::{LayerName, Telemetry}};
/// fn files(
///     telemetry: &Telemetry,
///     storage: StorageHandle,
///     policy: Arc<dyn Policy>,
///     dispatch: Dispatch,
/// ) -> Border<FileRequest, ModuleResponse> {
///     Stack::new(telemetry)
///         .push(LayerName::Lookup, LookupLayer::new(storage, telemetry))
///         .push(LayerName::DownloadMode, DownloadModeLayer::new(policy))
///         .over(LayerName::Dispatch, dispatch)
/// }
/// ```
///
/// The same layers in the wrong order do not compile: `lookup` answers a `FileRequest`, and below
/// `download_mode` there is none any more.
///
/// ```compile_fail,E0277
/// # use std::sync::Arc;
/// # use dipylon_middleware::{dispatch::Dispatch, download_mode::DownloadModeLayer};
/// # use dipylon_middleware::{lookup::LookupLayer, ports::Policy, request::FileRequest};
/// # use dipylon_middleware::{response::ModuleResponse, stack::{Border, Stack}};
/// # use dipylon_middleware::{storage_io::StorageHandle, telemetry::{LayerName, Telemetry}};
/// fn files(
///     telemetry: &Telemetry,
///     storage: StorageHandle,
///     policy: Arc<dyn Policy>,
///     dispatch: Dispatch,
/// ) -> Border<FileRequest, ModuleResponse> {
///     Stack::new(telemetry)
///         .push(LayerName::DownloadMode, DownloadModeLayer::new(policy))
///         .push(LayerName::Lookup, LookupLayer::new(storage, telemetry))
///         .over(LayerName::Dispatch, dispatch)
/// }
/// ```
pub struct Stack<L> {
    layers: L,
    telemetry: Telemetry,
}

impl Stack<tower::layer::util::Identity> {
    /// An empty stack.
    pub fn new(telemetry: &Telemetry) -> Self {
        Self { layers: tower::layer::util::Identity::new(), telemetry: telemetry.clone() }
    }
}

/// A layer, observed, below all that was pushed before.
pub type Pushed<N, L> = tower::layer::util::Stack<N, tower::layer::util::Stack<ObserveLayer, L>>;

/// A layer that may be left out, observed where it is not, below all that was pushed before.
pub type PushedIf<N, L> = tower::layer::util::Stack<
    Either<tower::layer::util::Stack<N, ObserveLayer>, tower::layer::util::Identity>,
    L,
>;

impl<L> Stack<L> {
    /// Adds a layer below those pushed before.
    pub fn push<N>(self, name: LayerName, layer: N) -> Stack<Pushed<N, L>> {
        let observe = ObserveLayer::new(name, &self.telemetry);
        let outside = tower::layer::util::Stack::new(observe, self.layers);
        let layers = tower::layer::util::Stack::new(layer, outside);
        Stack { layers, telemetry: self.telemetry }
    }

    /// As [`Stack::push`], for a concern that the configuration may leave out: left out, it costs
    /// nothing and is not observed.
    pub fn push_if<N>(self, name: LayerName, layer: Option<N>) -> Stack<PushedIf<N, L>> {
        let observed = layer.map(|layer| {
            tower::layer::util::Stack::new(layer, ObserveLayer::new(name, &self.telemetry))
        });
        let layers = tower::layer::util::Stack::new(option_layer(observed), self.layers);
        Stack { layers, telemetry: self.telemetry }
    }

    /// Puts the stack over its leaf, which is observed too, and erases it.
    pub fn over<Leaf, Request, Reply>(self, name: LayerName, leaf: Leaf) -> Border<Request, Reply>
    where
        L: Layer<Observe<Leaf>>,
        L::Service: Stage<Request, Reply = Reply>,
        Request: Send + 'static,
        Reply: Send + 'static,
    {
        let leaf = ObserveLayer::new(name, &self.telemetry).layer(leaf);
        Border::new(self.layers.layer(leaf))
    }
}
