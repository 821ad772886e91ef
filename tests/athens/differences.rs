//! The same requests to both programs over equal stores and one upstream.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use dipylon_testkit::client::Response;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::upstream::Upstream;

use crate::probes::{Group, Probe, groups};
use crate::world::{athens, copy, dipylon, path_of, settings, upstream};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/athens/differences.txt");
const INTRODUCTION: &str = "\
Where dipylon answers otherwise than Athens v0.18.0, and why. Made by the suite `athens`:
ATHENS_BIN=… DIPYLON_BLESS=1 cargo test --test athens -- --ignored differences
Compared are the status, these headers, and the body. What is not listed here is the same.
";
/// The headers that a client acts upon.
const HEADERS: [&str; 8] = [
    "content-type",
    "cache-control",
    "etag",
    "location",
    "allow",
    "www-authenticate",
    "accept-ranges",
    "retry-after",
];
/// Characters of a body that the golden shows.
const SHOWN_CHARS_MAX: usize = 160;

/// A store that both start from: one version of a module, and the pseudo-version, fetched by Athens.
async fn seed(upstream: &Upstream, store: &Path) {
    let mut from = athens(&settings(&upstream.url(), store)).start().await;
    for module in crate::world::modules() {
        let path = module.path();
        if path == "example.com/pseudo" || (path, module.version()) == ("example.com/lib", "v1.0.0")
        {
            let got = from.get(&path_of(&module, "zip")).await;
            assert_eq!(got.status, 200, "{path}");
        }
    }
    from.terminate().await;
}

/// An answer as the golden shows it, with what changes from run to run taken out.
fn view(gateway: &Gateway, upstream: &Upstream, response: &Response) -> Vec<String> {
    let mut lines = vec![response.status.as_u16().to_string()];
    for name in HEADERS {
        if let Some(value) = response.header(name) {
            lines.push(format!("{name}: {value}"));
        }
    }
    let body = match std::str::from_utf8(&response.body) {
        Ok(text) => text.replace('\n', "\\n").replace('\t', " "),
        Err(_) => format!("{} bytes", response.body.len()),
    };
    let folder = gateway.folder().display().to_string();
    let body = body
        .replace(&upstream.url(), "{upstream}")
        .replace(&upstream.address().to_string(), "{upstream}")
        .replace(&gateway.address().to_string(), "{gateway}")
        .replace(&folder, "{folder}");
    let cut: String = body.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if cut.len() < body.len() { "…" } else { "" };
    lines.push(format!("body: {cut}{more}"));
    lines
}

async fn asked(gateway: &Gateway, probe: &Probe) -> Response {
    gateway.client().request(probe.method.clone(), probe.path, probe.headers, Bytes::new()).await
}

/// What differs in one group, as text; complaints about reasons that are missing or idle.
async fn run(
    group: &Group,
    seeded: &Path,
    upstream: &Upstream,
    complaints: &mut Vec<String>,
) -> String {
    let folder = tempfile::tempdir().expect("a folder for both stores");
    let filter = folder.path().join("filter");
    std::fs::write(&filter, "- example.com/denied\nD example.com/direct\n").expect("a filter file");
    let mut running = Vec::new();
    for name in ["athens", "dipylon"] {
        let store = folder.path().join(name);
        copy(seeded, &store);
        let mut variables = settings(&upstream.url(), &store);
        for (variable, value) in group.variables {
            let value = value.replace("{filter}", &filter.display().to_string());
            variables.push(((*variable).to_owned(), value));
        }
        let builder = if name == "athens" { athens(&variables) } else { dipylon(&variables) };
        running.push(builder.start().await);
    }
    let [theirs, ours] = &running[..] else { unreachable!("two programs were started") };
    let settings: Vec<String> =
        group.variables.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    let mut text = format!("\n== {}{} ==\n", group.name, settings.concat());
    for probe in &group.probes {
        let name = format!("{} {}", probe.method, probe.path);
        let (one, two) = (asked(theirs, probe).await, asked(ours, probe).await);
        let same_body = one.body == two.body;
        let (one, two) = (view(theirs, upstream, &one), view(ours, upstream, &two));
        if one == two && same_body {
            if !probe.why.is_empty() {
                complaints.push(format!("{name}: a reason, but no difference"));
            }
            continue;
        }
        if probe.why.is_empty() {
            complaints.push(format!("{name}: no reason\n  athens  {one:?}\n  dipylon {two:?}"));
        }
        let _ = write!(text, "\n{name}\n  why: {}\n", probe.why);
        for (who, this, other) in [("athens ", &one, &two), ("dipylon", &two, &one)] {
            let shown: Vec<&str> =
                this.iter().filter(|line| !other.contains(line)).map(String::as_str).collect();
            let line = format!("  {who}  {}", shown.join(" | "));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

#[tokio::test]
#[ignore = "needs ATHENS_BIN and the go command: run by cargo xtask test where it names an Athens"]
async fn every_difference_is_listed_and_has_its_reason() {
    let upstream = upstream().await;
    let seeded = tempfile::tempdir().expect("a folder for the store");
    seed(&upstream, seeded.path()).await;
    let (mut text, mut complaints) = (INTRODUCTION.to_owned(), Vec::new());
    for group in groups() {
        text += &run(&group, seeded.path(), &upstream, &mut complaints).await;
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    if dipylon_testkit::bless::is_asked_for() {
        std::fs::write(GOLDEN, &text).expect("the golden is written");
        return;
    }
    let want = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(text == want, "differences.txt is not what was seen; DIPYLON_BLESS=1 accepts:\n{text}");
}
