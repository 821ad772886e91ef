//! The dashboards by Grafana's own schema: the types that it publishes of a dashboard and of each kind of panel, in
//! `schema/`, and its list of units. Grafana itself fills in silently what it does not understand.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::panels::dashboards;

/// A script among the packages of Grafana's, as the run says where.
const PROGRAM: &str = "DIPYLON_PROGRAM_GRAFANA_SCHEMA";

/// Holds files to it. `Ok` has what the check said, `Err` what is wrong, a line each.
fn check(files: &[PathBuf]) -> Result<String, String> {
    let script = std::env::var(PROGRAM)
        .unwrap_or_else(|_| panic!("{PROGRAM} is not set: cargo xtask dashboards sets it"));
    let modules = Path::new(&script).ancestors().nth(3).expect("below node_modules");
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dashboards/schema/check.cjs");
    let output = Command::new("node").arg(checker).arg(modules).args(files).output();
    let output = output.expect("node is installed");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

#[test]
#[ignore = "needs the grafana-schema program: run by cargo xtask test"]
fn every_dashboard_is_one_by_grafanas_own_schema() {
    let folder = crate::world::folder();
    let file = |name: &str| folder.join(format!("{name}.json"));
    let files: Vec<PathBuf> = dashboards().iter().map(|(name, _)| file(name)).collect();
    let said = check(&files).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(said.contains("7 dashboards,") && said.ends_with(" 0 problems\n"), "{said}");
}

/// A panel of a dashboard that is right, to be spoiled.
fn panel(dashboard: &mut Value) -> &mut Value {
    let panels = dashboard["panels"].as_array_mut().expect("a dashboard has panels");
    panels.iter_mut().find(|panel| panel["type"] == "timeseries").expect("one is a graph")
}

/// One way to spoil a dashboard, and what is said of it.
type Spoil = (&'static str, fn(&mut Value), &'static str);

const SPOILS: [Spoil; 9] = [
    ("kind", |it| panel(it)["type"] = json!("graph"), "Type '\"graph\"' is not assignable"),
    (
        "place",
        |it| drop(panel(it)["gridPos"].as_object_mut().unwrap().remove("w")),
        "'w' is missing",
    ),
    ("number", |it| panel(it)["gridPos"]["w"] = json!("8"), "'string' is not assignable"),
    ("key", |it| panel(it)["width"] = json!(8), "'\"width\"' does not exist"),
    ("option", |it| panel(it)["options"]["legned"] = json!({}), "'\"legned\"' does not exist"),
    ("word", |it| panel(it)["options"]["legend"]["placement"] = json!("left"), "'\"left\"' is not"),
    (
        "custom",
        |it| panel(it)["fieldConfig"]["defaults"]["custom"]["width"] = json!(1),
        "not exist",
    ),
    ("unit", |it| panel(it)["fieldConfig"]["defaults"]["unit"] = json!("sec"), "knows no unit sec"),
    ("query", |it| panel(it)["targets"][0]["exemplars"] = json!(true), "'\"exemplars\"' does not"),
];

#[test]
#[ignore = "needs the grafana-schema program: run by cargo xtask test"]
fn a_dashboard_that_is_none_is_found_whatever_is_wrong_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, right) = dashboards().into_iter().next().expect("there is one");
    let mut files = Vec::new();
    for (name, spoil, _) in SPOILS {
        let mut dashboard = right.clone();
        spoil(&mut dashboard);
        let file = folder.path().join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&dashboard).expect("it is JSON");
        std::fs::write(&file, text).expect("a file");
        files.push(file);
    }
    let wrong = check(&files).expect_err("each is wrong");
    for (name, _, what) in SPOILS {
        let lines = wrong.lines().filter(|line| line.starts_with(&format!("{name}.json:")));
        assert!(lines.into_iter().any(|line| line.contains(what)), "{name}: {what}: {wrong}");
    }
}
