use std::collections::HashSet;
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::*;
use crate::telemetry::catalogue::{LayerName, RouteName, Work};
use crate::telemetry::labels::Label as _;
use crate::testing::SECOND;
use crate::testing::spans::{ALL, NOTABLE, Spans, parent, pass, root, traced};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const STATE: &str = "vendor=opaque!, other@x=1";

fn quiet(outcome: Outcome) -> RootEnd<'static> {
    RootEnd {
        name: SpanName::Request(RouteName::Zip),
        outcome,
        error: None,
        is_loud: false,
        waited: Duration::ZERO,
        ended: Instant::now(),
    }
}

fn hit() -> RootEnd<'static> {
    quiet(Outcome::HitMemory)
}

fn no_more(_: &mut Attributes) {}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: http::HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    headers
}

/// Why a root that ended so is kept, below a caller that does not sample.
fn kept(rules: KeepRules, end: &RootEnd<'_>) -> Option<Kept> {
    let (telemetry, spans) = traced(rules);
    let trace = telemetry.tracer.request(Some(parent(TRACE, false)), Instant::now());
    pass(&trace, LayerName::Lookup, end.outcome);
    trace.end(end, no_more);
    drop(trace);
    let batches = spans.batches();
    assert!(batches.len() <= 1, "{batches:?}");
    assert!(batches.iter().all(|batch| batch.spans.len() == 2), "whole: {batches:?}");
    batches.first().map(|batch| batch.kept)
}

#[test]
fn a_hit_that_nobody_samples_is_never_made_into_spans() {
    assert_eq!(kept(NOTABLE, &hit()), None);
    assert_eq!(kept(NOTABLE, &quiet(Outcome::Negative)), None);
    assert_eq!(kept(NOTABLE, &quiet(Outcome::Dropped)), None);
}

#[test]
fn a_trace_that_is_kept_has_nothing_of_those_before_that_were_not() {
    let (telemetry, spans) = traced(NOTABLE);
    for (layers, is_miss) in [(3, false), (1, true), (40, false), (2, true), (0, false), (1, true)]
    {
        let trace = telemetry.tracer.request(None, Instant::now());
        for _ in 0..layers {
            pass(&trace, LayerName::Lookup, Outcome::HitMemory);
        }
        let end = if is_miss { quiet(Outcome::MissLeader) } else { hit() };
        trace.end(&end, no_more);
        let id = trace.id().expect("it is recorded");
        drop(trace);
        let kept = spans.all();
        let own = kept.iter().filter(|span| span.trace == id).count();
        assert_eq!(own, if is_miss { layers + 1 } else { 0 });
    }
}

#[test]
fn errors_slow_answers_and_misses_are_kept_even_where_the_caller_does_not_sample() {
    for miss in Outcome::ALL.iter().filter(|outcome| outcome.is_miss()) {
        assert_eq!(kept(NOTABLE, &quiet(*miss)), Some(Kept::Miss), "{miss}");
    }
    let loud = RootEnd { is_loud: true, ..quiet(Outcome::UpstreamTimeout) };
    assert_eq!(kept(NOTABLE, &loud), Some(Kept::Error));
    let just = RootEnd { waited: SECOND, ..hit() };
    assert_eq!(kept(NOTABLE, &just), Some(Kept::Slow));
    let nearly = RootEnd { waited: SECOND - Duration::from_nanos(1), ..hit() };
    assert_eq!(kept(NOTABLE, &nearly), None);
}

#[test]
fn what_is_notable_can_be_left_to_the_share() {
    let rules = KeepRules { keeps_notable: false, ..NOTABLE };
    let loud = RootEnd { is_loud: true, waited: 9 * SECOND, ..quiet(Outcome::MissLeader) };
    assert_eq!(kept(rules, &loud), None);
    let (telemetry, spans) = traced(rules);
    let trace = root(&telemetry);
    trace.keep(Kept::Miss);
    assert!(!trace.is_kept());
    drop(trace);
    assert!(spans.batches().is_empty());
}

#[test]
fn nothing_counts_as_slow_where_the_limit_is_off() {
    let rules = KeepRules { slow: None, ..NOTABLE };
    assert_eq!(kept(rules, &RootEnd { waited: 9_000 * SECOND, ..hit() }), None);
}

