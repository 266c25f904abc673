//! Golden tables: forms and records as the SDKs send them, and what must come out.

use std::io::Write;

use actors::model::{BrandId, IdSpace, SourceId, Time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::{Verdict, decode as decode_record, readmit};

const RECEIVED: Time = Time(1_795_341_142_000);

fn source(mode: IdMapping, keys: &[&str]) -> SourceInfo {
    SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(2),
        test: false,
        orders: Default::default(),
        sensors: crate::SensorsSettings {
            id_mapping: mode,
            id_keys: keys.iter().map(|key| (*key).into()).collect(),
        },
    }
}

fn send(query: &str, body: impl Into<Vec<u8>>) -> Result<Admitted, AdmitError> {
    send_to(&source(IdMapping::One, &[]), query, body)
}

fn send_to(
    source: &SourceInfo,
    query: &str,
    body: impl Into<Vec<u8>>,
) -> Result<Admitted, AdmitError> {
    let request = Request {
        path: "/sa",
        query,
        headers: &[],
        received: RECEIVED,
        nonce: 7,
        body: Bytes::from(body.into()),
    };
    crate::admit(Protocol::Sensors, source, request)
}

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

fn percent(text: &str) -> String {
    text.replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

/// The codes of what was set aside, and how many records there are.
fn codes(admitted: &Admitted) -> (usize, Vec<&'static str>) {
    let codes = admitted.rejected().map(|(_, reject)| reject.code.as_str());
    (admitted.records.len(), codes.collect())
}

const TRACK: &str = r#"{"type":"track","event":"ViewProduct","time":1795341141180,"_track_id":626441180,"_flush_time":1795341141990,"distinct_id":"oOPENID1","anonymous_id":"oOPENID1","identities":{"$identity_mp_id":"1795","$identity_mp_wxabc_openid":"oOPENID1","$identity_anonymous_id":"oOPENID1"},"lib":{"$lib":"MiniProgram"},"properties":{"$app_id":"wxabc","price":1.50}}"#;

#[test]
fn every_form_holds_the_same_record() {
    let plain = STANDARD.encode(TRACK);
    let packed = STANDARD.encode(gzip(TRACK));
    let list = STANDARD.encode(gzip(&format!("[{TRACK}]")));
    let forms: Vec<(String, Vec<u8>)> = vec![
        (
            format!("project=default&token=T&data={}", percent(&plain)),
            vec![],
        ),
        (
            "project=default".into(),
            format!("data={}&gzip=1", percent(&packed)).into(),
        ),
        (
            String::new(),
            format!("data_list={}&gzip=1", percent(&list)).into(),
        ),
        (
            String::new(),
            format!("gzip=1&data_list={list}&instant_event=true").into(),
        ),
        (String::new(), gzip(&format!("data={}", percent(&plain)))),
        (
            String::new(),
            format!("\u{feff} data={} \n", plain.trim_end_matches('=')).into(),
        ),
        (String::new(), TRACK.into()),
        (String::new(), format!("[{TRACK}]").into()),
    ];
    let mut ids = std::collections::BTreeSet::new();
    for (query, body) in forms {
        let admitted = send(&query, body).expect("taken");
        assert_eq!(codes(&admitted), (1, vec![]), "{query}");
        ids.insert((
            query.contains("project"),
            admitted.records[0].message_id.clone(),
        ));
    }
    assert_eq!(ids.len(), 2, "one id for each project: {ids:?}");
}

#[test]
fn the_checksum_is_that_of_the_base64_text() {
    for (form, expected) in [
        ("data=eyJhIjoxfQ%3D%3D&crc=-1930075513", "type_unknown"),
        (
            "data=eyJhIjoxfQ%3D%3D&ext=crc%3D-1930075513",
            "type_unknown",
        ),
        ("data=eyJhIjoxfQ%3D%3D&crc=2364891783", "type_unknown"),
        ("data=eyJhIjoxfQ%3D%3D&crc=-1930075512", "crc_mismatch"),
        ("data=eyJhIjoxfQ%3D%3D&crc=x", "data_form"),
        ("data=eyJhIjoxfQ%3D%3D", "type_unknown"),
        ("data=%%%", "data_form"),
        ("data=", "data_form"),
        ("data=AAAA&gzip=1", "data_form"),
        ("data=H4sIAAAA&gzip=1", "data_form"),
        ("data=AAAA&gzip=9", "data_form"),
        ("data=YWJj", "data_form"),
        ("data=WzEse31d", "not_an_object"),
        ("data=W3td", "invalid_json"),
        ("data=eyJhIg%3D%3D", "invalid_json"),
        ("hello", "not_an_object"),
        ("crc=1", "data_form"),
    ] {
        let admitted = send("", form).expect("set aside, not refused");
        assert_eq!(codes(&admitted).1.first(), Some(&expected), "{form}");
        for record in &admitted.records {
            let again = readmit(record, record.body.clone());
            assert_eq!(again.verdict, record.verdict, "{form}");
        }
        let repeat = send("", form).expect("set aside");
        assert_eq!(repeat.records[0].message_id, admitted.records[0].message_id);
    }
    assert_eq!(send("token=T", ""), Err(AdmitError::Empty));
}

#[test]
fn a_bomb_costs_no_more_than_a_batch() {
    let bomb = "0".repeat(40 << 20);
    let form = format!("data={}&gzip=1", percent(&STANDARD.encode(gzip(&bomb))));
    assert_eq!(
        codes(&send("", form).expect("set aside")),
        (1, vec!["too_large"])
    );
    let fat = "x".repeat(crate::limits::SENSORS_BODY_BYTES + 1);
    assert!(matches!(
        send("", fat),
        Err(AdmitError::BodyTooLarge { .. })
    ));
}

#[test]
fn tokens_are_not_kept() {
    let admitted = send("token=SECRET&project=p&data=%%%", "").expect("set aside");
    assert_eq!(&admitted.records[0].body[..], b"data=%%%");
}

/// `identifiers | kind name | linking | traits or properties`, or the code.
fn outcome(source: &SourceInfo, record: &str) -> String {
    let admitted = send_to(source, "", record).expect("taken");
    match decode_record(&admitted.records[0]) {
        Err(reject) => format!("{} {}", reject.code, reject.field.unwrap_or_default()),
        Ok(event) => {
            let ids: Vec<String> = event.identifiers.iter().map(ToString::to_string).collect();
            let told = event.traits.or(event.properties);
            let told = told.as_ref().map_or("", |json| json.as_str());
            format!(
                "{} | {} {} | {:?} | {told}",
                ids.join(" "),
                event.kind.as_str(),
                event.name,
                event.linking
            )
        }
    }
}

#[test]
fn every_type_of_record_is_read() {
    let one = source(IdMapping::One, &[]);
    for (record, expected) in [
        (
            TRACK,
            r#"device_id:1795 openid@wxabc:oOPENID1 anonymous_id:oOPENID1 | track ViewProduct | PairOnce | {"$app_id":"wxabc","price":1.50}"#,
        ),
        (
            r#"{"type":"track_signup","event":"$SignUp","time":1,"distinct_id":"u1","login_id":"u1","original_id":"oOPENID1","anonymous_id":"oOPENID1","identities":{"$identity_login_id":"u1"}}"#,
            "user_id:u1 anonymous_id:oOPENID1 | track $SignUp | PairOnce | ",
        ),
        (
            r#"{"type":"track_signup","event":"$SignUp","time":1,"distinct_id":"u1","original_id":"a1","properties":{}}"#,
            "user_id:u1 anonymous_id:a1 | track $SignUp | PairOnce | ",
        ),
        (
            r#"{"type":"track_id_bind","event":"$BindID","time":1,"distinct_id":"u1","identities":{"$identity_login_id":"u1","$identity_mobile":"13800000000"}}"#,
            "user_id:u1 phone:13800000000 | track $BindID | Bind | ",
        ),
        (
            r#"{"type":"track_id_unbind","event":"$UnbindID","time":1,"distinct_id":"u1","identities":{"$identity_mobile":"13800000000"}}"#,
            "phone:13800000000 | track $UnbindID | TakeOut | ",
        ),
        (
            r#"{"type":"profile_set","time":1,"distinct_id":"u1","properties":{"name":"王","$is_login_id":true,"x":null}}"#,
            r#"user_id:u1 | identify profile_set | PairOnce | {"name":"王"}"#,
        ),
        (
            r#"{"type":"profile_set_once","time":1,"distinct_id":"a1","properties":{"first":"2026-11-22 10:00:00.7","b":"2026-11-22 10:00:00.07"}}"#,
            r#"distinct_id:a1 | identify profile_set_once | PairOnce | {"first":"2026-11-22 10:00:00.007","b":"2026-11-22 10:00:00.007"}"#,
        ),
        (
            r#"{"type":"profile_increment","time":1,"distinct_id":"a1","properties":{"n":2}}"#,
            r#"distinct_id:a1 | identify profile_increment | PairOnce | {"n":2}"#,
        ),
        (
            r#"{"type":"profile_increment","time":1,"distinct_id":"a1","properties":{"n":"2"}}"#,
            "value_form properties.n",
        ),
        (
            r#"{"type":"profile_append","time":1,"distinct_id":"a1","properties":{"t":["a"]}}"#,
            r#"distinct_id:a1 | identify profile_append | PairOnce | {"t":["a"]}"#,
        ),
        (
            r#"{"type":"profile_append","time":1,"distinct_id":"a1","properties":{"t":"a"}}"#,
            "value_form properties.t",
        ),
        (
            r#"{"type":"profile_unset","time":1,"distinct_id":"u1","properties":{"f":true,"$is_login_id":true}}"#,
            r#"user_id:u1 | identify profile_unset | PairOnce | {"f":null}"#,
        ),
        (
            r#"{"type":"profile_delete","time":1,"distinct_id":"u1","properties":{"$is_login_id":true}}"#,
            "user_id:u1 | identify profile_delete | PairOnce | ",
        ),
        (
            r#"{"type":"item_set","time":1,"item_type":"sku","item_id":"S1","properties":{"name":"奶粉"}}"#,
            r#" | item item_set | Join | {"item_type":"sku","item_id":"S1","properties":{"name":"奶粉"}}"#,
        ),
        (
            r#"{"type":"item_delete","time":1,"item_type":"sku","item_id":7,"properties":{}}"#,
            r#" | item item_delete | Join | {"item_type":"sku","item_id":"7"}"#,
        ),
        (
            r#"{"type":"item_set","time":1,"item_type":"sku"}"#,
            "field_missing item_id",
        ),
        (
            r#"{"type":"item_set","time":1,"item_type":"a b","item_id":"1"}"#,
            "name_form item_type",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"$identity_mobile+13800000000","event":"E","identities":{"$identity_mobile":"13800000000"}}"#,
            "phone:13800000000 | track E | PairOnce | ",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"u","event":"user_id"}"#,
            "name_form event",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"u","event":"User_Tag1"}"#,
            "name_form event",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"u","event":"1a"}"#,
            "name_form event",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"u","event":"购买"}"#,
            "name_form event",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"u"}"#,
            "name_missing event",
        ),
        (
            r#"{"type":"track","time":1,"event":"E"}"#,
            "identifier_missing ",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"u","event":"E","properties":{"Time":1}}"#,
            "name_form properties",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"u","event":"E","properties":{"a":{}}}"#,
            "value_form properties.a",
        ),
        (
            r#"{"type":"track","time":1,"distinct_id":"u","event":"E","properties":{"a":[1]}}"#,
            "value_form properties.a",
        ),
        (
            r#"{"type":"track","time":"soon","distinct_id":"u","event":"E"}"#,
            "time_form time",
        ),
        (
            r#"{"type":"jump","time":1,"distinct_id":"u"}"#,
            "type_unknown type",
        ),
    ] {
        assert_eq!(outcome(&one, record), expected, "{record}");
    }
    let long = |n| {
        format!(
            r#"{{"type":"track","time":1,"distinct_id":"u","event":"E","properties":{{"a":"{}"}}}}"#,
            "王".repeat(n)
        )
    };
    assert!(outcome(&one, &long(8_191)).starts_with("distinct_id:u | track E"));
    assert_eq!(outcome(&one, &long(8_192)), "value_form properties.a");
}

