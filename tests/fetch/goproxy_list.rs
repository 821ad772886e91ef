//! The GOPROXY list: who is asked, in which order, and whose error is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dipylon::fetch::goproxy_list::{GoProxyListFetcher, ListEntry, Stands};
use dipylon::fetch::goproxy_setting::{EntryKind, GoProxyList, Separator};
use dipylon_middleware::explain::Facts;
use dipylon_middleware::ports::{BoxFuture, Fetched, Fetcher, Payload};
use dipylon_middleware::request::FetchRequest;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Patterns;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};
use serde_json::json;

use crate::support::{MODULE, VERSION, fetch, go_mod, http, info, proxy_with, refused, stack, zip};

/// Stands where the `go` command would: counts its calls and answers as told.
#[derive(Clone)]
struct Direct {
    calls: Arc<AtomicUsize>,
    answer: Result<&'static str, ErrorKind>,
}

impl Direct {
    fn new(answer: Result<&'static str, ErrorKind>) -> Self {
        Self { calls: Arc::default(), answer }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Fetcher for Direct {
    fn name(&self) -> Arc<str> {
        "direct".into()
    }

    fn fetch(&self, _: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.map_err(|kind| Error::new(kind, "git says no"));
        Box::pin(async move {
            let payload = Payload::Bytes(Bytes::from(answer?));
            Ok(Fetched { payload, upstream: "direct".into(), cache_status: None })
        })
    }
}

/// How it stands with an upstream: its name, and what it is left alone for, if it is.
#[derive(Debug)]
struct Standing(&'static str, Option<ErrorKind>);

impl Stands for Standing {
    fn standing(&self) -> Facts {
        json!({ "name": self.0 })
    }

    fn refusal(&self) -> Option<Error> {
        self.1.map(|kind| Error::new(kind, format!("{} is left alone", self.0)))
    }
}

#[tokio::test]
async fn who_would_be_asked_is_told_in_order_and_what_nobody_would_be_asked_for_is_refused() {
    let module = ModulePath::parse(MODULE).unwrap();
    let (one, other) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
    let go = Direct::new(Ok(""));
    let told = |goproxy: &str, left_alone: [bool; 2], direct: Option<&Direct>| {
        let standing = |(name, is_left_alone): (&'static str, bool)| {
            let refusal = is_left_alone.then_some(ErrorKind::UpstreamUnavailable);
            Arc::new(Standing(name, refusal)) as Arc<dyn Stands>
        };
        let standings = ["one", "other"].into_iter().zip(left_alone).map(standing);
        let list = list(goproxy, "private.example", direct).telling(standings.collect());
        let refusal = list.refusal(&module).map(|error| error.message().to_owned());
        (list.asks(&module), refusal)
    };
    let proxy = |name: &str, next: &str| json!({ "name": name, "next_after": next });
    let comma = format!("{one},{other}");
    let asked = vec![proxy("one", "not_found"), proxy("other", "not_found")];
    assert_eq!(told(&comma, [false, true], None), (asked.clone(), None), "the first may have it");
    let refused = Some("one is left alone".to_owned());
    assert_eq!(told(&comma, [true, false], None), (asked, refused), "only a 404 goes on");
    let bar = format!("{one}|{other}");
    assert_eq!(told(&bar, [true, false], None).1, None, "the other is asked");
    assert_eq!(told(&bar, [true, true], None).1.as_deref(), Some("other is left alone"));
    let (asked, refusal) = told(&format!("{one}|{other}|direct"), [true, true], Some(&go));
    assert_eq!(
        (asked.last(), refusal),
        (Some(&json!({ "name": "direct", "go_command": true })), None)
    );
    assert_eq!(go.calls(), 0, "who looks asks nobody");
    let off = told(&format!("{one}|off"), [true, false], None).0;
    assert_eq!(off, [proxy("one", "any_failure"), json!({ "name": "off" })]);
    let private = ModulePath::parse("private.example/m").unwrap();
    let list = list(&comma, "private.example", None);
    assert_eq!(list.asks(&private), [json!({ "name": "direct", "go_command": false })]);
    let refusal = list.refusal(&private).map(|error| error.message().to_owned());
    assert!(refusal.as_ref().is_some_and(|why| why.contains("GONOPROXY")), "{refusal:?}");
}

fn list(goproxy: &str, no_proxy: &str, direct: Option<&Direct>) -> GoProxyListFetcher {
    let http = http();
    let list = GoProxyList::parse(goproxy).unwrap();
    let entries = list.entries().iter().map(|entry| match &entry.kind {
        EntryKind::Proxy(base) => {
            let client = proxy_with(http.clone(), &base.to_string());
            ListEntry::Proxy(stack(client), entry.separator)
        }
        EntryKind::Tree(root) => {
            ListEntry::Proxy(stack(dipylon::fetch::file_tree::FileTree::new(root)), entry.separator)
        }
        EntryKind::Direct => ListEntry::Direct,
        EntryKind::Off => ListEntry::Off,
    });
    GoProxyListFetcher::new(
        entries.collect(),
        Patterns::parse(no_proxy),
        direct.cloned().map(stack),
    )
}

// Case 25, and the whole table of the list's semantics.
#[tokio::test]
async fn a_failing_entry_stops_at_a_comma_and_is_passed_at_a_bar() {
    let status = |code| Fault::Status(code, "text/plain", Bytes::new());
    let table = [
        (status(404), true),
        (status(410), true),
        (status(400), false),
        (status(401), false),
        (status(403), false),
        (status(429), false),
        (status(451), false),
        (status(500), false),
        (status(503), false),
        (Fault::Body("{bad json".into()), false),
        (Fault::WrongVersion, false),
        (Fault::HtmlLogin, false),
        (Fault::TruncateAt(3), false),
        (Fault::Reset, false),
    ];
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let module = FakeModule::new(MODULE, VERSION);
    first.add(module.clone());
    second.add(module.clone());
    for (fault, passes_comma) in table {
        for (separator, passes) in [(",", passes_comma), ("|", true)] {
            first.clear_faults();
            first.fault(When::any(), fault.clone());
            let list = list(&format!("{}{separator}{}", first.url(), second.url()), "", None);
            let answer = fetch(&list, info(VERSION)).await;
            if passes {
                assert_eq!(answer.unwrap(), module.info(), "{fault:?} at {separator:?}");
            } else {
                assert!(answer.is_err(), "{fault:?} at {separator:?} went on");
            }
        }
    }
}

#[tokio::test]
async fn an_unreachable_entry_stops_at_a_comma_and_is_passed_at_a_bar() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    second.add(FakeModule::new(MODULE, VERSION));
    first.stop();
    let comma = list(&format!("{},{}", first.url(), second.url()), "", None);
    assert_eq!(refused(&comma, zip()).await.kind(), ErrorKind::UpstreamFailed);
    assert_eq!(second.total(), 0);
    let bar = list(&format!("{}|{}", first.url(), second.url()), "", None);
    fetch(&bar, zip()).await.unwrap();
}

#[tokio::test]
async fn each_file_is_looked_for_on_its_own() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let module = FakeModule::new(MODULE, VERSION);
    first.add(module.clone());
    second.add(module.clone());
    first.fault(When::suffix(".zip"), Fault::Status(404, "text/plain", Bytes::new()));
    let list = list(&format!("{},{}", first.url(), second.url()), "", None);
    fetch(&list, info(VERSION)).await.unwrap();
    let fetched = list.fetch(crate::support::request(MODULE, zip())).await.unwrap();
    assert_eq!(*fetched.upstream, second.url(), "the answer says who gave it");
    assert_eq!(second.total(), 1, "the info came from the first");
}

#[tokio::test]
async fn the_error_told_is_that_of_direct_then_of_a_failure_then_of_a_404() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let (first, second) = (&first, &second);
    let text = |code, text: &'static str| Fault::Status(code, "text/plain", text.into());
    first.fault(When::any(), text(503, "first"));
    second.fault(When::any(), text(404, "second"));
    let told = async |goproxy: &str, direct: Option<&Direct>| {
        refused(&list(goproxy, "", direct), go_mod()).await.message().to_owned()
    };
    let (a, b) = (first.url(), second.url());
    assert!(told(&format!("{a}|{b}"), None).await.ends_with("first"));
    assert!(told(&format!("{b}|{a}"), None).await.ends_with("first"));
    assert!(told(&format!("{a}|off"), None).await.ends_with("first"));
    assert!(told(&format!("{b},off"), None).await.contains("GOPROXY=off"));
    // An off behind it takes nothing from what was said: that may be remembered.
    let kind = async |goproxy: &str| refused(&list(goproxy, "", None), go_mod()).await.kind();
    assert_eq!(kind(&format!("{b},off")).await, ErrorKind::NotFound);
    assert_eq!(kind(&format!("{a}|{b},off")).await, ErrorKind::UpstreamFailed);
    assert_eq!(kind("off").await, ErrorKind::NotStored);
    let direct = Direct::new(Err(ErrorKind::NotFound));
    assert_eq!(told(&format!("{a}|{b},direct"), Some(&direct)).await, "git says no");
    // Without a go command, direct has nothing to say.
    assert!(told(&format!("{b},direct"), None).await.ends_with("second"));
}

