//! The copy of an object on the disk, for its import: read in ranges, noted after each, gone on with after a stop.
//!
//! Formats go back and forth in a file and imports go on in the middle of it, so an import reads a copy and not the store.
//! A note beside the copy says which content it is of and how many of its bytes are on the disk for certain; a kill or a
//! power cut costs at most the ranges behind it. Memory is [`AHEAD`] ranges.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use actors::disk::{self, RealDisk};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{Location, Object, ObjectError, Pin, wait};

/// Bytes of one request: large enough that its round trip does not matter.
const RANGE_BYTES: u64 = 8 * 1024 * 1024;
/// Requests under way at once, and so ranges in memory.
const AHEAD: usize = 4;

/// What is noted beside the copy.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The object.
    object: String,
    /// Its content.
    pin: Pin,
    /// Bytes that are on the disk.
    done: u64,
}

/// Where the copy of an object lies. The folder is its own.
#[derive(Debug, Clone)]
pub struct Spool(PathBuf);

impl Spool {
    /// In this folder.
    pub fn at(folder: PathBuf) -> Spool {
        Spool(folder)
    }

    /// The copy.
    pub fn content(&self) -> PathBuf {
        self.0.join("content")
    }

    fn note(&self) -> PathBuf {
        self.0.join("object.json")
    }

    /// Removes everything.
    pub fn remove(&self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, folder = %self.0.display(), "the copy of an object cannot be removed");
            }
            _ => {}
        }
    }

    /// The content that a copy was begun of, if one was.
    pub fn begun(&self) -> Option<Pin> {
        Some(self.load()?.pin)
    }

    fn load(&self) -> Option<Note> {
        serde_json::from_slice(&fs::read(self.note()).ok()?).ok()
    }

    fn save(&self, note: &Note) -> io::Result<()> {
        let text = serde_json::to_vec(note).map_err(io::Error::other)?;
        disk::replace(&RealDisk, &self.note(), &text)
    }

    /// Copies the pinned content of an object; goes on where an earlier call has stopped. `watch` hears of bytes that are
    /// there and in all, and says whether to go on. Blocks its thread.
    pub fn fill(
        &self,
        runtime: &Handle,
        object: &Object,
        pin: &Pin,
        bytes_max: u64,
        watch: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<PathBuf, ObjectError> {
        let location = object.location();
        fits(location, pin, bytes_max)?;
        let mut note = match self.load() {
            Some(note) if note.object == location.to_string() && note.pin != *pin => {
                return Err(ObjectError::Changed {
                    location: location.clone(),
                });
            }
            Some(note) if note.object == location.to_string() => note,
            _ => Note {
                object: location.to_string(),
                pin: pin.clone(),
                done: 0,
            },
        };
        let full = |needs: u64| ObjectError::disk(location, &self.0, needs);
        let mut file = self.open(&mut note).map_err(full(pin.bytes))?;
        let mut next = note.done;
        let mut ahead = Ahead(VecDeque::new());
        watch(note.done, pin.bytes);
        while note.done < pin.bytes {
            while ahead.0.len() < AHEAD && next < pin.bytes {
                let range = next..pin.bytes.min(next + RANGE_BYTES);
                next = range.end;
                let (object, pin) = (object.clone(), pin.clone());
                let call = async move { object.range(&pin, range).await };
                ahead.0.push_back(runtime.spawn(call));
            }
            let call = ahead.0.pop_front().expect("there are bytes to come");
            let bytes = wait(runtime, call, &mut || watch(note.done, pin.bytes));
            let bytes = bytes
                .ok_or(ObjectError::Cancelled { done: note.done })?
                .map_err(|error| ObjectError::Store {
                    location: location.clone(),
                    what: error.to_string(),
                })??;
            let left = pin.bytes - note.done;
            file.write_all(&bytes).map_err(full(left))?;
            file.sync_data().map_err(full(left))?;
            note.done += bytes.len() as u64;
            self.save(&note).map_err(full(left))?;
            actors::crash::point("object-range");
            if !watch(note.done, pin.bytes) {
                return Err(ObjectError::Cancelled { done: note.done });
            }
        }
        Ok(self.content())
    }

    /// The copy, cut to what is on the disk for certain.
    fn open(&self, note: &mut Note) -> io::Result<File> {
        fs::create_dir_all(&self.0)?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.content())?;
        if file.metadata()?.len() < note.done {
            note.done = 0;
        }
        // A copy that is whole keeps its time: resume files of imports know it by that.
        if file.metadata()?.len() != note.done {
            file.set_len(note.done)?;
        }
        file.seek(SeekFrom::Start(note.done))?;
        self.save(note)?;
        Ok(file)
    }
}

/// Requests under way; ended with the copy.
struct Ahead(VecDeque<JoinHandle<Result<bytes::Bytes, ObjectError>>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        for call in &self.0 {
            call.abort();
        }
    }
}

/// Whether a copy may be so large.
pub fn fits(location: &Location, pin: &Pin, bytes_max: u64) -> Result<(), ObjectError> {
    match pin.bytes > bytes_max {
        false => Ok(()),
        true => Err(ObjectError::TooLarge {
            location: location.clone(),
            bytes: pin.bytes,
            max: bytes_max,
            limit: "object_store.spool_mib_max",
        }),
    }
}
