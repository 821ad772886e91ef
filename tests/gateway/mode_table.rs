//! Every mode × what is asked × whether it is stored × what upstream does: the table of `docs/download-mode.md`.
//!
//! Each mode and upstream has a gateway of its own, each cell a module of its own, so no cell sees what another
//! has left behind. `DIPYLON_BLESS=1 cargo test --test gateway mode_table` writes the table anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use futures::StreamExt as _;

use crate::world::{Setup, VERSION, World, files_below, outcome, sick, until};

const MODES: [&str; 5] = ["sync", "async", "none", "redirect", "async_redirect"];
const KINDS: [&str; 5] = ["info", "mod", "zip", "list", "latest"];
const UPSTREAMS: [&str; 6] = ["ok", "404", "403", "500", "hang", "garbage"];
/// Where the modes that redirect send clients.
const ELSEWHERE: &str = "http://objects.test/base";
/// The version that upstream has beside [`VERSION`].
const NEWER: &str = "v1.3.0";
/// Gateways at a time.
const GATEWAYS_MAX: usize = 4;
/// The page with the table, and the lines around it.
const PAGE: &str = "docs/download-mode.md";
const BEGIN: &str = "<!-- the table begins: written by tests/gateway/mode_table.rs -->\n";
const END: &str = "<!-- the table ends -->\n";

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    kind: &'static str,
    is_stored: bool,
    mode: &'static str,
    upstream: &'static str,
}

impl Cell {
    fn module(self) -> String {
        let before = if self.is_stored { "stored" } else { "new" };
        format!("example.com/{before}/{}", self.kind)
    }

    fn path(self) -> String {
        match self.kind {
            "list" => format!("/{}/@v/list", self.module()),
            "latest" => format!("/{}/@latest", self.module()),
            kind => format!("/{}/@v/{VERSION}.{kind}", self.module()),
        }
    }

    fn is_file(self) -> bool {
        !matches!(self.kind, "list" | "latest")
    }
}

/// What a cell shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    status: u16,
    outcome: String,
    cache_control: String,
    /// What goes by the status and by what was asked alone, and has a table of its own.
    headers: Headers,
    /// The versions that a list has, or the latest; empty for files.
    versions: String,
    /// Requests at upstream, those about the checksum database left out.
    calls: usize,
    /// What lies in storage afterwards.
    after: &'static str,
}

/// Headers of an answer; empty where there is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Headers {
    content_type: String,
    retry_after: String,
    /// In words where it is the download URL and the path that was asked for.
    location: String,
}

