//! Embedded segment log (see parent).
