//! `cargo fuzz run --features libfuzzer note`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::note(bytes));
