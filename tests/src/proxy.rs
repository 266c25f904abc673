//! A proxy that loses answers: the request arrives and is carried out, the client learns nothing and sends it again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// A running proxy. It ends with the process: its listener waits for ever.
pub struct LossyProxy {
    base: String,
    lost: Arc<AtomicUsize>,
}

impl LossyProxy {
    /// Passes requests on to `target` (`http://host:port`) and loses each `nth` answer.
    pub fn start(target: &str, nth: usize) -> LossyProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let target = target.replace("http://", "");
        let lost = Arc::new(AtomicUsize::new(0));
        let (count, all) = (lost.clone(), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = all.fetch_add(1, Ordering::Relaxed) + 1;
                let (target, count) = (target.clone(), count.clone());
                std::thread::spawn(move || {
                    let Some(answer) = pass_on(&client, &target) else {
                        return;
                    };
                    if number.is_multiple_of(nth) {
                        count.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    let mut client = client;
                    // A client that is gone has its reasons.
                    let _ = client.write_all(&answer);
                    let _ = client.shutdown(Shutdown::Write);
                });
            }
        });
        LossyProxy {
            base: format!("http://{address}"),
            lost,
        }
    }

    /// Where clients send.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Answers lost so far, of requests that the server answered.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

/// One request to the target, and its whole answer. `None`: one of the two is gone.
fn pass_on(client: &TcpStream, target: &str) -> Option<Vec<u8>> {
    let request = request(client)?;
    let mut server = TcpStream::connect(target).ok()?;
    server.write_all(&request).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// Reads one request with a length, or without a body; asks for a connection that ends with the answer.
fn request(mut client: &TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; CHUNK_BYTES];
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        let read = client.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let named = |line: &str, name: &str| line.to_ascii_lowercase().starts_with(name);
    let length: usize = text
        .lines()
        .find(|line| named(line, "content-length:"))
        .and_then(|line| line.split_once(':')?.1.trim().parse().ok())
        .unwrap_or(0);
    while bytes.len() < head + 4 + length {
        let read = client.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    }
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !named(line, "connection:"))
        .collect();
    let mut out = format!("{}\r\nconnection: close\r\n\r\n", kept.join("\r\n")).into_bytes();
    out.extend_from_slice(&bytes[head + 4..head + 4 + length]);
    Some(out)
}
