//! Key files: written whole beside their name, synced, renamed into place, and scrubbed before they go.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::SealError;
use super::cipher::wipe;

/// Bytes of the check value behind a secret in its file. It finds damage; it is no protection against people.
const CHECK_BYTES: usize = 8;

/// Only the owner reads and writes key files.
const MODE: u32 = 0o600;

/// An input or output error about `path`.
pub(super) fn failed(path: &Path, error: &std::io::Error) -> SealError {
    wrong(path, &error.to_string())
}

/// A key file is not what it should be.
pub(super) fn wrong(path: &Path, what: &str) -> SealError {
    SealError::Io {
        file: path.display().to_string(),
        what: what.to_owned(),
    }
}

/// Makes a folder and what is above it.
pub(super) fn folder(path: &Path) -> Result<(), SealError> {
    fs::create_dir_all(path).map_err(|error| failed(path, &error))?;
    if let Some(above) = path.parent() {
        sync_folder(above)?;
    }
    Ok(())
}

/// Makes renames and removals within a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), SealError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failed(path, &error))
}

/// Replaces or makes the file `path` durably: after a crash it holds either the old or the new bytes.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), SealError> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        crate::crash::point("keys-before-rename");
        fs::rename(&beside, path)
    };
    write().map_err(|error| failed(path, &error))?;
    crate::crash::point("keys-after-rename");
    sync_folder(path.parent().expect("a key file stands in a folder"))
}

/// Overwrites the blocks of a file with zeros, so that the old secrets are not on the disk when it is freed. File systems
/// that never write in place and wear-levelling disks may still hold a copy: encrypt the disk below.
pub(super) fn scrub(file: &mut File) -> std::io::Result<()> {
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    std::io::copy(&mut std::io::repeat(0).take(len), file)?;
    file.sync_all()
}

/// Opens a file to scrub it later, after another has taken its name.
pub(super) fn open_to_scrub(path: &Path) -> Result<File, SealError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| failed(path, &error))
}

/// Scrubs and removes a file. One that is gone already is no error.
pub(super) fn destroy(path: &Path) -> Result<(), SealError> {
    let go = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        scrub(&mut file)?;
        fs::remove_file(path)
    };
    match go() {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

/// Writes a 32-byte secret with its check value.
pub(super) fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<(), SealError> {
    let mut bytes = [0; 32 + CHECK_BYTES];
    bytes[..32].copy_from_slice(secret);
    bytes[32..].copy_from_slice(&check(secret));
    let written = replace(path, &bytes);
    wipe(&mut bytes);
    written
}

/// Reads a 32-byte secret. `None`: there is no such file.
pub(super) fn read_secret(path: &Path) -> Result<Option<[u8; 32]>, SealError> {
    let mut bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    let secret: Option<[u8; 32]> = bytes.get(..32).and_then(|part| part.try_into().ok());
    let sound = secret.is_some_and(|secret| bytes[32..] == check(&secret));
    wipe(&mut bytes);
    match secret {
        Some(secret) if sound => Ok(Some(secret)),
        _ => Err(wrong(
            path,
            "the file is damaged: restore the keys folder from its backup",
        )),
    }
}

fn check(secret: &[u8; 32]) -> [u8; CHECK_BYTES] {
    let hash = blake3::derive_key("tributary 2026 key file check v1", secret);
    hash[..CHECK_BYTES].try_into().expect("8 of 32 bytes")
}
