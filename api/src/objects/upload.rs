//! A finished file into the object store: all of it or nothing.
//!
//! A large one goes in parts. Which upload is under way is noted before its first part, so that what a crash leaves half
//! done is taken back by the next run ([`forget`]) rather than kept, and paid for, by the store.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path as FilePath;

use actors::disk::{self, RealDisk};
use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{Location, Object, ObjectError, Patience, Settings, wait};

/// Bytes of a part, and of a file that goes at once.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// Parts of one upload that S3 takes.
const PARTS_MAX: u64 = 10_000;

/// An upload under way.
#[derive(Serialize, Deserialize)]
struct Note {
    object: Location,
    upload: String,
}

/// Writes a file. `watch` hears of bytes that are there and in all, and says whether to go on. Blocks its thread.
pub fn put(
    runtime: &Handle,
    object: &Object,
    file: &FilePath,
    note: &FilePath,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<u64, ObjectError> {
    let own = |source| ObjectError::Io {
        what: "the file",
        source,
    };
    let mut from = File::open(file).map_err(own)?;
    let bytes = from.metadata().map_err(own)?.len();
    if !watch(0, bytes) {
        return Err(ObjectError::Cancelled { done: 0 });
    }
    if bytes <= PART_BYTES {
        let all = piece(&mut from, bytes).map_err(own)?;
        let put = object.client.put(&object.path, PutPayload::from(all));
        let put = wait(runtime, put, &mut || watch(0, bytes));
        put.ok_or(ObjectError::Cancelled { done: 0 })?
            .map_err(|error| object.error(error))?;
        watch(bytes, bytes);
        return Ok(bytes);
    }
    let id = runtime
        .block_on(object.client.create_multipart(&object.path))
        .map_err(|error| object.error(error))?;
    let noted = serde_json::to_vec(&Note {
        object: object.location.clone(),
        upload: id.clone(),
    })
    .map_err(io::Error::other)
    .and_then(|text| disk::replace(&RealDisk, note, &text))
    .map_err(own);
    let done = noted.and_then(|()| parts(runtime, object, &mut from, bytes, &id, watch));
    let done = done.and_then(|parts| {
        let complete = object.client.complete_multipart(&object.path, &id, parts);
        runtime
            .block_on(complete)
            .map_err(|error| object.error(error))
    });
    if done.is_err() {
        abort(runtime, object, &id);
    }
    // Not there if it could not be written.
    let _ = fs::remove_file(note);
    done.map(|_| bytes)
}

/// Sends all parts, one after the other: their order is the file's, and memory is one part.
fn parts(
    runtime: &Handle,
    object: &Object,
    from: &mut File,
    bytes: u64,
    id: &String,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Vec<PartId>, ObjectError> {
    let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
    let (mut parts, mut done) = (Vec::new(), 0);
    while done < bytes {
        let size = part_bytes.min(bytes - done);
        let part = piece(from, size).map_err(|source| ObjectError::Io {
            what: "the file",
            source,
        })?;
        let put = object
            .client
            .put_part(&object.path, id, parts.len(), PutPayload::from(part));
        let put = wait(runtime, put, &mut || watch(done, bytes));
        let part = put
            .ok_or(ObjectError::Cancelled { done })?
            .map_err(|error| object.error(error))?;
        parts.push(part);
        done += size;
        actors::crash::point("object-part");
        if !watch(done, bytes) {
            return Err(ObjectError::Cancelled { done });
        }
    }
    Ok(parts)
}

fn piece(from: &mut File, bytes: u64) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    from.take(bytes).read_to_end(&mut piece)?;
    match piece.len() as u64 == bytes {
        true => Ok(piece.into()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn abort(runtime: &Handle, object: &Object, id: &String) {
    let abort = object.client.abort_multipart(&object.path, id);
    if let Err(error) = runtime.block_on(abort) {
        tracing::warn!(%error, object = %object.location, upload = id, "an upload cannot be taken back: the store keeps its parts");
    }
}

/// Takes back the upload that an earlier run has left half done, if it has. Blocks its thread.
pub fn forget(runtime: &Handle, settings: Option<&Settings>, note: &FilePath) {
    let Some(left) = fs::read(note)
        .ok()
        .and_then(|text| serde_json::from_slice::<Note>(&text).ok())
    else {
        return;
    };
    match Object::open(settings, &left.object, Patience::Asked) {
        Ok(object) => abort(runtime, &object, &left.upload),
        Err(error) => {
            tracing::warn!(%error, object = %left.object, "an upload cannot be taken back");
        }
    }
    let _ = fs::remove_file(note);
}
