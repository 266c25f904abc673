//! Reading `NAME.base`: every page against its checksum.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::super::{CHUNK_PAGES, CHUNK_WORDS, Section, Words};
use super::{CHUNK_BYTES, MemFileError, OPEN_THREADS, PAGE_BYTES, PageTable, Place, io_error};

/// Reads and checks every chunk. The inner error says which page is damaged.
pub fn load(
    base: &Path,
    table: &PageTable,
    sections: usize,
) -> Result<Result<Vec<Section>, String>, MemFileError> {
    let path = base.with_extension("base");
    let mut places: Vec<_> = table
        .chunks
        .iter()
        .map(|(at, place)| (*at, *place))
        .collect();
    if places
        .iter()
        .any(|((section, _), _)| *section as usize >= sections)
    {
        return Ok(Err(
            "the memory has more sections than this version knows".to_owned()
        ));
    }
    places.sort_unstable_by_key(|(_, place)| place.slot);
    if places.is_empty() {
        return Ok(Ok((0..sections).map(|_| Section::default()).collect()));
    }
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err("the base file is missing".to_owned()));
        }
        Err(error) => return Err(io_error(&path, error)),
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = places
            .chunks(places.len().div_ceil(OPEN_THREADS))
            .map(|part| scope.spawn(|| load_part(&file, part)))
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("the reader does not panic"))
            .collect()
    });
    let mut loaded: Vec<_> = (0..sections).map(|_| Section::default()).collect();
    for part in parts {
        let part = match part.map_err(|error| io_error(&path, error))? {
            Ok(part) => part,
            Err(what) => return Ok(Err(what)),
        };
        for ((section, chunk), words) in part {
            let section = &mut loaded[section as usize];
            let chunk = chunk as usize;
            if chunk >= section.chunks.len() {
                section.chunks.resize_with(chunk + 1, || None);
                section.dirty.resize(chunk + 1, 0);
            }
            section.chunks[chunk] = Some(words);
        }
    }
    Ok(Ok(loaded))
}

type Part = Vec<((u32, u32), Arc<Words>)>;

fn load_part(file: &File, places: &[((u32, u32), Place)]) -> io::Result<Result<Part, String>> {
    let mut loaded = Vec::with_capacity(places.len());
    let mut bytes = vec![0; CHUNK_BYTES];
    for (at, place) in places {
        match file.read_exact_at(&mut bytes, u64::from(place.slot) * CHUNK_BYTES as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err("the base file is cut short".to_owned()));
            }
            Err(error) => return Err(error),
        }
        for (page, bytes) in bytes.chunks_exact(PAGE_BYTES).enumerate() {
            if crc32c::crc32c(bytes) != place.crc[page] {
                let number = u64::from(place.slot) * CHUNK_PAGES as u64 + page as u64;
                return Ok(Err(format!("page {number} of the base file is damaged")));
            }
        }
        let mut words = Arc::new([0; CHUNK_WORDS]);
        let target = Arc::get_mut(&mut words).expect("just made, not shared");
        for (word, bytes) in target.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
        loaded.push((*at, words));
    }
    Ok(Ok(loaded))
}
