//! Files as bodies: read to a disk as they come, sent from a disk as they are asked for. Neither is ever whole in memory.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc::Receiver;

use super::input::linger;
use crate::error::ApiError;

/// Bytes that are read from a file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Writes a body to a new file, at most `max` bytes; each part of it must come `within` this time. Answers its bytes;
/// they are durable.
pub async fn read_to_file(
    headers: &HeaderMap,
    mut body: Body,
    path: &Path,
    max: u64,
    within: Duration,
) -> Result<u64, ApiError> {
    let too_large = || {
        let message = format!(
            "the file is larger than {} MiB: see import.upload_mib_max",
            max / 1024 / 1024
        );
        ApiError::new("body_too_large", message)
    };
    let told = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|bytes| bytes > max) {
        linger(body);
        return Err(too_large());
    }
    let mut file = File::create(path).await.map_err(disk)?;
    let mut bytes = 0;
    loop {
        let frame = tokio::time::timeout(within, body.frame()).await;
        let frame = frame.map_err(|_| {
            let message = format!("nothing more came within {} s", within.as_secs());
            ApiError::new("body_timeout", message)
        })?;
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|error| ApiError::new("body_shape", format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        bytes += data.len() as u64;
        if bytes > max {
            linger(body);
            return Err(too_large());
        }
        file.write_all(&data).await.map_err(disk)?;
    }
    if bytes == 0 {
        return Err(ApiError::new(
            "body_empty",
            "the body is empty: send a file",
        ));
    }
    file.flush().await.map_err(disk)?;
    file.sync_all().await.map_err(disk)?;
    Ok(bytes)
}

fn disk(error: std::io::Error) -> ApiError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return ApiError::new("disk_full", "the disk is full");
    }
    tracing::error!(%error, "a file that is brought cannot be written");
    ApiError::new("file_io", "the server could not do this")
}

/// A file as a body.
pub fn file_body(file: File) -> Body {
    Body::new(Sent {
        file,
        chunk: vec![0; CHUNK_BYTES],
    })
}

/// A part of a body that is being made, or the word that it breaks off.
pub type Chunk = std::io::Result<Bytes>;

/// A body whose parts come through a channel; it ends when the channel is closed.
pub fn channel_body(parts: Receiver<Chunk>) -> Body {
    Body::new(Made(parts))
}

struct Made(Receiver<Chunk>);

impl hyper::body::Body for Made {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let part = ready!(self.get_mut().0.poll_recv(context));
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }
}

struct Sent {
    file: File,
    chunk: Vec<u8>,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let Sent { file, chunk } = self.get_mut();
        let mut buffer = ReadBuf::new(chunk);
        ready!(Pin::new(file).poll_read(context, &mut buffer))?;
        let read = buffer.filled();
        Poll::Ready((!read.is_empty()).then(|| Ok(Frame::data(Bytes::copy_from_slice(read)))))
    }
}
