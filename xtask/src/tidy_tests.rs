use super::*;

fn problems(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    check_file(path, text, &mut found);
    found.iter().map(Problem::to_string).collect()
}

#[test]
fn a_clean_file_has_no_problem() {
    assert!(problems("src/lib.rs", "//! Text.\nfn main() {}\n").is_empty());
}

#[test]
fn a_long_file_is_named_once() {
    let text = "// line\n".repeat(MAX_FILE_LINES + 1);
    let found = problems("src/a.rs", &text);
    assert_eq!(found, [format!("src/a.rs: 501 lines: split it, {MAX_FILE_LINES} is the most")]);
    assert!(problems("docs/long.md", &text).is_empty());
}

#[test]
fn a_wide_line_is_counted_in_characters() {
    let wide = format!("// {}", "ä".repeat(118));
    assert_eq!(problems("a.rs", &wide), ["a.rs:1: 121 columns: 120 is the most"]);
    assert!(problems("a.rs", &wide[..wide.len() - 2]).is_empty());
}

#[test]
fn unfinished_code_is_refused() {
    for word in UNFINISHED {
        assert_eq!(problems("a.rs", &format!("fn a() {{ {word}) }}")).len(), 1, "{word}");
    }
}

#[test]
fn the_environment_is_read_at_one_door() {
    let line = concat!("let home = std::env::", "var(\"HOME\");");
    assert_eq!(problems("src/fetch/mod.rs", line).len(), 1);
    assert_eq!(problems("middleware/src/lib.rs", line).len(), 1);
    for path in ["src/config/env.rs", "src/main.rs", "testkit/src/go.rs", "tests/diff.rs"] {
        assert!(problems(path, line).is_empty(), "{path}");
    }
}

#[test]
fn clients_of_stores_stay_with_storage() {
    let line = "use object_store::client::HttpRequest;";
    assert_eq!(problems("src/lock/stores/wire.rs", line).len(), 1);
    assert_eq!(
        problems("middleware/src/lib.rs", "let id = mongodb::bson::oid::ObjectId::new();").len(),
        1
    );
    for path in ["src/storage/object/access.rs", "tests/object_storage/raw.rs", "benches/a.rs"] {
        assert!(problems(path, line).is_empty(), "{path}");
    }
}

#[test]
fn registry_hosts_and_home_paths_are_refused_in_any_text() {
    for host in REGISTRY_HOSTS {
        assert_eq!(problems("docs/a.md", &format!("see https://{host}/x")).len(), 1, "{host}");
    }
    for home in HOME_PATHS {
        assert_eq!(problems("docs/a.md", &format!("in `{home}x`")).len(), 1, "{home}");
        assert!(problems("docs/a.md", &format!("example.com{home}x")).is_empty(), "{home}");
    }
}

#[test]
fn a_marked_line_and_the_lock_file_are_let_through() {
    let host = REGISTRY_HOSTS[0];
    assert!(
        problems("docs/a.md", &format!("{host} <!-- {ALLOW}: it is the subject -->")).is_empty()
    );
    assert!(problems("Cargo.lock", host).is_empty());
}
