//! Golden tables: requests as real clients send them, and what must come out.

use std::io::Write;

use actors::model::{BrandId, Event, IdSpace, OrderStatus, SourceId};

use super::*;
use crate::{OrderDefaults, write_key};

const RECEIVED: Time = Time(1_795_341_042_000); // 2026-11-22T09:50:42Z

fn source() -> SourceInfo {
    SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(2),
        test: false,
        orders: OrderDefaults::default(),
        sensors: Default::default(),
    }
}

fn request(path: &str, body: impl Into<Vec<u8>>) -> Request<'_> {
    Request {
        path,
        headers: &[],
        received: RECEIVED,
        query: "",
        nonce: 1,
        body: Bytes::from(body.into()),
    }
}

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

fn segment(path: &str, body: impl Into<Vec<u8>>) -> Result<Admitted, AdmitError> {
    admit(Protocol::Segment, &source(), request(path, body))
}

/// The events, or `code field` of those set aside.
fn outcomes(admitted: &Admitted) -> Vec<Result<Event, String>> {
    admitted
        .records
        .iter()
        .map(|record| {
            decode(record).map_err(|reject| {
                format!("{} {}", reject.code, reject.field.unwrap_or_default())
                    .trim()
                    .to_owned()
            })
        })
        .collect()
}

fn one(path: &str, body: impl Into<Vec<u8>>) -> Event {
    let admitted = segment(path, body).expect("it can be taken apart");
    outcomes(&admitted).remove(0).expect("it is an event")
}

fn identifiers(event: &Event) -> Vec<String> {
    event.identifiers.iter().map(ToString::to_string).collect()
}

fn json(raw: &Option<actors::model::RawJson>) -> &str {
    raw.as_ref().map_or("", |raw| raw.as_str())
}

#[test]
fn segment_python() {
    let body = r#"{"batch": [{"integrations": {}, "anonymousId": null, "timestamp": "2026-11-22T09:50:41.080+00:00", "properties": {"price": 12.30, "id": 9007199254740993}, "context": {"library": {"name": "analytics-python", "version": "2.4.0"}}, "userId": "u1", "type": "track", "event": "Viewed", "messageId": "b0b2"}], "sentAt": "2026-11-22T09:50:41.580103+00:00", "writeKey": "WK1"}"#;
    for sent in [body.as_bytes().to_vec(), gzip(body)] {
        let admitted = segment("/v1/batch", sent).expect("taken");
        assert!(admitted.batch);
        let event = outcomes(&admitted).remove(0).expect("an event");
        assert_eq!((&*event.message_id, &*event.name), ("b0b2", "Viewed"));
        assert_eq!(identifiers(&event), ["user_id:u1"]);
        assert_eq!(
            json(&event.properties),
            r#"{"price": 12.30, "id": 9007199254740993}"#
        );
        // received − (sentAt − timestamp) = 42.000 − 0.500
        assert_eq!(event.time, Time(1_795_341_041_500));
        assert_eq!((event.source, event.brand), (SourceId(1), BrandId(2)));
    }
    assert_eq!(
        write_key(None, None, body.as_bytes()).as_deref(),
        Some("WK1")
    );
}

#[test]
fn segment_node() {
    let event = one(
        "/v1/batch",
        r#"{"batch":[{"timestamp":"2026-11-22T09:50:41.080Z","integrations":{"Mixpanel":false},"anonymousId":"a1","event":"Clicked","type":"track","properties":{},"context":{"library":{"name":"@segment/analytics-node","version":"3.1.0"}},"messageId":"node-next-1795341041080-0a1b","_metadata":{"nodeVersion":"22","jsRuntime":"node"}}],"sentAt":"2026-11-22T09:50:42.000Z"}"#,
    );
    assert_eq!(identifiers(&event), ["anonymous_id:a1"]);
    assert_eq!(event.time, Time(1_795_341_041_080));
    assert_eq!(event.properties, None);
    assert_eq!(
        json(&event.context),
        r#"{"library":{"name":"@segment/analytics-node","version":"3.1.0"},"integrations":{"Mixpanel":false}}"#
    );
}

