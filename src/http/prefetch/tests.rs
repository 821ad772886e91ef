use super::*;

fn query(text: &str) -> VersionQuery {
    VersionQuery::parse(text).expect("a version or a query")
}

fn module(path: &str) -> ModulePath {
    ModulePath::parse(path).expect("a module path")
}

#[test]
fn a_line_names_a_version_a_query_the_newest_or_all() {
    let a = || module("example.com/A");
    let rows = [
        ("example.com/A@v1.2.3", Wanted::One(a(), query("v1.2.3"))),
        ("example.com/A@v2.0.0+incompatible", Wanted::One(a(), query("v2.0.0+incompatible"))),
        ("example.com/A@main", Wanted::One(a(), query("main"))),
        ("example.com/A@latest", Wanted::Asked(a(), Ask::Latest)),
        ("example.com/A", Wanted::Asked(a(), Ask::List)),
    ];
    for (text, wanted) in rows {
        assert_eq!(Line::parse(1, text).wanted, Ok(wanted), "{text}");
    }
}

#[test]
fn a_malformed_line_is_told_which_part_of_it_is_wrong() {
    let rows = [
        ("example.com/a@", "version \"\""),
        ("example.com/a@a/b", "version \"a/b\""),
        ("example.com/a@upgrade", "version \"upgrade\""),
        ("example.com/a@v2.0.0", "version \"v2.0.0\" of example.com/a: "),
        ("example.com/a/v2@v1.0.0", "version \"v1.0.0\" of example.com/a/v2: "),
        ("example.com/a v1.0.0", "module \"example.com/a v1.0.0\""),
        ("@v1.0.0", "module \"\""),
        ("fmt", "module \"fmt\""),
    ];
    for (text, words) in rows {
        let why = Line::parse(1, text).wanted.expect_err(text);
        assert!(why.starts_with(words), "{text}: {why}");
    }
}

#[test]
fn lines_are_numbered_as_in_the_body_and_empty_ones_are_none() {
    let body = b"\nexample.com/a@v1.0.0\r\n  \n\texample.com/b\nexample.com/\xff";
    let lines = lines(body).expect("lines");
    let seen: Vec<_> = lines.iter().map(|line| (line.number, line.asked.as_str())).collect();
    assert_eq!(seen[..2], [(2, "example.com/a@v1.0.0"), (4, "example.com/b")]);
    assert_eq!((lines[2].number, &lines[2].wanted), (5, &Err("it is not UTF-8".to_owned())));
}

#[test]
fn a_body_of_no_lines_or_too_many_is_refused_whole() {
    let empty = lines(b" \n\n").expect_err("no lines");
    assert!(empty.message().contains("example.com/a@v1.2.3"), "{empty}");
    assert!(lines("a.io/m\n".repeat(LINES_MAX).as_bytes()).is_ok());
    let many = lines("a.io/m\n".repeat(LINES_MAX + 1).as_bytes()).expect_err("too many");
    assert!(many.message().contains("2001") && many.message().contains("2000"), "{many}");
}

#[test]
fn a_report_has_a_reason_once_for_each_line_and_counts_what_it_is_about() {
    let (one, other) = (Line::parse(1, "example.com/a"), Line::parse(2, "example.com/b"));
    let mut report = Report::new(3);
    let refused = || Fate::Refused(Reason::Remembered, "it is remembered".to_owned());
    report.note(&one, &query("v1.3.0"), Fate::Accepted { is_on_disk: true });
    report.note(&one, &query("v1.2.0"), refused());
    report.note(&one, &query("v1.1.0"), refused());
    report.note(&one, &query("v1.0.0"), Fate::Queued);
    report.note(&other, &query("v1.0.0"), Fate::Stored);
    report.leave_out(&other, Reason::Modules);
    let said = report.json();
    let counts = ["accepted", "on_disk", "stored", "queued", "refused", "left_out"];
    assert_eq!(counts.map(|name| said[name].as_u64().expect("a count")), [1, 1, 1, 1, 2, 1]);
    let reasons = said["reasons"].as_array().expect("an array");
    assert_eq!(reasons.len(), 2, "{said}");
    assert_eq!((&reasons[0]["versions"], &reasons[0]["such_as"]), (&2.into(), &"v1.2.0".into()));
    assert_eq!((&reasons[1]["line"], &reasons[1]["reason"]), (&2.into(), &"modules_limit".into()));
}

#[test]
fn a_request_stops_at_its_limit_at_a_full_queue_and_at_the_end_of_its_time() {
    let (line, now) = (Line::parse(1, "example.com/a"), Instant::now());
    let later = now + PATIENCE;
    let mut report = Report::new(2);
    assert_eq!((report.room(), report.stop(later)), (2, None));
    assert_eq!(report.stop(now), Some(Reason::Time));
    for _ in 0..3 {
        report.note(&line, &query("v1.0.0"), Fate::Queued);
        report.note(&line, &query("v1.0.0"), Fate::Stored);
    }
    assert_eq!(report.room(), 2, "what is queued or stored takes no place");
    let full = Fate::Refused(Reason::QueueFull, Reason::QueueFull.says());
    report.note(&line, &query("v1.0.0"), Fate::Accepted { is_on_disk: false });
    report.note(&line, &query("v1.1.0"), Fate::Accepted { is_on_disk: false });
    assert_eq!((report.room(), report.stop(later)), (0, Some(Reason::Versions)));
    report.note(&line, &query("v1.2.0"), full);
    assert_eq!(report.stop(later), Some(Reason::QueueFull));
}
