//! `cargo fuzz run --features libfuzzer names`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::names(bytes));
