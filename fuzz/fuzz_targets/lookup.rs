//! `cargo fuzz run --features libfuzzer lookup`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::lookup(bytes));
