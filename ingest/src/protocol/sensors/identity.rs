//! Who a record is about: distinct, login, anonymous and original id and the map of typed ids, as identifiers.

use std::borrow::Cow;

use actors::model::{DISTINCT_KIND, Identifier, Linking};

use super::record::{self, Fields, Shared, Type};
use crate::json::{self, Value};
use crate::protocol::{Identifiers, wrong_type};
use crate::{IdMapping, RawRecord, Reject, RejectCode};

/// The id keys that the vendor's SDKs use themselves, and the kinds that they mean. Those of openids and unionids have
/// the app in the middle.
const KEYS: &[(&str, &str)] = &[
    ("$identity_login_id", "user_id"),
    ("$identity_mobile", "phone"),
    ("$identity_email", "email"),
    ("$identity_anonymous_id", "anonymous_id"),
    ("$identity_cookie_id", "anonymous_id"),
    ("$identity_mp_id", "device_id"),
    ("$identity_ali_mp_id", "device_id"),
    ("$identity_byte_mp_id", "device_id"),
    ("$identity_baidu_mp_id", "device_id"),
    ("$identity_qq_mp_id", "device_id"),
    ("$identity_kuaishou_mp_id", "device_id"),
    ("$identity_xhs_mp_id", "device_id"),
    ("$identity_taobao_uuid", "device_id"),
    ("$identity_android_id", "device_id"),
    ("$identity_android_uuid", "device_id"),
    ("$identity_ios_uuid", "device_id"),
    ("$identity_idfv", "device_id"),
    ("$identity_imei", "device_id"),
    ("$identity_harmonyos_uuid", "device_id"),
    ("$identity_idfa", "idfa"),
    ("$identity_oaid", "oaid"),
];

/// What a key means: kind and scope.
struct Meaning<'a> {
    kind: Cow<'a, str>,
    scope: &'a str,
    known: bool,
}

/// The record's identifiers. In 3.0 a key that nobody declared rejects the record; before, it is passed over.
pub(super) fn identifiers(
    record: &RawRecord,
    fields: &Fields<'_>,
    kind: Type,
    shared: &Shared<'_>,
) -> Result<Vec<Identifier>, Reject> {
    let mut found = Identifiers::new(record);
    let distinct = record::id(fields.distinct_id, "distinct_id")?;
    let login = record::id(fields.login_id, "login_id")?;
    let anonymous = record::id(fields.anonymous_id, "anonymous_id")?;
    let original = record::id(fields.original_id, "original_id")?;

    // Whether the distinct id is told already under another name.
    let mut told = distinct.is_none();
    match json::read(fields.identities) {
        Value::Null => {}
        Value::Object(map) => {
            for (key, raw) in json::members(map) {
                let place = format!("identities.{key}");
                let Some(value) = record::id(raw, &place)? else {
                    continue;
                };
                told |= distinct.as_ref() == Some(&value);
                add(&mut found, &key, &value, &place, shared)?;
            }
        }
        _ => return Err(wrong_type("identities", "an object")),
    }
    if kind == Type::Track(Linking::TakeOut) && !is_empty(fields.identities) {
        // Only what is named is taken out; the distinct id is who it is taken from.
        return Ok(found.finish());
    }
    if let Some(login) = &login {
        found.add("user_id", "", login, "login_id")?;
        told |= distinct.as_ref() == Some(login);
    }
    let signup = json::text(fields.kind) == "track_signup";
    if let Some(distinct) = &distinct {
        match distinct.split_once('+') {
            Some((key, value)) if key.starts_with("$identity_") && !value.is_empty() => {
                add(&mut found, key, value, "distinct_id", shared)?;
            }
            _ if signup || fields.is_login() => {
                found.add("user_id", "", distinct, "distinct_id")?;
            }
            _ if told || anonymous.as_ref() == Some(distinct) => {}
            // Server SDKs do not say whether it is a login or a device: identity knows.
            _ => found.add(DISTINCT_KIND, "", distinct, "distinct_id")?,
        }
    }
    for (id, field) in [(&anonymous, "anonymous_id"), (&original, "original_id")] {
        // Before 3.0 the original id is the device's; a login that signs up again is no device of itself.
        if let Some(id) = id
            && !(signup && Some(id) == distinct.as_ref())
            && login.as_ref() != Some(id)
        {
            match id.split_once('+') {
                Some((key, value)) if key.starts_with("$identity_") && !value.is_empty() => {
                    add(&mut found, key, value, field, shared)?;
                }
                _ => found.add("anonymous_id", "", id, field)?,
            }
        }
    }
    Ok(found.finish())
}

fn is_empty(identities: &str) -> bool {
    json::members(identities).next().is_none()
}

fn add(
    found: &mut Identifiers<'_>,
    key: &str,
    value: &str,
    place: &str,
    shared: &Shared<'_>,
) -> Result<(), Reject> {
    let meaning = meaning(key);
    if !meaning.known && !shared.id_keys.iter().any(|declared| declared == key) {
        if shared.id_mapping < IdMapping::Three {
            return Ok(());
        }
        return Err(Reject::at(
            RejectCode::IdentityUndeclared,
            place,
            format!("the source does not declare the id key `{key}`"),
        ));
    }
    found.add(&meaning.kind, meaning.scope, value, place)
}

fn meaning(key: &str) -> Meaning<'_> {
    if let Some((_, kind)) = KEYS.iter().find(|(known, _)| *known == key) {
        return Meaning {
            kind: Cow::Borrowed(kind),
            scope: "",
            known: true,
        };
    }
    let short = key
        .strip_prefix("$identity_")
        .unwrap_or(key.trim_start_matches('$'));
    for kind in ["openid", "unionid"] {
        if key.starts_with("$identity_")
            && let Some(app) = short.strip_suffix(kind)
        {
            // `mp_<appid>_openid` of WeChat is unique in the app; a unionid in the brand's open platform account.
            let app = app.trim_end_matches('_');
            let app = app.strip_prefix("mp_").unwrap_or(app);
            let scope = match (kind, app) {
                (_, "mp") | ("unionid", _) if app == "mp" || app.starts_with("wx") => "",
                (_, app) => app,
            };
            return Meaning {
                kind: Cow::Borrowed(kind),
                scope,
                known: true,
            };
        }
    }
    let kind: String = short
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '_',
        })
        .collect();
    // Never the kind under which orders are kept.
    let kind = if kind == "order" {
        "order_id".into()
    } else {
        kind
    };
    Meaning {
        kind: Cow::Owned(kind),
        scope: "",
        known: false,
    }
}
