//! GOPROXY lists, ready to be asked: the gateway's own, and those that a download-mode file names.

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::ports::Fetcher;
use dipylon_middleware::telemetry::Telemetry;
use dipylon_protocol::pattern::Patterns;
use parking_lot::Mutex;

use crate::app::{direct_stack, upstream_stack};
use crate::config::Config;
use crate::fetch::environment::GoSettings;
use crate::fetch::file_tree::FileTree;
use crate::fetch::go_command::GoCommand;
use crate::fetch::goproxy_list::{GoProxyListFetcher, ListEntry, UpstreamStack};
use crate::fetch::goproxy_setting::{EntryKind, GoProxyList};
use crate::fetch::http_client::HttpClient;
use crate::fetch::proxy_client::ProxyClient;
use crate::policy::live::OpenUpstreams;

/// Upstreams with a stack each, of which all lists that name one share it: it has one breaker, and so
/// many requests at a time, whoever names it.
type Stacks = Vec<(EntryKind, UpstreamStack)>;

/// Makes lists.
pub(super) struct Upstreams {
    config: Config,
    http: HttpClient,
    telemetry: Telemetry,
    direct: Option<UpstreamStack>,
    /// Of the gateway's own list: they stay.
    own: Stacks,
    /// Of the file in force: with the next one, those go that it does not name.
    of_file: Mutex<Stacks>,
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
        upstreams.own = upstreams.stacks(&[&settings.proxies], &[]);
        upstreams
    }

    /// The gateway's own list.
    pub(super) fn own_list(&self, settings: &GoSettings) -> GoProxyListFetcher {
        self.list(&settings.proxies, settings.no_proxy.clone(), &[])
    }

    /// The stacks that `lists` need beside the gateway's own; those in `before` are kept.
    fn stacks(&self, lists: &[&GoProxyList], before: &[(EntryKind, UpstreamStack)]) -> Stacks {
        let mut stacks = Vec::new();
        for entry in lists.iter().flat_map(|list| list.entries()) {
            let is_known = find(&self.own, &entry.kind).is_some();
            if is_known || find(&stacks, &entry.kind).is_some() {
                continue;
            }
            let stack = find(before, &entry.kind).or_else(|| self.stack(&entry.kind));
            stacks.extend(stack.map(|stack| (entry.kind.clone(), stack)));
        }
        stacks
    }

    fn stack(&self, kind: &EntryKind) -> Option<UpstreamStack> {
        let fetcher: Arc<dyn Fetcher> = match kind {
            EntryKind::Proxy(base) => Arc::new(ProxyClient::new(self.http.clone(), base.clone())),
            EntryKind::Tree(root) => Arc::new(FileTree::new(root)),
            EntryKind::Direct | EntryKind::Off => return None,
        };
        Some(upstream_stack(&self.config, self.attempt(), fetcher, &self.telemetry))
    }

    /// The walk's own header timeout ends an attempt; redirects may each take as long.
    fn attempt(&self) -> Duration {
        self.config.dipylon.upstream_header_timeout * 2
    }

    fn list(
        &self,
        list: &GoProxyList,
        no_proxy: Patterns,
        of_file: &[(EntryKind, UpstreamStack)],
    ) -> GoProxyListFetcher {
        let ready = list.entries().iter().filter_map(|entry| match &entry.kind {
            EntryKind::Direct => Some(ListEntry::Direct),
            EntryKind::Off => Some(ListEntry::Off),
            kind => {
                let stack = find(&self.own, kind).or_else(|| find(of_file, kind))?;
                Some(ListEntry::Proxy(stack, entry.separator))
            }
        });
        GoProxyListFetcher::new(ready.collect(), no_proxy, self.direct.clone())
    }
}

fn find(stacks: &[(EntryKind, UpstreamStack)], kind: &EntryKind) -> Option<UpstreamStack> {
    let found = stacks.iter().find(|(known, _)| known == kind);
    found.map(|(_, stack)| stack.clone())
}

impl OpenUpstreams for Upstreams {
    fn has_direct(&self) -> bool {
        self.direct.is_some()
    }

    fn open_all(&self, lists: &[&GoProxyList]) -> Vec<Arc<dyn Fetcher>> {
        let mut of_file = self.of_file.lock();
        *of_file = self.stacks(lists, &of_file);
        let open = |list: &&GoProxyList| -> Arc<dyn Fetcher> {
            Arc::new(self.list(list, Patterns::default(), &of_file))
        };
        lists.iter().map(open).collect()
    }
}