/// One gateway, and all that is asked of it.
async fn column(mode: &'static str, upstream: &'static str) -> Vec<(Cell, Seen)> {
    let world = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", mode)
        .env("ATHENS_DOWNLOAD_URL", ELSEWHERE)
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
        .env("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "1")
        .start()
        .await;
    let cells = |is_stored| KINDS.map(|kind| Cell { kind, is_stored, mode, upstream });
    let cells: Vec<Cell> = [true, false].into_iter().flat_map(cells).collect();
    for cell in &cells {
        prepare(&world, *cell);
    }
    let mut seen = Vec::new();
    for cell in cells {
        seen.push((cell, ask(&world, cell).await));
    }
    seen
}

/// What upstream has of the cell's module and does when it is asked, and what is stored of it.
fn prepare(world: &World, cell: Cell) {
    let module = FakeModule::new(&cell.module(), VERSION);
    if cell.is_stored {
        let folder = world.root().join(cell.module()).join(VERSION);
        std::fs::create_dir_all(&folder).expect("a folder for the version");
        std::fs::write(folder.join("go.mod"), module.go_mod_bytes()).expect("its go.mod");
        std::fs::write(folder.join("source.zip"), module.zip()).expect("its zip");
        std::fs::write(folder.join(format!("{VERSION}.info")), module.info()).expect("its info");
    }
    if cell.upstream == "404" {
        return;
    }
    world.add(module);
    world.add(FakeModule::new(&cell.module(), NEWER));
    let no = Fault::Status(403, "text/plain; charset=utf-8", "not for you\n".into());
    let fault = match cell.upstream {
        "403" => no,
        "500" => sick(),
        "hang" => Fault::HangBeforeHeaders,
        "garbage" => Fault::HtmlLogin,
        _ => return,
    };
    world.upstream.fault(When::prefix(&format!("/{}/", cell.module())), fault);
}

async fn ask(world: &World, cell: Cell) -> Seen {
    let answer = world.get(&cell.path()).await;
    until_over(world, cell).await;
    let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    let elsewhere = format!("{ELSEWHERE}{}", cell.path());
    let headers = Headers {
        content_type: header("content-type"),
        retry_after: header("retry-after"),
        location: header("location").replace(&elsewhere, "the download URL and the path"),
    };
    let versions = match (answer.status == 200, cell.kind) {
        (true, "list") => answer.text().lines().collect::<Vec<_>>().join(" "),
        (true, "latest") => {
            let info: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
            info["Version"].as_str().expect("a version").to_owned()
        }
        _ => String::new(),
    };
    Seen {
        status: answer.status.as_u16(),
        outcome: outcome(&answer).to_owned(),
        cache_control: header("cache-control"),
        headers,
        versions,
        calls: calls(world, cell),
        after: after(world, cell),
    }
}

/// Waits until all that the request has set off is over, or has been tried once: what may pass is tried again
/// seconds later, and is no part of the table.
async fn until_over(world: &World, cell: Cell) {
    let is_in_background = matches!(cell.mode, "async" | "async_redirect");
    if cell.upstream == "ok" || !is_in_background {
        return world.until_idle().await;
    }
    let is_tried = cell.is_file() && !cell.is_stored;
    until("nothing is running, and what was asked for is tried once", async || {
        let metrics = world.metrics().await;
        let running = ["dipylon_dispatch_background_active", "dipylon_single_flight_active"];
        let is_quiet = running.iter().all(|name| metrics.metric(name).sum() == 0.0);
        is_quiet && (!is_tried || calls(world, cell) > 0)
    })
    .await;
}

/// Requests at upstream about the cell's module, those about the checksum database left out.
fn calls(world: &World, cell: Cell) -> usize {
    let about = format!("/{}/@", cell.module());
    let requests = world.upstream.requests();
    requests.iter().filter(|request| request.path.starts_with(&about)).count()
}

/// What lies in storage of the cell's version.
fn after(world: &World, cell: Cell) -> &'static str {
    if world.is_stored(&cell.module(), VERSION) {
        return "the version";
    }
    assert!(files_below(&world.root().join(cell.module())).is_empty(), "{cell:?}: a torn version");
    let is_of_it = |file: &&String| file.contains(&cell.module());
    match world.our_files().iter().filter(is_of_it).count() {
        0 => "nothing",
        1 => "that file, early",
        _ => "early files",
    }
}

/// What holds for every row, however the table is blessed.
fn assert_right(cell: Cell, seen: &Seen) {
    let right = |holds: bool, why: &str| assert!(holds, "{why}: {cell:?}: {seen:?}");
    let content_type = match (seen.status, cell.kind) {
        (200, "info") => "application/json",
        (200, "latest") => "application/json; charset=utf-8",
        (200, "zip") => "application/zip",
        (302, _) => "",
        _ => "text/plain; charset=utf-8",
    };
    let Headers { content_type: of_answer, retry_after, location } = &seen.headers;
    right(of_answer == content_type, "Content-Type is that of the file, or of a text");
    right(retry_after.is_empty(), "no upstream has said when to come again");
    let elsewhere = if seen.status == 302 { "the download URL and the path" } else { "" };
    right(location == elsewhere, "only redirects have a Location");
    if cell.is_stored && cell.is_file() {
        right((seen.status, seen.calls) == (200, 0), "what is stored needs no upstream");
        right(seen.cache_control.contains("immutable"), "what is stored may be kept for ever");
    }
    if !cell.is_file() || cell.is_stored {
        return;
    }
    let status = match (cell.mode, cell.upstream) {
        ("sync", "ok") => 200,
        ("sync", "404") | ("async" | "none", _) => 404,
        ("sync", "403") => 403,
        ("sync", "500" | "garbage") => 502,
        ("sync", "hang") => 504,
        _ => 302,
    };
    right(seen.status == status, "the status");
    let is_immutable = seen.cache_control.contains("immutable");
    right(is_immutable == (status == 200), "what may change is not kept for ever");
    if matches!(cell.mode, "none" | "redirect") {
        right(seen.calls == 0, "upstream is not asked");
    } else {
        right(seen.calls > 0, "upstream is asked");
    }
    let is_kept = cell.upstream == "ok" && matches!(cell.mode, "async" | "async_redirect");
    right(!is_kept || seen.after == "the version", "the version is stored in the background");
    right(cell.upstream == "ok" || seen.after == "nothing", "nothing is kept of a failure");
}

/// The upstreams of each kind and mode, all by their place in the names above.
type Places = BTreeMap<(usize, usize), BTreeSet<usize>>;

