use actors::model::{BrandId, IdSpace, SourceId, Time};

use crate::{Protocol, Request, SourceInfo, admit, decode};

fn told(event: &str) -> Result<String, String> {
    let source = SourceInfo {
        id: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(0),
        test: false,
        orders: Default::default(),
        sensors: Default::default(),
    };
    let request = Request {
        path: "/v1/events",
        headers: &[],
        received: Time(1_700_000_000_000),
        query: "",
        nonce: 1,
        body: event.to_owned().into(),
    };
    let admitted = admit(Protocol::Own, &source, request).expect("JSON");
    match decode(&admitted.records[0]) {
        Ok(event) => Ok(event.traits.map_or("-".into(), |it| it.as_str().to_owned())),
        Err(reject) => Err(format!(
            "{} {}",
            reject.code,
            reject.field.unwrap_or_default()
        )),
    }
}

#[test]
fn consents_tell_attributes_and_nothing_else_does() {
    let consent = |properties: &str| {
        told(&format!(
            r#"{{"message_id":"c","name":"consent","identifiers":["phone:138"],"properties":{properties}}}"#
        ))
    };
    assert_eq!(
        consent(r#"{"channel":"sms","purpose":"marketing","state":"withdrawn","page":"/me"}"#),
        Ok(r#"{"consent:sms:marketing":"withdrawn"}"#.into())
    );
    assert_eq!(
        consent(r#"{"channel":"*","purpose":"*","state":"granted"}"#),
        Ok(r#"{"consent:*:*":"granted"}"#.into())
    );
    for (properties, refused) in [
        (
            r#"{"channel":"sms","purpose":"marketing"}"#,
            "field_missing properties.state",
        ),
        (
            r#"{"purpose":"m","state":"granted"}"#,
            "field_missing properties.channel",
        ),
        (
            r#"{"channel":"S M S","purpose":"m","state":"granted"}"#,
            "word_unknown properties.channel",
        ),
        (
            r#"{"channel":"sms","purpose":"a:b","state":"granted"}"#,
            "word_unknown properties.purpose",
        ),
        (
            r#"{"channel":"sms","purpose":"m","state":"maybe"}"#,
            "word_unknown properties.state",
        ),
        (
            r#"{"channel":1,"purpose":"m","state":"granted"}"#,
            "field_type properties.channel",
        ),
    ] {
        assert_eq!(consent(properties), Err(refused.into()), "{properties}");
    }
    let identify = |traits: &str| {
        told(&format!(
            r#"{{"message_id":"i","type":"identify","identifiers":["phone:138"],"traits":{traits}}}"#
        ))
    };
    assert_eq!(
        identify(r#"{"x":"consent:y"}"#),
        Ok(r#"{"x":"consent:y"}"#.into())
    );
    assert_eq!(
        identify(r#"{"consent:sms:marketing":"granted"}"#),
        Err("attribute_reserved traits".into())
    );
}
