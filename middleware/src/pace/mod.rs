//! Asks an upstream host no faster than it may be asked, and not at all while it wants to be left alone.
//!
//! # What it does
//! A host that answers 429 or 503 with `Retry-After` gets no request until then. A request takes its turn
//! within the rate of its module's class (`rateClass`), and then within the rate of the host (`UpstreamRate`),
//! where there are such. What must wait longer than its patience ([`FetchRequest::turn_patience`]), or than its
//! caller waits, is refused at once.
//!
//! # Where it sits
//! Below the retries, so that each attempt counts; above the slots, so that who waits holds none. Its
//! [`Gate`] stands directly below them: there `Retry-After` is heard before the slot is free, and what stood in line
//! for a slot meanwhile is turned back, to wait or to be refused here. There what leaves is held to the rates once
//! more, because turns pile up in the line, and a slot is kept for [`SLOT_HELD_MAX`] meanwhile at most. `direct`
//! and trees of files have classes only.
//!
//! # Telemetry
//! `dipylon_upstream_paced_total`, `dipylon_upstream_hosts_paused`; outcomes `upstream_throttled`, `shed`. The wait
//! is the phase `queue`.
//!
//! # Failure modes
//! `UpstreamPaused` while the host wants to be left alone, `UpstreamPaced` where a rate leaves no room in time,
//! both with `Retry-After` and the name of the host or class. Neither says anything of the upstream, so neither
//! is tried again nor counts at the breaker.
//!
//! # Limits
//! [`TURN_PATIENCE`](crate::request::TURN_PATIENCE) for all waits of one attempt, and the stash's deadline for what
//! belongs to a zip that is on its way; [`PAUSE_MAX`], however long a host asks for; an attempt is turned back
//! [`TURNED_BACK_MAX`] times. One state for each host, for modules and for what it carries of a
//! checksum database. Each gateway counts for itself.
//!
//! [`FetchRequest::turn_patience`]: crate::request::FetchRequest::turn_patience

mod gate;
mod layer;
mod service;
pub mod state;
#[cfg(test)]
mod tests;

pub use gate::{Gate, GateLayer};
pub use layer::PaceLayer;
pub use service::{Pace, SLOT_HELD_MAX, TURNED_BACK_MAX};
pub use state::PAUSE_MAX;
