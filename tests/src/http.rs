//! A blocking HTTP client: one request, one answer, or the honest word that nobody knows what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;

use crate::wait;

/// Longer than any answer of a healthy server takes, reads that wait for a token (2 s) included.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one server. Not shared between threads: each has its own.
pub struct Http {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    base: String,
    authorization: Option<String>,
}

/// The connection broke: the request may or may not have been taken.
#[derive(Debug, Clone)]
pub struct Lost(pub String);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client of `base` (`http://127.0.0.1:8080`) that sends this `Authorization`.
    pub fn new(base: &str, authorization: Option<String>) -> Http {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only memory and a file descriptor");
        // Without proxy and pool: each request is a connection of its own, as after a restart of the server.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(TIMEOUT)
            .build()
            .expect("these settings are valid");
        Http {
            runtime,
            client,
            base: base.to_owned(),
            authorization,
        }
    }

    /// The same server with another `Authorization`.
    pub fn with(&self, authorization: Option<String>) -> Http {
        Http::new(&self.base, authorization)
    }

    /// Where the server is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends anything.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Answer, Lost> {
        let method = Method::from_bytes(method.as_bytes()).expect("methods are words");
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method, url).body(body.into());
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let lost = |error: reqwest::Error| Lost(format!("{error:?}"));
        self.runtime.block_on(async {
            let response = request.send().await.map_err(lost)?;
            let status = response.status().as_u16();
            let headers = response
                .headers()
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    (name.as_str().to_owned(), value)
                })
                .collect();
            let body = response.bytes().await.map_err(lost)?.to_vec();
            Ok(Answer {
                status,
                headers,
                body,
            })
        })
    }

    /// Sends JSON; panics if the connection breaks.
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, body.to_string())
            .unwrap_or_else(|lost| panic!("{method} {path}: {}", lost.0))
    }

    /// Posts JSON that must be accepted.
    pub fn post_ok(&self, path: &str, body: &Value) -> Answer {
        self.json("POST", path, body).ok(path)
    }

    /// Reads whatever the answer is; panics if the connection breaks.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Vec::new())
            .unwrap_or_else(|lost| panic!("GET {path}: {}", lost.0))
    }

    /// Reads what must be there. A server that is behind says so with 503 and is asked again.
    pub fn read(&self, path: &str) -> Value {
        let answer = wait::until(path, || {
            let answer = self.get(path);
            (answer.status != 503).then_some(answer)
        });
        answer.ok(path).value()
    }

    /// All items of a list, page by page.
    pub fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let url = match cursor.is_empty() {
                true => path.to_owned(),
                false => format!("{path}{joint}cursor={cursor}"),
            };
            let page = self.read(&url);
            let found = page["items"].as_array();
            items.extend(
                found
                    .unwrap_or_else(|| panic!("GET {url} is no list: {page}"))
                    .iter()
                    .cloned(),
            );
            match page["next_cursor"].as_str() {
                Some(next) if !next.is_empty() => cursor = next.to_owned(),
                _ => return items,
            }
        }
    }
}

impl Answer {
    /// Itself, if it says success.
    pub fn ok(self, what: &str) -> Answer {
        assert!(
            (200..300).contains(&self.status),
            "{what}: {} {}",
            self.status,
            self.text()
        );
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {} {}", self.status, self.text()))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The token of a write.
    pub fn token(&self) -> &str {
        self.header("tributary-token")
            .unwrap_or_else(|| panic!("a write answers a token: {}", self.text()))
    }

    /// The stable code of an error, of our own form or Segment's.
    pub fn code(&self) -> String {
        let value = self.value();
        let code = value["error"]["code"].as_str();
        code.or(value["code"].as_str())
            .unwrap_or_default()
            .to_owned()
    }
}

/// `Basic` with the write key as user name, as Segment's SDKs send it.
pub fn basic(write_key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{write_key}:")))
}

/// Text as part of a query.
pub fn query(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
