//! Keys that clients show: write keys of sources and API keys. Random, shown once, kept as a hash.

use data_encoding::{Encoding, Specification};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::LazyLock;
use subtle::ConstantTimeEq;

use super::RegistryError;

/// Random bytes of a key: 160 bits cannot be guessed, so a plain hash keeps them; no slow password hash is needed.
const RANDOM_BYTES: usize = 20;

/// Characters of check value: a mistyped key is told from an unknown one without a look-up.
const CHECK_CHARS: usize = 4;

/// Bytes of the prefix, e.g. `tw_`.
const PREFIX: usize = 3;

/// Characters of the random part: five bits each.
const RANDOM_CHARS: usize = RANDOM_BYTES * 8 / 5;

/// Lower case without the letters that are taken for digits.
const SYMBOLS: &str = "0123456789abcdefghjkmnpqrstvwxyz";

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut form = Specification::new();
    form.symbols.push_str(SYMBOLS);
    form.encoding().expect("32 different symbols")
});

/// A key in clear. It is shown to its owner once and never logged: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new write key of a source: `tw_…`.
    pub(super) fn write_key() -> Result<Secret, RegistryError> {
        Secret::new("tw_")
    }

    /// A new API key: `tk_…`.
    pub(super) fn api_key() -> Result<Secret, RegistryError> {
        Secret::new("tk_")
    }

    fn new(prefix: &str) -> Result<Secret, RegistryError> {
        let mut random = [0; RANDOM_BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| {
            RegistryError::Unavailable("the operating system gives no random bytes".into())
        })?;
        let text = format!("{prefix}{}", BASE32.encode(&random));
        let check = check_chars(&text);
        Ok(Secret(text + &check))
    }

    /// A key that the operator chose.
    pub(super) fn given(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// The key.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What lists show: the prefix and the first characters, too few to help anybody.
    pub(super) fn hint(&self) -> String {
        const SHOWN: usize = PREFIX + 4;
        let shown: String = self.0.chars().take(SHOWN).collect();
        format!("{shown}…")
    }

    /// What is kept.
    pub(super) fn hash(&self) -> String {
        hash(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whether a text has the form and the check characters of a key of ours: cheap, before any look-up.
///
/// ```
/// assert!(!actors::registry::is_key("tw_1234"));
/// ```
pub fn is_key(text: &str) -> bool {
    text.is_ascii()
        && text.len() == PREFIX + RANDOM_CHARS + CHECK_CHARS
        && (text.starts_with("tw_") || text.starts_with("tk_"))
        && text[PREFIX + RANDOM_CHARS..] == check_chars(&text[..PREFIX + RANDOM_CHARS])
}

/// The hash of a key, as kept.
pub(super) fn hash(key: &str) -> String {
    let hash = blake3::derive_key("tributary 2026 access key v1", key.as_bytes());
    data_encoding::HEXLOWER.encode(&hash)
}

/// Compares hashes in a time that does not depend on where they differ.
pub(super) fn equal(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn check_chars(text: &str) -> String {
    let crc = crc32c::crc32c(text.as_bytes());
    (0..CHECK_CHARS)
        .map(|at| char::from(SYMBOLS.as_bytes()[(crc >> (5 * at) & 31) as usize]))
        .collect()
}
