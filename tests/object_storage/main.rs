//! Object stores, each against its real server: the compliance suite, Athens's layout in both directions,
//! what a crash leaves, what goes wrong, and the whole program.
//!
//! `cargo xtask test` starts the servers and says in `DIPYLON_TEST_…` where they are.

mod bench;
mod failures;
mod layout;
mod minio;
mod program;
mod torn;
