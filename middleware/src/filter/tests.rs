use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use tower::Layer as _;

use super::{FilterLayer, Rules, Sign};
use crate::error::{Error, ErrorKind};
use crate::explain::Tells as _;
use crate::request::{Ask, ModuleRequest};
use crate::response::{Answer, ModuleResponse};
use crate::stack::Stage;
use crate::telemetry::Outcome;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{self, context, file_answer, foretold, leaf, module, query, subject};

fn rules(text: &str) -> Rules {
    Rules::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn signs(text: &str, wanted: &[(&str, Option<&str>, Sign)]) {
    let rules = rules(text);
    for (module, version, sign) in wanted {
        assert_eq!(rules.sign(module, *version), *sign, "{module}@{version:?} under {text:?}");
    }
}

use Sign::{Direct, Exclude, Include};

#[test]
fn the_longest_path_decides_and_whole_elements_count() {
    signs(
        "# a comment\n\n-\n+ github.com/a\n- github.com/a/b\nD github.com/a/b/c/\n",
        &[
            ("example.com/x", None, Exclude),
            ("github.com", None, Exclude),
            ("github.com/a", None, Include),
            ("github.com/ab", None, Exclude),
            ("github.com/a/x/y", None, Include),
            ("github.com/a/b", None, Exclude),
            ("github.com/a/b/c", None, Direct),
            ("github.com/a/b/c/v2", None, Direct),
            ("github.com/A", None, Exclude),
        ],
    );
}

#[test]
fn nothing_matched_means_included_and_later_lines_overwrite() {
    signs("", &[("a.b/c", None, Include)]);
    signs("- a.b/c\n+ a.b/c\n", &[("a.b/c", None, Include)]);
    signs("-\nD\n", &[("a.b/c", None, Direct)]);
}

#[test]
fn a_rule_that_does_not_apply_to_the_version_leaves_it_to_the_path_above() {
    signs(
        "-\n+ a.b/c\n- a.b/c/d v1\n",
        &[
            ("a.b/c/d", Some("v1.2.3"), Exclude),
            ("a.b/c/d", Some("v2.0.0"), Include),
            ("a.b/c/d", None, Exclude),
            ("a.b/x", Some("v1.2.3"), Exclude),
        ],
    );
}

#[test]
fn version_lists_match_as_documented() {
    // Each row: the list, versions it takes, versions it leaves.
    let table: &[(&str, &[&str], &[&str])] = &[
        ("v1", &["v1.9.9", "v1.0.0-rc1"], &["v10.0.0", "v2.0.0"]),
        ("v2.3.*", &["v2.3.7", "v2.3.0+incompatible"], &["v2.30.0", "v2.4.0"]),
        ("v2.3", &["v2.3.7"], &["v2.30.0"]),
        ("v1*", &["v1.2.3"], &["v10.0.0"]),
        ("v0.4.1", &["v0.4.1", "v0.4.1+incompatible"], &["v0.4.10", "v0.4.1-pre", "v0.4.2"]),
        ("v0.4.1*", &["v0.4.1", "v0.4.10", "v0.4.1-pre"], &["v0.4.2"]),
        ("0.4.1", &["v0.4.1"], &["v0.4.2"]),
        ("1.2", &["v1.2.3"], &["v1.3.0"]),
        ("v0.1,v0.4.1", &["v0.1.9", "v0.4.1"], &["v0.2.0"]),
        (
            "~v1.2.3",
            &["v1.2.3", "v1.2.9", "v1.2.4+incompatible"],
            &["v1.3.0", "v1.2.2", "v1.2.4-rc1"],
        ),
        ("~1.2.3", &["v1.2.3", "v1.2.9"], &["v1.3.0", "v1.2"]),
        ("^v1.2.3", &["v1.2.3", "v1.9.0"], &["v2.0.0", "v1.2.2", "v1.2.0", "v1.9.0-rc1"]),
        ("^1.2.3", &["v1.3.0"], &["v2.0.0"]),
        ("<v1.2.3", &["v1.2.2", "v0.58.9"], &["v1.2.3", "v1.2.4", "v1.2.2-rc1"]),
        ("<1.2.3", &["v1.2.2"], &["v1.2.3"]),
        ("*", &["v1.2.3", "master", "v0.0.0-20240102030405-abcdefabcdef"], &[]),
        ("v*", &["v1.2.3"], &[]),
    ];
    for (list, taken, left) in table {
        let rules = rules(&format!("- a.b/c {list}\n"));
        for version in *taken {
            assert_eq!(rules.sign("a.b/c", Some(version)), Exclude, "{list} takes {version}");
        }
        for version in *left {
            assert_eq!(rules.sign("a.b/c", Some(version)), Include, "{list} leaves {version}");
        }
        assert!(rules.idle().is_empty(), "{list}");
    }
}

#[test]
fn any_number_of_blanks_and_tabs_separates_fields() {
    signs(
        "-  a.b/c\n  - \t a.b/d\tv1  \r\n",
        &[
            ("a.b/c", None, Exclude),
            ("a.b/d", Some("v1.0.0"), Exclude),
            ("a.b/d", Some("v2.0.0"), Include),
            ("x.y/z", None, Include),
        ],
    );
}

#[test]
fn what_is_no_rule_is_named_with_its_line() {
    for (text, line, word) in [
        ("# ok\n\nE a.b/c\n", 3, "\"E\""),
        ("+a.b/c\n", 1, "\"+a.b/c\""),
        ("- a.b/c v1, v2\n", 1, "\"v2\""),
        ("+ x.y\n- a.b/c v1,,v2\n", 2, "empty entry"),
        ("- / v1\n", 1, "needs a module path"),
        ("d a.b/c\n", 1, "want a sign (+, - or D)"),
    ] {
        let error = Rules::parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}");
        assert!(error.reason.contains(word), "{text:?}: {error}");
    }
}

