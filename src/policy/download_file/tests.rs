use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::ports::{Decision, Fetcher, ListSource, Policy as _};
use dipylon_protocol::path::ModulePath;

use super::*;
use crate::fetch::goproxy_list::GoProxyListFetcher;
use crate::fetch::goproxy_setting::GoProxyList;
use crate::policy::live::{LivePolicy, OpenUpstreams};

fn read(text: &str, given: &Given) -> Result<DownloadFile, Error> {
    DownloadFile::parse("mode.hcl", text, given)
}

fn parse(text: &str) -> DownloadFile {
    parse_given(text, &Given::default())
}

fn parse_given(text: &str, given: &Given) -> DownloadFile {
    read(text, given).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Opens nothing: what is asked is seen elsewhere.
struct Unopened;

impl OpenUpstreams for Unopened {
    fn has_direct(&self) -> bool {
        true
    }

    fn open_all(&self, lists: &[&GoProxyList]) -> Vec<Arc<dyn Fetcher>> {
        let nobody = || GoProxyListFetcher::new(Vec::new(), Default::default(), None);
        lists.iter().map(|_| Arc::new(nobody()) as Arc<dyn Fetcher>).collect()
    }
}

/// What the policy made of a file says of a module.
fn decision(file: &DownloadFile, path: &str) -> Arc<Decision> {
    LivePolicy::new(file, &Unopened).decide(&module(path))
}

/// Whom the file names for what this pattern stands for, as a list; the top level for "".
fn upstreams(file: &DownloadFile, pattern: &str) -> Option<String> {
    let of_block = file.blocks().find(|(known, _)| *known == pattern).map(|(_, terms)| terms);
    let terms = of_block.unwrap_or(file.otherwise());
    terms.upstreams.as_ref().map(ToString::to_string)
}

fn module(path: &str) -> ModulePath {
    ModulePath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn decided(file: &DownloadFile, path: &str) -> (Mode, String) {
    let decision = decision(file, path);
    (decision.mode, decision.download_url.clone())
}

/// All rows that were run against Athens.
const OF_ATHENS: &str = include_str!("../../../protocol/testdata/download_patterns.txt");
/// What Go's own `path.Match` says of patterns that were drawn.
const OF_GO: &str = include_str!("../../../protocol/testdata/drawn_patterns/drawn.txt");

/// Pattern, module path, whether it matches.
fn patterns(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (pattern, rest) = line[1..].split_once("\" ").expect("a quoted pattern");
        let (path, matches) = rest.split_once(' ').expect("a path and a verdict");
        (pattern, path, matches == "true")
    })
}

#[test]
fn patterns_match_as_in_athens_and_as_in_go() {
    for (pattern, path, matches) in patterns(OF_ATHENS).chain(patterns(OF_GO)) {
        let file = parse(&format!(
            "mode = \"sync\"\ndownloadURL = \"\"\ndownload {pattern:?} {{ mode = \"none\" }}\n"
        ));
        let wanted = if matches { Mode::None } else { Mode::Sync };
        assert_eq!(decided(&file, path).0, wanted, "{pattern} on {path}");
    }
}

#[test]
fn what_never_matches_is_warned_about() {
    for (pattern, path, matches) in patterns(OF_ATHENS) {
        let text = format!(
            "mode = \"sync\"\ndownloadURL = \"\"\ndownload {pattern:?} {{ mode = \"none\" }}\n"
        );
        let warned = !parse(&text).warnings().is_empty();
        assert!(!(warned && matches), "{pattern} matches {path} and is warned about");
        let idle = ["github.com/a/", "/github.com/a", "github.com/{a,b}", "", "[", "a/*,b/*"];
        assert_eq!(warned, idle.contains(&pattern), "{pattern}");
    }
    let twice = "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"x.y\" { mode = \"none\" }\n";
    let twice = format!("{twice}download \"x.y\" {{ mode = \"async\" }}\n");
    let file = parse(&twice);
    assert_eq!(decided(&file, "x.y/z").0, Mode::None);
    assert!(file.warnings()[0].contains("twice"), "{:?}", file.warnings());
}

const FULL: &str = "\
# A comment
downloadURL = \"https://proxy.example/base/\" // another
mode = \"async_redirect\"

download \"github.com/gomods/*\" {
  mode = \"sync\"
}

/* the order counts */
download \"github.com/*\" {
  mode        = \"redirect\"
  downloadURL = \"https://other.example\"
}

download \"github.com/gomods/athens\" { mode = \"none\" }
download \"git.corp\" {
  mode = \"async\"
  downloadURL = \"\"
}
";

