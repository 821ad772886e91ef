//! An upstream that answers what a test wrote down for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use futures::StreamExt as _;
use parking_lot::Mutex;

use super::release::Release;
use crate::blob::ByteStream;
use crate::error::{Error, ErrorKind};
use crate::ports::{BoxFuture, Fetched, Fetcher, Payload, ZipBody};
use crate::request::{FetchAsk, FetchRequest};
use crate::stack::Border;
use crate::telemetry::{Telemetry, UpstreamClass};
use crate::upstream::Upstream;

/// A step of a body.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// Bytes.
    Data(Bytes),
    /// The body breaks off.
    Fail(ErrorKind),
    /// Nothing for a while.
    Wait(Duration),
    /// Nothing any more.
    Hang,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A small file.
    Bytes(Bytes),
    /// A zip in pieces, with the length upstream announces.
    Zip(Option<u64>, Vec<Piece>),
    /// A whole version.
    Version(Box<Release>),
    /// A failure.
    Fail(Error),
    /// A late answer.
    Late(Duration, Box<Reply>),
}

impl Reply {
    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// A zip in one piece, its length announced.
    pub(crate) fn zip(bytes: &Bytes) -> Self {
        Self::Zip(Some(bytes.len() as u64), vec![Piece::Data(bytes.clone())])
    }

    /// A failure of a kind.
    pub(crate) fn fail(kind: ErrorKind) -> Self {
        Self::Fail(super::error(kind))
    }
}

type Script = HashMap<(ModulePath, FetchAsk), VecDeque<Reply>>;

/// The upstream. The last reply to a question is repeated; a question nobody wrote an answer for is a
/// defect of the test and says so.
#[derive(Default)]
pub(crate) struct ScriptedUpstream {
    script: Mutex<Script>,
    asked: Mutex<Vec<FetchAsk>>,
    whole_versions: bool,
}

impl ScriptedUpstream {
    /// An upstream without answers.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An upstream that says it always sends whole versions.
    pub(crate) fn of_whole_versions() -> Arc<Self> {
        Arc::new(Self { whole_versions: true, ..Self::default() })
    }

    /// An upstream with the three files of a version.
    pub(crate) fn serving(release: &Release) -> Arc<Self> {
        let upstream = Self::new();
        upstream.serve(release);
        upstream
    }

    /// Adds the three files of a version.
    pub(crate) fn serve(&self, release: &Release) {
        let Release { module, version, info, go_mod, zip } = release;
        let asked = VersionQuery::Version(version.clone());
        self.on(module, FetchAsk::Info(asked), Reply::Bytes(info.clone()));
        self.on(module, FetchAsk::Mod(version.clone()), Reply::Bytes(go_mod.clone()));
        self.on(module, FetchAsk::Zip(version.clone()), Reply::zip(zip));
    }

    /// Adds a reply after those before it.
    pub(crate) fn on(&self, module: &ModulePath, ask: FetchAsk, reply: Reply) {
        self.script.lock().entry((module.clone(), ask)).or_default().push_back(reply);
    }

    /// Replaces all replies to a question.
    pub(crate) fn only(&self, module: &ModulePath, ask: FetchAsk, reply: Reply) {
        self.script.lock().insert((module.clone(), ask), VecDeque::from([reply]));
    }

    /// Everything that was asked.
    pub(crate) fn asked(&self) -> Vec<FetchAsk> {
        self.asked.lock().clone()
    }

    /// How often something was asked.
    pub(crate) fn count(&self, ask: &FetchAsk) -> usize {
        self.asked.lock().iter().filter(|asked| *asked == ask).count()
    }

    /// The upstream as layers hold it, without any layer around it.
    pub(crate) fn border(self: &Arc<Self>, telemetry: &Telemetry) -> Border<FetchRequest, Fetched> {
        let fetcher: Arc<dyn Fetcher> = Arc::<Self>::clone(self);
        Border::new(Upstream::new(fetcher, UpstreamClass::Proxy, telemetry))
    }

    fn next(&self, request: &FetchRequest) -> Reply {
        self.asked.lock().push(request.ask.clone());
        let key = (request.module.clone(), request.ask.clone());
        let mut script = self.script.lock();
        let Some(replies) = script.get_mut(&key) else {
            let text = format!("no reply was written for {:?}", request.ask);
            return Reply::Fail(Error::new(ErrorKind::Internal, text));
        };
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
            .expect("a script holds at least one reply")
    }
}

impl Fetcher for ScriptedUpstream {
    fn name(&self) -> Arc<str> {
        "scripted".into()
    }

    fn fetches_whole_versions(&self, _: &ModulePath) -> bool {
        self.whole_versions
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        Box::pin(async move {
            let mut reply = self.next(&request);
            while let Reply::Late(by, late) = reply {
                tokio::time::sleep(by).await;
                reply = *late;
            }
            let payload = match reply {
                Reply::Bytes(bytes) => Payload::Bytes(bytes),
                Reply::Zip(length, pieces) => {
                    Payload::Zip(ZipBody { length, stream: stream(pieces) })
                }
                Reply::Version(release) => whole(*release),
                Reply::Fail(error) => return Err(error),
                Reply::Late(..) => unreachable!("waited for above"),
            };
            Ok(Fetched { payload, upstream: self.name(), cache_status: None })
        })
    }
}

fn whole(release: Release) -> Payload {
    let Release { version, info, go_mod, zip, .. } = release;
    let length = Some(zip.len() as u64);
    let zip = ZipBody { length, stream: stream(vec![Piece::Data(zip)]) };
    Payload::Version { version, info, go_mod, zip }
}

/// A body of these pieces.
pub(crate) fn stream(pieces: Vec<Piece>) -> ByteStream {
    futures::stream::iter(pieces)
        .filter_map(|piece| async move {
            match piece {
                Piece::Data(bytes) => Some(Ok(bytes)),
                Piece::Fail(kind) => Some(Err(super::error(kind))),
                Piece::Wait(time) => {
                    tokio::time::sleep(time).await;
                    None
                }
                Piece::Hang => std::future::pending().await,
            }
        })
        .boxed()
}