/// The rows: what is seen alike is one.
fn table(seen: &BTreeMap<Cell, Seen>) -> String {
    // For each result: the upstreams of each kind and mode.
    let mut alike: BTreeMap<(bool, Seen), Places> = BTreeMap::new();
    let at = |all: &[&str], one: &str| all.iter().position(|name| *name == one).unwrap_or_default();
    for (cell, seen) in seen {
        let row = alike.entry((!cell.is_stored, in_first_table(seen))).or_default();
        let of_mode = row.entry((at(&KINDS, cell.kind), at(&MODES, cell.mode))).or_default();
        of_mode.insert(at(&UPSTREAMS, cell.upstream));
    }
    let mut rows = BTreeMap::new();
    for ((is_new, seen), places) in alike {
        // Kinds with the same modes and upstreams are one row, and so are modes with the same kinds.
        let mut by_upstreams: BTreeMap<BTreeSet<usize>, BTreeMap<usize, BTreeSet<usize>>> =
            BTreeMap::new();
        for ((kind, mode), upstreams) in places {
            by_upstreams.entry(upstreams).or_default().entry(kind).or_default().insert(mode);
        }
        for (upstreams, kinds) in by_upstreams {
            let mut by_modes: BTreeMap<BTreeSet<usize>, BTreeSet<usize>> = BTreeMap::new();
            for (kind, modes) in kinds {
                by_modes.entry(modes).or_default().insert(kind);
            }
            for (modes, kinds) in by_modes {
                rows.insert((is_new, kinds, modes, upstreams.clone()), seen.clone());
            }
        }
    }
    let words = |all: &[&str], some: &BTreeSet<usize>| {
        let named: Vec<&str> = some.iter().map(|at| all[*at]).collect();
        if named.len() == all.len() { "any".to_owned() } else { named.join(", ") }
    };
    let mut text =
        "| asked | stored | mode | upstream | answer | `Cache-Control` | calls | afterwards |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for ((is_new, kinds, modes, upstreams), seen) in rows {
        let stored = if is_new { "no" } else { "yes" };
        let (kinds, modes) = (words(&KINDS, &kinds), words(&MODES, &modes));
        let upstreams = words(&UPSTREAMS, &upstreams);
        let Seen { status, outcome, cache_control, versions, calls, after, .. } = seen;
        let versions = if versions.is_empty() { String::new() } else { format!(": {versions}") };
        let cache_control = cache_control.replace("public, max-age=", "");
        let _ = writeln!(
            text,
            "| {kinds} | {stored} | {modes} | {upstreams} | {status} `{outcome}`{versions} | \
             {cache_control} | {calls} | {after} |"
        );
    }
    text
}

/// Without what has a table of its own.
fn in_first_table(seen: &Seen) -> Seen {
    let none = || Headers {
        content_type: String::new(),
        retry_after: String::new(),
        location: String::new(),
    };
    Seen { headers: none(), ..seen.clone() }
}

/// The headers that go by the status and by what was asked alone.
fn table_of_headers(seen: &BTreeMap<Cell, Seen>) -> String {
    let mut alike: BTreeMap<(u16, &Headers), BTreeSet<usize>> = BTreeMap::new();
    for (cell, seen) in seen {
        let kind = KINDS.iter().position(|kind| *kind == cell.kind).unwrap_or_default();
        alike.entry((seen.status, &seen.headers)).or_default().insert(kind);
    }
    let mut text =
        "| answer | asked | `Content-Type` | `Retry-After` | `Location` |\n|---|---|---|---|---|\n"
            .to_owned();
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    for ((status, headers), kinds) in alike {
        let kinds: Vec<&str> = kinds.into_iter().map(|kind| KINDS[kind]).collect();
        let Headers { content_type, retry_after, location } = headers;
        let [content_type, retry_after, location] =
            [content_type, retry_after, location].map(|text| or_none(text));
        let kinds = kinds.join(", ");
        let _ =
            writeln!(text, "| {status} | {kinds} | {content_type} | {retry_after} | {location} |");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mode_does_what_the_table_in_the_docs_says() {
    let columns =
        MODES.iter().flat_map(|mode| UPSTREAMS.map(|upstream| Box::pin(column(mode, upstream))));
    let all: Vec<Vec<(Cell, Seen)>> =
        futures::stream::iter(columns).buffered(GATEWAYS_MAX).collect().await;
    let seen: BTreeMap<Cell, Seen> = all.into_iter().flatten().collect();
    assert_eq!(seen.len(), MODES.len() * KINDS.len() * 2 * UPSTREAMS.len());
    for (cell, seen) in &seen {
        assert_right(*cell, seen);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (written, behind) = rest.split_once(END).expect("the end of the table");
    let table = format!("{}\n{}", table(&seen), table_of_headers(&seen));
    if dipylon_testkit::bless::is_asked_for() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{behind}")).expect("written");
        return;
    }
    assert!(written == table, "{PAGE} has another table than was seen:\n{table}");
}
