//! Day keys: one per calendar day (UTC), destroyed whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};
use ring::aead::LessSafeKey;

use super::cipher::{self, Nonces, wipe};
use super::{SealError, file};
use crate::model::Time;

const DAY_MS: i64 = 86_400_000;

/// The day number of an instant: days since 1970-01-01 UTC, kept within what two bytes hold (until the year 2149).
///
/// ```
/// use actors::{model::Time, seal::day_of};
/// assert_eq!(day_of(Time(86_400_000)), 1);
/// ```
pub fn day_of(at: Time) -> u16 {
    u16::try_from(at.0.div_euclid(DAY_MS).max(0)).unwrap_or(u16::MAX)
}

/// The keys of the days, in `day/<number>.key`, and the first day that may still have one, in `day/floor`.
///
/// The floor tells a destroyed key from a lost file: the first reads as gone, the second is an error.
pub(super) struct Days {
    folder: PathBuf,
    known: RwLock<Known>,
    /// Held while files are made or destroyed.
    files: Mutex<()>,
}

struct Known {
    floor: u16,
    keys: BTreeMap<u16, LessSafeKey>,
}

impl Days {
    pub(super) fn open(folder: PathBuf) -> Result<Days, SealError> {
        file::folder(&folder)?;
        let floor = read_floor(&folder.join("floor"))?;
        let days = Days {
            folder,
            known: RwLock::new(Known {
                floor,
                keys: BTreeMap::new(),
            }),
            files: Mutex::new(()),
        };
        // A crash may have come between the new floor and the last unlink.
        days.destroy_below(floor)?;
        Ok(days)
    }

    /// Layout: `day u16 | cipher`.
    pub(super) fn seal(
        &self,
        now: Time,
        nonces: &Nonces,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        loop {
            let day = {
                let known = self.known.read();
                // A clock set back never seals with a day whose key is gone.
                let day = day_of(now).max(known.floor);
                if let Some(key) = known.keys.get(&day) {
                    let number = day.to_le_bytes();
                    out.extend_from_slice(&number);
                    cipher::seal(key, nonces.next(), &number, plain, out);
                    return Ok(());
                }
                day
            };
            self.load(day, true)?;
        }
    }

    pub(super) fn open_sealed(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let (number, rest) = sealed.split_first_chunk::<2>().ok_or(SealError::Damaged)?;
        let day = u16::from_le_bytes(*number);
        loop {
            {
                let known = self.known.read();
                if day < known.floor {
                    return Ok(None);
                }
                if let Some(key) = known.keys.get(&day) {
                    return cipher::open(key, number, rest).map(Some);
                }
            }
            self.load(day, false)?;
        }
    }

    /// Destroys the keys of all days below `day`. Returns how many files went.
    pub(super) fn destroy_before(&self, day: u16) -> Result<usize, SealError> {
        let files = self.files.lock();
        if day > self.known.read().floor {
            file::replace(&self.folder.join("floor"), format!("{day}\n").as_bytes())?;
            let mut known = self.known.write();
            known.floor = day;
            known.keys = known.keys.split_off(&day);
        }
        drop(files);
        self.destroy_below(day)
    }

    /// The oldest day that has a key.
    pub(super) fn oldest(&self) -> Result<Option<u16>, SealError> {
        let failed = |error: std::io::Error| file::failed(&self.folder, &error);
        let mut oldest = None;
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let day = number(&entry.map_err(failed)?.path());
            oldest = match (oldest, day) {
                (Some(a), Some(b)) => Some(std::cmp::min::<u16>(a, b)),
                (a, b) => a.or(b),
            };
        }
        Ok(oldest)
    }

    fn destroy_below(&self, day: u16) -> Result<usize, SealError> {
        let _files = self.files.lock();
        let failed = |error: std::io::Error| file::failed(&self.folder, &error);
        let mut gone = 0;
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let unfinished = path.extension().is_some_and(|extension| extension == "new");
            if unfinished || number(&path).is_some_and(|number| number < day) {
                file::destroy(&path)?;
                gone += usize::from(!unfinished);
            }
        }
        file::sync_folder(&self.folder)?;
        Ok(gone)
    }

    fn load(&self, day: u16, make: bool) -> Result<(), SealError> {
        let _files = self.files.lock();
        if day < self.known.read().floor {
            return Ok(()); // destroyed while we waited; the caller looks again
        }
        let path = self.folder.join(format!("{day}.key"));
        let mut secret = match file::read_secret(&path)? {
            Some(secret) => secret,
            None if make => {
                let mut secret = [0; 32];
                cipher::random(&mut secret)?;
                file::write_secret(&path, &secret)?;
                secret
            }
            None => {
                return Err(file::wrong(
                    &path,
                    "the key is missing although it was not destroyed: restore the keys folder from its backup",
                ));
            }
        };
        self.known.write().keys.insert(day, cipher::key(&secret));
        wipe(&mut secret);
        Ok(())
    }
}

fn number(path: &Path) -> Option<u16> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".key")?.parse().ok()
}

fn read_floor(path: &Path) -> Result<u16, SealError> {
    match std::fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| file::wrong(path, "expected a day number")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(file::failed(path, &error)),
    }
}
