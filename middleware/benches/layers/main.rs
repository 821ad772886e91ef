//! Each layer alone over a bare leaf: what one concern costs a request that it lets pass.
//!
//! A layer's own cost is its row less the row `bare leaf` of the same group; `cargo xtask bench`
//! does the subtraction. `cargo xtask lint` sees to it that every layer and every leaf has a row of its
//! name.

mod edge;
mod fetch;
mod leaves;
mod module;
#[path = "../support/mod.rs"]
mod support;

criterion::criterion_group!(
    benches,
    edge::layers,
    edge::ends,
    module::layers,
    module::file,
    module::missed,
    fetch::stash,
    fetch::upstream,
    leaves::dispatch,
    leaves::stash,
    leaves::upstream,
    leaves::storage_io,
    fetch::stored
);
criterion::criterion_main!(benches);
