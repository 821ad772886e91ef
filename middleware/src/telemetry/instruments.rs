//! What layers count with: the `prometheus` crate's instruments, which do nothing where nobody can read them.

use prometheus::core::{AtomicF64, AtomicI64, AtomicU64, GenericCounter, GenericGauge};

use super::shards::Shards;

/// Only grows, by whole numbers.
#[derive(Clone, Debug)]
pub struct IntCounter {
    inner: GenericCounter<Shards<AtomicU64>>,
    is_read: bool,
}

impl IntCounter {
    pub(super) fn new(inner: GenericCounter<Shards<AtomicU64>>, is_read: bool) -> Self {
        Self { inner, is_read }
    }

    /// One more.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// So many more.
    pub fn inc_by(&self, count: u64) {
        if self.is_read {
            self.inner.inc_by(count);
        }
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.inner.get()
    }
}

/// Only grows.
#[derive(Clone, Debug)]
pub struct Counter {
    inner: GenericCounter<Shards<AtomicF64>>,
    is_read: bool,
}

impl Counter {
    pub(super) fn new(inner: GenericCounter<Shards<AtomicF64>>, is_read: bool) -> Self {
        Self { inner, is_read }
    }

    /// So much more.
    pub fn inc_by(&self, count: f64) {
        if self.is_read {
            self.inner.inc_by(count);
        }
    }

    /// How much there was.
    pub fn get(&self) -> f64 {
        self.inner.get()
    }
}

/// What is going on: goes up where something begins, and down again, by whoever sees it end.
#[derive(Clone, Debug)]
pub struct ActiveGauge {
    inner: GenericGauge<Shards<AtomicI64>>,
    is_read: bool,
}

impl ActiveGauge {
    pub(super) fn new(inner: GenericGauge<Shards<AtomicI64>>, is_read: bool) -> Self {
        Self { inner, is_read }
    }

    /// One more.
    pub fn inc(&self) {
        if self.is_read {
            self.inner.inc();
        }
    }

    /// One less.
    pub fn dec(&self) {
        if self.is_read {
            self.inner.dec();
        }
    }

    /// How many there are.
    pub fn get(&self) -> i64 {
        self.inner.get()
    }
}

/// Goes up and down, by whole numbers.
#[derive(Clone, Debug)]
pub struct IntGauge {
    inner: GenericGauge<AtomicI64>,
    is_read: bool,
}

impl IntGauge {
    pub(super) fn new(inner: GenericGauge<AtomicI64>, is_read: bool) -> Self {
        Self { inner, is_read }
    }

    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// One less.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// So many more.
    pub fn add(&self, count: i64) {
        if self.is_read {
            self.inner.add(count);
        }
    }

    /// So many less.
    pub fn sub(&self, count: i64) {
        self.add(-count);
    }

    /// So many.
    pub fn set(&self, count: i64) {
        if self.is_read {
            self.inner.set(count);
        }
    }

    /// How many there are.
    pub fn get(&self) -> i64 {
        self.inner.get()
    }
}
