//! Entry points for hostile bytes: none of them may panic, run away, or build more than it was given.
//!
//! They are called by property tests here and by `tests`; what they answer does not matter.
