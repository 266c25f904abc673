//! What comes over HTTP or from a file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tests::hostile::decoders(bytes));
