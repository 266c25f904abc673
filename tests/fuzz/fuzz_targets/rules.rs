//! Rules, as JSON and as text, and the JSON that they look into.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tests::hostile::rules(bytes));
