//! Ids of traces and spans, without asking the operating system for each.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// The odd number nearest to 2^64 divided by the golden ratio: steps of it meet every number once.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The id of a trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// The digits of an id: every request writes some, and the general way takes several times as long.
#[derive(Clone, Copy, Debug)]
pub struct Hex<const DIGITS: usize>([u8; DIGITS]);

impl<const DIGITS: usize> Hex<DIGITS> {
    /// Of half as many bytes as there are digits.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        const ALL: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [b'0'; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[ALL[usize::from(byte >> 4)], ALL[usize::from(byte & 15)]]);
        }
        Self(digits)
    }

    /// In lower case.
    pub fn as_str(&self) -> &str {
        // Digits are text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The id of a span; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

/// One span of one trace: what a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanRef {
    /// The trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: SpanId,
}

impl TraceId {
    /// 32 hexadecimal digits in lower case, not all zero.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text, 32).and_then(|text| u128::from_str_radix(text, 16).ok()).and_then(Self::new)
    }

    /// Its digits.
    pub fn hex(self) -> Hex<32> {
        Hex::of(&self.to_bytes())
    }

    fn new(number: u128) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// As the exporter wants it.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The 63 bits that decide whether a ratio takes the trace: those that other programs go by.
    pub(super) fn lot(self) -> u64 {
        (self.0 as u64) >> 1
    }

    /// A new one, which no other program has.
    pub(crate) fn random() -> Self {
        let number = u128::from(draw(0)) << 64 | u128::from(draw(1));
        Self::new(number).unwrap_or(Self(1))
    }
}

impl SpanId {
    /// Its 16 digits.
    pub(super) fn hex(self) -> Hex<16> {
        Hex::of(&self.to_bytes())
    }

    /// 16 hexadecimal digits in lower case, not all zero.
    pub fn from_hex(text: &str) -> Option<Self> {
        let number = hex(text, 16).and_then(|text| u64::from_str_radix(text, 16).ok())?;
        (number != 0).then_some(Self(number))
    }

    /// As the exporter wants it.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The id of the span with this number of a recording. Those of one recording differ from each other,
    /// and need not be kept.
    pub(super) fn of(seed: u64, index: u16) -> Self {
        let number = mix(seed.wrapping_add(STEP.wrapping_mul(u64::from(index))));
        Self(if number == 0 { STEP } else { number })
    }
}

impl SpanRef {
    /// What `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (trace, span) = text.split_once('-')?;
        Some(Self { trace: TraceId::from_hex(trace)?, span: SpanId::from_hex(span)? })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Display for SpanRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.trace, self.span)
    }
}

/// A number to derive the span ids of one recording from.
pub(super) fn seed() -> u64 {
    draw(0)
}

/// Lower-case hexadecimal digits, as the specification wants them.
pub(super) fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == digits && is_hex).then_some(text)
}

/// The next number of one of this thread's two generators, which began at random: two, so that threads of
/// a whole fleet never meet in both halves of a trace id.
fn draw(which: usize) -> u64 {
    thread_local! {
        static STATES: [Cell<u64>; 2] =
            std::array::from_fn(|n| Cell::new(RandomState::new().hash_one(n)));
    }
    STATES.with(|states| {
        let next = states[which].get().wrapping_add(STEP);
        states[which].set(next);
        mix(next)
    })
}

/// The finalizer of SplitMix64: one to one, and every bit depends on every bit.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
