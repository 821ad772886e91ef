//! `StorageType = "external"`: the client, the server that anybody can put before a store, and Athens's
//! protocol between them, byte for byte; a foreign server; what goes wrong; and the whole program.

mod bench;
#[expect(dead_code, reason = "the example's own `main` is not run here")]
#[path = "../../examples/external_storage.rs"]
mod example;
mod extension;
mod failures;
mod foreign;
mod foreign_server;
mod limits;
mod many;
mod program;
mod protocol;
mod refused;
mod slow;
mod torn;
mod turns;

/// Every case over client, server and disk.
mod suite {
    dipylon_testkit::storage_suite!(crate::bench::fresh);
}

/// The same over the store of the example.
mod suite_of_the_example {
    dipylon_testkit::storage_suite!(crate::bench::example);
}