#[test]
fn a_caller_that_samples_is_followed_whatever_the_share() {
    let (telemetry, spans) = traced(NOTABLE);
    let trace = telemetry.tracer.request(Some(parent(TRACE, true)), Instant::now());
    assert!(trace.is_kept());
    assert!(trace.traceparent().unwrap().ends_with("-01"));
    trace.end(&hit(), no_more);
    assert_eq!(spans.batches()[0].kept, Kept::Sampled);
}

#[test]
fn rules_that_follow_nobody_go_by_the_share_alone() {
    for (fraction, is_sampled) in [(0.0, true), (1.0, false)] {
        let rules = KeepRules { follows_parents: false, fraction, ..NOTABLE };
        let (telemetry, _) = traced(rules);
        let parent = parent(TRACE, is_sampled);
        let trace = telemetry.tracer.request(Some(parent), Instant::now());
        assert_eq!(trace.is_kept(), fraction > 0.5);
    }
}

#[test]
fn the_share_is_taken_by_the_trace_id_alone() {
    let (telemetry, _) = traced(KeepRules { fraction: 0.1, ..NOTABLE });
    let of = |id: &str| {
        // A new trace with this id: what another program would decide for it.
        let rules = KeepRules { fraction: 0.1, follows_parents: false, ..NOTABLE };
        let tracer = Tracer::new(rules, Arc::<Spans>::default());
        tracer.request(Some(parent(id, false)), Instant::now()).is_kept()
    };
    assert!(of("ffffffffffffffff0000000000000001"));
    assert!(!of("0000000000000001ffffffffffffffff"));
    let taken = (0..10_000).filter(|_| root(&telemetry).is_kept()).count();
    // Six standard deviations (30 each) to both sides.
    assert!((820..=1180).contains(&taken), "{taken}");
}

#[test]
fn ids_differ_within_a_trace_between_traces_and_between_threads() {
    let made = || {
        let (telemetry, _) = traced(ALL);
        let mut ids = Vec::new();
        for _ in 0..50 {
            let mut trace = root(&telemetry);
            let mut open = Vec::new();
            for _ in 0..50 {
                let span = trace.span().unwrap();
                ids.push((span.trace.to_string(), span.span.to_string()));
                open.extend(trace.enter());
            }
        }
        ids
    };
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(made)).collect();
    let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let traces: HashSet<_> = all.iter().map(|(trace, _)| trace).collect();
    let spans: HashSet<_> = all.iter().map(|(_, span)| span).collect();
    assert_eq!((traces.len(), spans.len()), (200, 10_000));
    assert!(traces.iter().all(|id| id.len() == 32) && spans.iter().all(|id| id.len() == 16));
}

#[test]
fn spans_know_their_parents_their_times_and_their_outcomes() {
    let (telemetry, spans) = traced(ALL);
    let began = Instant::now();
    let trace = telemetry.tracer.request(Some(parent(TRACE, true)), began);
    let mut inner = trace.clone();
    let outer = inner.enter().unwrap();
    let innermost = inner.enter().unwrap();
    let at = |milliseconds| began + Duration::from_millis(milliseconds);
    let of = |begin, milliseconds| (at(begin), Duration::from_millis(milliseconds));
    innermost.end(LayerName::StorageIo.into(), of(20, 30), Outcome::Deadline, Some("late"));
    outer.end(LayerName::Lookup.into(), of(10, 50), Outcome::HitStorage, None);
    let end = RootEnd { ended: at(100), ..quiet(Outcome::HitStorage) };
    trace.end(&end, |all| all.push((SpanAttribute::Method, "GET".into())));
    let root = spans.one(SpanName::Request(RouteName::Zip));
    let (outer, inner) = (spans.one(LayerName::Lookup), spans.one(LayerName::StorageIo));
    assert_eq!((root.parent, root.parent_is_remote), (SpanId::from_hex("00f067aa0ba902b7"), true));
    assert_eq!((outer.parent, inner.parent), (Some(root.id), Some(outer.id)));
    assert!(!outer.parent_is_remote);
    assert!([&root, &outer, &inner].iter().all(|span| span.trace.to_string() == TRACE));
    assert_eq!((inner.outcome, inner.error.as_deref()), (Outcome::Deadline, Some("late")));
    assert_eq!(root.said(SpanAttribute::Method), "GET");
    assert_eq!(root.said(SpanAttribute::Kept), "sampled");
    let lasted = |span: &FinishedSpan| span.ended.duration_since(span.started).unwrap();
    let after = |span: &FinishedSpan| span.started.duration_since(root.started).unwrap();
    assert_eq!(lasted(&root), Duration::from_millis(100));
    assert_eq!((after(&outer), lasted(&outer)), (at(10) - began, at(60) - at(10)));
    assert_eq!((after(&inner), lasted(&inner)), (at(20) - began, at(50) - at(20)));
}

