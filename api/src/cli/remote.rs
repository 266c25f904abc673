//! A running server as commands talk to it.

use std::time::Duration;

use serde_json::Value;

use super::Failure;

/// Longer than any answer of a healthy server takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server and a key for it.
pub struct Remote {
    client: reqwest::Client,
    base: String,
    key: String,
}

/// What a server answered.
pub struct Answer {
    /// Status.
    pub status: u16,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<u64>,
    /// Its JSON; null if it is none.
    pub json: Value,
}

impl Answer {
    /// Whether it says success.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What it says of an error.
    pub fn message(&self) -> String {
        let error = &self.json["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        format!(
            "the server answered {} {}: {}. {}",
            self.status,
            text("code"),
            text("message"),
            text("hint")
        )
    }
}

impl Remote {
    /// A server by its URL.
    pub fn new(url: &str, key: &str) -> Result<Remote, Failure> {
        let known = url.starts_with("http://") || url.starts_with("https://");
        if !known || reqwest::Url::parse(url).is_err() {
            return Err(Failure::usage(format!(
                "`{url}` is no address of a server: write http://HOST:PORT"
            )));
        }
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::work(format!("cannot make an HTTP client: {error}")))?;
        Ok(Remote {
            client,
            base: url.trim_end_matches('/').to_owned(),
            key: key.to_owned(),
        })
    }

    /// Reads; anything but success is a failure.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.client.get(format!("{}{path}", self.base));
        good(self.send(request).await.map_err(Failure::work)?)
    }

    /// Writes JSON; anything but success is a failure.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        good(self.send(request).await.map_err(Failure::work)?)
    }

    /// Sends events; answers whatever the server said, or why it could not be reached.
    pub async fn events(&self, lines: Vec<u8>, source: Option<u64>) -> Result<Answer, String> {
        let url = format!("{}/v1/events", self.base);
        let mut request = self.client.post(url).body(lines);
        if let Some(source) = source {
            request = request.header(crate::routes::events::SOURCE, source);
        }
        self.send(request).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, String> {
        let answer = request.bearer_auth(&self.key).send().await;
        let answer = answer.map_err(|error| crate::error::chain(&error))?;
        let retry_after_s = answer
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let status = answer.status().as_u16();
        let body = answer.bytes().await;
        let body = body.map_err(|error| crate::error::chain(&error))?;
        Ok(Answer {
            status,
            retry_after_s,
            json: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }
}

fn good(answer: Answer) -> Result<Value, Failure> {
    match answer.is_good() {
        true => Ok(answer.json),
        false => Err(Failure::work(answer.message())),
    }
}
