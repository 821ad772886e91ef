//! The labels of what is fetched in the background.

use super::super::labels::label;

label! {
    /// What became of a background stash.
    BackgroundEvent = "event" {
        /// It was taken into the queue.
        Accepted = "accepted",
        /// Its version waits or runs already: nothing was added.
        Duplicate = "duplicate",
        /// It was accepted before the last start, and goes on.
        Recovered = "recovered",
        /// Its version is stored.
        Stored = "stored",
        /// It failed, and is tried again after a pause.
        Repeated = "repeated",
        /// It failed for good, or too often.
        Dropped = "dropped",
        /// Policy forbids to fetch it now: it leaves the queue, and stays in the queue's directory.
        Forbidden = "forbidden",
        /// Policy forbade to fetch it, and allows it by now: it waits for its turn again.
        Allowed = "allowed",
        /// The queue's directory did not take it: a crash would lose it.
        Unkept = "unkept",
    }
}
