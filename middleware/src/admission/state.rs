//! Places of which each request takes one. Nobody waits for one, so that a count is all there is to it: all threads
//! share it, and each request changes it twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many places.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    most: usize,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { taken: AtomicUsize::new(0), most }
    }

    /// One of them, until it is dropped; nothing where all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        // Given back at once where it was one too many.
        let place = Place(Arc::clone(self));
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(place)
    }

    /// How many are taken, and how many there are. Who is being refused at this moment is not counted.
    pub(super) fn taken(&self) -> (usize, usize) {
        (self.taken.load(Ordering::Relaxed).min(self.most), self.most)
    }
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_each_is_given_back() {
        let places = Arc::new(Places::new(2));
        let (first, second) = (places.take(), places.take());
        assert!(first.is_some() && second.is_some());
        assert!(places.take().is_none());
        assert_eq!(places.taken(), (2, 2), "who was refused has none");
        drop(first);
        assert_eq!(places.taken(), (1, 2));
        assert!(places.take().is_some());
    }
}
