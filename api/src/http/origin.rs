//! From which address a request comes, for the audit chain.
//!
//! That is the other end of the connection, unless it is a proxy that the configuration trusts (`http.trusted_proxies`):
//! then its word counts. Proxies append to `X-Forwarded-For` whom they had a connection with, so it is read from its end,
//! and the first address that is no trusted proxy is the one: what stands before it may be anybody's invention.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName};
use pipelines::effect::address::Networks;

/// The other end of a connection; [`super::server`] notes it in each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a request comes from; `None`: it did not come through a socket.
pub fn origin(request: &Request, trusted: &Networks) -> Option<IpAddr> {
    let Peer(peer) = request.extensions().get()?;
    Some(behind(*peer, request.headers(), trusted))
}

/// Whom a peer speaks for.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let mut nearest = peer.to_canonical();
    let lines: Vec<_> = headers.get_all(&X_FORWARDED_FOR).iter().collect();
    let told = lines
        .into_iter()
        .rev()
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    for told in told {
        if !trusted.hold(nearest) {
            break;
        }
        match address(told) {
            Some(address) => nearest = address,
            // A proxy that hides whom it had: nobody behind it is known.
            None => break,
        }
    }
    nearest
}

/// An address as proxies write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    let address = plain.parse().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
