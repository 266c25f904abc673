//! The dictionary that a rule is checked against, as a port.

use crate::definition::AttributeType;

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Defined with a type: constants have to be of it.
    Typed(AttributeType),
    /// Seen, or to be accepted for another reason: constants of any type.
    Seen,
    /// Not known: refused.
    Unknown,
}

/// Names that rules may use. Implemented over definitions and the dictionary.
pub trait Names {
    /// An attribute, by the first key of its path.
    fn attribute(&self, name: &str) -> Known;
    /// A tag, by its code.
    fn tag(&self, code: &str) -> Known;
    /// The segments that a segment's rule names; `None`: there is no such segment.
    fn segment(&self, id: &str) -> Option<Vec<Box<str>>>;
    /// Whether there is an uploaded list.
    fn list(&self, id: &str) -> bool;
    /// Whether members have such a place, e.g. `last_scan`.
    fn place(&self, of: &str) -> bool;
    /// All names of attributes, for hints.
    fn attribute_names(&self) -> Vec<&str>;
    /// All codes of tags, for hints.
    fn tag_codes(&self) -> Vec<&str>;
    /// All places, for hints.
    fn place_names(&self) -> Vec<&str>;
}
