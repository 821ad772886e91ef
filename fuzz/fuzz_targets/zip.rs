//! `cargo fuzz run --features libfuzzer zip`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::zip(bytes));
