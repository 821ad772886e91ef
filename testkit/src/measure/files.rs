//! The files that are asked for where each is asked for often.

use crate::module::FakeModule;
use crate::upstream::Upstream;

/// The module of every request.
pub const MODULE: &str = "example.com/lib/text";
/// Its version with a zip of the usual length.
pub const SMALL: &str = "v1.2.3";
/// Its version with a long one.
pub const LARGE: &str = "v1.3.0";
const SMALL_ZIP_BYTES: usize = 18_000;
const LARGE_ZIP_BYTES: usize = 9_000_000;

/// Each with a name for its row.
pub const FILES: [(&str, &str); 5] = [
    ("info", "/example.com/lib/text/@v/v1.2.3.info"),
    ("mod", "/example.com/lib/text/@v/v1.2.3.mod"),
    ("list", "/example.com/lib/text/@v/list"),
    ("zip of 18 kB", "/example.com/lib/text/@v/v1.2.3.zip"),
    ("zip of 9 MB", "/example.com/lib/text/@v/v1.3.0.zip"),
];

/// An upstream that has the module.
pub async fn upstream() -> Upstream {
    let upstream = Upstream::start().await;
    for (version, bytes) in [(SMALL, SMALL_ZIP_BYTES), (LARGE, LARGE_ZIP_BYTES)] {
        upstream.add(FakeModule::new(MODULE, version).filler(bytes));
    }
    upstream
}
