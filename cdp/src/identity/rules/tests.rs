use actors::model::{BrandId, Event, EventKind, IdSpace, Identifier, RawJson, SourceId, Time};

use super::*;

fn normal(text: &str) -> String {
    let (kind, value) = text.split_once(':').unwrap();
    let (kind, scope) = kind.split_once('@').unwrap_or((kind, ""));
    match Rules::shipped().normalise(&Identifier::new(kind, scope, value)) {
        Ok(normal) => normal.to_string(),
        Err(why) => why.code().to_owned(),
    }
}

#[test]
fn values_are_made_comparable() {
    for (sent, wanted) in [
        ("phone:13800000000", "phone:+8613800000000"),
        ("phone:+86 138-0000-0000", "phone:+8613800000000"),
        ("phone:008613800000000", "phone:+8613800000000"),
        ("phone:8613800000000", "phone:+8613800000000"),
        ("phone:\u{ff11}3800000000", "phone:+8613800000000"),
        ("phone@shop:13800000000", "phone:+8613800000000"),
        ("phone:+1 415 555 2671", "phone:+14155552671"),
        ("phone:010-62551234", "phone:+861062551234"),
        ("phone:10086001", "phone:10086001"),
        ("phone:abc", "identifier_invalid"),
        ("phone:123", "identifier_invalid"),
        ("phone:11111111111", "identifier_blocked"),
        ("phone:+86 000-0000-0000", "identifier_invalid"),
        ("email: A.B@Example.COM ", "email:a.b@example.com"),
        ("email:nobody", "identifier_invalid"),
        ("user_id: \u{3000}U1 ", "user_id:U1"),
        ("user_id@7:U1", "user_id@7:U1"),
        ("user_id:NULL", "identifier_blocked"),
        ("user_id:\u{ff2e}ull", "identifier_blocked"),
        ("user_id:Undefined", "identifier_blocked"),
        ("user_id:0", "identifier_blocked"),
        (
            "device_id:00000000-0000-0000-0000-000000000000",
            "identifier_blocked",
        ),
        ("device_id:xxxxx", "identifier_blocked"),
        ("device_id:---", "identifier_blocked"),
        ("user_id:1111", "user_id:1111"),
        ("user_id:测试", "identifier_blocked"),
        ("user_id:a\u{0}b", "identifier_invalid"),
        ("user_id: ", "identifier_invalid"),
        ("order:7", "identifier_blocked"),
        ("loyalty_no@x:7", "loyalty_no@x:7"),
    ] {
        assert_eq!(normal(sent), wanted, "{sent:?}");
    }
}

#[test]
fn everything_wrong_is_answered_at_once() {
    let mut form = Rules::shipped().form().clone();
    form.kinds[0].limit = 0;
    form.kinds[1].kind = "user_id".into();
    form.kinds[2].kind = "Ph one".into();
    form.kinds[3].kind = "order".into();
    form.identifiers_max = 1;
    form.region = "XX".into();
    form.traits[0].kind = "nothing".into();
    let errors = Rules::check(form).unwrap_err();
    let found: Vec<_> = errors.iter().map(|e| (&*e.place, e.code)).collect();
    assert_eq!(
        found,
        [
            ("kinds[0].limit", "out_of_range"),
            ("kinds[1].kind", "kind_twice"),
            ("kinds[2].kind", "kind_form"),
            ("kinds[3].kind", "kind_reserved"),
            ("identifiers_max", "out_of_range"),
            ("region", "region_unknown"),
            ("traits[0].kind", "kind_unknown"),
            ("traits[1].kind", "kind_unknown"),
            ("traits[3].kind", "kind_unknown"),
            ("traits[4].kind", "kind_unknown"),
        ]
    );
    assert!(Rules::parse("{\"kinds\":[],\"what\":1}").is_err());
}

#[test]
fn a_definition_reads_back() {
    let rules = Rules::shipped();
    assert_eq!(Rules::parse(&rules.to_json()).unwrap().form(), rules.form());
}

fn event(identifiers: &[&str], traits: &str, properties: &str, context: &str) -> Event {
    let object = |text: &str| RawJson::object(text).ok();
    Event {
        message_id: "m".into(),
        kind: EventKind::Identify,
        name: "identify".into(),
        time: Time(0),
        received: Time(0),
        source: SourceId(1),
        id_space: IdSpace(0),
        brand: BrandId(1),
        test: false,
        identifiers: identifiers
            .iter()
            .map(|text| text.parse().unwrap())
            .collect(),
        linking: Default::default(),
        traits: object(traits),
        properties: object(properties),
        context: object(context),
        order: None,
        place: None,
    }
}

#[test]
fn an_event_names_its_identifiers_strongest_first() {
    let rules = Rules::shipped();
    for (stated, traits, properties, context, wanted) in [
        (
            &["anonymous_id:a", "user_id:u"][..],
            r#"{"phone":13800000000,"email":"X@y.cn","age":3}"#,
            "",
            "",
            "user_id:u phone:+8613800000000 email:x@y.cn anonymous_id:a",
        ),
        (
            &["custom:c", "device_id:d", "email:a@b.c"],
            r#"{"mobile":" 13800000000","phone":"13800000000","email":null}"#,
            "",
            "",
            "phone:+8613800000000 email:a@b.c custom:c device_id:d",
        ),
        (
            &[],
            r#"{"openid":"o1","appid":"wx1"}"#,
            "",
            "",
            "openid@wx1:o1",
        ),
        (
            &[],
            r#"{"openid":"o1"}"#,
            r#"{"$app_id":"wx2"}"#,
            "",
            "openid@wx2:o1",
        ),
        (
            &[],
            r#"{"openid":"o1"}"#,
            "",
            r#"{"app":{"appid":"wx3"}}"#,
            "openid@wx3:o1",
        ),
        (&[], r#"{"openid":"o1"}"#, "", "", "openid:o1"),
        (&["user_id:null"], r#"{"phone":""}"#, "", "", ""),
    ] {
        let named = rules.named(&event(stated, traits, properties, context));
        let found: Vec<_> = named.identifiers.iter().map(|i| i.to_string()).collect();
        assert_eq!(found.join(" "), wanted);
    }
    let named = rules.named(&event(&["user_id:null"], "", "", ""));
    assert_eq!(named.unusable.unwrap().1, Unusable::Blocked);
}
