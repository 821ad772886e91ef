//! What the docs say of panels: `*Locks / Locks lost*` is the panel of that title in `locks.json`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::panels::{DASHBOARDS, dashboards};
use crate::rules;

/// Every page of `docs/`.
fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let files = std::fs::read_dir(folder).expect("docs is a folder");
    let files = files.map(|file| file.expect("a file of it").path());
    files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The panels that a text names, each as its dashboard and its title.
fn named(text: &str) -> Vec<(String, String)> {
    // A name may be broken over two lines.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut named = Vec::new();
    for (dashboard, _) in DASHBOARDS {
        let (first, rest) = dashboard.split_at(1);
        let begin = format!("*{}{rest} / ", first.to_uppercase());
        for found in text.split(&begin).skip(1) {
            let (title, _) = found.split_once('*').unwrap_or((found, ""));
            named.push((dashboard.to_owned(), title.to_owned()));
        }
    }
    named
}

fn is_there(dashboards: &[(&str, Value)], name: &str, title: &str) -> bool {
    let mut found = dashboards.iter().filter(|(one, _)| *one == name);
    let panels = found.next().and_then(|(_, dashboard)| dashboard["panels"].as_array());
    panels.is_some_and(|panels| panels.iter().any(|panel| panel["title"] == title))
}

#[test]
fn every_panel_that_the_docs_name_is_there() {
    let dashboards = dashboards();
    let mut found = 0;
    for page in pages() {
        for (name, title) in named(&read(&page)) {
            let at = page.display();
            assert!(is_there(&dashboards, &name, &title), "{at}: {name}.json has no {title:?}");
            found += 1;
        }
    }
    assert!(found > 10, "the docs name panels: {found}");
    assert!(!is_there(&dashboards, "locks", "Locks list"));
}

#[test]
fn a_panel_is_named_by_its_dashboard_also_over_the_end_of_a_line() {
    let text = "* *Locks / Locks lost* and *Upstreams /\n  Asked for*, not *Spools* or *Row / x*.";
    let want = [("locks", "Locks lost"), ("upstreams", "Asked for")];
    assert_eq!(named(text), want.map(|(name, title)| (name.to_owned(), title.to_owned())));
}

#[test]
fn the_section_of_every_alert_names_the_panel_to_look_at_and_what_to_do() {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbook.md"));
    let sections: Vec<(&str, &str)> =
        page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    for alert in rules::all().iter().filter(|rule| rule.is_alert) {
        let section = sections.iter().find(|(name, _)| *name == alert.name);
        let (name, text) = section.unwrap_or_else(|| panic!("no section {}", alert.name));
        assert!(!named(text).is_empty(), "{name} names no panel to look at");
        for part in ["**Look at**", "**Do**"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
    }
    let known = rules::all();
    for (name, _) in sections {
        assert!(known.iter().any(|rule| rule.name == name), "there is no alert {name}");
    }
}
