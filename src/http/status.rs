//! `/-/status`: what goes on now, as tables for a person. Whoever knows something fills a table; the page knows
//! nothing itself. It runs no script and loads nothing, and what others have named is text on it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dipylon_middleware::body::Body;
use dipylon_middleware::render::whole;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};

use super::home::escape;

/// Rows of one table.
pub const STATUS_ROWS_MAX: usize = 50;
/// Characters of one cell: more than a name that a store takes, less than a client may send.
const CELL_CHARACTERS_MAX: usize = 300;
/// What stands for the rest of a cell.
const CUT: char = '…';
/// Nothing is loaded and nothing runs, whatever a name says; and no cache keeps what is so only now.
const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    ),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];
const HEAD: &str = concat!(
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
    "<meta http-equiv=\"refresh\" content=\"5\"><title>dipylon: status</title><style>",
    "body{font:14px/1.4 sans-serif;margin:2em}table{border-collapse:collapse}",
    "td,th{padding:.1em 1em .1em 0;text-align:left;vertical-align:top}",
    "</style></head><body>\n<h1>dipylon v",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n",
);

/// The page.
pub struct Status {
    began: Instant,
    tables: Vec<Table>,
}

/// What a table shows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The first rows; a cell for each head.
    pub rows: Vec<Vec<String>>,
    /// How many there are.
    pub all: usize,
}

impl Rows {
    /// These are all.
    pub fn all(rows: Vec<Vec<String>>) -> Self {
        Self { all: rows.len(), rows }
    }
}

/// Shows so many rows at most.
type Shows = Box<dyn Fn(usize) -> Rows + Send + Sync>;

struct Table {
    title: &'static str,
    heads: &'static [&'static str],
    shows: Shows,
}

impl Status {
    /// Without any table; the process began now.
    pub fn new() -> Self {
        Self { began: Instant::now(), tables: Vec::new() }
    }

    /// Then a table, of which so many rows are shown as `shows` is asked for.
    #[must_use]
    pub fn then(
        mut self,
        title: &'static str,
        heads: &'static [&'static str],
        shows: impl Fn(usize) -> Rows + Send + Sync + 'static,
    ) -> Self {
        self.tables.push(Table { title, heads, shows: Box::new(shows) });
        self
    }

    pub(super) fn page(&self) -> Response<Body> {
        let mut response = whole("text/html; charset=utf-8", self.html());
        response.headers_mut().extend(HEADERS);
        response
    }

    fn html(&self) -> String {
        let up = lasted(self.began.elapsed());
        let mut page = format!("{HEAD}<p>up for {up}; comes anew every 5 s</p>\n");
        for table in &self.tables {
            table.write(&mut page);
        }
        page + "</body></html>\n"
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    fn write(&self, page: &mut String) {
        let Self { title, heads, shows } = self;
        let Rows { rows, all } = shows(STATUS_ROWS_MAX);
        let shown = &rows[..rows.len().min(STATUS_ROWS_MAX)];
        page.extend(["<h2>", &escape(title), "</h2>\n"]);
        if shown.is_empty() {
            page.push_str("<p>none</p>\n");
            return;
        }
        page.push_str("<table>\n");
        line(page, "th", heads.iter().copied());
        for row in shown {
            line(page, "td", row.iter().map(String::as_str));
        }
        page.push_str("</table>\n");
        let left_out = all.saturating_sub(shown.len());
        if left_out > 0 {
            // Writing to a string does not fail.
            let _ = writeln!(page, "<p>and {left_out} more, which are left out here</p>");
        }
    }
}

fn line<'a>(page: &mut String, tag: &str, cells: impl Iterator<Item = &'a str>) {
    page.push_str("<tr>");
    for text in cells {
        page.extend(["<", tag, ">", &cell(text), "</", tag, ">"]);
    }
    page.push_str("</tr>\n");
}

