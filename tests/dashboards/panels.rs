//! The dashboards as files: what a person needs is there, and every name is one of the catalogue.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::names::{Recorded, problems};
use crate::rules;

/// Columns of Grafana's grid.
const GRID_COLUMNS: u64 = 24;
/// Rows have ids with room between them, so that a layer to come finds room among its own kind.
const ROWS: [(u64, &str); 8] = [
    (100, "Traffic"),
    (200, "Outcomes"),
    (300, "Hit ratio"),
    (400, "Misses and single flight"),
    (450, "Locks"),
    (500, "Storage"),
    (600, "Upstream"),
    (700, "Runtime"),
];

/// One expression of one panel.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The id of the panel.
    pub(crate) id: u64,
    /// The row, the panel and the letter, for messages.
    pub(crate) place: String,
    /// As Grafana keeps it, with its variables.
    pub(crate) expr: String,
    legend: String,
}

/// The file of a dashboard.
fn dashboard() -> Value {
    let path = crate::world::folder().join("overview.json");
    let text = std::fs::read_to_string(&path).expect("the dashboard is a file");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The expressions of a dashboard, in the order of its panels.
fn targets_of(dashboard: &Value) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut row = "";
    for panel in list(dashboard, "panels") {
        if text(panel, "type") == "row" {
            row = text(panel, "title");
        }
        for target in list(panel, "targets") {
            let (title, letter) = (text(panel, "title"), text(target, "refId"));
            targets.push(Target {
                id: panel["id"].as_u64().unwrap_or_default(),
                place: format!("{row} / {title} / {letter}"),
                expr: text(target, "expr").to_owned(),
                legend: text(target, "legendFormat").to_owned(),
            });
        }
    }
    targets
}

/// The expressions of every panel.
pub(crate) fn targets() -> Vec<Target> {
    targets_of(&dashboard())
}

/// A variable that asks Prometheus for the values of a label.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) selector: String,
    pub(crate) label: String,
    /// What stands for "All", where that is not the list of the values.
    pub(crate) all_value: Option<String>,
}

/// The variables of the dashboard but its data source, in their order.
///
/// # Panics
/// When one asks otherwise than by `label_values(selector, label)`.
pub(crate) fn variables() -> Vec<Variable> {
    let dashboard = dashboard();
    let asking = list(&dashboard["templating"], "list").iter();
    asking.filter(|variable| text(variable, "type") == "query").map(variable).collect()
}

fn variable(variable: &Value) -> Variable {
    let query = text(variable, "definition");
    assert_eq!(query, text(&variable["query"], "query"));
    let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let (selector, label) = inner
        .and_then(|inner| inner.rsplit_once(", "))
        .unwrap_or_else(|| panic!("{query}: not label_values(…, …)"));
    let all_value = variable["allValue"].as_str().filter(|value| !value.is_empty());
    Variable {
        name: text(variable, "name").to_owned(),
        selector: selector.to_owned(),
        label: label.to_owned(),
        all_value: all_value.map(str::to_owned),
    }
}

/// What a panel lacks, one line each.
fn lacks(panel: &Value) -> Vec<String> {
    let title = text(panel, "title");
    let mut lacks = Vec::new();
    if title.is_empty() {
        lacks.push(format!("panel {} has no title", panel["id"]));
    }
    if text(panel, "type") == "row" {
        return lacks;
    }
    if !text(panel, "description").ends_with('.') {
        lacks.push(format!("{title:?} has no description that is a sentence"));
    }
    if text(&panel["fieldConfig"]["defaults"], "unit").is_empty() {
        lacks.push(format!("{title:?} has no unit"));
    }
    if list(panel, "targets").is_empty() {
        lacks.push(format!("{title:?} asks for nothing"));
    }
    let sources = std::iter::once(panel).chain(list(panel, "targets"));
    if sources.into_iter().any(|one| text(&one["datasource"], "uid") != "${datasource}") {
        lacks.push(format!("{title:?} does not ask the data source that is chosen"));
    }
    lacks
}

#[test]
fn every_panel_has_a_title_a_unit_a_description_and_a_source() {
    let dashboard = dashboard();
    let found: Vec<String> = list(&dashboard, "panels").iter().flat_map(lacks).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(!text(&dashboard, "description").is_empty() && !text(&dashboard, "uid").is_empty());
}

#[test]
fn a_panel_without_them_is_found() {
    let panel = serde_json::json!({"id": 9, "type": "stat", "targets": []});
    assert_eq!(lacks(&panel).len(), 5, "{:#?}", lacks(&panel));
}

#[test]
fn rows_stand_in_the_order_of_the_stack_and_panels_have_ids_of_their_row() {
    let dashboard = dashboard();
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        let id = panel["id"].as_u64().expect("an id is a number");
        assert!(seen.insert(id), "the id {id} stands twice");
        if text(panel, "type") == "row" {
            rows.push((id, text(panel, "title")));
        }
        let (row, title) = rows.last().expect("the first panel is a row");
        let mut later = ROWS.iter().map(|(id, _)| *id).filter(|id| id > row);
        let next = later.next().unwrap_or(row + 100);
        assert!((*row..next).contains(&id), "{id} is in the row {title}");
    }
    assert_eq!(rows, ROWS);
}

#[test]
fn no_panel_lies_on_another_or_beside_the_grid() {
    let dashboard = dashboard();
    let mut cells = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place on the grid");
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        assert!(w > 0 && h > 0 && x + w <= GRID_COLUMNS, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} lies on another panel at {cell:?}", panel["title"]);
        }
    }
}

#[test]
fn every_name_in_a_panel_is_one_of_the_catalogue() {
    let recorded = rules::recorded();
    let mut found = Vec::new();
    for target in targets() {
        let of = |problem: String| format!("{}: {problem}", target.place);
        found.extend(problems(&target.expr, &recorded).into_iter().map(of));
        let grouped = crate::promql::names(&target.expr).unwrap_or_default().grouped;
        for label in target.legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            if !grouped.iter().any(|known| known == label) {
                found.push(format!("{}: the legend has no {label:?}", target.place));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_variables_ask_for_metrics_of_the_catalogue() {
    let dashboard = dashboard();
    let all = list(&dashboard["templating"], "list");
    let names: Vec<&str> = all.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    for Variable { name, selector, label, .. } in variables() {
        assert_eq!(problems(&selector, &Recorded::new()), Vec::<String>::new(), "{name}");
        assert_eq!(label, name, "a variable has the name of its label");
    }
}