#[test]
fn ids_are_declared_in_3_0_and_passed_over_before() {
    let record = r#"{"type":"track","event":"E","time":1,"distinct_id":"u1","identities":{"$identity_login_id":"u1","crm_no":"7","$identity_mp_unionid":"U","$identity_byte_mp_id":"b"}}"#;
    let check = |mode, keys: &[&str], expected: &str| {
        assert_eq!(outcome(&source(mode, keys), record), expected, "{mode:?}");
    };
    let usual = "user_id:u1 unionid:U device_id:b | track E | ";
    check(IdMapping::One, &[], &format!("{usual}PairOnce | "));
    check(IdMapping::Two, &[], &format!("{usual}Join | "));
    check(
        IdMapping::Three,
        &[],
        "identity_undeclared identities.crm_no",
    );
    check(
        IdMapping::Three,
        &["crm_no"],
        "user_id:u1 crm_no:7 unionid:U device_id:b | track E | Join | ",
    );
}

#[test]
fn times_are_corrected_by_a_minute_or_more_and_never_those_of_history() {
    let time = |extra: &str| {
        let record = format!(r#"{{"type":"track","event":"E","distinct_id":"u"{extra}}}"#);
        let admitted = send("", record).expect("taken");
        decode_record(&admitted.records[0])
            .expect("an event")
            .time
            .0
    };
    // Received 1_795_341_142_000.
    for (extra, expected) in [
        (r#","time":1795341000000"#, 1_795_341_000_000),
        (r#","time":1795341000"#, 1_795_341_000_000),
        (
            r#","time":1795341000000,"_flush_time":1795341141000"#,
            1_795_341_000_000,
        ),
        (
            r#","time":1795340000000,"_flush_time":1795340142000"#,
            1_795_341_000_000,
        ),
        (
            r#","time":1700000000000,"time_free":true,"_flush_time":1700000000000"#,
            1_700_000_000_000,
        ),
        ("", RECEIVED.0),
    ] {
        assert_eq!(time(extra), expected, "{extra}");
    }
}

#[test]
fn a_repeat_is_recognised() {
    let id = |record: &str| {
        send("", record).expect("taken").records[0]
            .message_id
            .clone()
    };
    let tracked = |flush: u64, track: &str, n: u8| {
        id(&format!(
            r#"{{"type":"track","event":"E","time":5,"distinct_id":"u","_flush_time":{flush}{track},"properties":{{"n":{n}}}}}"#
        ))
    };
    assert_eq!(tracked(1, "", 1), tracked(2, "", 1));
    assert_ne!(tracked(1, "", 1), tracked(1, "", 2));
    assert_eq!(
        tracked(1, r#","_track_id":9"#, 1),
        tracked(2, r#","_track_id":9"#, 2)
    );
    assert_ne!(
        tracked(1, r#","_track_id":9"#, 1),
        tracked(1, r#","_track_id":8"#, 1)
    );
    let untimed = r#"{"type":"track","event":"E","distinct_id":"u"}"#;
    assert!(id(untimed).starts_with("auto-"));
    let record = &send("", TRACK).expect("taken").records[0];
    assert_eq!(record.verdict, Verdict::Accepted);
    assert!(record.message_id.starts_with("sa-") && record.message_id.len() == 35);
}
