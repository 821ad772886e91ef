//! Dashboards, rules and alerts, held to the catalogue and to a real Prometheus.
//!
//! What needs no Prometheus: every panel has a title, a unit and a description, and every name in an
//! expression is one of the catalogue. What needs one: every expression parses, every rule's cases
//! pass, and after a load that breaks things on purpose no panel and no rule is empty.

mod alerts;
#[path = "../telemetry/collector.rs"]
#[expect(dead_code, reason = "some of it is for other suites")]
mod collector;
mod docs;
mod exemplars;
mod live;
mod load;
mod looks;
mod names;
mod panels;
mod pictures;
mod prometheus;
mod promql;
mod rules;
mod schema;
mod store;
mod variables;
mod world;
