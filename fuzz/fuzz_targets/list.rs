//! `cargo fuzz run --features libfuzzer list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::list(bytes));
