//! The key ring on disk: `<data>/keys/`, kept apart from the logs and backed up apart.
//!
//! `installation.key` is the one secret of the installation; `day/<day>.key` seal raw records and results;
//! `fragment/<block>.keys` hold a random salt per fragment, from which and the installation key the fragment's key is
//! derived. Destroying a salt makes what it sealed unreadable, in every log, copy and backup of the logs.
//!
//! Derived keys are not cached: deriving one costs less than looking it up in a shared cache would (see the `bench` test).

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use super::cipher::{self, Nonces, wipe};
use super::day::Days;
use super::fragment::{BLOCK_SALTS, Fragments, Salt};
use super::{SealError, Sealer, file};
use crate::model::{IdentNo, Time};

/// Block files mapped at most: 32 M fragments, half a gigabyte of pages that the system may drop. Below Linux's usual limit
/// of 65,530 maps per process.
pub const BLOCKS_MAPPED_MAX: usize = 8192;

/// The key ring of an installation. One process at a time may have it open; the lock of the data folder sees to that.
pub struct KeyRing {
    shared: Arc<Shared>,
    ahead: SyncSender<IdentNo>,
    ahead_from: std::sync::atomic::AtomicU32,
}

struct Shared {
    days: Days,
    fragments: Fragments,
    nonces: Nonces,
    fragment_root: [u8; 32],
    fingerprint: [u8; 32],
    secrets: ring::aead::LessSafeKey,
}

impl KeyRing {
    /// Opens the ring in `folder`, making it with a new installation key if `folder` does not exist or is empty.
    ///
    /// Refuses a folder that has keys but no installation key.
    pub fn open(folder: &Path) -> Result<KeyRing, SealError> {
        file::folder(folder)?;
        let path = folder.join("installation.key");
        let mut secret = match file::read_secret(&path)? {
            Some(secret) => secret,
            None => {
                if folder.join("fragment").exists() || folder.join("day").exists() {
                    return Err(file::wrong(
                        &path,
                        "the installation key is missing beside other keys: restore the keys folder from its backup",
                    ));
                }
                let mut secret = [0; 32];
                cipher::random(&mut secret)?;
                file::write_secret(&path, &secret)?;
                secret
            }
        };
        let derive = |context| blake3::derive_key(context, &secret);
        let fragment_root = derive("tributary 2026 fragment keys v1");
        let fingerprint = derive("tributary 2026 identity fingerprints v1");
        let secrets = cipher::key(&derive("tributary 2026 registry secrets v1"));
        wipe(&mut secret);
        let shared = Arc::new(Shared {
            days: Days::open(folder.join("day"))?,
            fragments: Fragments::open(folder.join("fragment"), BLOCKS_MAPPED_MAX)?,
            nonces: Nonces::new()?,
            fragment_root,
            fingerprint,
            secrets,
        });
        let ahead = start_ahead(&path, Arc::clone(&shared))?;
        Ok(KeyRing {
            shared,
            ahead,
            ahead_from: std::sync::atomic::AtomicU32::new(0),
        })
    }

    /// The key of identity's fingerprints: what they say of an identifier is worth nothing without it.
    pub fn fingerprint_key(&self) -> [u8; 32] {
        self.shared.fingerprint
    }

    /// Seals a secret that is kept outside of the keys' folder and must be read again, e.g. of a webhook. `about` says what
    /// it is for, and must be the same when it is opened.
    pub fn seal_secret(&self, about: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        let nonce = self.shared.nonces.next();
        cipher::seal(&self.shared.secrets, nonce, about, plain, &mut sealed);
        sealed
    }

    /// Opens what [`KeyRing::seal_secret`] wrote.
    pub fn open_secret(&self, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        cipher::open(&self.shared.secrets, about, sealed)
    }

    /// A new random secret.
    pub fn random_secret(&self) -> Result<[u8; 32], SealError> {
        let mut secret = [0; 32];
        cipher::random(&mut secret)?;
        Ok(secret)
    }

    /// Destroys the keys of all days below `day` (see [`super::day_of`]). Returns how many keys went. Idempotent.
    pub fn destroy_days_before(&self, day: u16) -> Result<usize, SealError> {
        self.shared.days.destroy_before(day)
    }

