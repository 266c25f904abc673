//! A sealer in memory, for the simulator and tests: the same seed and calls give the same bytes.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use ring::aead::{LessSafeKey, NONCE_LEN};

use super::cipher;
use super::{SealError, Sealer, day_of};
use crate::model::{IdentNo, Time};

/// Encrypts as the key ring does, but derives every key from a seed and every nonce from the content (equal content
/// seals to equal bytes, which a real one must not). Keys are destroyed by remembering that they are.
pub struct TestSealer {
    seed: [u8; 32],
    gone: Mutex<Gone>,
}

#[derive(Default)]
struct Gone {
    floor: u16,
    fragments: BTreeSet<IdentNo>,
}

impl TestSealer {
    /// A sealer whose keys follow from `seed`. Another seed cannot open what it sealed.
    pub fn new(seed: u64) -> TestSealer {
        TestSealer {
            seed: blake3::derive_key("tributary 2026 test sealer v1", &seed.to_le_bytes()),
            gone: Mutex::default(),
        }
    }

    /// Destroys the keys of all days below `day`.
    pub fn destroy_days_before(&self, day: u16) {
        let mut gone = self.gone.lock();
        gone.floor = gone.floor.max(day);
    }

    /// Destroys the keys of fragments.
    pub fn erase_fragments(&self, fragments: &[IdentNo]) {
        self.gone.lock().fragments.extend(fragments);
    }

    /// The key of identity's fingerprints.
    pub fn fingerprint_key(&self) -> [u8; 32] {
        self.derive(b"fingerprint")
    }

    fn derive(&self, name: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.seed, name).as_bytes()
    }

    fn seal(&self, name: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        let hash = blake3::keyed_hash(&self.derive(name), plain);
        let nonce: [u8; NONCE_LEN] = hash.as_bytes()[..NONCE_LEN].try_into().expect("12 of 32");
        cipher::seal(&self.key(name), nonce, name, plain, out);
    }

    fn key(&self, name: &[u8]) -> LessSafeKey {
        cipher::key(&self.derive(name))
    }
}

fn day_name(day: u16) -> [u8; 3] {
    let [low, high] = day.to_le_bytes();
    [b'd', low, high]
}

fn fragment_name(fragment: IdentNo) -> [u8; 5] {
    let mut name = *b"f0000";
    name[1..].copy_from_slice(&fragment.0.to_le_bytes());
    name
}

impl Sealer for TestSealer {
    fn seal_day(&self, now: Time, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let day = day_of(now).max(self.gone.lock().floor);
        out.extend_from_slice(&day.to_le_bytes());
        self.seal(&day_name(day), plain, out);
        Ok(())
    }

    fn open_day(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let (day, rest) = sealed.split_first_chunk::<2>().ok_or(SealError::Damaged)?;
        let day = u16::from_le_bytes(*day);
        if day < self.gone.lock().floor {
            return Ok(None);
        }
        let name = day_name(day);
        cipher::open(&self.key(&name), &name, rest).map(Some)
    }

    fn seal_fragment(
        &self,
        fragment: IdentNo,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if !self.gone.lock().fragments.contains(&fragment) {
            self.seal(&fragment_name(fragment), plain, out);
        }
        Ok(())
    }

    fn open_fragment(
        &self,
        fragment: IdentNo,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, SealError> {
        if sealed.is_empty() || self.gone.lock().fragments.contains(&fragment) {
            return Ok(None);
        }
        let name = fragment_name(fragment);
        cipher::open(&self.key(&name), &name, sealed).map(Some)
    }
}

#[cfg(test)]
mod tests;
