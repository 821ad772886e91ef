use super::*;

fn contract(begin: &str) -> String {
    format!("{PAUSED}\nasync fn {begin}passes_unchanged() {{}}\n\n")
}

fn documentation() -> String {
    HEADINGS.iter().map(|heading| format!("//! {heading}\n//! Text.\n")).collect()
}

fn folder(is_leaf: bool) -> Folder<'static> {
    let mut files = vec![
        ("mod.rs", documentation()),
        ("service.rs", String::new()),
        ("state.rs", "// No Instant here.\n".to_owned()),
        ("tests.rs", CONTRACT[..2].iter().map(|begin| contract(begin)).collect()),
        ("tests/more.rs", contract(CONTRACT[2])),
    ];
    if !is_leaf {
        files.push(("layer.rs", String::new()));
    }
    Folder { name: "rate_limit", files, is_leaf }
}

const BENCH: &str =
    "use dipylon_middleware::rate_limit::X; over(group, LayerName::RateLimit, layer);";

fn found(folder: &Folder<'_>, benches: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |file: &str, what: String| found.push(format!("{file}: {what}"));
    folder.check_files(&mut add);
    folder.check_headings(&mut add);
    folder.check_tests(&mut add);
    folder.check_bench(benches, &mut add);
    found
}

fn assert_one(folder: &Folder<'_>, benches: &str, part: &str) {
    let found = found(folder, benches);
    assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
}

#[test]
fn a_whole_layer_and_a_whole_leaf_have_no_problem() {
    for is_leaf in [false, true] {
        assert!(found(&folder(is_leaf), BENCH).is_empty());
    }
    let mut leaf = folder(true);
    leaf.files[3].1 = contract(CONTRACT[0]);
    assert!(found(&leaf, BENCH).is_empty(), "a leaf has no layer whose services share anything");
}

#[test]
fn each_file_that_is_gone_is_named() {
    for gone in ["mod.rs", "layer.rs", "service.rs", "tests.rs"] {
        let mut folder = folder(false);
        folder.files.retain(|(name, _)| *name != gone);
        let found = found(&folder, BENCH);
        assert!(found[0].starts_with(&format!("{gone}: every layer has")), "{found:?}");
    }
    let mut leaf = folder(true);
    leaf.files.push(("layer.rs", String::new()));
    assert_one(&leaf, BENCH, "layer.rs: a leaf wraps nothing");
}

#[test]
fn each_test_of_the_contract_that_is_gone_is_named() {
    for begin in CONTRACT {
        let mut folder = folder(false);
        for (_, text) in &mut folder.files {
            *text = text.replace(&format!("fn {begin}"), "fn something_else_");
        }
        assert_one(&folder, BENCH, &format!("tests.rs: no test `{begin}…`"));
    }
    let mut unpaused = folder(false);
    unpaused.files[4].1 = unpaused.files[4].1.replace(PAUSED, "#[tokio::test]");
    let found = found(&unpaused, BENCH);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].starts_with("tests/more.rs: a test that awaits"), "{found:?}");
}

#[test]
fn a_layer_without_a_row_of_its_name_is_named() {
    assert_one(&folder(false), &BENCH.replace("::rate_limit::", "::limit::"), "no bench");
    assert_one(&folder(false), &BENCH.replace("RateLimit,", "Limit,"), "no bench");
    let row = "use dipylon_middleware::rate_limit::X; bench(group, \"rate_limit, a hit\")";
    assert!(found(&folder(false), row).is_empty());
}

#[test]
fn a_state_that_looks_at_a_clock_is_named() {
    let mut folder = folder(false);
    folder.files[2].1 = "    let now = Instant::now();\n".to_owned();
    assert_one(&folder, BENCH, "state.rs: a pure machine has no `Instant`");
}

#[test]
fn headings_must_stand_in_order() {
    assert_eq!(missing_heading(&documentation()), None);
    let swapped = documentation().replace("# Limits", "# X").replace("# Telemetry", "# Limits");
    assert_eq!(missing_heading(&swapped), Some("# Telemetry"));
}

#[test]
fn a_module_that_is_in_no_list_and_one_that_is_gone_are_named() {
    let all = LAYERS.iter().chain(LEAVES).chain(WORDS);
    let lib: String = all.map(|name| format!("pub mod {name};\n")).collect();
    let problems = |lib: &str| {
        let mut problems = Vec::new();
        check_lists(lib, &mut problems);
        problems.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    assert!(problems(&lib).is_empty());
    let found = problems(&lib.replace("pub mod retry;", "pub mod again;"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("the module again is in no list"), "{found:?}");
    assert!(found[1].contains("the module retry of"), "{found:?}");
}

#[test]
fn a_folder_that_lost_its_layer_is_still_looked_at() {
    let root = std::env::temp_dir().join(format!("layers-{}", std::process::id()));
    let folder = root.join(SOURCES).join("retry");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("mod.rs"), "//! # What it does\n").unwrap();
    let mut problems = Vec::new();
    check(&root, &["middleware/src/retry/mod.rs", "middleware/src/retry/layer.rs"], &mut problems);
    std::fs::remove_dir_all(&root).unwrap();
    let of_retry: Vec<String> = problems
        .iter()
        .map(Problem::to_string)
        .filter_map(|text| {
            Some(text.strip_prefix("middleware/src/retry/")?.split(": ").next()?.to_owned())
        })
        .collect();
    let want = [
        "layer.rs",
        "service.rs",
        "tests.rs",
        "mod.rs",
        "tests.rs",
        "tests.rs",
        "tests.rs",
        "service.rs",
    ];
    assert_eq!(of_retry, want);
}