    /// The oldest day that has a key (see [`super::day_of`]); `None` without any.
    pub fn oldest_day(&self) -> Result<Option<u16>, SealError> {
        self.shared.days.oldest()
    }

    /// Destroys the keys of fragments, for ever. Returns how many there were until now. Idempotent; a crash in the middle
    /// leaves each block file whole, so the call is made again.
    pub fn erase_fragments(&self, fragments: &[IdentNo]) -> Result<usize, SealError> {
        self.shared.fragments.erase(fragments)
    }

    /// All fragments whose keys have been destroyed. Reads every key file: for a restore, not for every day.
    pub fn erased_fragments(&self) -> Result<Vec<IdentNo>, SealError> {
        self.shared.fragments.erased()
    }

    /// Has the next block made in the background when a new one is first used, so that the writer does not wait for it.
    fn look_ahead(&self, fragment: IdentNo) {
        use std::sync::atomic::Ordering::Relaxed;
        let next = (fragment.0 / BLOCK_SALTS).saturating_add(1);
        if next > self.ahead_from.load(Relaxed) && self.ahead_from.fetch_max(next, Relaxed) < next {
            let first = IdentNo(next.saturating_mul(BLOCK_SALTS));
            match self.ahead.try_send(first) {
                // Full: the writer makes the block itself when it comes to it.
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
    }
}

impl Shared {
    fn fragment_key(&self, fragment: IdentNo, salt: &Salt) -> ring::aead::LessSafeKey {
        let mut input = [0; 20];
        input[..16].copy_from_slice(salt);
        input[16..].copy_from_slice(&fragment.0.to_le_bytes());
        cipher::key(blake3::keyed_hash(&self.fragment_root, &input).as_bytes())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        wipe(&mut self.fragment_root);
        wipe(&mut self.fingerprint);
    }
}

impl Sealer for KeyRing {
    fn seal_day(&self, now: Time, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.shared.days.seal(now, &self.shared.nonces, plain, out)
    }

    fn open_day(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        self.shared.days.open_sealed(sealed)
    }

    /// For an erased fragment nothing is written and nothing will be readable: a late event of an erased person must not
    /// stop the writer, and must not bring the person back. An empty sealed part opens as erased.
    fn seal_fragment(
        &self,
        fragment: IdentNo,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        self.look_ahead(fragment);
        if let Some(salt) = self.shared.fragments.salt(fragment, true)? {
            let key = self.shared.fragment_key(fragment, &salt);
            let nonce = self.shared.nonces.next();
            cipher::seal(&key, nonce, &fragment.0.to_le_bytes(), plain, out);
        }
        Ok(())
    }

    fn open_fragment(
        &self,
        fragment: IdentNo,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, SealError> {
        if sealed.is_empty() {
            return Ok(None);
        }
        match self.shared.fragments.salt(fragment, false)? {
            Some(salt) => {
                let key = self.shared.fragment_key(fragment, &salt);
                cipher::open(&key, &fragment.0.to_le_bytes(), sealed).map(Some)
            }
            None => Ok(None),
        }
    }
}

/// The thread that makes blocks ahead of use. It ends when the ring is dropped.
fn start_ahead(path: &Path, shared: Arc<Shared>) -> Result<SyncSender<IdentNo>, SealError> {
    /// Blocks asked for at once: a writer that is two blocks ahead of the disk waits for it anyway.
    const ASKED_MAX: usize = 4;
    let (ask, asked) = sync_channel::<IdentNo>(ASKED_MAX);
    let warned = OnceLock::new();
    std::thread::Builder::new()
        .name("keys-ahead".into())
        .spawn(move || {
            for fragment in asked {
                if let Err(error) = shared.fragments.prepare(fragment) {
                    // The writer meets the same error when it needs the block and reports it.
                    warned.get_or_init(|| tracing::warn!(%error, "cannot make a key block ahead"));
                }
            }
        })
        .map_err(|error| file::failed(path, &error))?;
    Ok(ask)
}

#[cfg(test)]
mod tests;
