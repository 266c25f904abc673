//! Measurements of identity alone.
