//! An object store that speaks S3: the published `moto` server, which knows nothing of the product.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Stdio};

use serde_json::Value;

use crate::http::Http;
use crate::need::Missing;
use crate::script;

/// Its access key. The server takes any.
pub const KEY_ID: &str = "peer-key";
/// Its secret: must not be seen anywhere.
pub const SECRET: &str = "canary-secret-of-the-store";

/// The server. It lives as long as the test.
pub struct Store {
    child: Child,
    // Its end is the server's end.
    _stdin: Option<ChildStdin>,
    base: String,
}

impl Store {
    /// Starts one.
    pub fn start() -> Result<Store, Missing> {
        Store::with(&[])
    }

    /// Starts one that knows nobody's keys.
    pub fn denying() -> Result<Store, Missing> {
        Store::with(&["--deny"])
    }

    fn with(options: &[&str]) -> Result<Store, Missing> {
        let mut command = script::python(&["moto.server"], "s3_peer.py")?;
        let mut child = command
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python was just started");
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("it prints its address");
        let said: Value = serde_json::from_str(&line).expect("it prints JSON");
        Ok(Store {
            child,
            _stdin: stdin,
            base: said["base"].as_str().expect("an address").to_owned(),
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Settings of the product for it, as `KEY=VALUE`.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("object_store.endpoint", self.base.clone()),
            ("object_store.allow_http", "true".into()),
            ("object_store.access_key_id", KEY_ID.into()),
            ("object_store.secret_access_key", SECRET.into()),
        ]
    }

    fn http(&self) -> Http {
        let somebody = format!(
            "AWS4-HMAC-SHA256 Credential={KEY_ID}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        );
        Http::new(&self.base, Some(somebody))
    }

    /// Makes a bucket.
    pub fn bucket(&self, name: &str) {
        self.put(name, Vec::new());
    }

    /// Writes `BUCKET/KEY`.
    pub fn put(&self, name: &str, content: impl Into<Vec<u8>>) {
        let path = format!("/{name}");
        let answer = self.http().send(
            "PUT",
            &path,
            &[("content-type", "application/octet-stream")],
            content,
        );
        answer.expect("the store is there").ok(&path);
    }

    /// The content of `BUCKET/KEY`; `None`: there is none.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let answer = self.http().get(&format!("/{name}"));
        (answer.status == 200).then_some(answer.body)
    }

    /// Removes `BUCKET/KEY`.
    pub fn remove(&self, name: &str) {
        let answer = self
            .http()
            .send("DELETE", &format!("/{name}"), &[], Vec::new());
        answer.expect("the store is there");
    }

    /// Uploads in parts that are neither finished nor taken back.
    pub fn unfinished(&self, bucket: &str) -> usize {
        let answer = self.http().get(&format!("/{bucket}?uploads"));
        let text = String::from_utf8(answer.body).expect("XML is UTF-8");
        assert!(text.contains("ListMultipartUploadsResult"), "{text}");
        text.matches("<UploadId>").count()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
