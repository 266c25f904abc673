//! Customers of one day, told as an SDK of Segment tells them, to a server whose clock stands still.

use serde_json::{Value, json};

use crate::{Options, Sandbox, wait};

/// A server whose clock stands still at noon of 2026-11-22 in Shanghai, and the write key of a source of this name.
pub fn noon(source: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::start_with(Options::default().arg("--manual-clock"));
    sandbox.set_clock("2026-11-22T12:00:00+08:00");
    let key = sandbox.source(source);
    (sandbox, key)
}

/// Sends a batch over the Segment API; answers its token.
pub fn sdk(sandbox: &Sandbox, key: &str, batch: Value) -> String {
    let answer = sandbox
        .sender(key)
        .post_ok("/v1/batch", &json!({ "batch": batch }));
    answer.token().to_owned()
}

/// Somebody says who they are, an hour before noon.
pub fn identify(id: u32, user: &str, traits: Value) -> Value {
    json!({"type": "identify", "messageId": format!("i{id}"), "userId": user, "traits": traits,
        "timestamp": "2026-11-22T11:00:00+08:00"})
}

/// Somebody pays; even amounts for `S0`, odd ones for `S1`.
pub fn paid(id: u32, user: &str, at: &str, amount: u32) -> Value {
    json!({"type": "track", "messageId": format!("t{id}"), "userId": user, "event": "paid",
        "timestamp": at, "properties": {"amount": amount, "sku": format!("S{}", amount % 2)}})
}

/// Makes the segment of those in 上海; answers its number when it has so many members, those of `token` with them.
pub fn in_shanghai(sandbox: &Sandbox, token: &str, members: u64) -> u64 {
    let rule = json!({"name": "上海", "rule": {"attr": "city", "op": "eq", "value": "上海"}});
    let made = sandbox.http().post_ok("/api/v1/segments", &rule).value();
    let id = made["id"].as_u64().expect("a number");
    wait::until("the segment to be computed", || {
        let path = format!("/api/v1/segments/{id}/count?after={token}");
        let answer = sandbox.http().get(&path);
        (answer.status == 200 && answer.value()["count"] == members).then_some(())
    });
    id
}
