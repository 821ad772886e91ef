//! The labels of the log itself.

use super::super::labels::label;

label! {
    /// What became of a log line.
    LogFate = "result" {
        /// It was written to standard output.
        Written = "written",
        /// The same was said too often a moment ago; the next line like it says how many were left out.
        LeftOut = "left_out",
        /// Standard output is not read, or slowly, so that too many lines wait; or what was to be written failed.
        Lost = "lost",
    }
}