#[tokio::test]
async fn a_no_of_direct_is_for_good_only_where_no_entry_before_it_had_trouble() {
    use ErrorKind::{
        NotFound, NotFoundForNow, PrivateChecksum, UpstreamFailed, UpstreamPaused, UpstreamRefused,
        UpstreamTimeout, UpstreamUnavailable,
    };
    let told = async |before: &[ErrorKind], direct: ErrorKind| {
        let entry = |kind: &ErrorKind| {
            ListEntry::Proxy(stack(Direct::new(Err(*kind))), Separator::AnyFailure)
        };
        let entries = before.iter().map(entry).chain([ListEntry::Direct]).collect();
        let direct = stack(Direct::new(Err(direct)));
        let list = GoProxyListFetcher::new(entries, Patterns::default(), Some(direct));
        let error = refused(&list, zip()).await;
        assert_eq!(error.message(), "git says no", "as go has it");
        error.kind()
    };
    assert_eq!(told(&[NotFound, NotFound], NotFound).await, NotFound);
    for trouble in
        [UpstreamFailed, UpstreamTimeout, UpstreamRefused, UpstreamUnavailable, UpstreamPaused]
    {
        assert_eq!(told(&[trouble], NotFound).await, NotFoundForNow, "{trouble:?}");
        assert_eq!(told(&[trouble, NotFound], NotFound).await, NotFoundForNow, "{trouble:?}");
        assert_eq!(told(&[trouble], PrivateChecksum).await, PrivateChecksum, "{trouble:?}");
        assert_eq!(told(&[NotFound], trouble).await, trouble, "{trouble:?}");
    }
    assert!(!NotFoundForNow.is_permanent(), "nobody remembers it, and no replica tells another");
}

