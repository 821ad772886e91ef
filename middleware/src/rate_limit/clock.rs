use std::time::Duration;

use governor::clock::Clock;
use tokio::time::Instant;

/// Time since the layer was made, by the clock that tests can pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct SinceStart(Instant);

impl SinceStart {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
