//! CSV and lines, with every layout.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ingest::fuzz::csv(bytes));