#[tokio::test]
async fn the_error_of_one_that_was_asked_is_told_before_that_of_one_that_was_not() {
    use ErrorKind::{NotFound, UpstreamFailed, UpstreamPaced, UpstreamPaused, UpstreamUnavailable};
    for left_alone in [UpstreamUnavailable, UpstreamPaused, UpstreamPaced] {
        for (other, told) in [(UpstreamFailed, UpstreamFailed), (NotFound, left_alone)] {
            for kinds in [[other, left_alone], [left_alone, other]] {
                let entry =
                    |kind| ListEntry::Proxy(stack(Direct::new(Err(kind))), Separator::AnyFailure);
                let entries = kinds.map(entry).into();
                let list = GoProxyListFetcher::new(entries, Patterns::default(), None);
                assert_eq!(refused(&list, go_mod()).await.kind(), told, "{kinds:?}");
            }
        }
    }
}

#[tokio::test]
async fn direct_is_asked_after_a_404_and_not_after_a_refusal() {
    let upstream = Upstream::start().await;
    let direct = Direct::new(Ok("module example.com/a/B\n"));
    let list = list(&format!("{},direct", upstream.url()), "", Some(&direct));
    assert_eq!(fetch(&list, go_mod()).await.unwrap(), "module example.com/a/B\n");
    assert_eq!(direct.calls(), 1);
    upstream.fault(When::any(), Fault::Status(403, "text/plain", "policy".into()));
    assert_eq!(refused(&list, go_mod()).await.kind(), ErrorKind::UpstreamRefused);
    assert_eq!(direct.calls(), 1);
}

#[tokio::test]
async fn a_gonoproxy_module_goes_direct_and_nowhere_else() {
    let upstream = Upstream::start().await;
    upstream.add(FakeModule::new(MODULE, VERSION));
    let direct = Direct::new(Err(ErrorKind::NotFound));
    for goproxy in [upstream.url(), format!("{},direct", upstream.url()), "off".to_owned()] {
        let list = list(&goproxy, "example.com/a/*", Some(&direct));
        assert_eq!(refused(&list, zip()).await.message(), "git says no", "{goproxy}");
    }
    assert_eq!((direct.calls(), upstream.total()), (3, 0));
    let no_go = list(&upstream.url(), "example.com/a/*", None);
    let error = refused(&no_go, zip()).await;
    assert_eq!(error.kind(), ErrorKind::NoUpstream);
    assert!(error.message().contains("matches GONOPROXY"), "{error}");
    let other = list(&upstream.url(), "example.com/other", Some(&direct));
    fetch(&other, zip()).await.unwrap();
    assert_eq!(upstream.total(), 1);
}

#[tokio::test]
async fn an_empty_list_and_off_say_so() {
    let empty = list("", "", None);
    let error = refused(&empty, zip()).await;
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::NoUpstream, "no upstream: set GOPROXY")
    );
    assert!(empty.check().is_err());
    let error = refused(&list("direct", "", None), zip()).await;
    assert_eq!(error.kind(), ErrorKind::NoUpstream);
    assert!(error.message().contains("go command"), "{error}");
    let off = list("off", "", None);
    assert!(off.check().is_ok(), "off is a decision, not a mistake");
    let error = refused(&off, zip()).await;
    assert_eq!(error.kind(), ErrorKind::NotStored);
    assert!(error.message().contains("disabled by GOPROXY=off"), "{error}");
}
