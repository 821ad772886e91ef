//! The dashboards as files: what a person needs is there, and every name is one of the catalogue.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value;

use crate::names::{Recorded, problems};
use crate::rules;

/// Columns of Grafana's grid.
const GRID_COLUMNS: u64 = 24;
/// The dashboards, each with the ids that its panels may have: whole hundreds of its own, with room between
/// them, so that a panel to come finds room among its own kind.
pub(crate) const DASHBOARDS: [(&str, Range<u64>); 7] = [
    ("overview", 100..300),
    ("misses", 300..450),
    ("locks", 450..500),
    ("storage", 500..600),
    ("upstreams", 600..700),
    ("runtime", 700..800),
    ("minutes", 800..900),
];
/// What every dashboard lets people choose, in this order.
const VARIABLES: [&str; 4] = ["datasource", "traces", "job", "instance"];
/// What a link to another dashboard takes along: the time range, and what was chosen.
const TAKEN_ALONG: &str = "${__url_time_range}&${__all_variables}";

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
fn dashboard(name: &str) -> Value {
    let path = crate::world::folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every dashboard, by its name.
pub(crate) fn dashboards() -> Vec<(&'static str, Value)> {
    DASHBOARDS.iter().map(|(name, _)| (*name, dashboard(name))).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The expressions of a dashboard, in the order of its panels.
fn targets_of(name: &str, dashboard: &Value) -> Vec<Target> {
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
                place: format!("{name}: {row} / {title} / {letter}"),
                expr: text(target, "expr").to_owned(),
                legend: text(target, "legendFormat").to_owned(),
            });
        }
    }
    targets
}

