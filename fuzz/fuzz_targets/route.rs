//! `cargo fuzz run --features libfuzzer route`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::route(bytes));
