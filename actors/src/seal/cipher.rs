//! How bytes are sealed: AES-256-GCM, and where its nonces come from.
//!
//! Layout: `form u8 | nonce 12 | ciphertext | tag 16`. The form byte leaves room for another cipher (SM4) beside this one.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::SealError;

/// First byte of what [`seal`] writes: AES-256-GCM with the nonce in front.
const FORM_AES256GCM: u8 = 1;

/// Bytes that sealing adds: form, nonce, tag.
pub(super) const OVERHEAD: usize = 1 + NONCE_LEN + TAG_LEN;

const TAG_LEN: usize = 16;

/// A key ready for use: the AES key schedule and GHASH table are computed once here.
pub(super) fn key(secret: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, secret).expect("a 32-byte key is an AES-256 key"),
    )
}

/// Gives every seal of this process another nonce.
///
/// Nonces are a random 96-bit start plus a counter. Within the process no two are equal, whatever the key. Two processes
/// (restarts on the same day key) meet only if their runs of numbers overlap: for a thousand restarts with 2^34 seals each
/// the chance is about 2^-42. Four random bytes and a counter from 0 would meet at every equal draw, once in 2^32 pairs of
/// restarts, and GCM does not forgive that.
#[derive(Debug)]
pub(super) struct Nonces {
    start: u128,
    used: AtomicU64,
}

impl Nonces {
    /// A new random start.
    pub(super) fn new() -> Result<Nonces, SealError> {
        let mut start = [0; 16];
        random(&mut start)?;
        Ok(Nonces {
            start: u128::from_le_bytes(start),
            used: AtomicU64::new(0),
        })
    }

    /// The next nonce.
    pub(super) fn next(&self) -> [u8; NONCE_LEN] {
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        let sum = self.start.wrapping_add(u128::from(number)).to_le_bytes();
        sum[..NONCE_LEN].try_into().expect("12 of 16 bytes")
    }
}

/// Fills `bytes` from the operating system's generator.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), SealError> {
    SystemRandom::new().fill(bytes).map_err(|_| SealError::Io {
        file: "random number generator".into(),
        what: "the operating system gives no random bytes".into(),
    })
}

/// Appends `plain` sealed. `about` is not stored but must be the same when opening.
pub(super) fn seal(
    key: &LessSafeKey,
    nonce: [u8; NONCE_LEN],
    about: &[u8],
    plain: &[u8],
    out: &mut Vec<u8>,
) {
    out.reserve(plain.len() + OVERHEAD);
    out.push(FORM_AES256GCM);
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(about),
            &mut out[start..],
        )
        .expect("a record is far below GCM's limit of 64 GiB");
    out.extend_from_slice(tag.as_ref());
}

/// Opens what [`seal`] wrote.
pub(super) fn open(key: &LessSafeKey, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    if sealed.len() < OVERHEAD || sealed[0] != FORM_AES256GCM {
        return Err(SealError::Damaged);
    }
    let (nonce, rest) = sealed[1..].split_at(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
    let mut plain = rest.to_vec();
    let len = key
        .open_in_place(nonce, Aad::from(about), &mut plain)
        .map_err(|_| SealError::Damaged)?
        .len();
    plain.truncate(len);
    Ok(plain)
}

/// Overwrites a secret so that it does not stay in freed memory.
pub(super) fn wipe(secret: &mut [u8]) {
    for byte in secret.iter_mut() {
        // SAFETY: `byte` is a valid, aligned, exclusive reference; volatile keeps the write from being optimised away.
        unsafe { std::ptr::write_volatile(byte, 0) };
    }
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}
