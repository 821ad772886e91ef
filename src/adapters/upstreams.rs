//! GOPROXY lists, ready to be asked: the gateway's own, and those that a download-mode file names.

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::explain::Facts;
use dipylon_middleware::ports::{Fetched, Fetcher};
use dipylon_middleware::request::SumDbFetch;
use dipylon_middleware::stack::Border;
use dipylon_middleware::telemetry::{Telemetry, UpstreamClass};
use dipylon_protocol::pattern::Patterns;
use parking_lot::Mutex;

use crate::app::upstream::{UpstreamHost, UpstreamWatch, direct_stack, upstream_stack};
use crate::config::Config;
use crate::fetch::environment::GoSettings;
use crate::fetch::file_tree::FileTree;
use crate::fetch::go_command::GoCommand;
use crate::fetch::goproxy_list::{GoProxyListFetcher, ListEntry, Stands, UpstreamStack};
use crate::fetch::goproxy_setting::{EntryKind, GoProxyList};
use crate::fetch::http_client::HttpClient;
use crate::fetch::proxy_client::ProxyClient;
use crate::fetch::sumdb_route::{Carriers, end_of_way};
use crate::policy::live::OpenUpstreams;

/// Upstreams with a stack each, of which all lists that name one share it. Those at one host share what is the
/// host's.
type Opened = Vec<Upstream>;

/// What the file in force names: with the next one, that goes which it does not name.
#[derive(Default)]
struct OfFile {
    upstreams: Opened,
    lists: Vec<(GoProxyList, Arc<dyn Fetcher>)>,
}

/// An upstream, opened.
#[derive(Clone)]
struct Upstream {
    kind: EntryKind,
    stack: UpstreamStack,
    watch: Arc<UpstreamWatch>,
    host: UpstreamHost,
    /// The way to what it carries of checksum databases, if it is asked over the network.
    carrier: Option<Border<SumDbFetch, Fetched>>,
}

impl Upstream {
    /// Where it is asked, if it is asked over the network.
    fn origin(&self) -> Option<String> {
        origin(&self.kind)
    }
}

fn origin(kind: &EntryKind) -> Option<String> {
    match kind {
        EntryKind::Proxy(base) => Some(base.origin()),
        EntryKind::Tree(_) | EntryKind::Direct | EntryKind::Off => None,
    }
}

/// Makes lists.
pub(super) struct Upstreams {
    config: Config,
    http: HttpClient,
    telemetry: Telemetry,
    direct: Option<UpstreamStack>,
    /// Of the gateway's own list: they stay.
    own: Opened,
    of_file: Mutex<OfFile>,
}

impl Upstreams {
    /// Each entry of the gateway's own list gets its stack at once.
    pub(super) fn new(
        config: &Config,
        settings: &GoSettings,
        http: &HttpClient,
        go: Option<Arc<GoCommand>>,
        telemetry: &Telemetry,
    ) -> Self {
        let mut upstreams = Self {
            config: config.clone(),
            http: http.clone(),
            telemetry: telemetry.clone(),
            direct: go.map(|go| direct_stack(config, go, telemetry)),
            own: Vec::new(),
            of_file: Mutex::default(),
        };
        upstreams.own = upstreams.opened(&[&settings.proxies], &[], UpstreamClass::Proxy);
        upstreams
    }

    /// The gateway's own list.
    pub(super) fn own_list(&self, settings: &GoSettings) -> GoProxyListFetcher {
        self.list(&settings.proxies, settings.no_proxy.clone(), &[])
    }

    /// The ways to what the gateway's own list carries of checksum databases.
    pub(super) fn carriers(&self) -> Carriers {
        let way = |upstream: &Upstream| Some((upstream.kind.clone(), upstream.carrier.clone()?));
        Carriers::new(self.own.iter().filter_map(way).collect())
    }

    /// How it stands with each that is opened, the gateway's own first.
    pub(super) fn standings(&self) -> Vec<Facts> {
        let of_file = self.of_file.lock().upstreams.clone();
        self.own.iter().chain(&of_file).map(|upstream| upstream.watch.standing()).collect()
    }

