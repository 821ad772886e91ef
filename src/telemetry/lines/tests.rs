use serde_json::Value;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-02 15:04:05 UTC);

fn line(form: Form) -> Line {
    let mut line = begun(form, Level::WARN);
    line.number("http_status", 200);
    line.text("message", "hello\nworld");
    line.formatted("client", format_args!("a\n{}", 'b'));
    line
}

fn begun(form: Form, level: Level) -> Line {
    let mut line = Line::default();
    line.begin(form, level);
    line
}

fn rendered(line: &mut Line) -> String {
    String::from_utf8(line.render(NOW).to_vec()).unwrap()
}

fn parsed(mut line: Line) -> Value {
    serde_json::from_str(&rendered(&mut line)).unwrap()
}

#[test]
fn plain_is_athens_form_on_one_line() {
    let text = rendered(&mut line(Form::Plain));
    assert_eq!(text, "WARNING[3:04PM]: hello world\tclient=a b http_status=200 \n");
}

#[test]
fn json_has_athens_keys() {
    let value = parsed(line(Form::Json));
    assert_eq!(value["time"], "2026-01-02T15:04:05Z");
    assert_eq!((&value["level"], &value["msg"]), (&"WARNING".into(), &"hello\nworld".into()));
    assert_eq!((&value["http-status"], &value["client"]), (&200.into(), &"a\nb".into()));
}

#[test]
fn gcp_has_its_own_keys() {
    let value = parsed(line(Form::Gcp));
    assert_eq!(value["severity"], "WARNING");
    assert_eq!(value["message"], "hello\nworld");
    assert!(value["timestamp"].is_string());
}

#[test]
fn whatever_a_text_has_in_it_is_read_as_it_was_said() {
    let nasty = "\"quoted\" \\ back\\slash\t\r\n\u{1}\u{1f}\u{7f} ünïcode 🦀 {}";
    for pieces in [vec![nasty], nasty.split_inclusive(' ').collect()] {
        let mut line = begun(Form::Json, Level::INFO);
        let whole: String = pieces.concat();
        line.formatted("path", format_args!("{}{}", pieces[0], pieces[1..].concat()));
        line.text("same", nasty);
        let value = parsed(line);
        assert_eq!((&value["path"], &value["same"]), (&Value::from(whole), &nasty.into()));
    }
    let mut plain = begun(Form::Plain, Level::INFO);
    plain.text("path", nasty);
    let text = rendered(&mut plain);
    assert_eq!(text.chars().filter(|c| c.is_control()).collect::<String>(), "\t\n", "{text:?}");
}

#[test]
fn an_event_that_says_nothing_and_numbers_of_every_sort_are_json() {
    let mut line = begun(Form::Json, Level::INFO);
    line.real("small", 1e-7);
    line.number("large", u64::MAX);
    line.text("trace_id", "its own");
    line.add_trace(&"another");
    line.add_left_out(7);
    let value = parsed(line);
    assert_eq!((&value["msg"], &value["small"]), (&"".into(), &1e-7.into()));
    assert_eq!((&value["large"], &value["left-out"]), (&u64::MAX.into(), &7.into()));
    assert_eq!(value["trace-id"], "its own");
}

#[test]
fn an_address_is_written_as_it_writes_itself() {
    for text in ["0.0.0.0", "127.0.0.1", "10.20.100.255", "192.168.200.9", "2001:db8::1", "::"] {
        let mut line = begun(Form::Json, Level::INFO);
        line.address("client", text.parse().unwrap());
        assert_eq!(parsed(line)["client"], text);
    }
}

#[test]
fn a_duration_has_the_digits_of_its_clock() {
    for (nanoseconds, text) in [(0, "0"), (12_633, "0.012633"), (3_000_000, "3"), (1, "0.000001")] {
        let mut line = begun(Form::Plain, Level::INFO);
        line.milliseconds("ms", Duration::from_nanos(nanoseconds));
        assert!(rendered(&mut line).ends_with(&format!("\tms={text} \n")), "{text}");
    }
}

