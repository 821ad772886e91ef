//! `cargo fuzz run --features libfuzzer tree`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dipylon_fuzz::tree(bytes));
