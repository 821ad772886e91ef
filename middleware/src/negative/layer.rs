use std::sync::Arc;
use std::time::Duration;

use tower::Layer;

use super::service::{Memory, Negative};
use crate::missing_paths::MissingPaths;
use crate::purge::{Forgets, Purge};
use crate::remember::Remember;

/// What the remembered answers may take together, in bytes.
pub const BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Makes [`Negative`]s that share one memory.
#[derive(Clone, Debug)]
pub struct NegativeLayer {
    memory: Memory,
}

impl NegativeLayer {
    /// Remembers each "no" about a version for `time_to_live`, and one about a version whose path is among
    /// the `missing` for as long as these.
    pub fn new(time_to_live: Duration, missing: MissingPaths) -> Self {
        let remembered = Remember::new(BYTES_MAX);
        Self { memory: Memory { remembered, missing, time_to_live } }
    }

    /// Who forgets them.
    pub fn forgets(&self) -> Arc<dyn Forgets> {
        Arc::new(self.clone())
    }
}

impl Forgets for NegativeLayer {
    fn forget(&self, purge: &Purge) -> usize {
        let meant = &self.memory.remembered;
        meant.forget(|key, _| purge.covers_version(&key.module, &key.version))
    }
}

impl<S> Layer<S> for NegativeLayer {
    type Service = Negative<S>;

    fn layer(&self, inner: S) -> Negative<S> {
        Negative { inner, memory: self.memory.clone() }
    }
}