#[test]
fn the_first_block_that_matches_decides_else_the_top_level() {
    for text in [FULL.to_owned(), FULL.replace('\n', "\r\n"), format!("\u{feff}{FULL}")] {
        let file = parse(&text);
        let top = "https://proxy.example/base".to_owned();
        assert_eq!(decided(&file, "golang.org/x/text"), (Mode::AsyncRedirect, top.clone()));
        assert_eq!(decided(&file, "github.com/gomods/athens"), (Mode::Sync, top.clone()));
        let other = "https://other.example".to_owned();
        assert_eq!(decided(&file, "github.com/pkg/errors"), (Mode::Redirect, other));
        assert_eq!(decided(&file, "git.corp/x"), (Mode::Async, top));
        assert!(file.warnings().is_empty(), "{:?}", file.warnings());
    }
}

#[test]
fn a_block_without_a_url_takes_the_top_one_and_no_later_blocks() {
    let file = parse(
        "mode = \"sync\"\ndownloadURL = \"https://top.example\"\n\
         download \"a.b/c\" { mode = \"redirect\" }\n\
         download \"a.b\" {\n  mode = \"none\"\n  downloadURL = \"https://later.example\"\n}\n",
    );
    assert_eq!(decided(&file, "a.b/c"), (Mode::Redirect, "https://top.example".to_owned()));
}

#[test]
fn operators_templates_and_conditions_are_evaluated() {
    let file = parse(
        "mode = 1 + 1 == 2 ? \"redirect\" : \"none\"\n\
         downloadURL = \"https://a${1+1}b.example/${\"x\"}%{ if true }/y%{ endif }\"\n\
         download \"a.b\" { mode = (\"sync\") }\n",
    );
    let url = "https://a2b.example/x/y".to_owned();
    assert_eq!(decided(&file, "x.y/z"), (Mode::Redirect, url));
    assert_eq!(decided(&file, "a.b/c").0, Mode::Sync);
}

/// A text, and where and what is complained about.
const REFUSED: &[(&str, &str, &str)] = &[
    ("", "1:1", "mode is missing at the top level: want one of sync, async"),
    ("mode = \"sync\"\n", "1:1", "downloadURL is missing at the top level"),
    ("downloadURL = \"\"\n", "1:1", "mode is missing at the top level"),
    (
        "mode = \"snyc\"\ndownloadURL = \"\"\n",
        "1:8",
        "\"snyc\" is no mode: want one of sync, async",
    ),
    ("mode = \"\"\ndownloadURL = \"\"\n", "1:8", "\"\" is no mode"),
    ("mode = 5\ndownloadURL = \"\"\n", "1:8", "mode is a number: want a text in quotes"),
    ("downloadURL = \"\"\nmode = [\"sync\"]\n", "2:8", "mode is a list"),
    ("downloadURL = null\nmode = \"sync\"\n", "1:15", "downloadURL is null"),
    ("mode \"sync\"\ndownloadURL = \"\"\n", "1:12", "expected `{`"),
    ("mode = \"sync\"\ndownloadURL = \"\"\nmode = \"none\"\n", "3:1", "unique attribute key"),
    ("mode = sync\ndownloadURL = \"\"\n", "1:8", "there is no variable sync: want a text"),
    ("mode = \"${upper(\"x\")}\"\ndownloadURL = \"\"\n", "1:8", "there is no function upper"),
    ("mode = \"sync\" + 1\ndownloadURL = \"\"\n", "1:8", "want a text in quotes"),
    (
        "mode = \"sync\"\nurl = \"\"\n",
        "2:1",
        "there is no attribute \"url\": want one of mode, downloadURL, upstreams, list",
    ),
    ("mode = \"sync\"\ndownloadURL = \"proxy.example\"\n", "2:15", "downloadURL is no base URL"),
    ("mode = \"sync\"\ndownloadURL = \"https://p?x\"\n", "2:15", "without ? and #"),
    (
        "mode = \"redirect\"\ndownloadURL = \"\"\n",
        "1:8",
        "there is no downloadURL, neither here nor",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"a\" {\n  mode = \"async_redirect\"\n}\n",
        "4:10",
        "this mode redirects",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\ndownload {\n  mode = \"none\"\n}\n",
        "3:1",
        "needs its pattern",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"a\" \"b\" {\n  mode = \"none\"\n}\n",
        "3:14",
        "has one pattern",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\n\n  downlaod \"a\" {\n  mode = \"none\"\n}\n",
        "4:3",
        "there is no block \"downlaod\"",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"a\" {\n  downloadURL = \"https://h\"\n}\n",
        "3:1",
        "mode is missing in this block",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"ä/b\" { mode = \"nöne\" }\n",
        "3:25",
        "\"nöne\" is no mode",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"a\" {\n  mode = \"none\"\n  more {\n  }\n}\n",
        "5:3",
        "holds no blocks",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"a\" {\n  mode = \"none\"\n  mode = \"sync\"\n}\n",
        "5:3",
        "unique attribute key",
    ),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"a\" {\n  mode = \"none\"\n",
        "4:17",
        "expected `}`",
    ),
    ("}\nmode = \"sync\"\ndownloadURL = \"\"\n", "1:1", "want NAME = VALUE, a block"),
    (
        "mode = \"sync\"\ndownloadURL = \"\"\nrate \"r\" {\n  perSecond = slow\n  burst = 1\n}\n",
        "4:15",
        "there is no variable slow: want a whole number",
    ),
    (
        "mode = \"sync\ndownloadURL = \"\"\n",
        "1:8",
        "this text is not closed: want a \" on its line",
    ),
];

