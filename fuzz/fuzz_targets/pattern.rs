//! `cargo fuzz run --features libfuzzer pattern`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::pattern(bytes));
