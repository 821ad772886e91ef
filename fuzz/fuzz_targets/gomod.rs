//! `cargo fuzz run --features libfuzzer gomod`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::gomod(bytes));