#[test]
fn a_number_is_read_as_it_was_said_and_milliseconds_have_the_digits_of_their_clock() {
    let all = [0.0, 5e-7, 1e-6, 0.012633, 0.1, 1.5, 200.0, 86_400_000.000_001, 1e15, -0.5];
    for value in all.into_iter().chain([1.0 / 3.0, 1e-9, 1e21]) {
        let mut line = begun(Form::Json, Level::INFO);
        line.real("value", value);
        assert_eq!(parsed(line)["value"].as_f64(), Some(value));
    }
    let mut line = begun(Form::Plain, Level::INFO);
    for (name, value) in [("a", 0.012633), ("b", 3.0), ("c", f64::NAN), ("d", 1234.5)] {
        line.real(name, value);
    }
    assert!(rendered(&mut line).ends_with("\ta=0.012633 b=3 c=null d=1234.5 \n"));
}

#[test]
fn fields_stand_in_the_order_of_the_alphabet_whatever_was_said_in_which_order_before() {
    let mut line = begun(Form::Plain, Level::INFO);
    for names in ["abc", "ab", "acb", "ac", "ca", "c", "cab", "abc", "bacd", "abcd", "ba", "ab"] {
        line.begin(Form::Plain, Level::INFO);
        for at in 0..names.len() {
            let name = ["a", "b", "c", "d"].into_iter().find(|name| *name == &names[at..=at]);
            line.number(name.unwrap(), at as u64);
        }
        let text = rendered(&mut line);
        let fields: Vec<&str> = text.split_once('\t').unwrap().1.split_whitespace().collect();
        let mut want: Vec<_> =
            names.char_indices().map(|(at, name)| format!("{name}={at}")).collect();
        want.sort();
        assert_eq!(fields, want, "{names}");
    }
}

#[test]
fn a_line_has_nothing_of_the_one_before_and_the_time_of_its_own() {
    let mut line = line(Form::Json);
    rendered(&mut line);
    line.begin(Form::Json, Level::ERROR);
    line.text("b", "2");
    line.text("a", "1");
    let later = datetime!(2026-01-02 15:04:06.007_080 UTC);
    let text = std::str::from_utf8(line.render(later)).unwrap();
    let want = r#"{"time":"2026-01-02T15:04:06.00708Z","level":"ERROR","msg":"","a":"1","b":"2"}"#;
    assert_eq!(text.trim_end(), want);
}

#[test]
fn the_line_of_a_request_is_json_with_its_fields_in_order() {
    let telemetry = dipylon_middleware::telemetry::Timings::default();
    let spent = telemetry.spent(std::time::Instant::now());
    let line = RequestLine {
        severity: dipylon_middleware::error::Severity::Warn,
        client: Some([192, 0, 2, 7].into()),
        cut: false,
        error: Some("a \"quote\""),
        method: &http::Method::GET,
        path: "/a\\b",
        status: http::StatusCode::OK,
        module: Some("example.com/m"),
        outcome: dipylon_middleware::telemetry::Outcome::HitMemory,
        request_id: "id-1",
        route: dipylon_middleware::telemetry::RouteName::Zip,
        sent_bytes: 7,
        spent: &spent,
        trace: None,
        version: Some("v1.0.0"),
    };
    let mut written = Line::default();
    written.say_request(&line, Form::Json, Level::WARN);
    let text = rendered(&mut written);
    let value: Value = serde_json::from_str(&text).unwrap();
    for (name, want) in [
        ("level", "WARNING"),
        ("msg", "request"),
        ("client", "192.0.2.7"),
        ("error", "a \"quote\""),
        ("http-method", "GET"),
        ("http-path", "/a\\b"),
        ("module", "example.com/m"),
        ("outcome", "hit_memory"),
        ("request-id", "id-1"),
        ("route", "zip"),
        ("version", "v1.0.0"),
    ] {
        assert_eq!(value[name], want, "{name}");
    }
    assert_eq!((&value["http-status"], &value["sent-bytes"]), (&200.into(), &7.into()));
    let places: Vec<_> = ["\"client\"", "\"http-path\"", "\"module\"", "\"version\""]
        .map(|name| text.find(name).unwrap())
        .into();
    assert!(places.is_sorted(), "{text}");
}
