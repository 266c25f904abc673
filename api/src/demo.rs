//! The demo brand: a seeded world of a Chinese dairy brand with ground truth, sent to the platform over its public API.

pub mod batch;
pub mod catalog;
pub mod generator;
pub mod people;
pub mod place;
pub mod random;
pub mod rhythm;
pub mod truth;

mod json;
