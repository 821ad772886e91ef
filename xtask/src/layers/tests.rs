use super::*;

fn contract(begin: &str) -> String {
    let body = "    // What it shows.\n    held.assert_ends_with_its_caller(&service).await;\n";
    format!("{PAUSED}\nasync fn {begin}passes_unchanged() {{\n{body}}}\n\n")
}

fn documentation() -> String {
    HEADINGS.iter().map(|heading| format!("//! {heading}\n//! Text.\n")).collect()
}

fn folder(kind: Kind) -> Folder<'static> {
    let mut files = vec![
        ("mod.rs", documentation()),
        ("service.rs", String::new()),
        ("state.rs", "// No Instant here.\n".to_owned()),
        ("tests.rs", CONTRACT[..2].iter().map(|begin| contract(begin)).collect()),
        ("tests/more.rs", contract(CONTRACT[2])),
    ];
    if kind == Kind::Layer {
        files.push(("layer.rs", String::new()));
    }
    Folder { path: "middleware/src/rate_limit/", files, kind }
}

const BENCH: &str =
    "use dipylon_middleware::rate_limit::X;\nover(group, LayerName::RateLimit, layer);\n";

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
    for kind in [Kind::Layer, Kind::Leaf] {
        assert!(found(&folder(kind), BENCH).is_empty());
    }
    let mut leaf = folder(Kind::Leaf);
    leaf.files[3].1 = contract(CONTRACT[0]);
    assert!(found(&leaf, BENCH).is_empty(), "a leaf has no layer whose services share anything");
}

#[test]
fn each_file_that_is_gone_is_named() {
    for gone in ["mod.rs", "layer.rs", "service.rs", "tests.rs"] {
        let mut folder = folder(Kind::Layer);
        folder.files.retain(|(name, _)| *name != gone);
        let found = found(&folder, BENCH);
        assert!(found[0].starts_with(&format!("{gone}: every layer has")), "{found:?}");
    }
    let mut leaf = folder(Kind::Leaf);
    leaf.files.push(("layer.rs", String::new()));
    assert_one(&leaf, BENCH, "layer.rs: a leaf wraps nothing");
}

#[test]
fn each_test_of_the_contract_that_is_gone_is_named() {
    for begin in CONTRACT {
        let mut folder = folder(Kind::Layer);
        for (_, text) in &mut folder.files {
            *text = text.replace(&format!("fn {begin}"), "fn something_else_");
        }
        assert_one(&folder, BENCH, &format!("tests.rs: no test `{begin}…`"));
    }
    let mut unpaused = folder(Kind::Layer);
    unpaused.files[4].1 = unpaused.files[4].1.replace(PAUSED, "#[tokio::test]");
    let found = found(&unpaused, BENCH);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].starts_with("tests/more.rs: a test that awaits"), "{found:?}");
}

#[test]
fn a_test_of_the_contract_that_does_not_always_run_is_named() {
    let ways = ["#[ignore]\n", "#[ignore = \"slow\"]\n", "#[cfg(any())]\n", "#[should_panic]\n"];
    for attribute in ways {
        for text in [format!("{attribute}{PAUSED}"), format!("{PAUSED}\n{}", attribute.trim())] {
            let mut folder = folder(Kind::Layer);
            folder.files[4].1 = folder.files[4].1.replace(PAUSED, &text);
            assert_one(&folder, BENCH, "tests/more.rs: `a_caller_that_goes_away_passes_unchanged`");
        }
    }
}

#[test]
fn a_test_of_the_contract_that_asserts_nothing_is_named() {
    let with = |body: &str| {
        let mut folder = folder(Kind::Layer);
        let function = format!("{PAUSED}\nasync fn {}ends() {body}\n", CONTRACT[2]);
        // What follows asserts, and is another function.
        folder.files[4].1 = format!("{function}\nfn other() {{\n    assert!(true);\n}}\n");
        folder
    };
    for body in [
        "{}",
        "{\n}",
        "{\n    call(&service).await.unwrap();\n}",
        "{\n    // assert!(held.is_empty());\n}",
        "{\n    drop(held); // assert!(held.is_empty());\n}",
        "{\n    let asserted = reassert(1);\n}",
    ] {
        assert_one(&with(body), BENCH, "asserts nothing");
    }
    for line in [
        "assert!(held.is_empty());",
        "assert_eq!(1, 1);",
        "assert_passes_unchanged(&service, request(), kind).await;",
        "call(&service).await.expect_err(\"refused\");",
    ] {
        let found = found(&with(&format!("{{\n    {line}\n}}")), BENCH);
        assert!(found.is_empty(), "{line}: {found:?}");
    }
}

#[test]
fn a_layer_without_a_row_of_its_name_is_named() {
    let layer = folder(Kind::Layer);
    assert_one(&layer, &BENCH.replace("::rate_limit::", "::limit::"), "no bench");
    assert_one(&layer, &BENCH.replace("RateLimit,", "Limit,"), "no bench");
    for (row, is_one) in [
        ("bench(group, \"rate_limit, a hit\", || ())", true),
        ("bench(\n    group,\n    \"rate_limit and render\",\n)", true),
        ("bench(group, &format!(\"rate_limit, a {kind}\"), || ())", true),
        ("bench(group, \"rate_limits\", || ())", false),
        ("bench(group, \"limit\", || ()); let name = \"rate_limit\", x;", false),
        ("// bench(group, \"rate_limit\", || ())", false),
        // The name of another layer's label is no row.
        ("read(group, \"observe\", ObserveLayer::new(LayerName::RateLimit, &telemetry))", false),
    ] {
        let benches = format!("use dipylon_middleware::rate_limit::X;\n{row}");
        assert_eq!(found(&layer, &benches).is_empty(), is_one, "{row}");
    }
}

#[test]
fn a_state_that_looks_at_a_clock_is_named() {
    let mut folder = folder(Kind::Layer);
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
fn a_part_that_is_no_layer_has_its_documentation_and_tests() {
    let root = std::env::temp_dir().join(format!("parts-{}", std::process::id()));
    let mut problems = Vec::new();
    check(&root, &[], &mut problems);
    let of_tls = problems.iter().map(Problem::to_string).filter(|text| text.contains("http/tls"));
    let want = [
        "src/http/tls/mod.rs: every part has mod.rs, tests.rs",
        "src/http/tls/tests.rs: every part has mod.rs, tests.rs",
        "src/http/tls/mod.rs: its module documentation lacks `# What it does`, or has it out of order",
    ];
    assert_eq!(of_tls.collect::<Vec<_>>(), want);
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