#[test]
fn what_can_never_apply_is_told_and_matches_nothing() {
    for text in [
        "- github.com/*\n",
        "- https://github.com/a\n",
        "- a.b//c\n",
        "- a.b/c ~4.5\n",
        "- a.b/c >v1.2.3\n",
        "- a.b/c master\n",
        "- a.b/c v1.2.3.4\n",
        "- a.b/c ~v1.2.3-rc1\n",
    ] {
        let rules = rules(text);
        assert_eq!(rules.idle().len(), 1, "{text:?}");
        assert_eq!(rules.sign("a.b/c", Some("v4.5.6")), Include, "{text:?}");
    }
}

#[test]
fn a_very_deep_path_is_only_long() {
    let deep = "a/".repeat(100_000);
    let rules = rules(&format!("- {deep}\n"));
    assert_eq!(rules.sign("a/a/a", None), Include);
}

// === The service ===

fn ask(version: &str) -> Ask {
    Ask::File(query(version), FileKind::Zip)
}

fn request(ask: Ask) -> ModuleRequest {
    ModuleRequest { context: context(), module: module("example.com/Mod"), ask }
}

fn layer(text: &str) -> FilterLayer {
    FilterLayer::new(Arc::new(rules(text)), "http://global.example/base/")
}

/// A stack that answers everything with v1.2.3, and the count of its calls.
fn answering() -> (impl Stage<ModuleRequest, Reply = ModuleResponse>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let inner = leaf(move |request: ModuleRequest| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(match request.ask {
            Ask::File(_, kind) => file_answer(kind, "v1.2.3", "zip", Outcome::HitStorage),
            _ => ModuleResponse::new(Answer::List(Bytes::new()), Outcome::HitStorage),
        })
    });
    (inner, asked)
}

/// Calls a filter over it; says how often it was asked.
async fn call(text: &str, ask: Ask) -> (Result<ModuleResponse, Error>, usize) {
    let (inner, asked) = answering();
    let result = testing::call(&layer(text).layer(inner), request(ask)).await;
    (result, asked.load(Ordering::SeqCst))
}

