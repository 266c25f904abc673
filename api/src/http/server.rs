//! Sockets: accepts, counts and serves connections so that slow, idle or greedy clients cannot starve the rest.
//!
//! HTTP/1.1 only: SDKs speak it everywhere, and a head timeout also ends idle connections. TLS and HTTP/2 belong to the
//! proxy in front. Bodies have their own limits in [`super::input`].

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::io::Impatient;
use super::origin::Peer;
use crate::config::HttpLimits;
use crate::error::ApiError;

/// Bytes of a request's head. Segment pixels and 神策 mini-programs send URLs of up to 16 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request; the rest is an attack.
const HEADERS_MAX: usize = 100;
/// Pause after `accept` failed, usually because file descriptors are used up: gives open connections time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A refused connection gets its answer within this time or none.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Refusals answered at once; beyond it connections are closed without a word.
const REFUSALS_MAX: usize = 64;

/// What a connection beyond a limit hears.
fn refusal(message: &str) -> String {
    let error = ApiError::new("connections_full", message);
    let body = serde_json::to_string(&error.body()).expect("four texts always serialise");
    format!(
        "HTTP/1.1 {} Service Unavailable\r\nretry-after: {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        error.status().as_u16(),
        error.retry_after_s().unwrap_or(1),
        body.len(),
    )
}

/// A listening server that has not begun to accept.
pub struct Server {
    listener: TcpListener,
    limits: HttpLimits,
}

impl Server {
    /// Binds the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, limits: HttpLimits) -> std::io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        Ok(Server { listener, limits })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true; then finishes open requests, for at most the drain time.
    pub async fn run(self, router: Router, mut stop: watch::Receiver<bool>) {
        let open = Arc::new(Semaphore::new(self.limits.connections_max));
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        let seats = Seats::new(self.limits.connections_per_address_max);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, from) = match accepted {
                Ok((stream, from)) => (stream, from.ip()),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let admitted = match (seats.take(from), open.clone().try_acquire_owned()) {
                (Some(seat), Ok(permit)) => Ok((seat, permit)),
                (None, _) => Err("too many connections are open from this address"),
                (_, Err(_)) => Err("too many connections are open"),
            };
            match admitted {
                Ok(held) => {
                    let service = noting(Peer(from), router.clone());
                    let served = serve(stream, service, self.limits, stop.clone());
                    tokio::spawn(async move {
                        served.await;
                        drop(held);
                    });
                }
                Err(message) => {
                    metrics::counter!("http_connections_refused_total").increment(1);
                    if let Ok(permit) = refusals.clone().try_acquire_owned() {
                        tokio::spawn(async move {
                            refuse(stream, message).await;
                            drop(permit);
                        });
                    }
                }
            }
        }
        drop(self.listener);
        let all = u32::try_from(self.limits.connections_max).unwrap_or(u32::MAX);
        let ended = tokio::time::timeout(self.limits.drain_timeout, open.acquire_many(all)).await;
        if ended.is_err() {
            tracing::warn!("some requests did not end within the drain time");
        }
    }
}

/// The router, with the other end of the connection noted in each request.
fn noting(
    peer: Peer,
    router: Router,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Send {
    let router = TowerToHyperService::new(router);
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    })
}

async fn serve(
    stream: TcpStream,
    service: impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>,
    limits: HttpLimits,
    mut stop: watch::Receiver<bool>,
) {
    // Small answers must not wait for Nagle; an error only means that the peer is gone.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(false)
        .serve_connection(
            TokioIo::new(Impatient::new(stream, limits.unread_timeout)),
            service,
        );
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "connection ended early");
            }
            return;
        }
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    // Ended by the drain time of `run`, which drops nothing but the process's patience.
    let _ = tokio::time::timeout(limits.drain_timeout, connection).await;
}

async fn refuse(mut stream: TcpStream, message: &str) {
    let answer = async {
        stream.write_all(refusal(message).as_bytes()).await?;
        stream.shutdown().await
    };
    // The peer may be gone already; nobody waits for this.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, answer).await;
}

/// Connections by remote address, so that one cannot take them all.
#[derive(Clone)]
struct Seats {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// For one address; 0: no limit.
    max: usize,
}

impl Seats {
    fn new(max: usize) -> Seats {
        Seats {
            taken: Arc::default(),
            max,
        }
    }

    /// A seat for a connection from there, unless the address has all that it may have.
    fn take(&self, from: IpAddr) -> Option<Seat> {
        let from = household(from);
        let mut taken = self.taken.lock();
        let count = taken.entry(from).or_default();
        if self.max != 0 && *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Seat {
            of: self.clone(),
            from,
        })
    }
}

/// A connection's seat; dropping it gives it back.
struct Seat {
    of: Seats,
    from: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock();
        if let Some(count) = taken.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.from);
            }
        }
    }
}

/// What belongs to one customer of a provider: an IPv4 address, or the /64 network of an IPv6 address.
fn household(address: IpAddr) -> IpAddr {
    /// The part of an IPv6 address that a provider gives.
    const NETWORK: u128 = !0 << 64;
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & NETWORK).into()),
        address => address,
    }
}

/// Raises the soft limit of open files to the hard one, so that `http.connections_max` can be reached. Answers the limit.
pub fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid, writable rlimit for both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            let wanted = libc::rlimit {
                rlim_cur: limit.rlim_max,
                ..limit
            };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) == 0 {
                limit = wanted;
            }
        }
    }
    limit.rlim_cur
}

#[cfg(test)]
mod tests;
