//! Pictures for the docs: the layout of each dashboard, drawn from its JSON, and a trace, drawn from spans that a
//! real collector received.
//!
//! `cargo xtask pictures` draws them anew into `docs/pictures`, and `cargo xtask pictures --live` fetches the spans
//! anew before. A test says whether what lies there is what would be drawn.

mod layout;
mod live;
mod svg;
mod trace;

use std::path::PathBuf;

use crate::panels::dashboards;

/// `docs/pictures`.
fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pictures"))
}

/// Every picture by the name of its file.
fn pictures() -> Vec<(String, String)> {
    let dashboards = dashboards();
    let layouts = dashboards.iter().map(|(name, dashboard)| {
        (
            format!("{name}.svg"),
            layout::draw(dashboard).unwrap_or_else(|why| panic!("{name}: {why}")),
        )
    });
    let trace = ("trace.svg".to_owned(), trace::draw(&trace::sample()));
    layouts.chain([trace]).collect()
}

#[test]
fn the_pictures_in_the_docs_are_those_of_the_dashboards_and_of_the_trace() {
    for (name, drawn) in pictures() {
        let path = folder().join(&name);
        if dipylon_testkit::bless::is_asked_for() {
            std::fs::create_dir_all(folder()).expect("docs/pictures");
            std::fs::write(&path, &drawn).expect("a picture");
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == drawn,
            "docs/pictures/{name} is another: cargo xtask pictures draws it anew"
        );
    }
}

#[test]
fn every_picture_is_shown_on_the_page_of_the_dashboards() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dashboards.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let drawn: Vec<String> = pictures().into_iter().map(|(name, _)| name).collect();
    for name in &drawn {
        assert!(
            page.contains(&format!("](pictures/{name})")),
            "docs/dashboards.md shows no {name}"
        );
    }
    for file in std::fs::read_dir(folder()).expect("docs/pictures") {
        let name = file.expect("a file of it").file_name().to_string_lossy().into_owned();
        assert!(drawn.contains(&name), "docs/pictures/{name} is drawn by nothing");
    }
}
