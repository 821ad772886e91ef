//! The policy in force, which a reload replaces whole. Who asks takes no lock and waits for nobody.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dipylon_middleware::budget::{Rate, RateClass};
use dipylon_middleware::explain::{Facts, Subject, Tells};
use dipylon_middleware::ports::{BoxFuture, Decision, Fetcher, ListSource, Mode, Policy};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Prefix;
use serde_json::json;

use super::download_file::DownloadFile;
use super::terms::Terms;
use crate::fetch::goproxy_setting::GoProxyList;

/// Opens the upstreams that a file names.
pub trait OpenUpstreams: Send + Sync {
    /// Whether `direct` can be asked: there is a `go` command.
    fn has_direct(&self) -> bool;

    /// All lists of a file, in order. What several lists name is opened once, and what the file before
    /// named stays as it is.
    fn open_all(&self, lists: &[&GoProxyList]) -> Vec<Arc<dyn Fetcher>>;
}

/// A block of a file.
struct Block {
    pattern: Arc<str>,
    prefix: Prefix,
    decision: Arc<Decision>,
}

/// What a file says, ready to be asked.
struct Table {
    blocks: Vec<Block>,
    otherwise: Arc<Decision>,
    classes: Vec<Arc<RateClass>>,
}

impl Table {
    /// A malformed pattern matches nothing, so it is left out. A class that is as it was `before` keeps its
    /// budget: a reload lets nobody ask faster.
    fn new(file: &DownloadFile, open: &dyn OpenUpstreams, before: &[Arc<RateClass>]) -> Self {
        let parsed = |(pattern, terms)| Some((pattern, Prefix::parse(pattern).ok()?, terms));
        let blocks: Vec<(&str, Prefix, &Terms)> = file.blocks().filter_map(parsed).collect();
        if !open.has_direct() {
            let named = file.blocks().chain([("the top level", file.otherwise())]);
            for (pattern, _) in named.filter(|(_, terms)| terms.asks_direct()) {
                tracing::warn!(
                    key = "DownloadMode",
                    pattern,
                    "upstreams names direct, and there is no go command: install Go or set GoBinary, \
                     else direct is not asked"
                );
            }
        }
        let all = blocks.iter().map(|(_, _, terms)| *terms).chain([file.otherwise()]);
        let lists: Vec<&GoProxyList> = all.filter_map(|terms| terms.upstreams.as_ref()).collect();
        let classes: Vec<_> = file.classes().iter().map(|class| kept(class, before)).collect();
        let mut opened = open.open_all(&lists).into_iter();
        // One was opened for each that names some, in this order.
        let mut decided = |terms: &Terms| {
            let upstreams = terms.upstreams.as_ref().and_then(|_| opened.next());
            let named = |class: &&Arc<RateClass>| terms.rate_class.as_ref() == Some(&class.name);
            let rate_class = classes.iter().find(named).cloned();
            Arc::new(terms.decision(upstreams, rate_class))
        };
        let ready = |(pattern, prefix, terms): (&str, Prefix, &Terms)| Block {
            pattern: pattern.into(),
            prefix,
            decision: decided(terms),
        };
        let blocks = blocks.into_iter().map(ready).collect();
        let otherwise = decided(file.otherwise());
        Self { blocks, otherwise, classes }
    }

    fn decide(&self, module: &ModulePath) -> &Arc<Decision> {
        self.block(module).map_or(&self.otherwise, |block| &block.decision)
    }

    fn block(&self, module: &ModulePath) -> Option<&Block> {
        self.blocks.iter().find(|block| block.prefix.matches(module.as_str()))
    }
}

/// The class as it was, where it is the same, else a new one.
fn kept((name, rate): (&Arc<str>, Rate), before: &[Arc<RateClass>]) -> Arc<RateClass> {
    let is_same = |class: &&Arc<RateClass>| class.name == *name && class.budget.rate() == rate;
    let kept = before.iter().find(is_same).cloned();
    kept.unwrap_or_else(|| Arc::new(RateClass::new(Arc::clone(name), rate)))
}

/// The policy in force.
pub struct LivePolicy {
    table: ArcSwap<Table>,
}

impl LivePolicy {
    /// What `file` says is in force.
    pub fn new(file: &DownloadFile, open: &dyn OpenUpstreams) -> Self {
        Self { table: ArcSwap::from_pointee(Table::new(file, open, &[])) }
    }

    /// What `file` says is in force from now on, for every request that asks anew.
    pub fn replace(&self, file: &DownloadFile, open: &dyn OpenUpstreams) {
        let before = self.table.load_full();
        self.table.store(Arc::new(Table::new(file, open, &before.classes)));
    }

    /// What holds for a module that no block matches.
    pub fn otherwise(&self) -> Arc<Decision> {
        Arc::clone(&self.table.load().otherwise)
    }
}

impl Policy for LivePolicy {
    fn decide(&self, module: &ModulePath) -> Arc<Decision> {
        Arc::clone(self.table.load().decide(module))
    }
}

impl Tells for LivePolicy {
    /// The download URL may hold credentials, so it is left out.
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let table = self.table.load();
        let decision = table.decide(&about.module);
        let mode = match decision.mode {
            Mode::Sync => "sync",
            Mode::Async => "async",
            Mode::None => "none",
            Mode::Redirect => "redirect",
            Mode::AsyncRedirect => "async_redirect",
        };
        let source = |source| match source {
            ListSource::Upstream => "upstream",
            ListSource::Storage => "storage",
        };
        let told = json!({
            "block": table.block(&about.module).map(|block| &*block.pattern),
            "mode": mode,
            "list": source(decision.list),
            "latest": source(decision.latest),
            "fresh_for_seconds": decision.fresh_for.map(|time| time.as_secs()),
            "negative_for_seconds": decision.negative_for.map(|time| time.as_secs()),
            "rate_class": decision.rate_class.as_ref().map(|class| &*class.name),
            "own_upstreams": decision.upstreams.is_some(),
        });
        Box::pin(std::future::ready(told))
    }
}

impl fmt::Debug for LivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LivePolicy({} blocks)", self.table.load().blocks.len())
    }
}
