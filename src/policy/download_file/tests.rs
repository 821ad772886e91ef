use super::*;

fn parse(text: &str) -> DownloadFile {
    DownloadFile::parse("mode.hcl", text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn module(path: &str) -> ModulePath {
    ModulePath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn decided(file: &DownloadFile, path: &str) -> (Mode, String) {
    let Decision { mode, download_url } = file.decide(&module(path));
    (mode, download_url)
}

/// Pattern, module path, whether it matches: all rows that were run against Athens.
fn patterns() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let lines = include_str!("../../../protocol/testdata/download_patterns.txt").lines();
    lines.filter(|line| !line.starts_with('#')).map(|line| {
        let (pattern, rest) = line[1..].split_once("\" ").expect("a quoted pattern");
        let (path, matches) = rest.split_once(' ').expect("a path and a verdict");
        (pattern, path, matches == "true")
    })
}

#[test]
fn patterns_match_as_in_athens() {
    for (pattern, path, matches) in patterns() {
        let file = parse(&format!(
            "mode = \"sync\"\ndownloadURL = \"\"\ndownload {pattern:?} {{ mode = \"none\" }}\n"
        ));
        let wanted = if matches { Mode::None } else { Mode::Sync };
        assert_eq!(decided(&file, path).0, wanted, "{pattern} on {path}");
    }
}

#[test]
fn what_never_matches_is_warned_about() {
    for (pattern, path, matches) in patterns() {
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
    ("mode = sync\ndownloadURL = \"\"\n", "1:8", "there is no variable sync"),
    ("mode = \"${upper(\"x\")}\"\ndownloadURL = \"\"\n", "1:8", "there is no function upper"),
    ("mode = \"sync\" + 1\ndownloadURL = \"\"\n", "1:8", "not applicable"),
    (
        "mode = \"sync\"\nurl = \"\"\n",
        "2:1",
        "there is no attribute \"url\": want mode or downloadURL",
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
    ("mode = \"sync\ndownloadURL = \"\"\n", "2:16", "expected newline or eof"),
];

#[test]
fn what_is_wrong_is_refused_with_file_line_and_column() {
    let mut wrong = Vec::new();
    for (text, position, reason) in REFUSED {
        let Err(error) = DownloadFile::parse("mode.hcl", text) else {
            panic!("{text} is accepted")
        };
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
    let error = DownloadFile::parse("mode.hcl", text).unwrap_err();
    assert!(!error.message().contains("hunter2"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = DownloadFile::read(Path::new("/nonexistent/mode.hcl")).unwrap_err();
    let wanted = "DownloadMode file:/nonexistent/mode.hcl: cannot be read: No such file";
    assert!(error.message().starts_with(wanted), "{error}");
}