/// The expressions of every panel of every dashboard.
pub(crate) fn targets() -> Vec<Target> {
    dashboards().iter().flat_map(|(name, dashboard)| targets_of(name, dashboard)).collect()
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

/// The variables of the dashboards but their data sources, in their order: all have the same.
///
/// # Panics
/// When one asks otherwise than by `label_values(selector, label)`.
pub(crate) fn variables() -> Vec<Variable> {
    let dashboard = dashboard(DASHBOARDS[0].0);
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
    if list(panel, "links").is_empty() {
        lacks.push(format!("{title:?} leads nowhere: say which dashboard one looks at next"));
    }
    for target in list(panel, "targets") {
        // A trace is found from a point of a histogram, and there from a graph only.
        let has_points = target["range"] == true && text(target, "expr").contains("_bucket");
        if has_points && target["exemplar"] != true {
            lacks.push(format!("{title:?} shows no exemplars of {}", target["refId"]));
        }
        if text(target, "legendFormat").contains("{{outcome}}")
            && list(&panel["fieldConfig"]["defaults"], "links").is_empty()
        {
            lacks.push(format!("{title:?} does not lead from an outcome to its traces"));
        }
    }
    lacks
}

#[test]
fn every_panel_has_a_title_a_unit_a_description_a_source_and_a_way_on() {
    for (name, dashboard) in dashboards() {
        let found: Vec<String> = list(&dashboard, "panels").iter().flat_map(lacks).collect();
        assert!(found.is_empty(), "{name}: {found:#?}");
        assert!(text(&dashboard, "description").ends_with('.'), "{name} has no description");
        assert_eq!(text(&dashboard, "uid"), format!("dipylon-{name}"));
    }
}

#[test]
fn a_panel_without_them_is_found() {
    let panel = serde_json::json!({"id": 9, "type": "stat", "targets": []});
    assert_eq!(lacks(&panel).len(), 6, "{:#?}", lacks(&panel));
    let target = serde_json::json!({
        "refId": "A", "range": true, "expr": "rate(x_bucket[5m])", "legendFormat": "{{outcome}}",
    });
    let panel = serde_json::json!({"id": 9, "type": "stat", "targets": [target]});
    assert_eq!(lacks(&panel).len(), 7, "{:#?}", lacks(&panel));
}

#[test]
fn every_file_of_the_folder_is_a_dashboard_that_is_checked() {
    let files = std::fs::read_dir(crate::world::folder()).expect("dashboards is a folder");
    let files = files.map(|file| file.expect("a file of it").path());
    let mut found: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .filter_map(|path| path.file_stem().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    found.sort();
    let mut known = DASHBOARDS.map(|(name, _)| name);
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn panels_begin_with_a_row_and_have_ids_of_their_dashboard() {
    let mut seen = BTreeSet::new();
    for (name, range) in DASHBOARDS {
        let dashboard = dashboard(name);
        let panels = list(&dashboard, "panels");
        assert_eq!(text(&panels[0], "type"), "row", "{name}");
        for panel in panels {
            let id = panel["id"].as_u64().expect("an id is a number");
            assert!(seen.insert(id), "the id {id} stands twice");
            assert!(range.contains(&id), "{name} has the id {id}: its own are {range:?}");
        }
    }
}

#[test]
fn no_panel_lies_on_another_or_beside_the_grid() {
    for (name, dashboard) in dashboards() {
        let mut cells = BTreeSet::new();
        for panel in list(&dashboard, "panels") {
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place on the grid");
            let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
            assert!(w > 0 && h > 0 && x + w <= GRID_COLUMNS, "{name}: {}", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                let is_free = cells.insert(cell);
                assert!(is_free, "{name}: {} lies on another at {cell:?}", panel["title"]);
            }
        }
    }
}

#[test]
fn every_link_leads_to_a_dashboard_that_there_is_and_takes_along_what_was_chosen() {
    let uids: Vec<String> = DASHBOARDS.iter().map(|(name, _)| format!("dipylon-{name}")).collect();
    let mut reached = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        for panel in list(&dashboard, "panels") {
            for link in list(panel, "links") {
                let url = text(link, "url");
                let (uid, rest) = url
                    .strip_prefix("/d/")
                    .and_then(|rest| rest.split_once('?'))
                    .unwrap_or_else(|| panic!("{name}: {}: {url}", panel["title"]));
                assert!(uids.iter().any(|known| known == uid), "{name}: there is no {uid}");
                assert_ne!(uid, format!("dipylon-{name}"), "{} leads to itself", panel["title"]);
                assert_eq!(rest, TAKEN_ALONG, "{name}: {}", panel["title"]);
                assert!(!text(link, "title").is_empty(), "{name}: {}", panel["title"]);
                reached.insert(uid.to_owned());
            }
        }
        // And from the top of each to all others, by their tag.
        let top = list(&dashboard, "links");
        assert!(top.len() == 1 && top[0]["includeVars"] == true && top[0]["keepTime"] == true);
        assert_eq!((&top[0]["tags"], &top[0]["type"]), (&dashboard["tags"], &"dashboards".into()));
    }
    assert_eq!(reached.len(), DASHBOARDS.len(), "some are led to by nothing: {reached:?}");
}

/// What Grafana is to open in *Explore*, out of the address of a link.
fn explored(url: &str) -> Value {
    let panes = url.strip_prefix("/explore?schemaVersion=1&panes=").expect("a link to Explore");
    let mut bytes = Vec::new();
    let mut rest = panes.as_bytes();
    while let [first, after @ ..] = rest {
        (bytes, rest) = match after {
            [high, low, after @ ..] if *first == b'%' => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                (bytes, after)
            }
            _ => {
                bytes.push(*first);
                (bytes, after)
            }
        };
    }
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn an_outcome_leads_to_the_traces_that_ended_so() {
    let mut found = 0;
    for (_, dashboard) in dashboards() {
        for panel in list(&dashboard, "panels") {
            for link in list(&panel["fieldConfig"]["defaults"], "links") {
                let pane = &explored(text(link, "url"))["a"];
                let query = &pane["queries"][0];
                assert_eq!(
                    (text(pane, "datasource"), text(query, "service")),
                    ("${traces}", "dipylon")
                );
                // The attribute of every root span, and the label of the line that was clicked.
                let tags = "dipylon.outcome=${__field.labels.outcome}";
                assert_eq!((text(query, "queryType"), text(query, "tags")), ("search", tags));
                assert_eq!(
                    pane["range"],
                    serde_json::json!({"from": "${__from}", "to": "${__to}"})
                );
                found += 1;
            }
        }
    }
    assert!(found > 5, "{found} graphs lead to traces");
}

#[test]
fn an_exemplar_leads_to_its_trace_in_a_data_source_that_there_is() {
    let path = crate::world::folder().join("provisioning/datasources/dipylon.yml");
    let text = std::fs::read_to_string(&path).expect("the data sources are a file");
    let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word:?} in {text}"));
    let exemplars = at("exemplarTraceIdDestinations:");
    assert!(at("type: prometheus") < exemplars && exemplars < at("type: jaeger"));
    assert!(text[exemplars..].trim_end().contains("- name: trace_id"), "{text}");
    assert!(text[exemplars..].contains("datasourceUid: jaeger"), "{text}");
    assert!(text.contains("    uid: jaeger\n"), "{text}");
    let compose = concat!(env!("CARGO_MANIFEST_DIR"), "/docker-compose.yml");
    let compose = std::fs::read_to_string(compose).expect("the compose file");
    assert!(compose.contains("--enable-feature=exemplar-storage"), "Prometheus keeps none else");
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
fn the_variables_ask_for_metrics_of_the_catalogue_and_are_the_same_everywhere() {
    let first = dashboard(DASHBOARDS[0].0);
    for (name, dashboard) in dashboards() {
        assert_eq!(dashboard["templating"], first["templating"], "{name}");
    }
    let all = list(&first["templating"], "list");
    let names: Vec<&str> = all.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, VARIABLES);
    for Variable { name, selector, label, .. } in variables() {
        assert_eq!(problems(&selector, &Recorded::new()), Vec::<String>::new(), "{name}");
        assert_eq!(label, name, "a variable has the name of its label");
    }
}
