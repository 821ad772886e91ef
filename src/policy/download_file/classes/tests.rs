use std::sync::Arc;

use dipylon_middleware::budget::RateClass;
use dipylon_middleware::ports::{Decision, Fetcher, Policy as _};
use dipylon_protocol::path::ModulePath;

use super::super::*;
use crate::fetch::goproxy_setting::GoProxyList;
use crate::policy::live::{LivePolicy, OpenUpstreams};

/// The top level of every file here.
const TOP: &str = "mode = \"sync\"\ndownloadURL = \"\"\n";

/// The files here name no upstreams.
struct Nobody;

impl OpenUpstreams for Nobody {
    fn has_direct(&self) -> bool {
        true
    }

    fn open_all(&self, lists: &[&GoProxyList]) -> Vec<Arc<dyn Fetcher>> {
        assert!(lists.is_empty());
        Vec::new()
    }
}

fn read(text: &str, strict: bool) -> Result<DownloadFile, Error> {
    DownloadFile::parse("mode.hcl", text, &Given { strict, ..Given::default() })
}

fn parse(text: &str) -> DownloadFile {
    read(text, false).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn rate(name: &str, per_second: u32, burst: u32) -> String {
    format!("rate {name:?} {{\n  perSecond = {per_second}\n  burst = {burst}\n}}\n")
}

fn block(pattern: &str, class: &str) -> String {
    format!("download {pattern:?} {{\n  mode = \"sync\"\n  rateClass = {class:?}\n}}\n")
}

fn decision(policy: &LivePolicy, path: &str) -> Arc<Decision> {
    policy.decide(&ModulePath::parse(path).unwrap())
}

fn class(policy: &LivePolicy, path: &str) -> Option<Arc<RateClass>> {
    decision(policy, path).rate_class.clone()
}

#[test]
fn the_modules_of_a_class_share_its_budget_and_what_a_block_does_not_say_the_top_level_says() {
    // A class may stand behind those who name it, and be written with an expression.
    let text = format!(
        "{TOP}rateClass = \"rest\"\n{}{}{}{}{}",
        block("a.example", "slow"),
        block("b.example", "slow"),
        "download \"c.example\" {\n  mode = \"async\"\n}\n",
        rate("slow", 2, 5),
        "rate rest {\n  perSecond = 10 * 1000\n  burst = 1\n}\n",
    );
    let file = parse(&text);
    assert!(file.warnings().is_empty(), "{:?}", file.warnings());
    let policy = LivePolicy::new(&file, &Nobody);
    let of = |path| class(&policy, path).expect("it has a class");
    let slow = of("a.example/m");
    assert_eq!(
        (&*slow.name, slow.budget.rate().to_string()),
        ("slow", "2 a second, 5 at once".into())
    );
    assert!(Arc::ptr_eq(&slow, &of("b.example/n/v2")), "one budget");
    let rest = of("c.example/m");
    assert_eq!((&*rest.name, rest.budget.rate().per_second.get()), ("rest", 10_000));
    assert!(Arc::ptr_eq(&rest, &of("elsewhere.example/m")));
    let policy = LivePolicy::new(&parse(TOP), &Nobody);
    assert!(class(&policy, "a.example/m").is_none());
}

#[test]
fn a_reload_keeps_the_budget_of_a_class_whose_numbers_did_not_change() {
    let file = |slow, quick| {
        let blocks = [block("a.example", "slow"), block("b.example", "quick")].concat();
        parse(&format!("{TOP}{blocks}{slow}{quick}"))
    };
    let policy = LivePolicy::new(&file(rate("slow", 2, 5), rate("quick", 50, 50)), &Nobody);
    let of = |path| class(&policy, path).expect("it has a class");
    let [slow, quick] = ["a.example", "b.example"].map(of);
    policy.replace(&file(rate("slow", 2, 5), rate("quick", 50, 51)), &Nobody);
    assert!(Arc::ptr_eq(&slow, &of("a.example")));
    let changed = of("b.example");
    assert_eq!((changed.budget.rate().burst.get(), &*changed.name), (51, "quick"));
    assert!(!Arc::ptr_eq(&quick, &changed));
    // With a file between in which nobody is in it, it is another.
    policy.replace(&parse(TOP), &Nobody);
    assert!(class(&policy, "a.example").is_none());
    policy.replace(&file(rate("slow", 2, 5), rate("quick", 50, 51)), &Nobody);
    assert!(!Arc::ptr_eq(&slow, &of("a.example")));
}

#[test]
fn whatever_is_wrong_with_a_class_is_named_with_its_place_and_what_was_expected() {
    let table = [
        (
            "rate \"s\" {\n  perSecond = 0\n  burst = 5\n}\n",
            "4:15: perSecond cannot be 0: want a whole number from 1 to 10000",
        ),
        (
            "rate \"s\" {\n  perSecond = -1\n  burst = 5\n}\n",
            "4:15: perSecond cannot be -1: want a whole",
        ),
        (
            "rate \"s\" {\n  perSecond = 0.5\n  burst = 5\n}\n",
            "4:15: perSecond cannot be 0.5: want a whole",
        ),
        (
            "rate \"s\" {\n  perSecond = 10001\n  burst = 5\n}\n",
            "4:15: perSecond cannot be 10001: want a whole",
        ),
        (
            "rate \"s\" {\n  perSecond = 1e99\n  burst = 5\n}\n",
            "4:15: perSecond cannot be 1e99: want a whole",
        ),
        (
            "rate \"s\" {\n  perSecond = \"2\"\n  burst = 5\n}\n",
            "4:15: perSecond is a text: want a whole number",
        ),
        (
            "rate \"s\" {\n  perSecond = 2\n  burst = 99999999999\n}\n",
            "5:11: burst cannot be 99999999999: want a whole number from 1 to 10000",
        ),
        ("rate \"s\" {\n  perSecond = 2\n}\n", "3:1: burst is missing in this block"),
        ("rate \"s\" {\n  burst = 2\n}\n", "3:1: perSecond is missing in this block"),
        ("rate \"s\" {\n}\n", "3:1: perSecond is missing"),
        (
            "rate \"s\" {\n  perMinute = 2\n}\n",
            "4:3: there is no attribute \"perMinute\" here: want perSecond and burst",
        ),
        ("rate \"s\" {\n  rate \"t\" {\n  }\n}\n", "4:3: a rate block holds no blocks"),
        ("rate {\n}\n", "3:1: a rate block needs the name of its class"),
        ("rate \"\" {\n}\n", "3:6: the name of a rate class is empty"),
        ("rate \"s\" \"t\" {\n}\n", "3:10: a rate block has one name"),
        (
            "rateClass = \"s\"\n",
            "3:13: there is no rate class \"s\": want a block rate \"s\" { … } at the top level",
        ),
        ("rateClass = 5\n", "3:13: rateClass is a number: want a text in quotes"),
    ];
    for (text, wanted) in table {
        let error = read(&format!("{TOP}{text}"), false).unwrap_err();
        assert!(error.message().starts_with(&format!("mode.hcl:{wanted}")), "{text}: {error}");
    }
    let twice = format!("{TOP}{}{}", rate("s", 1, 1), rate("s", 1, 1));
    let error = read(&twice, false).unwrap_err();
    let wanted = "mode.hcl:7:6: the rate class \"s\" stands there twice";
    assert!(error.message().starts_with(wanted), "{error}");
    let unknown = format!("{TOP}{}{}{}", rate("s", 1, 1), rate("t", 1, 1), block("a.b", "u"));
    let error = read(&unknown, false).unwrap_err();
    let wanted = "mode.hcl:13:15: there is no rate class \"u\": want one of \"s\", \"t\"";
    assert!(error.message().starts_with(wanted), "{error}");
}

#[test]
fn strict_refuses_classes_by_name_and_place() {
    for (text, wanted) in [
        (rate("s", 1, 1), "mode.hcl:3:1: a rate block is not Athens's"),
        ("rateClass = \"s\"\n".to_owned(), "mode.hcl:3:1: rateClass is not Athens's"),
    ] {
        let error = read(&format!("{TOP}{text}"), true).unwrap_err();
        assert!(error.message().starts_with(wanted), "{error}");
        assert!(error.message().contains("StrictDownloadFile"), "{error}");
    }
    let error = read(&format!("{TOP}rates \"s\" {{\n}}\n"), true).unwrap_err();
    assert!(!error.message().contains("or rate"), "{error}");
}

#[test]
fn a_class_that_nobody_is_in_is_warned_about() {
    let file = parse(&format!("{TOP}{}{}", rate("slow", 1, 1), rate("quick", 9, 9)));
    assert_eq!(file.warnings().len(), 2);
    assert!(file.warnings()[0].contains("\"slow\""), "{:?}", file.warnings());
    let file = parse(&format!("{TOP}{}{}", rate("slow", 1, 1), block("a.b", "slow")));
    assert!(file.warnings().is_empty(), "{:?}", file.warnings());
}
