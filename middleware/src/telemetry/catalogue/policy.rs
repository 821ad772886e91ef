//! The labels of the policy's metrics.

use super::super::labels::label;

label! {
    /// What came of reading the download-mode file again.
    PolicyReload = "result" {
        /// It is in force from now on.
        Applied = "applied",
        /// It says what it said before.
        Unchanged = "unchanged",
        /// It cannot be used, or not be read; the older one stays in force.
        Refused = "refused",
    }
}
