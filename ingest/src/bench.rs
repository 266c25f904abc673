//! What admission and decoding cost, measured in this process.
