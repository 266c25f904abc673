//! A topic of Kafka hears what a webhook hears: with the member as key, again after a crash with the same id, and again when
//! the cluster would not take it. The cluster is librdkafka's own mock in this process: it speaks the protocol over TCP,
//! and proves nothing about a broker's disk.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tests::{Options, Sandbox, wait};

/// Of the topic.
const PARTITIONS: i32 = 4;

/// Brokers with a topic, and who reads it from its beginning.
struct Cluster {
    // Before the brokers: closing waits for what they answer.
    reader: BaseConsumer,
    brokers: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    fn start(topic: &str) -> Cluster {
        let brokers = MockCluster::new(3).expect("brokers start");
        let made = brokers.create_topic(topic, PARTITIONS, 3);
        made.expect("a topic is made");
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers.bootstrap_servers())
            .set("group.id", "crm")
            .create()
            .expect("a reader");
        // Without a group, which takes seconds to agree on who reads what.
        let mut parts = TopicPartitionList::new();
        for part in 0..PARTITIONS {
            let added = parts.add_partition_offset(topic, part, Offset::Beginning);
            added.expect("a partition");
        }
        reader.assign(&parts).expect("partitions");
        Cluster { reader, brokers }
    }

    fn options(&self) -> Options {
        Options::default()
            .arg("--manual-clock")
            .set("kafka.brokers", &self.brokers.bootstrap_servers())
            .set("kafka.topics", "crm-*")
    }

    /// The next message.
    fn next(&self) -> OwnedMessage {
        wait::until("a message", || {
            let polled = self.reader.poll(Duration::from_millis(100))?;
            Some(polled.expect("the topic can be read").detach())
        })
    }
}

fn header(message: &OwnedMessage, name: &str) -> String {
    let headers = message.headers().expect("there are headers");
    let found = headers.iter().find(|header| header.key == name);
    let value = found.and_then(|header| header.value).unwrap_or_default();
    String::from_utf8(value.to_vec()).expect("headers are UTF-8")
}

fn body(message: &OwnedMessage) -> Value {
    serde_json::from_slice(message.payload().expect("a body")).expect("JSON")
}

fn hook(sandbox: &Sandbox, events: &[&str]) {
    let hook = json!({"name": "crm", "url": "kafka:crm-members", "events": events});
    sandbox.http().post_ok("/api/v1/webhooks", &hook);
}

/// A segment that has read the past: what comes later is told.
fn built(sandbox: &Sandbox, segment: Value) -> Value {
    let made = sandbox.http().post_ok("/api/v1/segments", &segment);
    let (token, segment) = (made.token(), made.value());
    let path = format!("/api/v1/segments/{}/count?after={token}", segment["id"]);
    wait::until("the segment", || {
        let known = sandbox.http().read(&path);
        known["count"].is_u64().then_some(())
    });
    segment
}

fn paid(id: &str, total: u32) -> Value {
    json!([{"message_id": id, "type": "track", "name": "paid", "identifiers": ["user_id:u1"],
        "properties": {"total": total}}])
}

#[test]
fn who_enters_and_leaves_a_segment_is_told_to_a_topic() {
    let cluster = Cluster::start("crm-members");
    let sandbox = Sandbox::start_with(cluster.options());
    let http = sandbox.http();
    for (url, word) in [
        ("kafka:orders", "kafka.topics does not name"),
        ("kafka:crm members", "is no topic"),
        ("kafka://crm-members", "is no topic"),
    ] {
        let refused = http.json(
            "POST",
            "/api/v1/webhooks",
            &json!({"name": "x", "url": url, "events": ["*"]}),
        );
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains(word), "{}", refused.text());
    }
    hook(&sandbox, &["segment.entered", "segment.left"]);
    let rule = json!({"event": "paid", "agg": "sum", "field": "total", "op": "between", "value": [100, 200]});
    let segment = built(&sandbox, json!({"name": "middle", "rule": rule}));
    let key = sandbox.source("shop");
    let token = sandbox.send(&key, &paid("one", 150));
    let member = sandbox.member("user_id:u1", &token);
    let entered = cluster.next();
    sandbox.send(&key, &paid("two", 150));
    let left = cluster.next();
    for (message, kind) in [(&entered, "segment.entered"), (&left, "segment.left")] {
        let told = body(message);
        assert_eq!(told["type"], kind, "{told}");
        assert_eq!(told["data"]["segment"], segment["id"], "{told}");
        assert_eq!(message.key(), member["id"].as_str().map(str::as_bytes));
        assert_eq!(header(message, "ce_type"), kind);
    }
    // In one partition, so one after the other.
    assert_eq!(entered.partition(), left.partition());
    assert_ne!(header(&entered, "ce_id"), header(&left, "ce_id"));
}

