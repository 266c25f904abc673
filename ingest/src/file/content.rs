//! The bytes of a file: from a disk, from memory, or from a stream that cannot go back; unpacked and decoded to UTF-8.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8};
use flate2::read::MultiGzDecoder;

use super::FileError;

/// Bytes that are looked at to tell the encoding: far more than the header and the first names of any real file.
const SNIFF_BYTES: usize = 1024 * 1024;
/// Bytes that tell the kind of a file.
const MAGIC_BYTES: usize = 16;
/// What is decoded at once.
const DECODE_BYTES: usize = 64 * 1024;

/// What a file is read from. CSV and lines need to be read once only; XLSX and Parquet need a place to go back to, so
/// they cannot come from a stream.
pub struct Content {
    from: From,
    taken: Arc<AtomicU64>,
    bytes: Option<u64>,
}

enum From {
    File(File),
    Memory(Bytes),
    Stream(Box<dyn Read + Send>),
}

/// Content that one can go back in.
pub(super) enum Place {
    File(File),
    Memory(Bytes),
}

/// Text of a file: UTF-8, or what claims to be.
pub(super) struct Text {
    pub reader: Box<dyn Read + Send>,
    /// Decoded from another encoding: what could not be decoded is U+FFFD.
    pub decoded: bool,
    /// Its encoding.
    pub encoding: &'static Encoding,
    /// The first bytes, for guessing.
    pub begins: Vec<u8>,
}

impl Content {
    /// A stream; only CSV and lines can be read from one.
    pub fn stream(reader: impl Read + Send + 'static) -> Content {
        Content::of(From::Stream(Box::new(reader)), None)
    }

    /// A file on a disk.
    pub fn file(file: File) -> io::Result<Content> {
        let bytes = file.metadata()?.len();
        Ok(Content::of(From::File(file), Some(bytes)))
    }

    /// Bytes in memory.
    pub fn memory(bytes: impl Into<Bytes>) -> Content {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Content::of(From::Memory(bytes), Some(length))
    }

    fn of(from: From, bytes: Option<u64>) -> Content {
        Content {
            from,
            taken: Arc::default(),
            bytes,
        }
    }

    /// Its length, if it is known.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Counts the bytes that were taken so far.
    pub(super) fn taken(&self) -> Arc<AtomicU64> {
        self.taken.clone()
    }

    /// The first bytes, left in their place.
    pub(super) fn magic(&mut self) -> Result<Vec<u8>, FileError> {
        match &mut self.from {
            From::Memory(bytes) => Ok(bytes[..bytes.len().min(MAGIC_BYTES)].to_vec()),
            From::File(file) => {
                let magic = begin(file, MAGIC_BYTES).map_err(at_begin)?;
                file.seek(SeekFrom::Start(0)).map_err(at_begin)?;
                Ok(magic)
            }
            From::Stream(stream) => {
                let magic = begin(stream, MAGIC_BYTES).map_err(at_begin)?;
                let rest = std::mem::replace(stream, Box::new(io::empty()));
                *stream = Box::new(Cursor::new(magic.clone()).chain(rest));
                Ok(magic)
            }
        }
    }

    /// As something that one can go back in.
    pub(super) fn place(self, format: &'static str) -> Result<Place, FileError> {
        match self.from {
            From::File(file) => Ok(Place::File(file)),
            From::Memory(bytes) => Ok(Place::Memory(bytes)),
            From::Stream(_) => Err(FileError::Format {
                what: format!("{format} cannot be read from a stream: save it as a file first"),
            }),
        }
    }

    /// As text: gzip is undone, the encoding is told from the byte order mark or the first bytes unless it is given.
    pub(super) fn text(self, encoding: Option<&'static Encoding>) -> Result<Text, FileError> {
        let taken = self.taken;
        let plain: Box<dyn Read + Send> = match self.from {
            From::File(file) => Box::new(file),
            From::Memory(bytes) => Box::new(Cursor::new(bytes)),
            From::Stream(stream) => stream,
        };
        let mut counted = Counted {
            inner: plain,
            taken,
        };
        let magic = begin(&mut counted, 2).map_err(at_begin)?;
        let packed = magic == [0x1f, 0x8b];
        let whole = Cursor::new(magic).chain(counted);
        let mut unpacked: Box<dyn Read + Send> = match packed {
            true => Box::new(MultiGzDecoder::new(whole)),
            false => Box::new(whole),
        };
        let begins = begin(&mut unpacked, SNIFF_BYTES).map_err(at_begin)?;
        let encoding = match (encoding, Encoding::for_bom(&begins)) {
            (_, Some((marked, _))) => marked,
            (Some(given), None) => given,
            (None, None) if begins.contains(&0) => {
                return Err(FileError::Format {
                    what: "the file holds zero bytes: it is no text (UTF-16 without a byte order mark needs \
                           `encoding = \"utf-16le\"`)"
                        .into(),
                });
            }
            (None, None) => guess(&begins),
        };
        let whole = Cursor::new(begins.clone()).chain(unpacked);
        let decoded = encoding != UTF_8;
        Ok(Text {
            reader: match decoded {
                true => Box::new(Decoding::new(whole, encoding)),
                false => Box::new(whole),
            },
            decoded,
            encoding,
            begins,
        })
    }
}

