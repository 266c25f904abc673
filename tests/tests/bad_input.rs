//! Row 25: bad input through HTTP. Each line of the table is something that a broken or hostile client sends, and the
//! documented answer. After all of it the server lives, and nothing was counted.

use std::io::{Read, Write};
use std::net::TcpStream;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tests::Sandbox;
use tests::http::basic;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("memory takes it");
    packed.finish().expect("memory takes it")
}

/// What is sent and what must come back.
struct Bad {
    what: &'static str,
    path: &'static str,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn bad(
    what: &'static str,
    path: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
) -> Bad {
    Bad {
        what,
        path,
        body: body.into(),
        status,
        code,
    }
}

fn table() -> Vec<Bad> {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let whole = gzip(br#"{"batch":[]}"#);
    let bomb = gzip(&vec![b' '; 50 << 20]);
    let many = format!(
        r#"{{"batch":[{}]}}"#,
        vec![r#"{"type":"page"}"#; 2_501].join(",")
    );
    let large = format!(
        r#"{{"type":"track","event":"x","userId":"u","properties":{{"t":"{}"}}}}"#,
        "x".repeat(600_000)
    );
    vec![
        bad("no JSON", "/v1/batch", "hello", 400, "invalid_json"),
        bad(
            "cut JSON",
            "/v1/batch",
            r#"{"batch":[{"type":"tra"#,
            400,
            "invalid_json",
        ),
        bad("no JSON, own form", "/v1/events", "{]", 400, "invalid_json"),
        bad(
            "NaN",
            "/v1/events",
            r#"{"type":"track","name":"x","identifiers":["user_id:u"],"properties":{"n":NaN}}"#,
            400,
            "invalid_json",
        ),
        bad("empty body", "/v1/batch", "", 400, "body_empty"),
        bad(
            "invalid UTF-8",
            "/v1/batch",
            [b'{', 0xff, b'}'],
            400,
            "invalid_utf8",
        ),
        bad(
            "gzip cut off",
            "/v1/batch",
            &whole[..whole.len() / 2],
            400,
            "invalid_gzip",
        ),
        bad(
            "gzip in name only",
            "/v1/batch",
            [0x1f, 0x8b, 1, 2, 3],
            400,
            "invalid_gzip",
        ),
        bad(
            "gzip bomb of 50 MiB",
            "/v1/batch",
            bomb,
            400,
            "body_too_large",
        ),
        bad("600 kB", "/v1/track", large, 400, "body_too_large"),
        bad(
            "50 MB",
            "/v1/events",
            vec![b' '; 50_000_000],
            400,
            "body_too_large",
        ),
        bad("too many events", "/v1/batch", many, 400, "too_many_events"),
        bad(
            "depth of 10,000 inside",
            "/v1/events",
            format!(
                r#"{{"type":"track","name":"x","identifiers":["user_id:u"],"properties":{{"a":{deep}}}}}"#
            ),
            400,
            "$any",
        ),
        bad(
            "an unknown field",
            "/v1/events",
            r#"{"type":"track","name":"x","identifiers":["user_id:u"],"messageId":"m"}"#,
            400,
            "$any",
        ),
        bad(
            "nobody named",
            "/v1/events",
            r#"{"type":"track","name":"x"}"#,
            400,
            "$any",
        ),
        bad(
            "an unreadable time",
            "/v1/events",
            r#"{"type":"track","name":"x","identifiers":["user_id:u"],"time":"yesterday"}"#,
            400,
            "$any",
        ),
        bad(
            "a time before 1970",
            "/v1/events",
            r#"{"type":"track","name":"x","identifiers":["user_id:u"],"time":"1901-01-01T00:00:00Z"}"#,
            400,
            "$any",
        ),
        bad(
            "an unknown currency",
            "/v1/events",
            r#"{"type":"order","order":{"order_id":"1","currency":"XXXX","total":"1"}}"#,
            400,
            "$any",
        ),
        bad(
            "an amount in words",
            "/v1/events",
            r#"{"type":"order","order":{"order_id":"1","currency":"CNY","total":"lots"}}"#,
            400,
            "$any",
        ),
        bad(
            "an amount of a thousand digits",
            "/v1/events",
            format!(
                r#"{{"type":"order","order":{{"order_id":"1","currency":"CNY","total":"{}"}}}}"#,
                "9".repeat(1_000)
            ),
            400,
            "$any",
        ),
        bad(
            "a code that is none",
            "/v1/scan",
            "[1,2,3",
            400,
            "invalid_json",
        ),
        bad(
            "no CloudEvent",
            "/v1/cloudevents",
            r#"{"id":"1"}"#,
            400,
            "$any",
        ),
    ]
}

#[test]
fn row_25_bad_input_gets_the_documented_answer() {
    let mut sandbox = Sandbox::start();
    let key = sandbox.source("bad");
    let sender = sandbox.sender(&key);
    let mut wrong = Vec::new();
    for bad in table() {
        let answer = match sender.send(
            "POST",
            bad.path,
            &[("content-type", "application/json")],
            bad.body,
        ) {
            Ok(answer) => answer,
            Err(lost) => {
                wrong.push(format!("{}: no answer: {}", bad.what, lost.0));
                continue;
            }
        };
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = answer_code(&value);
        if answer.status != bad.status
            || (bad.code != "$any" && code != bad.code)
            || code.is_empty()
        {
            wrong.push(format!("{}: {} {}", bad.what, answer.status, answer.text()));
        }
        let message = value["message"]
            .as_str()
            .or(value["error"]["message"].as_str());
        if message.is_none_or(str::is_empty) {
            wrong.push(format!("{}: no message: {}", bad.what, answer.text()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong answers:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(sandbox.runs(), "it lives");
    let stats = sandbox.stats();
    assert_eq!(stats["applied"], 0, "{stats}");
    assert_eq!(stats["members"], 0, "{stats}");
}

fn answer_code(value: &Value) -> String {
    let code = value["code"].as_str().or(value["error"]["code"].as_str());
    code.unwrap_or_default().to_owned()
}

#[test]
fn row_25_what_is_bad_inside_a_batch_is_set_aside() {
    let sandbox = Sandbox::start();
    let sender = sandbox.sender(&sandbox.source("bad"));
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let table = [
        ("/v1/events", deep, "too_deep"),
        (
            "/v1/batch",
            r#"{"batch":[{"type":"track","event":"x","userId":"u","properties":{"n":NaN}}]}"#
                .to_owned(),
            "invalid_json",
        ),
        (
            "/v1/batch",
            format!(
                r#"{{"batch":[{{"type":"track","event":"x","userId":"u","properties":{{"a":{}1}}}}]}}"#,
                "[".repeat(9_000)
            ),
            "invalid_json",
        ),
    ];
    for (number, (path, body, code)) in table.into_iter().enumerate() {
        let answer = sender.send("POST", path, &[], body).expect("it answers");
        // A body whose end cannot be found is no batch of anything; everything else is one bad event in a good one.
        if answer.status == 400 {
            assert!(number == 2, "{path}: {}", answer.text());
            continue;
        }
        let answer = answer.ok(path);
        let dead = sandbox
            .http()
            .list(&format!("/api/v1/dead-letters?after={}", answer.token()));
        assert_eq!(dead.len(), number + 1, "{dead:?}");
        let codes: Vec<&str> = dead
            .iter()
            .filter_map(|letter| letter["code"].as_str())
            .collect();
        assert!(codes.contains(&code), "{code} is not in {dead:?}");
    }
    assert_eq!(sandbox.stats()["applied"], 0);
}

#[test]
fn row_25_one_bad_event_never_fails_its_batch() {
    let sandbox = Sandbox::start();
    let key = sandbox.source("bad");
    let batch = json!({"batch": [
        {"type": "track", "userId": "good", "event": "one", "messageId": "g1"},
        {"type": "track", "userId": "good", "messageId": "b1"},
        {"type": "nonsense", "userId": "good", "messageId": "b2"},
        {"type": "track", "event": "nobody", "messageId": "b3"},
        {"type": "track", "userId": "good", "event": "x", "messageId": "m".repeat(101)},
        {"type": "track", "userId": "good", "event": "big", "messageId": "b4", "properties": {"t": "x".repeat(40_000)}},
        {"type": "track", "userId": "good", "event": "two", "messageId": "g2"},
    ]});
    let answer = sandbox.sender(&key).post_ok("/v1/batch", &batch);
    assert_eq!(answer.value(), json!({"success": true}));
    let member = sandbox.member("user_id:good", answer.token());
    assert_eq!(member["event_count"], 2, "{member}");
    let dead = sandbox
        .http()
        .list(&format!("/api/v1/dead-letters?after={}", answer.token()));
    assert_eq!(dead.len(), 5, "{dead:?}");
    let stats = sandbox.stats();
    assert_eq!(stats["dead_letters"], 5, "{stats}");
}

#[test]
fn row_25_whole_numbers_of_64_bits_stay_what_they_are() {
    let sandbox = Sandbox::start();
    let key = sandbox.source("big");
    let body = r#"{"batch":[{"type":"track","event":"Order","userId":9007199254740993,"messageId":"n1",
        "properties":{"order":9223372036854775807,"deep":{"n":18446744073709551615}}}]}"#;
    let answer = sandbox
        .sender(&key)
        .send("POST", "/v1/batch", &[], body)
        .expect("it answers")
        .ok("a batch");
    let member = sandbox.member("user_id:9007199254740993", answer.token());
    let id = member["id"].as_str().expect("a member has an id");
    let text = sandbox
        .http()
        .get(&format!("/api/v1/members/{id}/events"))
        .text();
    for number in ["9223372036854775807", "18446744073709551615"] {
        assert!(text.contains(number), "{number} is not in {text}");
    }
}

#[test]
fn row_25_keys_are_checked() {
    let sandbox = Sandbox::start();
    let key = sandbox.source("keys");
    let track = json!({"type": "track", "event": "x", "userId": "u"});
    let post = |authorization: Option<String>| {
        let http = sandbox.http().with(authorization);
        let answer = http.json("POST", "/v1/track", &track);
        (answer.status, answer.code())
    };
    assert_eq!(post(None), (401, "write_key_missing".into()));
    assert_eq!(
        post(Some(basic("wk_unknown"))),
        (401, "write_key_unknown".into())
    );
    assert_eq!(
        post(Some("Basic !!!".into())),
        (401, "write_key_missing".into())
    );
    assert_eq!(post(Some(basic(&key))).0, 200);
    let anonymous = sandbox.http().with(None);
    assert_eq!(anonymous.get("/api/v1/members").status, 401);
    let wrong = sandbox
        .http()
        .with(Some("Bearer tk_wrong_wrong_wrong_wrong".into()));
    assert_eq!(wrong.get("/api/v1/members").status, 401);
    let with_write_key = sandbox.http().with(Some(format!("Bearer {key}")));
    assert_eq!(
        with_write_key.get("/api/v1/members").status,
        401,
        "a write key reads nothing"
    );
    assert_eq!(anonymous.get("/healthz").status, 200);
}

#[test]
fn row_25_paths_and_methods_that_are_none() {
    let sandbox = Sandbox::start();
    let http = sandbox.http();
    assert_eq!(http.get("/api/v1/nonsense").status, 404);
    assert_eq!(http.json("DELETE", "/v1/batch", &json!({})).status, 405);
    assert_eq!(http.get("/api/v1/members?unknown=1").status, 400);
    assert_eq!(http.get("/api/v1/stats?after=nonsense").status, 400);
    assert_eq!(
        http.get("/api/v1/members/..%2f..%2fetc%2fpasswd").status,
        404
    );
    let answer = http.json(
        "POST",
        "/api/v1/sources",
        &json!({"name": "x", "kind": "http", "id": 7}),
    );
    assert_eq!(
        (answer.status, answer.code()),
        (400, "body_invalid".into()),
        "server-owned fields are refused"
    );
}

#[test]
fn row_25_sockets_that_misbehave_harm_nobody() {
    let mut sandbox = Sandbox::start();
    let address = sandbox.base().replace("http://", "");
    // What they send is no HTTP, not all of it, or a lie; none of them reads its answer.
    let lies: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551616\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"batch\":",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: \xff\xfe\r\n\r\n",
    ];
    for lie in lies {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.write_all(lie).expect("it takes a few bytes");
    }
    // Five hundred connections that say nothing: somebody who asks is still answered.
    let idle: Vec<TcpStream> = (0..500)
        .map(|_| TcpStream::connect(&address).expect("it listens"))
        .collect();
    assert_eq!(sandbox.http().get("/healthz").status, 200);
    drop(idle);
    // A body that breaks off is never half applied.
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream
        .write_all(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{\"a")
        .expect("it takes a few bytes");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    let mut rest = Vec::new();
    // Whatever it says, it ends the connection.
    let _ = stream.read_to_end(&mut rest);
    assert!(sandbox.runs());
    assert_eq!(sandbox.stats()["applied"], 0);
}

/// Sends nearly all of a batch and then stops.
fn stall(address: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n[",
        bytes + 100
    );
    stream
        .write_all(head.as_bytes())
        .expect("it takes a few bytes");
    // Those beyond the memory are answered, and their bytes are thrown away.
    let _ = stream.write_all(&vec![b' '; bytes]);
    stream
}

#[test]
fn row_25_bodies_of_strangers_do_not_fill_the_memory() {
    const BODY: usize = 8 * 1024 * 1024 - 1024;
    /// The process without any load has less than half of it; without a bound the bodies below would be 480 MiB.
    const RESIDENT_MIB_MAX: u64 = 300;
    // Room for seven of them, and not for an eighth.
    let options = tests::Options::default().set("http.body_memory_mib", "63");
    let mut sandbox = Sandbox::start_with(options);
    let key = sandbox.source("small");
    let address = sandbox.base().replace("http://", "");
    let mut stalled: Vec<TcpStream> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..60)
            .map(|_| scope.spawn(|| stall(&address, BODY)))
            .collect();
        let ended = senders.into_iter().map(|sender| sender.join());
        ended.map(|stream| stream.expect("it sends")).collect()
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.pid())).expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let resident = kib.expect("Linux says so") / 1024;
    assert!(resident < RESIDENT_MIB_MAX, "{resident} MiB");
    // What is large hears when to come back, once the memory is full; what is small is taken all the while.
    let sender = sandbox.sender(&key);
    let event = r#"{"type": "track", "name": "x", "identifiers": ["user_id:u"]}"#;
    let large = format!("[{event}{}]", " ".repeat(BODY - 100));
    let send = |body: &str| {
        sender
            .send("POST", "/v1/events", &[], body)
            .expect("it answers")
    };
    let refused = (0..60).find_map(|_| {
        let answer = send(&large);
        if answer.status == 200 {
            stalled.push(stall(&address, BODY));
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("the memory is full at last");
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "bodies_full")
    );
    assert!(refused.header("retry-after").is_some());
    assert_eq!(send(event).status, 200);
    drop(stalled);
    tests::wait::until("the memory to be free again", || {
        (send(&large).status == 200).then_some(())
    });
    assert!(sandbox.runs());
}