/// A text as it may stand in HTML: bounded, without control characters, and no markup.
fn cell(text: &str) -> String {
    let mut characters = text.chars();
    let seen = |character: char| match character.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => character,
    };
    let mut kept: String = characters.by_ref().take(CELL_CHARACTERS_MAX).map(seen).collect();
    if characters.next().is_some() {
        kept.push(CUT);
    }
    escape(&kept)
}

/// A time as people say it, with its two largest units.
pub fn lasted(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rows: Vec<Vec<String>>, all: usize) -> String {
        let shown = Rows { rows, all };
        let table = Table { title: "T", heads: &["what"], shows: Box::new(move |_| shown.clone()) };
        let mut page = String::new();
        table.write(&mut page);
        page
    }

    #[test]
    fn what_others_have_named_is_text_and_never_markup() {
        let hostile = "</td><script>alert('1')</script>&\" onload=x\u{1b}[31m\0";
        let want = "<h2>T</h2>\n<table>\n<tr><th>what</th></tr>\n<tr><td>&lt;/td&gt;&lt;script&gt;\
                    alert(&#39;1&#39;)&lt;/script&gt;&amp;&#34; onload=x\u{fffd}[31m\u{fffd}</td></tr>\n</table>\n";
        assert_eq!(written(vec![vec![hostile.to_owned()]], 1), want);
    }

    #[test]
    fn no_more_rows_are_shown_than_may_be_and_those_left_out_are_counted() {
        let rows: Vec<_> =
            (0..STATUS_ROWS_MAX + 7).map(|row| vec![format!("row {row}.")]).collect();
        let page = written(rows, 1_000);
        assert_eq!(page.matches("<td>").count(), STATUS_ROWS_MAX);
        assert!(page.contains("row 49.") && !page.contains("row 50."), "{page}");
        assert!(page.contains("<p>and 950 more, which are left out here</p>"), "{page}");
        let all = written(vec![vec!["one".to_owned()]], 1);
        assert!(!all.contains("more"), "{all}");
        assert_eq!(written(Vec::new(), 0), "<h2>T</h2>\n<p>none</p>\n");
    }

    #[test]
    fn a_cell_is_bounded_by_characters_and_never_cut_within_one() {
        let most = "ü".repeat(CELL_CHARACTERS_MAX);
        assert_eq!(cell(&most), most);
        assert_eq!(cell(&format!("{most}<")), format!("{most}{CUT}"));
        let markup = "<".repeat(CELL_CHARACTERS_MAX + 1);
        assert_eq!(cell(&markup), format!("{}{CUT}", "&lt;".repeat(CELL_CHARACTERS_MAX)));
    }

    #[test]
    fn the_page_loads_nothing_runs_nothing_and_is_kept_by_nobody() {
        let status = Status::new().then("T", &["what"], |most| {
            Rows::all(vec![vec![format!("{most} rows are asked for")]])
        });
        let response = status.page();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        assert_eq!(header(CONTENT_SECURITY_POLICY), Some(policy));
        assert_eq!(header(CACHE_CONTROL), Some("no-store"));
        let page = status.html();
        for elsewhere in
            ["<script", "<link", "<img", "src=", "href=", "url(", "http://", "https://"]
        {
            assert!(!page.contains(elsewhere), "{elsewhere} in {page}");
        }
        for words in
            ["<meta http-equiv=\"refresh\" content=\"5\">", "50 rows are asked for", "up for 0 s"]
        {
            assert!(page.contains(words), "no {words} in {page}");
        }
        assert!(page.contains(&format!("<h1>dipylon v{}</h1>", env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn a_time_is_told_with_its_two_largest_units() {
        let told = |seconds| lasted(Duration::from_secs(seconds));
        assert_eq!([told(0), told(59), told(60)], ["0 s", "59 s", "1 min 0 s"]);
        assert_eq!([told(3_599), told(3_600)], ["59 min 59 s", "1 h 0 min"]);
        assert_eq!([told(86_399), told(90_000)], ["23 h 59 min", "1 d 1 h"]);
    }
}