#[test]
fn rudder_python() {
    let event = one(
        "/v1/batch",
        gzip(
            r#"{"batch":[{"type":"identify","userId":"u1","anonymousId":null,"messageId":"r1","originalTimestamp":"2026-11-22T09:50:41.580103+00:00","context":{"library":{"name":"rudder-sdk-python"},"traits":{"phone":"13800000000","city":"上海"}},"integrations":{}}],"sentAt":"2026-11-22T09:50:42.000000+00:00"}"#,
        ),
    );
    assert_eq!(event.kind, EventKind::Identify);
    assert_eq!(
        json(&event.traits),
        r#"{"phone":"13800000000","city":"上海"}"#
    );
    assert_eq!(event.time, Time(1_795_341_041_580));
}

#[test]
fn rudder_node() {
    // gzip with Content-Type: application/x-www-form-urlencoded, sentAt in each event.
    let event = one(
        "/v1/batch",
        gzip(
            r#"{"batch":[{"event":"E","userId":12345678901234567890,"type":"track","messageId":"n1","originalTimestamp":"2026-11-22T09:50:41.080Z","sentAt":"2026-11-22T09:50:41.090Z","context":{},"properties":[]}]}"#,
        ),
    );
    assert_eq!(identifiers(&event), ["user_id:12345678901234567890"]);
    assert_eq!(event.time, Time(1_795_341_041_990));
}

