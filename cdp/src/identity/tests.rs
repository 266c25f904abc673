//! Identity's tests: a table of cases, and random histories against a naive model.

mod cases;
mod concluded;
mod erase;
mod naive;
mod names;
mod property;
mod world;
