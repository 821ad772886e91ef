//! The labels of the log itself.

use super::super::labels::label;

label! {
    /// What became of a log line.
    LogFate = "result" {
        /// It was handed to the thread that writes.
        Written = "written",
        /// The same was said too often a moment ago; the next line like it says how many were left out.
        LeftOut = "left_out",
        /// Standard output is not read, or slowly: too many lines wait.
        Lost = "lost",
    }
}