impl<'b> std::convert::From<&'b [u8]> for Content {
    fn from(bytes: &'b [u8]) -> Content {
        Content::memory(Bytes::copy_from_slice(bytes))
    }
}

impl<'b, const N: usize> std::convert::From<&'b [u8; N]> for Content {
    fn from(bytes: &'b [u8; N]) -> Content {
        Content::from(&bytes[..])
    }
}

impl std::convert::From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content::memory(bytes)
    }
}

/// The encoding of text that begins so: UTF-8 if it is, GB18030 if that is without a flaw, UTF-8 otherwise: its rows are
/// then rejected with their numbers.
fn guess(begins: &[u8]) -> &'static Encoding {
    let cut = begins.len() == SNIFF_BYTES;
    match std::str::from_utf8(begins) {
        Ok(_) => return UTF_8,
        // The last character may be cut in two.
        Err(error) if cut && error.error_len().is_none() => return UTF_8,
        Err(_) => {}
    }
    let mut decoder = encoding_rs::GB18030.new_decoder_without_bom_handling();
    let room = decoder.max_utf8_buffer_length(begins.len()).unwrap_or(0);
    let mut text = String::with_capacity(room);
    let (result, _, flawed) = decoder.decode_to_string(begins, &mut text, !cut);
    match result == CoderResult::InputEmpty && !flawed {
        true => encoding_rs::GB18030,
        false => UTF_8,
    }
}

/// The first bytes, as many as there are.
fn begin(reader: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut begins = Vec::new();
    reader.take(bytes as u64).read_to_end(&mut begins)?;
    Ok(begins)
}

fn at_begin(source: io::Error) -> FileError {
    FileError::read(0, source)
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Turns another encoding into UTF-8; what cannot be decoded becomes U+FFFD, which no sound file holds.
struct Decoding<R> {
    inner: R,
    decoder: Decoder,
    raw: Vec<u8>,
    /// Bytes of `raw` that are not decoded yet.
    from: usize,
    to: usize,
    text: Vec<u8>,
    given: usize,
    ended: bool,
    flushed: bool,
}

impl<R: Read> Decoding<R> {
    fn new(inner: R, encoding: &'static Encoding) -> Decoding<R> {
        Decoding {
            inner,
            decoder: encoding.new_decoder_with_bom_removal(),
            raw: vec![0; DECODE_BYTES],
            from: 0,
            to: 0,
            text: Vec::new(),
            given: 0,
            ended: false,
            flushed: false,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        while self.given == self.text.len() && !self.flushed {
            if self.from == self.to && !self.ended {
                self.from = 0;
                self.to = self.inner.read(&mut self.raw)?;
                self.ended = self.to == 0;
            }
            self.text.resize(DECODE_BYTES, 0);
            let source = &self.raw[self.from..self.to];
            let (result, read, written, _) =
                self.decoder
                    .decode_to_utf8(source, &mut self.text, self.ended);
            self.from += read;
            self.text.truncate(written);
            self.given = 0;
            self.flushed = self.ended && result == CoderResult::InputEmpty;
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let left = &self.text[self.given..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

/// What a [`Place`] is read through: XLSX goes back and forth in it.
pub(super) trait Seekable: Read + Seek + Send {}

impl<T: Read + Seek + Send> Seekable for T {}

impl Place {
    /// As a reader that seeks.
    pub fn seekable(self) -> Box<dyn Seekable> {
        match self {
            Place::File(file) => Box::new(io::BufReader::new(file)),
            Place::Memory(bytes) => Box::new(Cursor::new(bytes)),
        }
    }
}
