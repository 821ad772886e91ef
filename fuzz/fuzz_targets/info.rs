//! `cargo fuzz run --features libfuzzer info`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::info(bytes));
