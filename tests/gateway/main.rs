//! The whole program as a process, between clients and a fake upstream that breaks on demand.
//!
//! `cases` has one test for each numbered row of the protocol's edge cases; the other files go by
//! subject. Tests share nothing: each has its own gateway, upstream, checksum database and folder,
//! and at its end no gateway may have panicked. What needs the real `go` is ignored here and run by
//! `cargo xtask test`.

mod background;
mod bad_input;
mod breakers;
mod cache_status;
mod cases;
mod check;
mod credentials;
mod dead_upstream;
mod drain;
mod endpoints;
mod endurance;
mod explain;
mod hedge;
mod limits;
mod manners;
mod misses;
mod mode_table;
mod modes;
mod outcomes;
mod policy_changes;
mod policy_file;
mod prefetch;
mod profiles;
mod rate_limit;
mod raw_upstream;
mod started;
mod status;
mod world;
mod zips;
