//! Dipylon beside Athens, over the same stores.
//!
//! `store` writes a store as Athens does and serves it; `real` does so with a real Athens, in both
//! directions; `differences` puts the same requests to both programs and holds what differs to
//! `differences.txt`. The real Athens is the binary that the variable ATHENS_BIN names: v0.18.0 is
//! what the comparison was written against. Without it `cargo xtask test` counts those as skipped.

mod differences;
#[cfg(feature = "external")]
mod external;
mod probes;
mod real;
mod store;
mod world;