#[test]
fn the_lines_of_an_export_are_sent_to_a_topic() {
    let cluster = Cluster::start("crm-members");
    let sandbox = Sandbox::start_with(cluster.options());
    let http = sandbox.http();
    let key = sandbox.source("shop");
    let people: Vec<Value> = (0..30)
        .map(|number| {
            json!({"message_id": format!("e{number}"), "type": "track", "name": "paid",
                "identifiers": [format!("user_id:u{number}")], "properties": {"total": number}})
        })
        .collect();
    let token = sandbox.send(&key, &people.into());
    sandbox.member("user_id:u29", &token);
    let rule = json!({"event": "paid", "where": [{"attr": "total", "op": "lt", "value": 20}]});
    let segment = built(&sandbox, json!({"name": "small", "rule": rule}));
    let path = format!("/api/v1/segments/{}/exports", segment["id"]);
    for (body, word) in [
        (json!({"to": "kafka:crm-members"}), "jsonl"),
        (
            json!({"to": "kafka:orders", "format": "jsonl"}),
            "kafka.topics",
        ),
    ] {
        let refused = http.json("POST", &path, &body);
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains(word), "{}", refused.text());
    }
    let wanted = json!({"format": "jsonl", "to": "kafka:crm-members",
        "columns": ["id", "event_count", "identifier.user_id", "identifier.phone"]});
    let export = http.post_ok(&path, &wanted).value();
    let own = format!("{path}/{}", export["id"]);
    let done = wait::until("the export to end", || {
        let now = http.read(&own);
        (now["ended"] != Value::Null).then_some(now)
    });
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(
        done["counts"],
        json!({"rows": 20, "bytes": done["counts"]["bytes"], "sent": 20})
    );
    let mut messages: Vec<OwnedMessage> = (0..20).map(|_| cluster.next()).collect();
    for message in &messages {
        let told = body(message);
        assert_eq!(
            message.key(),
            told["id"].as_str().map(str::as_bytes),
            "{told}"
        );
        assert_eq!(
            (&told["event_count"], &told["identifier.phone"]),
            (&json!(1), &Value::Null)
        );
        assert_eq!(header(message, "ce_type"), "segment.member");
    }
    messages.sort_by_key(|message| header(message, "ce_id"));
    messages.dedup_by_key(|message| header(message, "ce_id"));
    assert_eq!(messages.len(), 20, "each line has an id of its own");
    // The same lines are in the file.
    let file = http.get(&format!("{own}/file")).text();
    let mut lines: Vec<Value> = file
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let mut sent: Vec<Value> = messages.iter().map(body).collect();
    for all in [&mut lines, &mut sent] {
        all.sort_by_key(|line| line["id"].to_string());
    }
    assert_eq!(lines, sent);
}

#[test]
fn without_a_cluster_no_topic_can_be_named() {
    let sandbox = Sandbox::start();
    let hook = json!({"name": "crm", "url": "kafka:crm-members", "events": ["*"]});
    let refused = sandbox.http().json("POST", "/api/v1/webhooks", &hook);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(
        refused.text().contains("kafka.brokers"),
        "{}",
        refused.text()
    );
}

#[test]
fn row_33_what_the_cluster_does_not_take_is_sent_again() {
    let cluster = Cluster::start("crm-members");
    let sandbox = Sandbox::start_with(cluster.options());
    sandbox.set_clock("2026-06-10T12:00:00Z");
    hook(&sandbox, &["event"]);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    (cluster.brokers).request_errors(RDKafkaApiKey::Produce, &[denied]);
    let key = sandbox.source("shop");
    sandbox.send(&key, &paid("one", 1));
    let waiting = wait::until("it to wait", || {
        let waiting = sandbox.http().list("/api/v1/effects?state=waiting");
        waiting.into_iter().find(|effect| effect["attempts"] == 1)
    });
    let reason = waiting["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("authorization"), "{waiting}");
    sandbox.set_clock("2026-06-10T12:01:00Z");
    let message = cluster.next();
    assert_eq!(body(&message)["data"]["name"], "paid");
    wait::until("nothing to be left", || {
        let left = sandbox.http().list("/api/v1/effects");
        left.is_empty().then_some(())
    });
}

#[test]
fn row_34_the_topic_has_it_and_we_are_killed() {
    let cluster = Cluster::start("crm-members");
    let options = cluster.options();
    let mut sandbox = Sandbox::new(options.env("FAILPOINTS", "effect-after-call=return"));
    sandbox.boot();
    hook(&sandbox, &["event"]);
    let key = sandbox.source("shop");
    sandbox.send(&key, &paid("one", 1));
    sandbox.wait_for_end();
    let first = cluster.next();
    sandbox.options().environment.clear();
    sandbox.boot();
    let again = cluster.next();
    assert_eq!(header(&first, "ce_id"), header(&again, "ce_id"));
    assert_eq!(first.payload(), again.payload());
}
