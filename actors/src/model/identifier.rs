//! An identifier: a typed value that points to a member, e.g. `openid@wxabc:o1`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A typed value that points to a member. Text form everywhere: `kind[@scope]:value`.
///
/// The scope says where the value is unique: an app for `openid`, a shop for `ouid`, an id space for `user_id`.
///
/// ```
/// use actors::model::Identifier;
/// let openid: Identifier = "openid@wxabc:o1".parse().unwrap();
/// assert_eq!((&*openid.kind, &*openid.scope, &*openid.value), ("openid", "wxabc", "o1"));
/// assert_eq!(openid.to_string(), "openid@wxabc:o1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identifier {
    /// Kind: lower-case letters, digits and `_`, e.g. `phone`.
    pub kind: Box<str>,
    /// Scope; empty where the kind has none.
    pub scope: Box<str>,
    /// Value, as sent or normalised.
    pub value: Box<str>,
}

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// There is no `:` between kind and value.
    #[error("an identifier is written kind[@scope]:value, e.g. phone:13800000000")]
    Form,
    /// The kind has other characters than `a-z 0-9 _`, or is empty or too long.
    #[error("`{0}` is not a kind of identifier: use a-z, 0-9 and _")]
    Kind(String),
    /// The value or scope is empty or longer than [`Identifier::TEXT_BYTES_MAX`].
    #[error("an identifier's value and scope have 1 to 256 bytes")]
    Length,
}

/// Kind of an identifier that is a user id or an anonymous id, and the sender does not say which (the `distinct_id` of 神策
/// server SDKs). Identity reads it as `user_id` if it knows that user id, otherwise as `anonymous_id`; nobody has it.
pub const DISTINCT_KIND: &str = "distinct_id";

impl Identifier {
    /// Longest kind, in bytes.
    pub const KIND_BYTES_MAX: usize = 64;
    /// Longest scope or value, in bytes. Real openids, ouids and cookies stay far below.
    pub const TEXT_BYTES_MAX: usize = 256;

    /// An identifier of parts, unchecked.
    pub fn new(kind: &str, scope: &str, value: &str) -> Self {
        Identifier {
            kind: kind.into(),
            scope: scope.into(),
            value: value.into(),
        }
    }

    /// Checks kind, lengths and emptiness.
    pub fn check(&self) -> Result<(), IdentifierError> {
        let kind_ok = !self.kind.is_empty()
            && self.kind.len() <= Self::KIND_BYTES_MAX
            && self
                .kind
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !kind_ok {
            return Err(IdentifierError::Kind(self.kind.to_string()));
        }
        if self.value.is_empty()
            || self.value.len() > Self::TEXT_BYTES_MAX
            || self.scope.len() > Self::TEXT_BYTES_MAX
        {
            return Err(IdentifierError::Length);
        }
        Ok(())
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scope.is_empty() {
            write!(f, "{}:{}", self.kind, self.value)
        } else {
            write!(f, "{}@{}:{}", self.kind, self.scope, self.value)
        }
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    /// The value may hold `:` and `@`; kind and scope end at the first `:`.
    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let (head, value) = text.split_once(':').ok_or(IdentifierError::Form)?;
        let (kind, scope) = match head.split_once('@') {
            Some((_, "")) => return Err(IdentifierError::Length),
            Some(parts) => parts,
            None => (head, ""),
        };
        let identifier = Identifier::new(kind, scope, value);
        identifier.check()?;
        Ok(identifier)
    }
}
