//! The service over real sockets, on a folder of its own.

mod access;
mod consents;
mod exports;
mod housekeeping;
mod imports;
mod intake;
mod privacy;
mod reads;
mod resources;
mod search;
mod tables;

use serde_json::{Value, json};

use super::*;
use crate::config::{Layers, load};

pub const ADMIN: &str = "tk_test_0123456789abcdef";

/// A service and a client for it.
pub struct Running {
    pub service: Service,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub json: Value,
    pub text: String,
}

impl Answer {
    pub fn code(&self) -> &str {
        let code = self.json["error"]["code"].as_str();
        code.or(self.json["code"].as_str()).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[track_caller]
    pub fn ok(self) -> Answer {
        assert!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            self.text
        );
        self
    }
}

pub async fn start() -> Running {
    start_with(&[]).await
}

pub async fn start_with(flags: &[(&'static str, &str)]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut layers = Layers::default();
    let data = folder.path().join("data").display().to_string();
    for (name, value) in [
        ("data", data.as_str()),
        ("listen", "127.0.0.1:0"),
        ("admin_key", ADMIN),
        ("partitions", "2"),
    ]
    .iter()
    .chain(flags)
    {
        layers.flags.insert(name, (*value).to_owned());
    }
    let service = Service::start(load(&layers).unwrap()).await.unwrap();
    Running {
        service,
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        _folder: folder,
    }
}

impl Running {
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        Answer {
            status,
            headers,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.service.url());
        self.client.request(method.parse().unwrap(), url)
    }

    pub async fn with_key(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.request(method, path).bearer_auth(key);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        self.send(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.with_key("GET", path, ADMIN, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.with_key("POST", path, ADMIN, Some(body)).await
    }

    /// A new source's write key.
    pub async fn write_key(&self, name: &str, brand: u64) -> String {
        let body = json!({"name": name, "kind": "http", "brand": brand});
        let made = self.post("/api/v1/sources", body).await.ok();
        made.json["write_key"].as_str().unwrap().to_owned()
    }

    /// Sends events as a tracking SDK does.
    pub async fn segment(&self, path: &str, key: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = self
            .request("POST", path)
            .basic_auth(key, Some(""))
            .body(body.into());
        self.send(request).await
    }

    /// Sends own events that must be taken; answers the token.
    pub async fn events(&self, key: &str, events: Value) -> String {
        let answer = self
            .segment("/v1/events", key, events.to_string())
            .await
            .ok();
        assert_eq!(answer.json["rejected"], json!([]), "{}", answer.text);
        answer.header("tributary-token").unwrap().to_owned()
    }
}
