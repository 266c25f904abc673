//! A small HTTP/1.1 client on one kept-alive connection, as fast as the load generator needs it and no cleverer.
//!
//! Absent on purpose: TLS, redirects, proxies. It talks to a Tributary on the same machine.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer's head may have this many bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Waits this long when a server that asks for patience does not say how long.
const PATIENCE: Duration = Duration::from_millis(100);
/// Gives up after asking this often: minutes of a server that refuses.
const TRIES_MAX: u32 = 600;

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// `Tributary-Token`, if it was a write.
    pub token: Option<String>,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the server asks to come back later.
    pub fn asks_patience(&self) -> bool {
        matches!(self.status, 429 | 503)
    }
}

/// `Authorization` for a write key.
pub fn write_key(key: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{key}:"));
    format!("Basic {pair}")
}

/// `Authorization` for an API key.
pub fn api_key(key: &str) -> String {
    format!("Bearer {key}")
}

/// One connection; opened at the first request and again after the server closed it.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    head: Vec<u8>,
    input: Vec<u8>,
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Client {
        Client {
            address,
            stream: None,
            head: Vec::with_capacity(512),
            input: Vec::with_capacity(8 * 1024),
        }
    }

    /// Asks for a path.
    pub async fn get(&mut self, path: &str, authorization: &str) -> io::Result<Answer> {
        self.send("GET", path, authorization, b"").await
    }

    /// Posts a body of JSON.
    pub async fn post(
        &mut self,
        path: &str,
        authorization: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        self.send("POST", path, authorization, body).await
    }

    /// Puts a body of JSON.
    pub async fn put(
        &mut self,
        path: &str,
        authorization: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        self.send("PUT", path, authorization, body).await
    }

    /// Posts, and comes back as often as the server asks for patience or is not there. Safe for events: their message
    /// ids make a repeat harmless. Answers how often it had to come back, too.
    pub async fn post_patiently(
        &mut self,
        path: &str,
        authorization: &str,
        body: &[u8],
    ) -> io::Result<(Answer, u32)> {
        let mut tries = 0;
        loop {
            let pause = match self.post(path, authorization, body).await {
                Ok(answer) if !answer.asks_patience() || tries == TRIES_MAX => {
                    return Ok((answer, tries));
                }
                Ok(answer) => answer
                    .retry_after_s
                    .map_or(PATIENCE, |s| Duration::from_secs(s.min(2))),
                Err(error) if tries == TRIES_MAX => return Err(error),
                Err(_) => PATIENCE,
            };
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        authorization: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        self.head.clear();
        self.head.extend_from_slice(method.as_bytes());
        for part in [" ", path, " HTTP/1.1\r\nhost: tributary\r\n"] {
            self.head.extend_from_slice(part.as_bytes());
        }
        if !authorization.is_empty() {
            for part in ["authorization: ", authorization, "\r\n"] {
                self.head.extend_from_slice(part.as_bytes());
            }
        }
        if method != "GET" {
            let length = body.len().to_string();
            for part in [
                "content-type: application/json\r\ncontent-length: ",
                &length,
                "\r\n",
            ] {
                self.head.extend_from_slice(part.as_bytes());
            }
        }
        self.head.extend_from_slice(b"\r\n");

        let kept = self.stream.is_some();
        match self.exchange(body).await {
            // The server may close an idle connection at any time: once more on a new one.
            Err(_) if kept => {
                self.stream = None;
                self.exchange(body).await
            }
            done => done,
        }
    }

    async fn exchange(&mut self, body: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(&self.head).await?;
        if !body.is_empty() {
            stream.write_all(body).await?;
        }
        self.input.clear();
        let head_end = loop {
            if let Some(at) = find(&self.input, b"\r\n\r\n") {
                break at + 4;
            }
            if self.input.len() > HEAD_BYTES_MAX {
                return Err(bad("the answer's head is too long"));
            }
            if stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = Head::parse(&self.input[..head_end])?;
        let body = match head.length {
            Some(length) => {
                while self.input.len() < head_end + length {
                    if stream.read_buf(&mut self.input).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                self.input[head_end..head_end + length].to_vec()
            }
            None if head.chunked => {
                let mut rest = self.input.split_off(head_end);
                read_chunks(&mut stream, &mut rest).await?
            }
            None => Vec::new(),
        };
        if !head.close {
            self.stream = Some(stream);
        }
        Ok(Answer {
            status: head.status,
            token: head.token,
            retry_after_s: head.retry_after_s,
            body,
        })
    }
}

struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
    close: bool,
    token: Option<String>,
    retry_after_s: Option<u64>,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Head> {
        let text = std::str::from_utf8(bytes).map_err(|_| bad("the answer's head is no text"))?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|line| line.get(..3)?.parse().ok())
            .ok_or_else(|| bad("this is no HTTP/1.1 answer"))?;
        let mut head = Head {
            status,
            length: None,
            chunked: false,
            close: false,
            token: None,
            retry_after_s: None,
        };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.parse().ok();
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                head.close = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("tributary-token") {
                head.token = Some(value.to_owned());
            } else if name.eq_ignore_ascii_case("retry-after") {
                head.retry_after_s = value.parse().ok();
            }
        }
        Ok(head)
    }
}

/// Reads chunks until the empty one; `input` holds what has come already.
async fn read_chunks(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            if let Some(at) = find(input, b"\r\n") {
                break at;
            }
            more(stream, input).await?;
        };
        let size = std::str::from_utf8(&input[..line_end])
            .ok()
            .and_then(|line| usize::from_str_radix(line.split(';').next()?.trim(), 16).ok())
            .ok_or_else(|| bad("a chunk has no size"))?;
        let end = line_end + 2 + size + 2;
        while input.len() < end {
            more(stream, input).await?;
        }
        body.extend_from_slice(&input[line_end + 2..end - 2]);
        input.drain(..end);
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests;
