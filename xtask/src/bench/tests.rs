use std::path::Path;

use super::budgets::{BUDGETS, OF_SERVERS};
use super::page::{self, put, shown};
use super::results::{Measured, Results, parse};
use super::set::{OF_THEIR_OWN, PACKAGES, Set};
use super::{counted, left_out};
use crate::step::{Ended, Tally};

fn results(rows: &[(&str, &str, f64)]) -> Results {
    let measured = |&(group, name, nanos): &(&str, &str, f64)| Measured {
        group: group.to_owned(),
        name: name.to_owned(),
        nanos,
    };
    Results(rows.iter().map(measured).collect())
}

#[test]
fn the_median_is_read_and_not_another_estimate() {
    let names = r#"{"group_id":"layers edge","function_id":"auth","value_str":null}"#;
    let estimates = r#"{"mean":{"confidence_interval":{"lower_bound":1.0},"point_estimate":9.5},
        "median":{"confidence_interval":{"lower_bound":2.0},"point_estimate":123.25,"standard_error":1},
        "slope":{"point_estimate":7.0}}"#;
    let want = Measured { group: "layers edge".to_owned(), name: "auth".to_owned(), nanos: 123.25 };
    assert_eq!(parse(names, estimates), Some(want));
    assert_eq!(parse(names, "{}"), None);
}

#[test]
fn results_stand_in_the_order_in_which_they_ran() {
    let home = std::env::temp_dir().join(format!("bench-results-{}", std::process::id()));
    for (name, nanos) in [("z", 1.0), ("a", 2.0)] {
        let folder = home.join("group").join(name).join("new");
        std::fs::create_dir_all(&folder).unwrap();
        let names = format!(r#"{{"group_id":"group","function_id":"{name}"}}"#);
        std::fs::write(folder.join("benchmark.json"), names).unwrap();
        let estimates = format!(r#"{{"median":{{"point_estimate":{nanos}}}}}"#);
        std::fs::write(folder.join("estimates.json"), estimates).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let read = Results::read(&home).unwrap();
    // A bench that has only a parameter has no name here.
    let nameless = r#"{"group_id":"group","function_id":null,"value_str":"a"}"#;
    std::fs::write(home.join("group/a/new/benchmark.json"), nameless).unwrap();
    let unread = Results::read(&home).unwrap_err();
    std::fs::remove_dir_all(&home).unwrap();
    assert!(unread.contains("group/a/new"), "{unread}");
    assert_eq!(read.0, results(&[("group", "z", 1.0), ("group", "a", 2.0)]).0);
}

#[test]
fn a_budget_is_kept_broken_or_not_measured() {
    let judge = |rows: &[(&str, &str, f64)]| {
        let results = results(rows);
        BUDGETS.iter().map(|budget| budget.judge(&results).kept).collect::<Vec<_>>()
    };
    assert!(judge(&[]).iter().all(Option::is_none));
    let stack = |nanos| {
        [("module stack", "bare leaf", 500.0), ("module stack", "hit in the hot cache", nanos)]
    };
    assert_eq!(judge(&stack(3_400.0)).into_iter().flatten().collect::<Vec<_>>(), [true]);
    assert_eq!(judge(&stack(3_600.0)).into_iter().flatten().collect::<Vec<_>>(), [false]);
    let served = [("served info", "nginx", 10.0), ("served info", "gateway", 10.5)];
    assert_eq!(judge(&served).into_iter().flatten().collect::<Vec<_>>(), [false]);
}

#[test]
fn a_lock_may_take_five_milliseconds() {
    let judge = |nanos| {
        let results = results(&[("acquire on a miss", "etcd", nanos)]);
        let verdicts = OF_SERVERS.iter().map(|budget| budget.judge(&results));
        verdicts.filter_map(|verdict| Some((verdict.measured, verdict.kept?))).collect::<Vec<_>>()
    };
    assert_eq!(judge(4_990_000.0), [("4990.00 µs".to_owned(), true)]);
    assert_eq!(judge(5_010_000.0), [("5010.00 µs".to_owned(), false)]);
}

#[test]
fn a_layer_s_row_has_what_it_costs_over_the_bare_leaf() {
    let results =
        results(&[("layers", "bare leaf", 400.0), ("layers", "auth", 1_650.0), ("x", "y", 2.5e6)]);
    let text = page::render(&results, &[], "a machine");
    assert!(text.contains("| bare leaf | 400 ns |  |\n| auth | 1.65 µs | 1.25 µs |\n"), "{text}");
    assert!(text.ends_with("\n| x | median |\n|---|---|\n| y | 2.50 ms |\n"), "{text}");
}

#[test]
fn numbers_have_three_digits() {
    let all = [(0.5, "0.50 ns"), (12.34, "12.3 ns"), (999.0, "999 ns"), (-1_500.0, "-1.50 µs")];
    for (nanos, want) in all {
        assert_eq!(shown(nanos), want);
    }
}

#[test]
fn only_what_stands_between_a_set_s_marks_is_replaced() {
    let [[begins, ends], [other, others]] = [Set::Program.marks(), Set::Servers.marks()];
    let page = |own: &str| {
        format!("by hand\n{begins}\n{own}{ends}\nby hand too\n{other}\nkept\n{others}\n")
    };
    assert_eq!(put(&page("old\n"), Set::Program.marks(), "new\n"), Some(page("new\n")));
    assert_eq!(put("no marks", Set::Program.marks(), "new\n"), None);
}

#[test]
fn every_bench_is_in_one_set_or_has_its_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut targets = Vec::new();
    for (_, folder) in PACKAGES {
        let manifest = std::fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        let names = manifest.split("[[bench]]\nname = \"").skip(1);
        targets.extend(names.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()));
    }
    targets.sort();
    let mut all = [Set::Program.benches(), Set::Servers.benches(), OF_THEIR_OWN].concat();
    all.sort_unstable();
    assert_eq!(targets, all);
}

#[test]
fn a_run_of_the_benches_that_ends_badly_or_runs_none_has_failed() {
    let run = |good, lines: &[&str]| {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let Tally { passed, failed, .. } = counted(&Ended { good, lines });
        (passed, failed)
    };
    let two = ["Testing layers edge/auth", "Success", "", "Testing layers edge/limit", "Success"];
    assert_eq!(run(true, &two), (2, 0));
    assert_eq!(run(false, &two), (2, 1));
    assert_eq!(run(true, &[]), (0, 1));
}

#[test]
fn what_is_left_out_is_counted() {
    let lines =
        ["LEFT OUT: storage gcp: no server", "storage disk/info", "LEFT OUT: storage s3: none"];
    let lines = lines.map(str::to_owned).to_vec();
    let ended = Ended { good: true, lines };
    assert_eq!((left_out(&ended), counted(&ended).skipped), (2, 2));
}