#[test]
fn spans_over_the_limit_are_counted_on_the_root_and_told_once() {
    let (telemetry, spans) = traced(ALL);
    let trace = root(&telemetry);
    for _ in 0..SPANS_PER_TRACE_MAX + 9 {
        pass(&trace, LayerName::StorageIo, Outcome::Ok);
    }
    let held = trace.clone();
    trace.end(&hit(), no_more);
    pass(&held, LayerName::StorageIo, Outcome::Ok);
    drop((held, trace));
    let batches = spans.batches();
    let counts: Vec<_> = batches.iter().map(|batch| (batch.spans.len(), batch.over)).collect();
    // The root has its place among them.
    assert_eq!(counts, [(SPANS_PER_TRACE_MAX as usize, 10), (0, 1)]);
    let root = spans.one(SpanName::Request(RouteName::Zip));
    assert_eq!(root.said(SpanAttribute::SpansOver), "10");
}

#[test]
fn below_a_span_that_has_no_place_the_nearest_that_has_one_is_the_parent() {
    let (telemetry, _) = traced(ALL);
    let trace = root(&telemetry);
    for _ in 1..SPANS_PER_TRACE_MAX {
        pass(&trace, LayerName::StorageIo, Outcome::Ok);
    }
    let mut below = trace.clone();
    assert!(below.enter().is_none());
    assert_eq!(below.span(), trace.span());
}

#[test]
fn notes_over_the_limit_are_counted_on_the_root() {
    let (telemetry, spans) = traced(ALL);
    let trace = root(&telemetry);
    for _ in 0..NOTES_PER_TRACE_MAX + 3 {
        trace.event(SpanEvent::LockDegraded, Vec::new());
    }
    trace.end(&hit(), no_more);
    let root = spans.one(SpanName::Request(RouteName::Zip));
    assert_eq!(root.events.len(), NOTES_PER_TRACE_MAX);
    assert_eq!(root.said(SpanAttribute::NotesOver), "3");
}

#[test]
fn what_outlives_its_root_arrives_when_the_last_holder_lets_go() {
    let (telemetry, spans) = traced(NOTABLE);
    let trace = root(&telemetry);
    let mut task = trace.clone();
    let open = task.enter().unwrap();
    task.event(SpanEvent::LockAcquired, vec![(SpanAttribute::Fencing, 7.into())]);
    trace.end(&quiet(Outcome::MissLeader), no_more);
    drop(trace);
    assert_eq!(spans.names(), ["zip"]);
    open.end(LayerName::Stash.into(), (Instant::now(), Duration::ZERO), Outcome::Ok, None);
    assert_eq!(spans.names(), ["zip"], "the task goes on");
    drop(task);
    assert_eq!(spans.names(), ["zip", "stash"]);
    let (root, stash) = (spans.one(SpanName::Request(RouteName::Zip)), spans.one(LayerName::Stash));
    assert_eq!((stash.trace, stash.parent), (root.trace, Some(root.id)));
    assert_eq!(stash.events[0].name, SpanEvent::LockAcquired, "noted while it was open");
    assert_eq!(stash.events[0].attributes, [(SpanAttribute::Fencing, Value::Number(7))]);
    let has_root: Vec<bool> = spans.batches().iter().map(|batch| batch.has_root).collect();
    assert_eq!(has_root, [true, false]);
}

#[test]
fn a_trace_that_turns_out_to_be_a_miss_after_its_client_left_is_kept_whole() {
    let (telemetry, spans) = traced(NOTABLE);
    let trace = root(&telemetry);
    let task = trace.clone();
    pass(&trace, LayerName::Lookup, Outcome::Dropped);
    trace.end(&quiet(Outcome::Dropped), |all| all.push((SpanAttribute::Path, "/x".into())));
    drop(trace);
    assert!(spans.batches().is_empty());
    task.keep(Kept::Miss);
    pass(&task, LayerName::Upstream, Outcome::Ok);
    drop(task);
    assert_eq!(spans.names(), ["zip", "lookup", "upstream"]);
    assert_eq!(spans.one(SpanName::Request(RouteName::Zip)).said(SpanAttribute::Path), "/x");
}

