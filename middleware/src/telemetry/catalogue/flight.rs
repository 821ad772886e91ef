//! The labels of stashes that requests share.

use super::super::labels::label;

label! {
    /// A request's part in a stash.
    FlightRole = "role" {
        /// It began the stash.
        Leader = "leader",
        /// Another had begun it.
        Follower = "follower",
    }
}

label! {
    /// How a request's wait for a stash ended.
    FlightEnd = "end" {
        /// With the answer.
        Answered = "answered",
        /// With the error of the stash.
        Failed = "failed",
        /// With the request's own deadline; the stash goes on.
        Overdue = "overdue",
        /// With a crash of the stash.
        Crashed = "crashed",
        /// The client went away; the stash goes on.
        Left = "left",
    }
}
