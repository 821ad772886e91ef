//! `StorageType = "mongo"` against a server that speaks MongoDB's protocol: the compliance suite, Athens's
//! layout in both directions, what a crash leaves, what goes wrong, TLS, and the whole program.
//!
//! `cargo xtask test` starts the server and says in `DIPYLON_TEST_MONGO` where it is.

mod bench;
mod failures;
mod guard;
mod layout;
mod long;
mod many;
mod program;
mod rows;
mod tls;
mod torn;
mod wire;

/// Over PostgreSQL, which has other ways with indexes, sorting and races than SQLite.
mod suite_over_postgresql {
    dipylon_testkit::storage_suite!(
        crate::bench::fresh_over_postgresql,
        "needs mongopg: run by cargo xtask test"
    );
}

mod suite {
    dipylon_testkit::storage_suite!(crate::bench::fresh, "needs mongo: run by cargo xtask test");
}