#[test]
fn a_root_ends_once_and_one_that_nobody_ended_ends_as_dropped() {
    let (telemetry, spans) = traced(ALL);
    let trace = root(&telemetry);
    trace.end(&hit(), no_more);
    trace.end(&quiet(Outcome::Internal), no_more);
    drop(trace);
    assert_eq!(spans.one(SpanName::Request(RouteName::Zip)).outcome, Outcome::HitMemory);
    drop(telemetry.tracer.work(Work::BackgroundStash, None));
    assert_eq!(spans.one(Work::BackgroundStash).outcome, Outcome::Dropped);
}

#[test]
fn work_that_no_request_waits_for_links_to_its_cause() {
    let (telemetry, spans) = traced(ALL);
    let cause = root(&telemetry).span().unwrap();
    let work = telemetry.tracer.work(Work::BackgroundStash, Some(cause));
    assert_ne!(work.span().unwrap().trace, cause.trace);
    drop(work);
    assert_eq!(spans.linked_to(cause.trace)[0].links, [cause]);
}

#[test]
fn without_an_exporter_ids_travel_and_nothing_is_kept() {
    let tracer = Tracer::default();
    let mut parent = parent(TRACE, true);
    parent.state = Some(STATE.into());
    let mut trace = tracer.request(Some(parent), Instant::now());
    trace.keep(Kept::Miss);
    assert!(trace.enter().is_none() && !trace.is_kept());
    assert_eq!(trace.onward_if_kept(), None);
    let told = trace.onward().unwrap();
    assert!(told.traceparent.starts_with(&format!("00-{TRACE}-")), "{told:?}");
    assert!(told.traceparent.ends_with("-00"), "{told:?}");
    assert_eq!(told.tracestate.as_deref(), Some(STATE));
    assert_eq!(Trace::default().traceparent(), None);
}

#[test]
fn a_miss_goes_upstream_as_sampled_from_when_it_is_known() {
    let (telemetry, _) = traced(NOTABLE);
    let trace = root(&telemetry);
    assert_eq!(trace.onward_if_kept(), None);
    trace.keep(Kept::Miss);
    let onward = trace.onward_if_kept().unwrap();
    assert!(onward.traceparent.ends_with("-01"), "{onward:?}");
}

#[test]
fn a_tracestate_passes_on_as_it_came() {
    let (telemetry, spans) = traced(ALL);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let came = headers(&[("traceparent", &traceparent), ("tracestate", STATE)]);
    let trace = telemetry.tracer.request(Parent::of(&came), Instant::now());
    trace.keep(Kept::Miss);
    let mut sent = HeaderMap::new();
    trace.onward_if_kept().unwrap().put(&mut sent);
    assert_eq!(sent["tracestate"], STATE);
    let told = trace.span().unwrap();
    assert_eq!(sent["traceparent"], format!("00-{TRACE}-{}-01", told.span).as_str());
    drop(trace);
    assert_eq!(spans.all()[0].state.as_deref(), Some(STATE));
}

#[test]
fn a_tracestate_may_come_in_parts_and_a_bad_one_costs_only_itself() {
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let state = |states: &[&str]| {
        let mut pairs = vec![("traceparent", traceparent.as_str())];
        pairs.extend(states.iter().map(|state| ("tracestate", *state)));
        Parent::of(&headers(&pairs)).expect("the traceparent is sound").state
    };
    assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
    let long = format!("a={}", "x".repeat(TRACESTATE_BYTES_MAX));
    let many = ["a=1"; 33].join(",");
    for bad in ["", " ", "no member", long.as_str(), many.as_str()] {
        assert_eq!(state(&[bad]), None, "{bad:?}");
    }
    assert_eq!(state(&[]), None);
}

#[test]
fn a_span_is_written_and_read_alike() {
    let (telemetry, _) = traced(ALL);
    let span = root(&telemetry).span().unwrap();
    assert_eq!(SpanRef::parse(&span.to_string()), Some(span));
    for bad in ["", "-", TRACE, &format!("{TRACE}-0000000000000000"), &format!("{TRACE}-x")] {
        assert_eq!(SpanRef::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn every_name_that_a_span_can_have_is_a_word() {
    let names: Vec<&str> = SpanName::all().map(SpanName::as_str).collect();
    assert!(names.contains(&"background_stash") && names.contains(&"zip"), "{names:?}");
    for name in names {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
    }
}
