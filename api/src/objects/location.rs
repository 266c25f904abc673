//! Names of objects, and which of them callers may name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ObjectError;

/// Longest key of S3.
const KEY_BYTES_MAX: usize = 1_024;

/// `s3://BUCKET/KEY`, the key as it is: nothing in it is decoded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Bucket.
    pub bucket: String,
    /// Key, without leading `/`; ends in `/` for a prefix.
    pub key: String,
}

/// Whether a text means an object rather than a file.
pub fn is_object(text: &str) -> bool {
    text.starts_with("s3://")
}

impl Location {
    /// Reads `s3://BUCKET/KEY`. An empty key is one, for prefixes.
    pub fn parse(text: &str) -> Result<Location, ObjectError> {
        let name = |what: &str| ObjectError::Name { what: what.into() };
        let rest = text
            .strip_prefix("s3://")
            .ok_or_else(|| name("it does not begin with s3://"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket) {
            return Err(name(
                "a bucket has 3 to 63 small letters, digits, points and hyphens",
            ));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(name("a key has at most 1024 bytes"));
        }
        if key.chars().any(char::is_control) {
            return Err(name("a key has no control characters"));
        }
        let parts: Vec<&str> = key.strip_suffix('/').unwrap_or(key).split('/').collect();
        let empty = parts.iter().any(|part| part.is_empty()) && !key.is_empty();
        if empty || parts.iter().any(|part| matches!(*part, "." | "..")) {
            return Err(name("between two / of a key there is a name, not . or .."));
        }
        Ok(Location {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    /// One object: no prefix and no pattern.
    pub fn parse_one(text: &str) -> Result<Location, ObjectError> {
        let location = Location::parse(text)?;
        match location.is_many() || location.key.is_empty() {
            true => Err(ObjectError::Name {
                what: "it names no single object: write s3://BUCKET/KEY".into(),
            }),
            false => Ok(location),
        }
    }

    /// A folder for objects: ends in `/`, or is a whole bucket.
    pub fn parse_folder(text: &str) -> Result<Location, ObjectError> {
        let location = Location::parse(text)?;
        let folder = location.key.is_empty() || location.key.ends_with('/');
        match folder && !location.key.contains('*') {
            true => Ok(location),
            false => Err(ObjectError::Name {
                what: "write s3://BUCKET/PREFIX/ with a / at its end".into(),
            }),
        }
    }

    /// Whether it may mean several objects: a prefix, or a pattern with `*`.
    pub fn is_many(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/') || self.key.contains('*')
    }

    /// Its last part.
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// What stands before its last `/`; empty if there is none.
    pub fn folder(&self) -> &str {
        self.key.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Whether another location lies directly in this prefix or fits this pattern, whose last part alone has `*`.
    pub fn matches(&self, one: &Location) -> bool {
        if self.bucket != one.bucket || self.folder() != one.folder() {
            return false;
        }
        match self.name() {
            "" => !one.name().is_empty(),
            pattern => fits(pattern, one.name()),
        }
    }

    /// An object below this folder.
    #[must_use]
    pub fn below(&self, name: &str) -> Location {
        Location {
            bucket: self.bucket.clone(),
            key: format!("{}{name}", self.key),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// Whether `name` is what a pattern with `*` for any letters describes.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether it is the name of a bucket. A bucket can become part of a host's name, so nothing else is let through.
fn is_bucket(text: &str) -> bool {
    let letters = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
    let edges = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    (3..=63).contains(&text.len())
        && letters
        && edges(text.bytes().next())
        && edges(text.bytes().last())
        && !text.contains("..")
}

/// Buckets, or folders in them, that callers may name; empty: whatever the access keys reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(Vec<Location>);

impl std::str::FromStr for Allowed {
    type Err = ObjectError;

    /// `orders,exports/crm/`: buckets or `BUCKET/PREFIX/` with commas between.
    fn from_str(text: &str) -> Result<Allowed, ObjectError> {
        text.split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(|one| Location::parse_folder(&format!("s3://{one}")))
            .collect::<Result<_, _>>()
            .map(Allowed)
    }
}

impl Allowed {
    /// Whether an object may be named.
    pub fn check(&self, location: &Location) -> Result<(), ObjectError> {
        let inside = |folder: &Location| {
            folder.bucket == location.bucket && location.key.starts_with(&folder.key)
        };
        match self.0.is_empty() || self.0.iter().any(inside) {
            true => Ok(()),
            false => Err(ObjectError::NotAllowed {
                location: location.clone(),
            }),
        }
    }
}
