//! One HTTP POST to somebody else's server, with everything limited: addresses, time, what comes back.
//!
//! Each call has a connection of its own to an address that was checked. Redirects are not followed: the address that a
//! person entered is the one that is called. No proxy of the environment is used.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use super::address::Networks;

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Name, connection and TLS.
    pub connect: Duration,
    /// From the first byte sent to the answer's head.
    pub answer: Duration,
    /// Bytes of an answer that are read; the rest is left with its connection.
    pub answer_bytes_max: usize,
}

impl Default for Limits {
    /// Receivers should answer at once and work afterwards: what the standard recommends is 15 to 30 s in all.
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(15),
            answer_bytes_max: 64 << 10,
        }
    }
}

/// Bytes of the answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 3;
/// Seconds of `Retry-After` that are believed, and the longest wait follows the dispatcher's policy anyway.
const RETRY_AFTER_S_MAX: i64 = 86_400;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<i64>,
    /// First bytes of the body.
    pub start: Bytes,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// We do not call there, now or later.
    #[error("{0}")]
    Forbidden(String),
    /// It did not work.
    #[error("{0}")]
    Failed(String),
}

/// Calls. Cheap to share.
pub struct Caller {
    networks: Networks,
    limits: Limits,
    tls: TlsConnector,
}

impl Caller {
    /// A caller that may go to public addresses and to these networks.
    pub fn new(networks: Networks, limits: Limits) -> Caller {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Caller {
            networks,
            limits,
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Checks what can be checked of an address without asking anybody: its form, its port, a written IP.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("use https://".into()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("no user name or password in an address".into());
        }
        let port = url.port_or_known_default().unwrap_or(0);
        let literal = match url.host() {
            None => return Err("there is no host in it".into()),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        };
        let allowed = literal.is_some_and(|address| self.networks.allow(address));
        if let Some(address) = literal {
            self.forbidden(address)?;
        }
        // Names may lead to an allowed network: then http and any port are for the network's owner to judge.
        if literal.is_some() && !allowed || self.networks == Networks::default() {
            if !tls {
                return Err("use https://".into());
            }
            if port != 443 && port < 1_024 {
                return Err(format!(
                    "port {port} is not for webhooks: use 443 or one from 1024 on"
                ));
            }
        }
        Ok(())
    }

    /// Posts `body` to `url` and answers what came back.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Answer, CallError> {
        self.check(url).map_err(CallError::Forbidden)?;
        let request = request(url, headers, body)?;
        let late = |what: &str, limit: Duration| {
            CallError::Failed(format!("{what} within {} s", limit.as_secs()))
        };
        let connected = tokio::time::timeout(self.limits.connect, self.connect(url)).await;
        let (stream, tls) = connected.map_err(|_| late("no connection", self.limits.connect))??;
        let exchange = async {
            match tls {
                Some(name) => {
                    let secured = self.tls.connect(name, stream).await;
                    let secured = secured.map_err(|error| failed("TLS", &error))?;
                    self.exchange(secured, request).await
                }
                None => self.exchange(stream, request).await,
            }
        };
        tokio::time::timeout(self.limits.answer, exchange)
            .await
            .map_err(|_| late("no answer", self.limits.answer))?
    }

    /// A connection to a checked address, and the name to secure it with.
    async fn connect(
        &self,
        url: &Url,
    ) -> Result<(TcpStream, Option<ServerName<'static>>), CallError> {
        let port = url.port_or_known_default().unwrap_or(443);
        let (addresses, name): (Vec<SocketAddr>, String) = match url.host() {
            Some(Host::Ipv4(address)) => (vec![(address, port).into()], address.to_string()),
            Some(Host::Ipv6(address)) => (vec![(address, port).into()], address.to_string()),
            Some(Host::Domain(name)) => {
                let found = tokio::net::lookup_host((name, port)).await;
                let found = found.map_err(|error| failed("the name is not known", &error))?;
                (found.collect(), name.to_owned())
            }
            None => return Err(CallError::Forbidden("there is no host in it".into())),
        };
        // All of them: a name that also leads inside is not to be trusted.
        for address in &addresses {
            self.forbidden(address.ip()).map_err(CallError::Forbidden)?;
            if url.scheme() == "http" && !self.networks.allow(address.ip()) {
                return Err(CallError::Forbidden(
                    "use https:// outside of the networks that are allowed".into(),
                ));
            }
        }
        let mut last = CallError::Failed("the name has no address".into());
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    let tls = match url.scheme() {
                        "https" => {
                            let name = ServerName::try_from(name);
                            Some(name.map_err(|error| failed("the name is none of TLS", &error))?)
                        }
                        _ => None,
                    };
                    return Ok((stream, tls));
                }
                Err(error) => last = failed("no connection", &error),
            }
        }
        Err(last)
    }

    fn forbidden(&self, address: IpAddr) -> Result<(), String> {
        self.networks.check(address).map_err(|inside| {
            format!("{address} is an address {inside}: effects do not go there unless effects.allow_networks says so")
        })
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<Answer, CallError> {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed("no HTTP", &error))?;
        let driven = AbortOnDrop(tokio::spawn(connection));
        let sent = sender.send_request(request).await;
        let answer = sent.map_err(|error| failed("the answer broke off", &error))?;
        let status = answer.status().as_u16();
        let retry_after_s = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok())
            .map(|seconds| seconds.clamp(0, RETRY_AFTER_S_MAX));
        // The status says it all; of the body only what helps a person to see what is wrong.
        let mut body = answer.into_body();
        let mut start = Vec::new();
        if !(200..300).contains(&status) {
            while let Some(Ok(frame)) = body.frame().await {
                if let Some(data) = frame.data_ref() {
                    let room = self.limits.answer_bytes_max - start.len();
                    start.extend_from_slice(&data[..data.len().min(room)]);
                }
                if start.len() >= self.limits.answer_bytes_max {
                    break;
                }
            }
        }
        drop(driven);
        Ok(Answer {
            status,
            retry_after_s,
            start: start.into(),
        })
    }
}

/// The task that drives a connection ends with the call, whatever the other side still wants to say.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(
    url: &Url,
    headers: &[(&'static str, String)],
    body: Bytes,
) -> Result<hyper::Request<Full<Bytes>>, CallError> {
    let wrong = |what: String| CallError::Forbidden(what);
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let mut request = hyper::Request::post(target)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("tributary/", env!("CARGO_PKG_VERSION"))),
        )
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request
        .body(Full::new(body))
        .map_err(|error| wrong(error.to_string()))
}

fn failed(what: &str, error: &dyn std::error::Error) -> CallError {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    CallError::Failed(text)
}

#[cfg(test)]
mod tests;
