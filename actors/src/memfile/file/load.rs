//! Reading `NAME.base`: every page against its checksum, in the order of the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::super::{CHUNK_WORDS, PAGE_WORDS, Section};
use super::{MemFileError, PAGE_BYTES, PIECE_BYTES, PageTable, Place, io_error};

/// Places between two that are wanted which are read along with them rather than passed over.
const GAP_MAX: u32 = 16;
/// Pieces that are read ahead.
const AHEAD: usize = 4;

/// A page that is wanted: its place, section, chunk, and number in the chunk.
type Wanted = (Place, u32, u32, usize);

/// Reads and checks every page. The inner error says which one is damaged.
pub fn load(
    base: &Path,
    table: &PageTable,
    sections: usize,
) -> Result<Result<Vec<Section>, String>, MemFileError> {
    let path = base.with_extension("base");
    let mut loaded: Vec<_> = (0..sections).map(|_| Section::default()).collect();
    let mut wanted: Vec<Wanted> = Vec::with_capacity(table.chunks.len() * 16);
    for ((section, chunk), places) in &table.chunks {
        let Some(target) = loaded.get_mut(*section as usize) else {
            return Ok(Err(
                "the memory has more sections than this version knows".to_owned()
            ));
        };
        let index = *chunk as usize;
        if index >= target.chunks.len() {
            target.chunks.resize_with(index + 1, || None);
            target.dirty.resize(index + 1, 0);
        }
        let places = places.iter().enumerate();
        wanted.extend(places.map(|(page, place)| (*place, *section, *chunk, page)));
    }
    if wanted.is_empty() {
        return Ok(Ok(loaded));
    }
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err("the base file is missing".to_owned()));
        }
        Err(error) => return Err(io_error(&path, error)),
    };
    wanted.sort_unstable_by_key(|(place, ..)| place.number);
    // One thread reads and checks while the other puts pages where they belong.
    let read = std::thread::scope(|scope| {
        let (give, take) = sync_channel(AHEAD);
        let reader = scope.spawn(|| read_all(&file, &wanted, give));
        for (pages, bytes) in take {
            put(&mut loaded, pages, &bytes);
        }
        reader.join().expect("the reader does not panic")
    });
    let checked = read.map_err(|error| io_error(&path, error))?;
    Ok(checked.map(|()| loaded))
}

/// Reads the pages, which are sorted by place, in pieces and checks each.
fn read_all<'a>(
    file: &File,
    mut wanted: &'a [Wanted],
    give: SyncSender<(&'a [Wanted], Vec<u8>)>,
) -> io::Result<Result<(), String>> {
    while let Some((first, ..)) = wanted.first() {
        let most = first.number + (PIECE_BYTES / PAGE_BYTES) as u32;
        let near = wanted.windows(2).take_while(|two| {
            let (one, next) = (two[0].0.number, two[1].0.number);
            next < most && next - one <= GAP_MAX
        });
        let (piece, rest) = wanted.split_at(near.count() + 1);
        wanted = rest;
        let last = piece[piece.len() - 1].0.number;
        let mut bytes = vec![0; (last - first.number + 1) as usize * PAGE_BYTES];
        match file.read_exact_at(&mut bytes, u64::from(first.number) * PAGE_BYTES as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err("the base file is cut short".to_owned()));
            }
            Err(error) => return Err(error),
        }
        for (place, ..) in piece {
            if crc32c::crc32c(page_of(&bytes, piece, *place)) != place.crc {
                let number = place.number;
                return Ok(Err(format!("page {number} of the base file is damaged")));
            }
        }
        if give.send((piece, bytes)).is_err() {
            break;
        }
    }
    Ok(Ok(()))
}

/// The bytes of a page in those of its piece.
fn page_of<'a>(bytes: &'a [u8], piece: &[Wanted], place: Place) -> &'a [u8] {
    let from = (place.number - piece[0].0.number) as usize * PAGE_BYTES;
    &bytes[from..from + PAGE_BYTES]
}

fn put(loaded: &mut [Section], piece: &[Wanted], bytes: &[u8]) {
    for (place, section, chunk, page) in piece {
        let chunk = &mut loaded[*section as usize].chunks[*chunk as usize];
        let words = chunk.get_or_insert_with(|| Arc::new([0; CHUNK_WORDS]));
        let words = Arc::get_mut(words).expect("not shared yet");
        let words = &mut words[page * PAGE_WORDS..][..PAGE_WORDS];
        let bytes = page_of(bytes, piece, *place).as_chunks::<4>().0;
        for (word, bytes) in words.iter_mut().zip(bytes) {
            *word = u32::from_le_bytes(*bytes);
        }
    }
}