#[test]
fn what_the_batch_says_merges_into_each_event() {
    let admitted = segment("/v1/batch", r#"{"context":{"ip":"1.2.3.4","app":{"v":1}},"integrations":{"All":true},"batch":[{"type":"page","name":"Home","userId":"u","messageId":"1","context":{"app":{"v":2}}},{"type":"screen","userId":"u","messageId":"2"}]}"#).expect("taken");
    let events = outcomes(&admitted);
    let (first, second) = (
        events[0].as_ref().expect("page"),
        events[1].as_ref().expect("screen"),
    );
    assert_eq!(
        json(&first.context),
        r#"{"ip":"1.2.3.4","app":{"v":2},"integrations":{"All":true}}"#
    );
    assert_eq!(json(&first.properties), r#"{"name":"Home"}"#);
    assert_eq!(
        json(&second.context),
        r#"{"ip":"1.2.3.4","app":{"v":1},"integrations":{"All":true}}"#
    );
    assert_eq!((&*first.name, &*second.name), ("page", "screen"));
}

#[test]
fn single_endpoints_say_the_kind() {
    for (path, kind) in [
        ("/v1/identify", EventKind::Identify),
        ("/v1/i", EventKind::Identify),
        ("/v1/track", EventKind::Track),
        ("/v1/t", EventKind::Track),
        ("/v1/page", EventKind::Page),
        ("/v1/p", EventKind::Page),
        ("/v1/screen", EventKind::Screen),
        ("/v1/s", EventKind::Screen),
        ("/v1/group", EventKind::Group),
        ("/v1/g", EventKind::Group),
        ("/v1/alias", EventKind::Alias),
        ("/v1/a/", EventKind::Alias),
    ] {
        let event = one(
            path,
            r#"{"userId":"u","event":"E","groupId":"g","previousId":"p","messageId":"1"}"#,
        );
        assert_eq!(event.kind, kind, "{path}");
        assert_eq!(event.time, RECEIVED);
    }
    assert_eq!(
        segment("/v1/zap", "{}")
            .expect_err("unknown")
            .to_string()
            .as_bytes()[..15],
        *b"there is no `/v"
    );
}

#[test]
fn alias_group_devices_and_external_ids() {
    let ids = |body: &str| identifiers(&one("/v1/batch", format!("{{\"batch\":[{body}]}}")));
    assert_eq!(
        ids(r#"{"type":"alias","userId":"new","previousId":"old"}"#),
        ["user_id:new", "user_id:old"]
    );
    assert_eq!(
        ids(
            r#"{"type":"alias","userId":"new","previousId":"0a1b2c3d-0000-4000-8000-0123456789ab"}"#
        ),
        [
            "user_id:new",
            "anonymous_id:0a1b2c3d-0000-4000-8000-0123456789ab"
        ]
    );
    assert_eq!(
        ids(
            r#"{"type":"track","event":"E","userId":"u","identifiers":["openid@wxabc:o1",{"kind":"member_card","value":42}],
            "context":{"device":{"id":"d1"},"externalIds":[{"id":"X","type":"Android.IDFA","collection":"users","encoding":"none"},{"id":"Y","type":"acc","collection":"accounts"}]}}"#
        ),
        [
            "user_id:u",
            "openid@wxabc:o1",
            "member_card:42",
            "android_idfa:X",
            "device_id:d1"
        ]
    );
    let spaced = SourceInfo {
        id_space: IdSpace(3),
        ..source()
    };
    let admitted = admit(
        Protocol::Segment,
        &spaced,
        request(
            "/v1/t",
            r#"{"userId":"u","event":"E","identifiers":["phone:1","user_id@9:x"]}"#,
        ),
    )
    .expect("taken");
    let event = outcomes(&admitted).remove(0).expect("an event");
    assert_eq!(
        identifiers(&event),
        ["user_id@3:u", "phone:1", "user_id@9:x"]
    );
    let group = one(
        "/v1/group",
        r#"{"userId":"u","groupId":"g1","traits":{"plan":"pro"}}"#,
    );
    assert_eq!(
        json(&group.properties),
        r#"{"group_id":"g1","traits":{"plan":"pro"}}"#
    );
    assert_eq!(group.traits, None);
}

#[test]
fn commerce_events_are_orders() {
    let event = one(
        "/v1/track",
        r#"{"userId":"u","event":"Order Completed","properties":{"order_id":3737550999277696000,"total":27.5,"revenue":25,"currency":"usd","products":[{"product_id":"p1","sku":"45790-32","name":"Monopoly","price":19.005,"quantity":1},{"product_id":"p2","price":"3","quantity":2.5}]}}"#,
    );
    let order = event.order.expect("an order");
    assert_eq!(
        (&*order.order_id, &*order.shop),
        ("3737550999277696000", "0")
    );
    assert_eq!(
        (order.status, order.total),
        (Some(OrderStatus::Completed), Some(2750))
    );
    assert_eq!(order.currency.as_str(), "USD");
    let lines: Vec<_> = order
        .lines
        .iter()
        .map(|l| {
            (
                &*l.line_id,
                &*l.sku,
                l.quantity_milli,
                l.unit_price.0,
                l.amount,
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("1", "45790-32", 1000, 19_005_000, 1901),
            ("2", "p2", 2500, 3_000_000, 750)
        ]
    );

    let refund = one(
        "/v1/track",
        r#"{"userId":"u","event":"order refunded","properties":{"order_id":"1","total":5}}"#,
    );
    let refund = refund.order.expect("an order");
    assert_eq!(
        (refund.status, refund.total),
        (Some(OrderStatus::Refunded), None)
    );
    assert_eq!(
        one(
            "/v1/track",
            r#"{"userId":"u","event":"Order Completed","properties":{"total":5}}"#
        )
        .order,
        None
    );
    let bad = segment("/v1/track", r#"{"userId":"u","event":"Order Completed","properties":{"order_id":"1","products":[{"price":"12,5"}]}}"#).expect("taken");
    assert_eq!(
        outcomes(&bad)[0].as_ref().expect_err("bad"),
        "amount_form properties.products[0].unit_price"
    );
}

#[test]
fn bad_events_are_set_aside_and_their_batch_is_taken() {
    let long = "x".repeat(101);
    let deep = format!(
        r#"{{"type":"track","event":"E","userId":"u","properties":{{"d":{}1{}}}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let large = format!(
        r#"{{"type":"track","event":"E","userId":"u","properties":{{"d":"{}"}}}}"#,
        "x".repeat(33_000)
    );
    for (item, expected) in [
        (
            r#"{"type":"track","event":"E","userId":"u","properties":{"a":NaN}}"#,
            "invalid_json",
        ),
        (
            r#"{"type":"track","event":"E","userId":"u","properties":{"a":-Infinity}}"#,
            "invalid_json",
        ),
        (
            r#"{"type":"track","event":"E","userId":"u","properties":{"a":1e400}}"#,
            "number_range",
        ),
        (&*deep, "too_deep"),
        (&*large, "too_large"),
        ("null", "not_an_object"),
        ("\"{}\"", "not_an_object"),
        ("{}", "type_unknown type"),
        (r#"{"type":"order","userId":"u"}"#, "type_unknown type"),
        (r#"{"type":"track","event":"E"}"#, "identifier_missing"),
        (
            r#"{"type":"track","event":"E","userId":"","anonymousId":null}"#,
            "identifier_missing",
        ),
        (
            r#"{"type":"track","event":"E","userId":{"a":1}}"#,
            "field_type userId",
        ),
        (
            r#"{"type":"track","event":"E","userId":1.5}"#,
            "field_type userId",
        ),
        (r#"{"type":"track","userId":"u"}"#, "name_missing event"),
        (
            r#"{"type":"track","userId":"u","event":7}"#,
            "field_type event",
        ),
        (
            &format!(
                r#"{{"type":"track","userId":"u","event":"{}"}}"#,
                "é".repeat(128)
            ),
            "name_too_long event",
        ),
        (
            &format!(r#"{{"type":"page","userId":"u","messageId":"{long}"}}"#),
            "message_id_too_long",
        ),
        (
            r#"{"type":"page","userId":"u","timestamp":"soon"}"#,
            "time_form timestamp",
        ),
        (
            r#"{"type":"page","userId":"u","timestamp":"1969-12-31T23:59:59Z"}"#,
            "time_range timestamp",
        ),
        (
            r#"{"type":"page","userId":"u","timestamp":"9999-12-31T23:59:59.999Z"}"#,
            "time_range timestamp",
        ),
        (
            r#"{"type":"track","userId":"u","event":"Order Completed","properties":{"order_id":"1","total":-10000000000000.01}}"#,
            "amount_form properties.total",
        ),
        (
            r#"{"type":"track","userId":"u","event":"Order Completed","properties":{"order_id":"1","products":[{"price":9000000000000,"quantity":2}]}}"#,
            "amount_form properties.products[0]",
        ),
        (
            r#"{"type":"alias","userId":"u"}"#,
            "field_missing previousId",
        ),
        (
            r#"{"type":"page","userId":"u","properties":"x"}"#,
            "field_type properties",
        ),
        (
            r#"{"type":"page","userId":"u","identifiers":["Phone:1"]}"#,
            "identifier_form identifiers[0]",
        ),
        (
            &format!(r#"{{"type":"page","userId":"{}"}}"#, "u".repeat(257)),
            "identifier_form userId",
        ),
    ] {
        let body =
            format!(r#"{{"batch":[{item},{{"type":"page","userId":"u","messageId":"good"}}]}}"#);
        let admitted = segment("/v1/batch", body).expect("taken");
        let outcomes = outcomes(&admitted);
        assert_eq!(outcomes.len(), 2, "{item:.80}");
        assert_eq!(
            outcomes[0].as_ref().err().map(String::as_str),
            Some(expected),
            "{item:.80}"
        );
        assert!(outcomes[1].is_ok(), "{item:.80}");
        assert_eq!(admitted.records[0].body, item.as_bytes());
        assert!(!admitted.records[0].message_id.is_empty());
        assert!(admitted.records[0].message_id.len() <= 100);
    }
}

#[test]
fn requests_that_cannot_be_taken_apart_are_refused() {
    let mut bomb = gzip(&" ".repeat(50_000_000));
    assert!(bomb.len() < 500 * 1024);
    let many = format!("{{\"batch\":[{}{{}}]}}", "{},".repeat(2_500));
    for (path, body, code, part) in [
        ("/v1/batch", b"".to_vec(), "body_empty", "send JSON"),
        (
            "/v1/batch",
            b"{\"batch\":[{}".to_vec(),
            "invalid_json",
            "line 1, column 13",
        ),
        (
            "/v1/batch",
            b"{\"batch\":[\n{} {}]}".to_vec(),
            "invalid_json",
            "line 2, column 4",
        ),
        (
            "/v1/batch",
            b"{\"batch\":[],\n \"context\":{\"\xc3\xa9\":NaN}}".to_vec(),
            "invalid_json",
            "line 2, column 17",
        ),
        ("/v1/batch", b"{}".to_vec(), "body_shape", "batch"),
        (
            "/v1/batch",
            b"{\"batch\":null}".to_vec(),
            "body_shape",
            "batch",
        ),
        (
            "/v1/batch",
            b"hello".to_vec(),
            "invalid_json",
            "expected `{`",
        ),
        (
            "/v1/batch",
            vec![b' '; 500 * 1024 + 1],
            "body_too_large",
            "512000",
        ),
        (
            "/v1/batch",
            b"{\"batch\":[\"\xff\"]}".to_vec(),
            "invalid_utf8",
            "byte 11",
        ),
        (
            "/v1/batch",
            b"\x1f\x8bnonsense".to_vec(),
            "invalid_gzip",
            "gzip",
        ),
        (
            "/v1/batch",
            gzip("{\"batch\":[]}")[..20].to_vec(),
            "invalid_gzip",
            "gzip",
        ),
        (
            "/v1/batch",
            std::mem::take(&mut bomb),
            "body_too_large",
            "gzip",
        ),
        ("/v1/batch", many.into_bytes(), "too_many_events", "2501"),
        (
            "/v1/track",
            b"{\"userId\":\"u\",\"event\":\"E\",\"a\":NaN}".to_vec(),
            "invalid_json",
            "column 31",
        ),
        (
            "/v1/track",
            format!("{{\"a\":\"{}\"}}", "x".repeat(33_000)).into_bytes(),
            "event_too_large",
            "32768",
        ),
    ] {
        let error = segment(path, body).expect_err(code);
        assert_eq!(actors::model::Fault::code(&error), code);
        assert!(
            error.to_string().contains(part),
            "{error} should say {part}"
        );
    }
}

#[test]
fn empty_batches_are_a_success() {
    for body in [
        "{\"batch\":[]}",
        "[]",
        " {\"batch\" : [ ] , \"sentAt\":null}\n",
        "\u{feff}{\"batch\":[]}",
    ] {
        assert_eq!(segment("/v1/batch", body).expect("taken").records, []);
    }
}

#[test]
fn clocks_are_corrected_except_on_import() {
    let item = r#"{"type":"page","userId":"u","timestamp":"2001-01-01T00:00:00Z","sentAt":"2001-01-01T00:00:10Z"}"#;
    let batch = format!("{{\"batch\":[{item}]}}");
    assert_eq!(one("/v1/batch", &*batch).time, RECEIVED.plus_ms(-10_000));
    assert_eq!(one("/v1/page", item).time, RECEIVED.plus_ms(-10_000));
    assert_eq!(
        one("/v1/import", &*batch).time,
        Time::from_rfc3339("2001-01-01T00:00:00Z").expect("a time")
    );
    let future = r#"{"userId":"u","timestamp":"2099-01-01T00:00:00Z"}"#;
    assert_eq!(
        one("/v1/page", future).time,
        Time::from_rfc3339("2099-01-01T00:00:00Z").expect("a time")
    );
}

#[test]
fn derived_ids_recognise_a_repeat_and_nothing_else() {
    let id = |body: &str, nonce: u64| {
        let request = Request {
            nonce,
            ..request("/v1/track", body)
        };
        admit(Protocol::Segment, &source(), request)
            .expect("taken")
            .records
            .remove(0)
            .message_id
    };
    let timed = r#"{"userId":"u","event":"E","timestamp":"2026-11-22T09:50:41Z","sentAt":"1"}"#;
    let again = r#"{"userId":"u","event":"E","timestamp":"2026-11-22T09:50:41Z","sentAt":"2"}"#;
    assert_eq!(id(timed, 1), id(again, 2));
    assert!(id(timed, 1).starts_with("auto-"));
    let untimed = r#"{"userId":"u","event":"E"}"#;
    assert_ne!(id(untimed, 1), id(untimed, 2));
    let batch = format!("{{\"batch\":[{timed},{timed}]}}");
    let admitted = segment("/v1/batch", &*batch).expect("taken");
    assert_ne!(
        admitted.records[0].message_id,
        admitted.records[1].message_id
    );
    assert_eq!(segment("/v1/batch", &*batch), Ok(admitted));
}

#[test]
fn half_an_emoji_does_not_lose_the_properties() {
    let event = one(
        "/v1/track",
        r#"{"userId":"u","event":"E","properties":{"nick":"a\ud83d"}}"#,
    );
    assert_eq!(
        event.properties.expect("there").parse()["nick"],
        "a\u{fffd}"
    );
}

#[test]
fn keys_are_found_where_clients_put_them() {
    for (authorization, query, body, expected) in [
        (Some("Basic V1JJVEVLRVk6"), None, "", Some("WRITEKEY")),
        (Some("basic V1JJVEVLRVk6cHc="), None, "", Some("WRITEKEY")),
        (
            Some("Bearer K1"),
            Some("writeKey=K2"),
            "{\"writeKey\":\"K3\"}",
            Some("K1"),
        ),
        (Some("Basic ???"), Some("a=b&writeKey=K2"), "", Some("K2")),
        (
            None,
            Some("writeKey="),
            "{\"a\":{\"writeKey\":\"no\"},\"writeKey\":\"K3\"}",
            Some("K3"),
        ),
        (Some("Basic Og=="), None, "[]", None),
        (None, None, "\u{0}", None),
    ] {
        assert_eq!(
            write_key(authorization, query, body.as_bytes()).as_deref(),
            expected
        );
    }
}

#[test]
fn a_dead_letter_can_be_fixed() {
    let admitted = segment(
        "/v1/batch",
        r#"{"context":{"ip":"1"},"batch":[{"type":"track","messageId":"m","userId":"u"}]}"#,
    )
    .expect("taken");
    let dead = &admitted.records[0];
    assert!(decode(dead).is_err());
    let fixed = readmit(
        dead,
        Bytes::from_static(br#"{"type":"track","event":"E","userId":"u"}"#),
    );
    let event = decode(&fixed).expect("fixed");
    assert_eq!(
        (&*event.message_id, &*event.name, json(&event.context)),
        ("m", "E", "{\"ip\":\"1\"}")
    );
    assert!(decode(&readmit(&fixed, Bytes::from_static(b"\xff"))).is_err());
}

fn other(protocol: Protocol, body: &str) -> Vec<Result<Event, String>> {
    outcomes(&admit(protocol, &source(), request("/", body)).expect("taken"))
}

#[test]
fn own_json_as_one_as_list_as_lines() {
    let item = r#"{"message_id":"1","name":"E","time":"2026-11-22T17:50:41+08:00","identifiers":["phone:138"],"properties":{"a":1}}"#;
    for body in [
        item.to_owned(),
        format!("[{item}]"),
        format!("{{\"events\":[{item}]}}"),
        format!("{item}\r\n\n{item}\n"),
    ] {
        for event in other(Protocol::Own, &body) {
            let event = event.expect("an event");
            assert_eq!(
                (event.kind, &*event.name, &*event.message_id),
                (EventKind::Track, "E", "1")
            );
            assert_eq!(event.time, Time(1_795_341_041_000));
        }
    }
    let lines = other(Protocol::Own, &format!("{item}\n{{\"broken\":\n{item}"));
    assert_eq!(
        lines.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true]
    );
    for (item, expected) in [
        (r#"{"messageId":"1","name":"E"}"#, "field_unknown messageId"),
        (r#"{"name":"E"}"#, "identifier_missing"),
        ("{}", "type_unknown type"),
        (r#"{"type":"order"}"#, "field_missing order"),
        (
            r#"{"order":{"order_id":"1","status":"gone"}}"#,
            "word_unknown order.status",
        ),
        (
            r#"{"order":{"order_id":"1","sum":1}}"#,
            "field_unknown order.sum",
        ),
        (
            r#"{"order":{"order_id":"1","currency":"yuan"}}"#,
            "currency_form order.currency",
        ),
        (
            r#"{"order":{"status":"paid"}}"#,
            "field_missing order.order_id",
        ),
        (
            r#"{"name":"E","identifiers":["phone:1"],"place":{"lat":121,"lon":31}}"#,
            "place_range place",
        ),
    ] {
        let got = other(Protocol::Own, &format!("[{item}]")).remove(0);
        assert_eq!(got.expect_err(item), expected);
    }
}

#[test]
fn own_orders_keep_every_digit() {
    let event = other(Protocol::Own, r#"{"message_id":"1","time":"2026-11-22T09:50:41Z","order":{"order_id":"E1","shop":"s","status":"paid","total":"12.505","lines":[{"sku":"S1","quantity":"0.333","unit_price":"10.000001","name":"奶粉"},{"line_id":"x","amount":-2}]}}"#).remove(0).expect("an order");
    let order = event.order.expect("an order");
    assert_eq!(
        (order.total, order.status, &*order.shop),
        (Some(1251), Some(OrderStatus::Paid), "s")
    );
    let lines: Vec<_> = order
        .lines
        .iter()
        .map(|l| (&*l.line_id, l.quantity_milli, l.unit_price.0, l.amount))
        .collect();
    assert_eq!(lines, [("1", 333, 10_000_001, 333), ("x", 1000, 0, -200)]);
    assert_eq!(
        (event.kind, &*event.name, event.identifiers.len()),
        (EventKind::Order, "order", 0)
    );
}

#[test]
fn scans_have_code_role_and_place() {
    let event = other(Protocol::Scan, r#"{"message_id":"s","code":"C1","identifiers":["openid@wx:o"],"device":"d","campaign":"c","place":{"lat":31.17530398364597,"lon":121.531541859215,"datum":"GCJ-02","accuracy_m":30,"source":"gps"},"properties":{"store":"S9"}}"#).remove(0).expect("a scan");
    assert_eq!(identifiers(&event), ["openid@wx:o", "device_id:d"]);
    assert_eq!(
        json(&event.properties),
        r#"{"store":"S9","code":"C1","role":"consumer","campaign":"c","device":"d","region":{"code":"310115","province":"上海市","city":"上海市","district":"浦东新区","dataset":"cn-2026-07"},"place_source":"gps"}"#
    );
    let place = event.place.expect("a place");
    assert!((place.lat - 31.1774276).abs() < 1e-6 && (place.lon - 121.5272106).abs() < 1e-6);
    let till = other(
        Protocol::Scan,
        r#"[{"code":1,"role":"pda","device":"d"},{"code":"x","role":"boss"},{"role":"pda"}]"#,
    );
    assert_eq!(
        identifiers(till[0].as_ref().expect("a scan")),
        Vec::<String>::new()
    );
    assert_eq!(till[1].as_ref().expect_err("bad"), "word_unknown role");
    assert_eq!(till[2].as_ref().expect_err("bad"), "field_missing code");
}

#[test]
fn cloud_events_structured_batch_binary() {
    let item = r#"{"specversion":"1.0","id":"A 1","source":"/crm","type":"com.x.opened","time":"2026-11-22T09:50:41Z","subject":"openid@wx:o1","tenant":"t","data":{"a":1,"identifiers":["phone:138"]}}"#;
    let events = [
        other(Protocol::CloudEvents, item),
        other(Protocol::CloudEvents, &format!("[{item}]")),
    ]
    .concat();
    for event in events {
        let event = event.expect("an event");
        assert_eq!(
            (&*event.message_id, &*event.name),
            ("/crm A 1", "com.x.opened")
        );
        assert_eq!(identifiers(&event), ["openid@wx:o1", "phone:138"]);
        assert_eq!(event.time, Time(1_795_341_041_000));
        assert!(json(&event.context).contains("\"tenant\":\"t\""));
        assert!(!json(&event.context).contains("data"));
    }
    let headers = [
        ("CE-Id", "1"),
        ("ce-source", "/caf%C3%A9"),
        ("ce-type", "tributary.order.paid"),
        ("ce-specversion", "1.0"),
        ("content-type", "application/json"),
        ("host", "h"),
    ];
    let binary = Request {
        headers: &headers,
        ..request(
            "/",
            r#"{"order_id":"E1","total":"1.50","identifiers":["phone:138"]}"#,
        )
    };
    let admitted = admit(Protocol::CloudEvents, &source(), binary).expect("taken");
    let event = outcomes(&admitted).remove(0).expect("an order");
    assert_eq!(&*event.message_id, "/café 1");
    let order = event.order.expect("an order");
    assert_eq!(
        (&*order.order_id, order.total, order.status),
        ("E1", Some(150), Some(OrderStatus::Paid))
    );

    let scan = other(Protocol::CloudEvents, r#"{"specversion":"1.0","id":"1","source":"s","type":"tributary.scan.clerk","data":{"code":"C"}}"#).remove(0).expect("a scan");
    assert_eq!(json(&scan.properties), r#"{"code":"C","role":"clerk"}"#);
    let packed = other(Protocol::CloudEvents, r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"phone:1","data_base64":"eyJhIjoxfQ=="}"#).remove(0).expect("an event");
    assert_eq!(json(&packed.properties), r#"{"a":1}"#);
    let long = format!(
        r#"{{"specversion":"1.0","id":"{}","source":"s","type":"t","subject":"phone:1"}}"#,
        "i".repeat(200)
    );
    assert!(
        other(Protocol::CloudEvents, &long)
            .remove(0)
            .expect("an event")
            .message_id
            .starts_with("ce-")
    );
    for (item, expected) in [
        (
            r#"{"id":"1","source":"s","type":"t"}"#,
            "field_missing specversion",
        ),
        (
            r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#,
            "word_unknown specversion",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#,
            "identifier_missing",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"tributary.order.paid"}"#,
            "field_missing data",
        ),
    ] {
        assert_eq!(
            other(Protocol::CloudEvents, item)
                .remove(0)
                .expect_err(item),
            expected
        );
    }
}
