//! Athens's filter file: which modules are served, refused, or fetched elsewhere.
//!
//! # What it does
//! Looks each request's module up in the rules. `+` lets it pass, `-` refuses it, `D` sends the client
//! to `GlobalEndpoint`. The rule with the longest path that applies to the version decides. List and
//! latest carry no version, so version lists do not count for them. A query (a branch, `v1.2`) is
//! judged a second time by the version that it turns out to name, so it opens no way around a rule.
//!
//! Where it differs from Athens, which reads the same file:
//! * Any number of blanks and tabs separates fields; there two blanks made a rule for everything.
//! * A lone `*` (or `v*`) in a version list means every version; there it crashed the start.
//! * `~1.2.3`, `^1.2.3`, `<1.2.3` and plain versions work with and without `v`, as documented.
//! * `<1.2.3` is less, not less or equal; `^1.2.3` begins at 1.2.3, not at 1.2.0; both as documented.
//! * `v0.4.1` means that version, as documented, not `v0.4.10` or `v0.4.1-pre`; `v0.4.1*` means these
//!   too.
//! * `+incompatible` does not keep a version from being compared.
//!
//! # Where it sits
//! Outermost in the module stack: what is refused by its path or its version touches neither storage nor
//! the validator. A query is refused after the stack below has answered it: what it names has then been
//! asked for, validated, fetched and stored like any other version, but is not shown.
//!
//! # Telemetry
//! Outcomes `deny_filter` and `redirected`.
//!
//! # Failure modes
//! `DeniedByFilter` (403, so that `GOPROXY=this,direct` does not go around it). Rules that cannot be
//! read are refused at start.
//!
//! # Limits
//! One look-up for each element of the module path; the rules are as large as the file.

mod layer;
mod service;
mod state;
#[cfg(test)]
mod tests;

pub use layer::FilterLayer;
pub use service::Filter;
pub use state::{BadRule, Idle, Rules, Sign};
