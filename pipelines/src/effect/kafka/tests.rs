use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use super::*;

/// A cluster of three brokers in this process, with a topic of four partitions.
fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(3).expect("a cluster starts");
    cluster.create_topic("crm", 4, 3).expect("a topic is made");
    cluster
}

fn kafka(cluster: &MockCluster<'static, DefaultProducerContext>, properties: &str) -> Kafka {
    let brokers = cluster.bootstrap_servers().parse().expect("addresses");
    Kafka::new(Settings::read(brokers, Topics::default(), properties).expect("properties"))
}

const BODY: &str = r#"{"type":"segment.entered"}"#;

fn message(topic: &str) -> Message<'_> {
    Message {
        topic,
        key: Some("m_1"),
        id: "msg_1",
        source: "/webhooks/5",
        kind: "segment.entered",
        time: "2026-03-01T00:00:00Z",
        brand: Some(7),
        body: BODY,
    }
}

#[test]
fn names_and_addresses_are_checked() {
    for right in ["", "k:9092", " k-1.example:9092 , [::1]:9092,"] {
        assert!(right.parse::<Brokers>().is_ok(), "{right}");
    }
    for wrong in [
        "k",
        "k:",
        ":9092",
        "k:99999",
        "http://k:9092",
        "k:9092 k2:9092",
    ] {
        assert!(wrong.parse::<Brokers>().is_err(), "{wrong}");
    }
    for wrong in ["a b", "..", ".", "会员", "a/b"] {
        assert!(wrong.parse::<Topics>().is_err(), "{wrong}");
    }
    let topics: Topics = "crm, cdp-*".parse().unwrap();
    let allowed = ["crm", "cdp-members", "cdp-"].map(|name| topics.allow(name));
    assert_eq!(allowed, [true; 3]);
    assert!(!topics.allow("crm-2") && !topics.allow("orders"));
    assert!(Topics::default().allow("anything"));
    let settings = Settings::read(Brokers::default(), topics, "").unwrap();
    let refused = Kafka::new(settings).check("orders").unwrap_err();
    assert_eq!(refused, "kafka.topics does not name `orders`");
}

#[test]
fn a_wrong_property_is_told_by_its_line_and_without_its_value() {
    let read = |text| Settings::read(Brokers::default(), Topics::default(), text);
    assert!(read("# the log-in\n\nclient.id = crm\r\nlinger.ms=20").is_ok());
    for (text, expected) in [
        ("client.id=a\nno.such=s3cret", "line 2: no.such: "),
        ("linger.ms=s3cret", "line 1: linger.ms: "),
        (
            "security.protocol=s3cret",
            "line 1: security.protocol: Invalid value … ",
        ),
        ("\nsasl.password s3cret", "line 2: there is no `=`"),
        ("acks=1", "line 1: acks is set by the server"),
        (
            "bootstrap.servers=s3cret:1",
            "line 1: bootstrap.servers is set by the server",
        ),
    ] {
        let told = read(text).unwrap_err();
        assert!(
            told.starts_with(expected) && !told.contains("s3cret"),
            "{told}"
        );
    }
    let settings = read("sasl.password=s3cret").unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_message_has_the_member_as_key_and_the_headers_of_cloud_events() {
    let cluster = cluster();
    kafka(&cluster, "").send(message("crm")).await.unwrap();
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut parts = TopicPartitionList::new();
    for part in 0..4 {
        let added = parts.add_partition_offset("crm", part, Offset::Beginning);
        added.unwrap();
    }
    reader.assign(&parts).unwrap();
    let got = loop {
        if let Some(got) = reader.poll(Duration::from_secs(1)) {
            break got.unwrap().detach();
        }
    };
    assert_eq!(got.key(), Some(&b"m_1"[..]));
    assert_eq!(got.payload(), Some(BODY.as_bytes()));
    let headers: Vec<(String, String)> = (got.headers().unwrap().iter())
        .map(|header| {
            let value = header.value.unwrap().to_vec();
            (header.key.to_owned(), String::from_utf8(value).unwrap())
        })
        .collect();
    let expected = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", "msg_1"),
        ("ce_source", "/webhooks/5"),
        ("ce_type", "segment.entered"),
        ("ce_time", "2026-03-01T00:00:00Z"),
        ("brand", "7"),
    ];
    assert_eq!(
        headers,
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn what_the_cluster_says_decides_whether_it_is_sent_again() {
    let cluster = cluster();
    // A leader that moves is the client's own affair: it tries again by itself.
    let kafka_of_all = kafka(&cluster, "retry.backoff.ms=1\nretry.backoff.max.ms=5");
    let moved = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    cluster.request_errors(RDKafkaApiKey::Produce, &[moved, moved]);
    kafka_of_all.send(message("crm")).await.unwrap();
    // What no try can change.
    let large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[large]);
    let told = kafka_of_all.send(message("crm")).await.unwrap_err();
    assert!(matches!(told, SendError::Refused(_)), "{told}");
    // What an administrator may change.
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[denied]);
    let told = kafka_of_all.send(message("crm")).await.unwrap_err();
    assert!(matches!(told, SendError::Failed(_)), "{told}");
    // And the next one goes through: what was said of the topic then is asked anew.
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    kafka_of_all.send(message("crm")).await.unwrap();
    // A name that nobody may use leaves nothing on the wire.
    let told = kafka_of_all.send(message("a b")).await.unwrap_err();
    assert!(matches!(told, SendError::Refused(_)), "{told}");
}

#[tokio::test]
async fn many_arrive_or_the_first_that_fails_is_told() {
    let cluster = cluster();
    let kafka = kafka(&cluster, "");
    let mut many = kafka.many().unwrap();
    for _ in 0..3 * FLYING_MAX {
        many.push(message("crm")).await.unwrap();
    }
    many.finish().await.unwrap();
    let producer = kafka.producer().unwrap();
    let marks = |partition| {
        let found = (producer.client().client()).fetch_watermarks("crm", partition, ROOM_WAIT);
        found.map(|(low, high)| high - low).unwrap()
    };
    let kept: i64 = (0..4).map(marks).sum();
    assert_eq!(kept, 3 * FLYING_MAX as i64);
    let large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[large]);
    let mut many = kafka.many().unwrap();
    many.push(message("crm")).await.unwrap();
    let told = many.finish().await.unwrap_err();
    assert!(matches!(told, SendError::Refused(_)), "{told}");
}