    /// The upstreams that `lists` need beside the gateway's own; those in `before` are kept.
    fn opened(&self, lists: &[&GoProxyList], before: &[Upstream], class: UpstreamClass) -> Opened {
        let mut opened: Opened = Vec::new();
        for entry in lists.iter().flat_map(|list| list.entries()) {
            if find(&self.own, &entry.kind).or(find(&opened, &entry.kind)).is_some() {
                continue;
            }
            let known = self.own.iter().chain(before).chain(&opened);
            let upstream = find(before, &entry.kind).cloned();
            let upstream = upstream.or_else(|| self.open(&entry.kind, known, class));
            opened.extend(upstream);
        }
        opened
    }

    /// Opens one, which shares the host of those that are `known`.
    fn open<'a>(
        &self,
        kind: &EntryKind,
        known: impl IntoIterator<Item = &'a Upstream>,
        class: UpstreamClass,
    ) -> Option<Upstream> {
        let (name, class, fetcher): (String, _, Arc<dyn Fetcher>) = match kind {
            EntryKind::Proxy(base) => {
                let client = ProxyClient::new(self.http.clone(), base.clone());
                (base.at_root().to_string(), class, Arc::new(client))
            }
            EntryKind::Tree(root) => {
                let name = format!("file://{}", root.display());
                (name, UpstreamClass::Tree, Arc::new(FileTree::new(root)))
            }
            EntryKind::Direct | EntryKind::Off => return None,
        };
        let (config, telemetry) = (&self.config, &self.telemetry);
        let origin = origin(kind);
        let mut known = known.into_iter();
        let beside = known.find(|other| origin.is_some() && other.origin() == origin);
        let host = beside.map(|other| other.host.clone());
        let host = host.unwrap_or_else(|| UpstreamHost::new(config, name.into(), telemetry));
        let watch = Arc::new(UpstreamWatch::new(fetcher.name(), &host, telemetry));
        let stack = upstream_stack(config, self.attempt(), (fetcher, class), &watch, telemetry);
        let carrier = match kind {
            EntryKind::Proxy(base) => {
                let below = end_of_way(self.http.clone(), base.clone());
                Some(host.carrier(below, telemetry))
            }
            _ => None,
        };
        Some(Upstream { kind: kind.clone(), stack, watch, host, carrier })
    }

    /// The walk's own header timeout ends an attempt; redirects may each take as long.
    fn attempt(&self) -> Duration {
        self.config.dipylon.upstream_header_timeout * 2
    }

    fn list(
        &self,
        list: &GoProxyList,
        no_proxy: Patterns,
        of_file: &[Upstream],
    ) -> GoProxyListFetcher {
        let opened = |kind| find(&self.own, kind).or_else(|| find(of_file, kind));
        let standings = list.entries().iter().filter_map(|entry| {
            let watch = Arc::clone(&opened(&entry.kind)?.watch);
            Some(watch as Arc<dyn Stands>)
        });
        let standings = standings.collect();
        let ready = list.entries().iter().filter_map(|entry| match &entry.kind {
            EntryKind::Direct => Some(ListEntry::Direct),
            EntryKind::Off => Some(ListEntry::Off),
            kind => {
                let upstream = opened(kind)?;
                Some(ListEntry::Proxy(upstream.stack.clone(), entry.separator))
            }
        });
        GoProxyListFetcher::new(ready.collect(), no_proxy, self.direct.clone()).telling(standings)
    }
}

fn find<'a>(opened: &'a [Upstream], kind: &EntryKind) -> Option<&'a Upstream> {
    opened.iter().find(|upstream| upstream.kind == *kind)
}

impl OpenUpstreams for Upstreams {
    fn has_direct(&self) -> bool {
        self.direct.is_some()
    }

    fn open_all(&self, lists: &[&GoProxyList]) -> Vec<Arc<dyn Fetcher>> {
        let mut of_file = self.of_file.lock();
        let class = UpstreamClass::PolicyProxy;
        let upstreams = self.opened(lists, &of_file.upstreams, class);
        let mut opened: Vec<(GoProxyList, Arc<dyn Fetcher>)> = Vec::new();
        let fetchers = lists.iter().map(|list| {
            // One that is as it was stays itself: what is under way by it goes on.
            let known = opened.iter().chain(&of_file.lists).find(|(other, _)| other == *list);
            let fetcher = known
                .map(|(_, fetcher)| Arc::clone(fetcher))
                .unwrap_or_else(|| Arc::new(self.list(list, Patterns::default(), &upstreams)));
            opened.push(((*list).clone(), Arc::clone(&fetcher)));
            fetcher
        });
        let fetchers = fetchers.collect();
        *of_file = OfFile { upstreams, lists: opened };
        fetchers
    }
}
