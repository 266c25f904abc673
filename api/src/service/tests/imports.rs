//! Files over HTTP: brought, guessed, tried, imported, watched; what must be refused.

use serde_json::{Value, json};

use super::{ADMIN, Answer, Running, start_with};

const ORDERS: &str = "订单编号,下单时间,手机号码,实付金额,备注\n\
    E1,2026/11/20 9:50,13800000000,12.50,\n\
    E2,2026/11/20 9:51,13900000000,一百,=cmd|x\n\
    E3,2026/11/20 9:52,13900000000,7,\n";

impl Running {
    async fn bring(&self, name: &str, key: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        let path = format!("/api/v1/imports/files?name={name}");
        let request = self.request("POST", &path).bearer_auth(key);
        self.send(request.body(bytes.into())).await
    }

    /// Asks until the import has ended.
    async fn ended(&self, id: u64) -> Value {
        loop {
            let answer = self.get(&format!("/api/v1/imports/{id}")).await.ok();
            if !answer.json["ended"].is_null() {
                return answer.json;
            }
            // The next question is the pause.
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_from_upload_to_members() {
    let running = start_with(&[]).await;
    let brought = running.bring("orders.csv", ADMIN, ORDERS).await.ok();
    assert_eq!(brought.status, 201);
    assert_eq!(brought.json["format"], "csv");
    let file = &brought.json["file"];

    let guessed = running
        .post("/api/v1/imports/suggest", json!({"file": file}))
        .await
        .ok();
    let mapping = guessed.json["mapping"].as_str().unwrap().to_owned();
    assert_eq!(guessed.json["columns"][2]["place"], "identifiers.phone");

    let tried = running
        .post(
            "/api/v1/imports/dry-run",
            json!({"file": file, "mapping": mapping}),
        )
        .await
        .ok();
    assert_eq!(
        (&tried.json["accepted"], &tried.json["rejected"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(tried.json["rows"][0]["event"]["order"]["total"], "12.50");

    let body = json!({"file": file, "mapping": mapping});
    let started = running.post("/api/v1/imports", body.clone()).await.ok();
    let id = started.json["id"].as_u64().unwrap();
    let done = running.ended(id).await;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(done["counts"], json!({"rows": 3, "rejected": 1}), "{done}");
    let rejects = running
        .get(&format!("/api/v1/imports/{id}/rejects"))
        .await
        .ok();
    assert_eq!(
        rejects.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    assert!(
        rejects.text.contains("\n2,\"amount_form\"") && rejects.text.contains("E2,"),
        "{}",
        rejects.text
    );
    let found = running
        .get("/api/v1/members?identifier=phone:13800000000")
        .await
        .ok();
    assert_ne!(found.json["items"], json!([]), "{}", found.text);
    let list = running.get("/api/v1/imports").await.ok();
    assert_eq!(list.json["items"][0]["id"], json!(id));
    // The file is gone with its import, and what is done cannot go on.
    let again = running.post("/api/v1/imports", body).await;
    assert_eq!(again.code(), "not_found");
    let resumed = running
        .post(&format!("/api/v1/imports/{id}/resume"), json!({}))
        .await;
    assert_eq!(resumed.code(), "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_do_not_outlast_an_erase_nor_rejected_rows_their_time() {
    let running = start_with(&[("manual_clock", "true")]).await;
    let done = running.bring("a.csv", ADMIN, ORDERS).await.ok().json["file"].clone();
    let waits = running.bring("b.csv", ADMIN, ORDERS).await.ok().json["file"].clone();
    let guess = |file: &Value| running.post("/api/v1/imports/suggest", json!({"file": file}));
    let mapping = guess(&done).await.ok().json["mapping"].clone();
    let body = json!({"file": done, "mapping": mapping});
    let id = running.post("/api/v1/imports", body).await.ok().json["id"]
        .as_u64()
        .unwrap();
    assert_eq!(running.ended(id).await["state"], "done");
    guess(&waits).await.ok();

    let found = running
        .get("/api/v1/members?identifier=phone:13800000000")
        .await
        .ok();
    let member = found.json["items"][0]["id"].as_str().unwrap();
    let erase = format!("/api/v1/members/{member}/erase");
    running
        .post(&erase, json!({"reason": "asked for it"}))
        .await
        .ok();
    assert_eq!(guess(&waits).await.code(), "not_found");

    let rejects = format!("/api/v1/imports/{id}/rejects");
    let shared = &running.service.shared;
    let days = i64::from(shared.config.day_keys.days_kept);
    for (day, there) in [(days - 1, true), (1, false)] {
        let clock = shared.manual_clock().unwrap();
        clock.set(shared.now().plus_ms(day * 24 * 3_600 * 1_000));
        crate::import::worker::clean(shared);
        let answer = running.get(&rejects).await;
        let seen = (answer.status == 200, answer.code() == "rejects_gone");
        assert_eq!(seen, (there, !there), "{}", answer.text);
    }
    // What the new day woke may still be writing.
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own.csv"), ORDERS).unwrap();
    let folder_text = folder.path().display().to_string();
    let running = start_with(&[
        ("import.folder", folder_text.as_str()),
        ("import.upload_mib_max", "1"),
    ])
    .await;
    let large = vec![b'x'; 1024 * 1024 + 1];
    let pdf = &b"%PDF-1.7"[..];
    for (bytes, code) in [
        (&large[..], "body_too_large"),
        (pdf, "file_format"),
        (b"", "body_empty"),
    ] {
        assert_eq!(running.bring("f", ADMIN, bytes).await.code(), code);
    }
    let uploads = running.service.shared.config.data.join("uploads");
    let left = std::fs::read_dir(uploads).unwrap().count();
    assert_eq!(left, 0, "what is refused leaves nothing behind");

    for (body, code) in [
        (json!({}), "body_invalid"),
        (json!({"file": 1, "path": "own.csv"}), "body_invalid"),
        (json!({"file": 1}), "not_found"),
        (json!({"path": "../own.csv"}), "not_found"),
        (json!({"path": "/etc/passwd"}), "not_found"),
        (json!({"path": "own.csv", "mapping": "[event]"}), "mapping"),
        (
            json!({"path": "own.csv", "mapping": "[event]\ntype=\"identify\"\nmessage_id=[\"x\"]"}),
            "mapping",
        ),
        (json!({"path": "own.csv", "source": 99}), "not_found"),
    ] {
        let answer = running.post("/api/v1/imports", body.clone()).await;
        assert_eq!(answer.code(), code, "{body}: {}", answer.text);
    }
    let guessed = running
        .post("/api/v1/imports/suggest", json!({"path": "own.csv"}))
        .await
        .ok();
    assert!(guessed.json["about"].as_str().unwrap().starts_with("csv"));

    // Another key does not see the first one's file.
    let brought = running.bring("mine.csv", ADMIN, ORDERS).await.ok();
    let body = json!({"name": "other", "role": "manager"});
    let other = running.post("/api/v1/api-keys", body).await.ok();
    let other = other.json["key"].as_str().unwrap().to_owned();
    let body = json!({"file": brought.json["file"]});
    let answer = running
        .with_key("POST", "/api/v1/imports/suggest", &other, Some(body))
        .await;
    assert_eq!(answer.code(), "not_found", "{}", answer.text);
}