fn location(answer: Answer) -> (String, u16) {
    match answer {
        Answer::Redirect { location, status } => (location, status.as_u16()),
        other => panic!("no redirect: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_excluded_module_is_refused_before_anything_is_asked() {
    let (result, asked) = call("- example.com/Mod\n", ask("v1.2.3")).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), asked), (ErrorKind::DeniedByFilter, 0));
    assert!(error.message().starts_with("example.com/Mod@v1.2.3 is excluded by"), "{error}");
    let (result, _) = call("- example.com/Mod v9\n", Ask::List).await;
    assert!(result.unwrap_err().message().starts_with("example.com/Mod is excluded by"));
}

#[tokio::test(start_paused = true)]
async fn a_direct_module_is_redirected_with_303_to_the_global_endpoint() {
    let (result, asked) = call("D\n", ask("v1.2.3")).await;
    let answer = location(result.unwrap().answer);
    let want = "http://global.example/base/example.com/!mod/@v/v1.2.3.zip";
    assert_eq!((answer, asked), ((want.to_owned(), 303), 0));
    let (result, _) = call("D\n", Ask::Latest).await;
    assert!(location(result.unwrap().answer).0.ends_with("/example.com/!mod/@latest"));
}

#[tokio::test(start_paused = true)]
async fn an_included_module_passes() {
    let (result, asked) = call("-\n+ example.com\n", ask("v1.2.3")).await;
    assert_eq!((result.unwrap().outcome, asked), (Outcome::HitStorage, 1));
}

#[tokio::test(start_paused = true)]
async fn a_query_opens_no_way_around_a_rule_for_the_version_it_names() {
    let (result, asked) = call("- example.com/Mod v1.2.3\n", ask("master")).await;
    assert_eq!((result.unwrap_err().kind(), asked), (ErrorKind::DeniedByFilter, 1));
    let (result, _) = call("D example.com/Mod v1\n", ask("master")).await;
    assert!(location(result.unwrap().answer).0.ends_with("/@v/v1.2.3.zip"));
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let filter = layer("+ example.com\n").layer(failing(ErrorKind::UpstreamFailed));
    for ask in [ask("v1.2.3"), ask("master"), Ask::List] {
        assert_passes_unchanged(&filter, request(ask), ErrorKind::UpstreamFailed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_judge_by_the_same_rules() {
    let layer = layer("- example.com/Mod v1.2.3\n");
    let (inner, asked) = answering();
    for filter in [layer.layer(inner.clone()), layer.layer(inner)] {
        let refused = testing::call(&filter, request(ask("v1.2.3"))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DeniedByFilter);
        testing::call(&filter, request(ask("v1.2.4"))).await.expect("no rule is about it");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let filter = layer("+ example.com\n").layer(held.service());
    held.assert_ends_with_its_caller(&filter, request(ask("v1.2.3"))).await;
}

#[tokio::test(start_paused = true)]
async fn the_rule_that_decides_is_told_with_its_line_and_what_it_does_is_foretold() {
    let text = "# ours\n- example.com/m v1.0.0\nD example.com v1.0.1\n+\n";
    let layer = FilterLayer::new(Arc::new(rules(text)), "https://elsewhere.example");
    for (version, rule, path, line, want) in [
        ("v1.0.0", "exclude", Some("example.com/m"), 2, Some(Outcome::DenyFilter)),
        ("v1.0.1", "direct", Some("example.com"), 3, Some(Outcome::Redirected)),
        ("v1.0.2", "include", None, 4, None),
    ] {
        let told = layer.tell(&subject(version)).await;
        assert_eq!(told, serde_json::json!({ "rule": rule, "path": path, "line": line }));
        assert_eq!(foretold(&layer, &testing::asking(version, FileKind::Zip)).await, want);
    }
}
