//! Who is in: exact counts over all members while somebody edits a rule, and live segments.

mod bits;
mod blobs;
mod cells;
mod column;
mod dict;
mod kernel;
mod lists;
