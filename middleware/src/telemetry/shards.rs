//! Numbers that every request adds to, in parts: threads that add to one number wait for each other's caches, so each
//! has a part of its own, and who reads sums them up.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus::core::{Atomic, Number as _};

/// Parts of a number. More threads than this share them, which costs time and no count.
pub(super) const SHARDS: usize = 16;

/// Numbers in one line of a processor's cache.
const NUMBERS_PER_LINE: usize = 8;

/// Alone in its line.
#[derive(Debug)]
#[repr(align(64))]
struct Alone<T>(T);

/// The part that this thread adds to.
fn own() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        own.get()
    })
}

/// One number that is never below zero. What is taken away may have been added by another thread.
#[derive(Debug)]
pub struct Shards<A>([Alone<A>; SHARDS]);

impl<A: Atomic> Atomic for Shards<A> {
    type T = A::T;

    fn new(value: A::T) -> Self {
        let zero = A::T::from_i64(0);
        Self(std::array::from_fn(|part| Alone(A::new(if part == 0 { value } else { zero }))))
    }

    /// Of a number that nobody adds to meanwhile.
    fn set(&self, value: A::T) {
        for Alone(part) in &self.0[1..] {
            part.set(A::T::from_i64(0));
        }
        self.0[0].0.set(value);
    }

    fn get(&self) -> A::T {
        let mut sum = A::T::from_i64(0);
        for Alone(part) in &self.0 {
            sum += part.get();
        }
        // What began behind our back may have been seen to end.
        if sum < A::T::from_i64(0) { A::T::from_i64(0) } else { sum }
    }

    #[inline]
    fn inc_by(&self, more: A::T) {
        self.0[own()].0.inc_by(more);
    }

    #[inline]
    fn dec_by(&self, less: A::T) {
        self.0[own()].0.dec_by(less);
    }
}

/// The buckets of a histogram, and the sum of what fell into them. Their count is the sum of the buckets.
#[derive(Debug)]
pub(super) struct Buckets {
    /// Of each part so many lines: first the sum, a real number by its bits, then the buckets.
    lines: Box<[Alone<[AtomicU64; NUMBERS_PER_LINE]>]>,
    lines_per_part: usize,
    buckets: usize,
}

impl Buckets {
    pub(super) fn new(buckets: usize) -> Self {
        let lines_per_part = (buckets + 1).div_ceil(NUMBERS_PER_LINE);
        let lines = (0..lines_per_part * SHARDS).map(|_| Alone(Default::default())).collect();
        Self { lines, lines_per_part, buckets }
    }

    fn number(&self, part: usize, place: usize) -> &AtomicU64 {
        let Alone(line) = &self.lines[part * self.lines_per_part + place / NUMBERS_PER_LINE];
        &line[place % NUMBERS_PER_LINE]
    }

    pub(super) fn add(&self, bucket: usize, value: f64) {
        let part = own();
        self.number(part, 1 + bucket).fetch_add(1, Ordering::Relaxed);
        let sum = self.number(part, 0);
        let mut known = sum.load(Ordering::Relaxed);
        while let Err(changed) = sum.compare_exchange_weak(
            known,
            (f64::from_bits(known) + value).to_bits(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            known = changed;
        }
    }

    /// How many fell into each.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        let of_part = |part, bucket| self.number(part, 1 + bucket).load(Ordering::Relaxed);
        (0..self.buckets).map(move |bucket| (0..SHARDS).map(|part| of_part(part, bucket)).sum())
    }

    pub(super) fn sum(&self) -> f64 {
        let of_part = |part| f64::from_bits(self.number(part, 0).load(Ordering::Relaxed));
        (0..SHARDS).map(of_part).sum()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::{AtomicF64, AtomicI64, AtomicU64};

    use super::*;

    /// More than there are parts.
    const THREADS: usize = SHARDS + 5;
    const EACH: usize = 20_000;

    /// Every thread does it so many times, while somebody looks.
    fn by_all(add: impl Fn() + Sync, look: impl FnMut()) {
        let mut look = look;
        std::thread::scope(|scope| {
            let adds = || (0..EACH).for_each(|_| add());
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(adds)).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                look();
            }
        });
    }

    #[test]
    fn what_many_threads_add_is_all_there_and_whoever_looks_meanwhile_never_sees_it_go_back() {
        let (whole, real) = (Shards::<AtomicU64>::new(3), Shards::<AtomicF64>::new(0.5));
        let mut seen = (0, 0.0);
        let add = || {
            whole.inc_by(2);
            real.inc_by(0.25);
        };
        by_all(add, || {
            let now = (whole.get(), real.get());
            assert!(now.0 >= seen.0 && now.1 >= seen.1, "{now:?} after {seen:?}");
            seen = now;
        });
        let all = (THREADS * EACH) as u64;
        assert_eq!((whole.get(), real.get()), (3 + 2 * all, 0.5 + 0.25 * all as f64));
    }

    #[test]
    fn what_begins_and_ends_is_never_fewer_than_none_and_none_in_the_end() {
        let active = Shards::<AtomicI64>::new(0);
        let add = || {
            active.inc_by(1);
            active.dec_by(1);
        };
        by_all(add, || assert!((0..=THREADS as i64).contains(&active.get())));
        assert_eq!(active.get(), 0);
        active.inc_by(7);
        std::thread::scope(|scope| scope.spawn(|| active.dec_by(7)).join().expect("no panic"));
        assert_eq!(active.get(), 0);
        active.set(5);
        assert_eq!(active.get(), 5);
    }

    #[test]
    fn buckets_of_many_threads_have_what_fell_into_them_and_none_ever_fewer() {
        let buckets = Buckets::new(24);
        let mut seen = (vec![0; 24], 0.0);
        let add = || {
            buckets.add(0, 0.5);
            buckets.add(23, 2.0);
        };
        by_all(add, || {
            let now = (buckets.counts().collect::<Vec<u64>>(), buckets.sum());
            assert!(now.0.iter().zip(&seen.0).all(|(now, seen)| now >= seen) && now.1 >= seen.1);
            seen = now;
        });
        let all = (THREADS * EACH) as u64;
        let mut want = [0; 24];
        (want[0], want[23]) = (all, all);
        assert_eq!(buckets.counts().collect::<Vec<u64>>(), want);
        assert_eq!(buckets.sum(), 2.5 * all as f64);
    }
}