#[test]
fn what_is_wrong_is_refused_with_file_line_and_column() {
    let mut wrong = Vec::new();
    for (text, position, reason) in REFUSED {
        let Err(error) = read(text, &Given::default()) else { panic!("{text} is accepted") };
        let message = error.message();
        let place = message.starts_with(&format!("mode.hcl:{position}: "));
        if !place || !message.contains(reason) {
            wrong.push(format!("{text}: {message}, want {position}: {reason}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn credentials_in_a_url_are_not_repeated() {
    let text = "mode = \"sync\"\ndownloadURL = \"https://u:hunter2@h?x\"\n";
    let error = read(text, &Given::default()).unwrap_err();
    assert!(!error.message().contains("hunter2"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = DownloadFile::read(Path::new("/nonexistent/mode.hcl")).unwrap_err();
    let wanted = "DownloadMode file:/nonexistent/mode.hcl: cannot be read: No such file";
    assert!(error.message().starts_with(wanted), "{error}");
}

// === Ours ===

const OURS: &str = "\
mode        = \"sync\"
downloadURL = \"\"
upstreams   = \"https://top.example|direct\"
freshFor    = \"90s\"

download \"git.corp\" {
  mode        = \"none\"
  list        = \"storage\"
  latest      = \"storage\"
  upstreams   = [\"https://a.example\", \"https://u:pw@b.example/go/\", \"off\"]
  negativeTTL = \"1h30m\"
  freshFor    = \"0s\"
}
download \"github.com/*\" { mode = \"async\" }
";

#[test]
fn what_a_block_does_not_say_the_top_level_says() {
    let file = parse(OURS);
    let corp = decision(&file, "git.corp/x");
    assert_eq!((corp.list, corp.latest), (ListSource::Storage, ListSource::Storage));
    assert_eq!(corp.negative_for, Some(Duration::from_secs(5400)));
    assert_eq!(corp.fresh_for, Some(Duration::ZERO));
    let wanted = "https://a.example,https://b.example/go,off";
    assert_eq!(upstreams(&file, "git.corp").as_deref(), Some(wanted));
    let top = "https://top.example|direct";
    for (pattern, path, mode) in
        [("github.com/*", "github.com/a/b", Mode::Async), ("", "golang.org/x/text", Mode::Sync)]
    {
        let other = decision(&file, path);
        assert_eq!((other.mode, other.list), (mode, ListSource::Upstream), "{path}");
        assert_eq!(other.fresh_for, Some(Duration::from_secs(90)), "{path}");
        assert_eq!(other.negative_for, None, "{path}");
        assert_eq!(upstreams(&file, pattern).as_deref(), Some(top), "{path}");
        assert!(other.upstreams.is_some(), "{path}");
    }
    let plain = decision(&parse(FULL), "golang.org/x/text");
    assert!(plain.upstreams.is_none() && plain.fresh_for.is_none());
}

#[test]
fn mode_none_is_that_of_lists_where_they_follow_it_unless_the_file_says_otherwise() {
    let text = "mode = \"sync\"\ndownloadURL = \"\"\ndownload \"a.b/c\" {\n  mode = \"none\"\n  \
                latest = \"upstream\"\n}\ndownload \"a.b\" { mode = \"none\" }\n";
    let sources = |given: &Given, path: &str| {
        let decision = decision(&parse_given(text, given), path);
        (decision.list, decision.latest)
    };
    let (upstream, storage) = (ListSource::Upstream, ListSource::Storage);
    let follows = Given { lists_follow_mode: true, ..Given::default() };
    assert_eq!(sources(&follows, "a.b/c"), (storage, upstream));
    assert_eq!(sources(&follows, "a.b/x"), (storage, storage));
    assert_eq!(sources(&follows, "x.y/z"), (upstream, upstream));
    assert_eq!(sources(&Given::default(), "a.b/x"), (upstream, upstream));
}

#[test]
fn offline_every_mode_is_none() {
    let offline = Given { offline: true, ..Given::default() };
    let file = parse_given(FULL, &offline);
    for path in ["golang.org/x/text", "github.com/gomods/athens", "git.corp/x"] {
        assert_eq!(decision(&file, path).mode, Mode::None, "{path}");
    }
}

/// Where a value of ours stands in [`in_block`], and what is complained about.
const OURS_REFUSED: &[(&str, usize, &str)] = &[
    ("list = \"storrage\"", 10, "list cannot be \"storrage\": want \"upstream\" or \"storage\""),
    ("latest = true", 12, "latest is a boolean: want a text in quotes"),
    ("freshFor = \"90\"", 14, "freshFor cannot be \"90\": want a duration such as \"90s\""),
    ("freshFor = 90", 14, "freshFor is a number"),
    ("negativeTTL = \"-1s\"", 17, "negativeTTL cannot be \"-1s\""),
    ("negativeTTL = \"9000h\"", 17, "a year at most"),
    ("upstreams = []", 15, "upstreams is empty"),
    ("upstreams = \" , \"", 15, "upstreams is empty"),
    ("upstreams = [\"https://a.b\", \"ftp://u:hunter2@c.d\"]", 31, "\"ftp://***@c.d\" is refused"),
    ("upstreams = [\"https://a.b|direct\"]", 16, "an entry of this list is one upstream"),
    ("upstreams = [\"direct\", \"\"]", 26, "an upstream is empty"),
    ("upstreams = [\"direct\", 5]", 26, "upstreams is a number: want a text in quotes"),
    ("upstreams = { a = 1 }", 15, "upstreams is an object: want a text in quotes, or a list"),
    ("upstreams = \"https://h?x\"", 15, "a query or fragment is not allowed"),
    ("upstreams = \"http://localhost:3000\"", 15, "which is this gateway itself"),
    ("upstreams = [\"direct\", \"http://127.0.0.1:3000/x\"]", 26, "this gateway itself"),
    ("rateClass = \"slow\"", 15, "there is no rate class \"slow\""),
    ("rateKlass = \"slow\"", 3, "there is no attribute \"rateKlass\""),
];

/// A file whose fourth line is this attribute of a block.
fn in_block(attribute: &str) -> String {
    let top = "mode = \"sync\"\ndownloadURL = \"\"\n";
    format!("{top}download \"a\" {{\n  {attribute}\n  mode = \"none\"\n}}\n")
}

fn here() -> Given {
    let own_address = OwnAddress { host: String::new(), port: 3000 };
    Given { own_address: Some(own_address), ..Given::default() }
}

#[test]
fn what_is_wrong_with_ours_is_refused_with_file_line_and_column() {
    let mut wrong = Vec::new();
    for (attribute, column, reason) in OURS_REFUSED {
        let Err(error) = read(&in_block(attribute), &here()) else {
            panic!("{attribute} is accepted")
        };
        let message = error.message();
        let place = message.starts_with(&format!("mode.hcl:4:{column}: "));
        if !place || !message.contains(reason) || message.contains("hunter2") {
            wrong.push(format!("{attribute}: {message}, want 4:{column}: {reason}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn strict_refuses_every_one_of_ours_by_name_and_place_and_nothing_of_athens() {
    let strict = Given { strict: true, ..Given::default() };
    for name in ours::NAMES {
        let error = read(&in_block(&format!("{name} = \"x\"")), &strict).unwrap_err();
        let wanted = format!("mode.hcl:4:3: {name} is not Athens's");
        assert!(error.message().starts_with(&wanted), "{error}");
        let top = format!("mode = \"sync\"\n  {name} = \"x\"\ndownloadURL = \"\"\n");
        let error = read(&top, &strict).unwrap_err();
        assert!(error.message().starts_with(&format!("mode.hcl:2:3: {name} is not")), "{error}");
    }
    let error = read(&in_block("url = \"x\""), &strict).unwrap_err();
    assert!(error.message().ends_with("want one of mode, downloadURL"), "{error}");
    parse_given(FULL, &strict);
}

#[test]
fn a_redirect_to_this_gateway_is_refused_where_its_url_stands() {
    let top = "mode = \"async\"\ndownloadURL = \"http://localhost:3000/go\"\n";
    assert!(read(top, &here()).is_ok(), "nobody is sent there");
    let block = format!("{top}download \"a.b\" {{ mode = \"redirect\" }}\n");
    let error = read(&block, &here()).unwrap_err();
    assert!(error.message().starts_with("mode.hcl:2:15: downloadURL is this gateway"), "{error}");
    let own = "{\n  mode = \"redirect\"\n  downloadURL = \"http://[::1]:3000\"\n}\n";
    let error = read(&format!("{top}download \"a\" {own}"), &here()).unwrap_err();
    assert!(error.message().starts_with("mode.hcl:5:17: downloadURL is this"), "{error}");
    let elsewhere = block.replace("3000", "3001");
    assert_eq!(decided(&parse_given(&elsewhere, &here()), "a.b/c").0, Mode::Redirect);
}
