//! The members of a record, and the vendor's rules of names and values.

use std::borrow::Cow;

use actors::model::Linking;

use super::ID_CHARS_MAX;
use super::envelope::plain;
use crate::json::{self, ObjectWriter, Value};
use crate::protocol::{id_text, object, wrong_type};
use crate::{IdMapping, Reject, RejectCode, SensorsSettings};

/// Longest text of a property in characters. The vendor's own limit.
const TEXT_CHARS_MAX: usize = 8_191;
/// Longest name in characters. The vendor's own limit.
const NAME_CHARS_MAX: usize = 100;
/// Names that the vendor's tables use themselves; in any case of letters.
const RESERVED: [&str; 15] = [
    "distinct_id",
    "original_id",
    "time",
    "properties",
    "id",
    "first_id",
    "second_id",
    "users",
    "events",
    "event",
    "event_id",
    "device_id",
    "user_id",
    "date",
    "datetime",
];
/// Beginnings of such names.
const RESERVED_STARTS: [&str; 2] = ["user_group", "user_tag"];

/// The members of a record as they stand there; an absent one is empty. The last of equal names counts.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub kind: &'a str,
    pub event: &'a str,
    pub time: &'a str,
    time_free: &'a str,
    pub flush_time: &'a str,
    pub track_id: &'a str,
    pub distinct_id: &'a str,
    pub anonymous_id: &'a str,
    pub login_id: &'a str,
    pub original_id: &'a str,
    pub identities: &'a str,
    pub properties: &'a str,
    pub lib: &'a str,
    pub item_type: &'a str,
    pub item_id: &'a str,
    project: &'a str,
}

/// How attributes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Set,
    SetOnce,
    Increment,
    Append,
    Unset,
    Delete,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Track(Linking),
    Profile(How),
    Item(&'static str),
}

impl How {
    pub fn as_str(self) -> &'static str {
        match self {
            How::Set => "profile_set",
            How::SetOnce => "profile_set_once",
            How::Increment => "profile_increment",
            How::Append => "profile_append",
            How::Unset => "profile_unset",
            How::Delete => "profile_delete",
        }
    }
}

impl<'a> Fields<'a> {
    pub fn read(item: &'a str) -> Fields<'a> {
        let mut fields = Fields::default();
        for (name, value) in json::members(item) {
            let slot = match &*name {
                "type" => &mut fields.kind,
                "event" => &mut fields.event,
                "time" => &mut fields.time,
                "time_free" => &mut fields.time_free,
                "_flush_time" => &mut fields.flush_time,
                "_track_id" => &mut fields.track_id,
                "distinct_id" => &mut fields.distinct_id,
                "anonymous_id" => &mut fields.anonymous_id,
                "login_id" => &mut fields.login_id,
                "original_id" => &mut fields.original_id,
                "identities" => &mut fields.identities,
                "properties" => &mut fields.properties,
                "lib" => &mut fields.lib,
                "item_type" => &mut fields.item_type,
                "item_id" => &mut fields.item_id,
                "project" => &mut fields.project,
                _ => continue,
            };
            *slot = value;
        }
        fields
    }

    pub fn kind(&self) -> Result<Type, Reject> {
        use How::*;
        Ok(match &*json::text(self.kind) {
            "track" => Type::Track(Linking::Join),
            "track_signup" => Type::Track(Linking::Join),
            "track_id_bind" => Type::Track(Linking::Bind),
            "track_id_unbind" => Type::Track(Linking::TakeOut),
            "profile_set" => Type::Profile(Set),
            "profile_set_once" => Type::Profile(SetOnce),
            "profile_increment" => Type::Profile(Increment),
            "profile_append" => Type::Profile(Append),
            "profile_unset" => Type::Profile(Unset),
            "profile_delete" => Type::Profile(Delete),
            "item_set" => Type::Item("item_set"),
            "item_delete" => Type::Item("item_delete"),
            _ => {
                return Err(Reject::at(
                    RejectCode::TypeUnknown,
                    "type",
                    "a record needs a `type`: track, track_signup, track_id_bind, track_id_unbind, profile_set, profile_set_once, profile_increment, profile_append, profile_unset, profile_delete, item_set or item_delete",
                ));
            }
        })
    }

    /// History: its time is right.
    pub fn time_free(&self) -> bool {
        self.time_free == "true"
    }

    /// The project: the record's own before that of the URL.
    pub fn project(&self, shared: &Shared<'a>) -> Cow<'a, str> {
        match json::read(self.project) {
            Value::Text(own) if !own.is_empty() => own,
            _ => shared.project.clone(),
        }
    }

    /// Whether the properties say that the distinct id is a login id.
    pub fn is_login(&self) -> bool {
        json::members(self.properties).any(|(name, raw)| name == "$is_login_id" && raw == "true")
    }
}

/// What stands outside the records and belongs to them.
#[derive(Default)]
pub(super) struct Shared<'a> {
    pub id_mapping: IdMapping,
    pub id_keys: Vec<Cow<'a, str>>,
    pub project: Cow<'a, str>,
}

impl<'a> Shared<'a> {
    /// As it is kept with each record; `None` if all is usual.
    pub fn of(settings: &SensorsSettings, query: &str) -> Option<String> {
        let mut out = ObjectWriter::new();
        if settings.id_mapping != IdMapping::default() {
            out.text("id_mapping", settings.id_mapping.as_str());
        }
        if !settings.id_keys.is_empty() {
            let keys: Vec<String> = settings
                .id_keys
                .iter()
                .map(|key| {
                    let mut text = String::new();
                    json::push_text(&mut text, key);
                    text
                })
                .collect();
            out.raw("id_keys", &format!("[{}]", keys.join(",")));
        }
        let project = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("project="))
            .map(plain);
        if let Some(project) = project.filter(|name| name_ok(name)) {
            out.text("project", &project);
        }
        (!out.is_empty()).then(|| out.finish())
    }

    pub fn read(text: &'a str) -> Shared<'a> {
        let mut shared = Shared::default();
        for (name, raw) in json::members(text) {
            match (&*name, json::read(raw)) {
                ("id_mapping", Value::Text(word)) => {
                    shared.id_mapping = IdMapping::parse(&word).unwrap_or_default();
                }
                ("id_keys", Value::Array(list)) => {
                    shared.id_keys = json::items(list).map(json::text).collect();
                }
                ("project", Value::Text(project)) => shared.project = project,
                _ => {}
            }
        }
        shared
    }
}

/// The name of an event; signing up, binding and unbinding have one of their own.
pub(super) fn event_name<'a>(
    fields: &Fields<'a>,
    linking: Linking,
) -> Result<Cow<'a, str>, Reject> {
    match json::read(fields.event) {
        Value::Text(name) if !name.is_empty() => {
            check_name(&name, "event")?;
            Ok(name)
        }
        Value::Null | Value::Text(_) => match (linking, &*json::text(fields.kind)) {
            (Linking::Bind, _) => Ok("$BindID".into()),
            (Linking::TakeOut, _) => Ok("$UnbindID".into()),
            (_, "track_signup") => Ok("$SignUp".into()),
            _ => Err(Reject::at(
                RejectCode::NameMissing,
                "event",
                "a track record needs `event`",
            )),
        },
        _ => Err(wrong_type("event", "text")),
    }
}

/// The type of an item.
pub(super) fn item_type(raw: &str) -> Result<Cow<'_, str>, Reject> {
    let name = id_text(raw, "item_type")?.ok_or_else(|| {
        Reject::at(
            RejectCode::FieldMissing,
            "item_type",
            "an item needs `item_type`",
        )
    })?;
    check_name(&name, "item_type")?;
    Ok(name)
}

fn name_ok(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$';
    name.len() <= NAME_CHARS_MAX
        && name.bytes().all(letters)
        && name
            .bytes()
            .next()
            .is_some_and(|first| !first.is_ascii_digit())
}

fn check_name(name: &str, field: &str) -> Result<(), Reject> {
    let lower = name.to_ascii_lowercase();
    let reserved =
        RESERVED.contains(&&*lower) || RESERVED_STARTS.iter().any(|start| lower.starts_with(start));
    let what = match (name_ok(name), reserved) {
        (true, false) => return Ok(()),
        (false, _) => "is no name",
        (true, true) => "is a reserved name",
    };
    let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
    Err(Reject::at(
        RejectCode::NameForm,
        field,
        format!("`{shown}` {what}: up to 100 letters, digits, _ and $, the first no digit"),
    ))
}

pub(super) fn value_form(field: &str, what: &str) -> Reject {
    Reject::at(RejectCode::ValueForm, field, what)
}

/// Properties of an event or item, checked. Absent values are left out and dates put into full form.
pub(super) fn properties(raw: &str) -> Result<Option<String>, Reject> {
    let Some(given) = object(raw, "properties")? else {
        return Ok(None);
    };
    let mut out = ObjectWriter::new();
    for (name, value) in json::members(given) {
        check_name(&name, "properties")?;
        check_value(&name, value)?;
        push(&mut out, &name, value);
    }
    Ok((!out.is_empty()).then(|| out.finish()))
}

/// Attributes, in the form in which profiles read them: `null` clears.
pub(super) fn traits(raw: &str, how: How) -> Result<Option<String>, Reject> {
    let Some(given) = object(raw, "properties")?.filter(|_| how != How::Delete) else {
        return Ok(None);
    };
    let mut out = ObjectWriter::new();
    for (name, value) in json::members(given) {
        if name == "$is_login_id" {
            continue;
        }
        check_name(&name, "properties")?;
        let field = || format!("properties.{name}");
        match (how, json::read(value)) {
            (How::Unset, _) => {
                out.raw(&name, "null");
                continue;
            }
            (How::Increment, Value::Number(_)) | (_, Value::Null) => {}
            (How::Increment, _) => {
                return Err(value_form(&field(), "only numbers can be added"));
            }
            (How::Append, Value::Array(_)) => check_value(&name, value)?,
            (How::Append, _) => {
                return Err(value_form(&field(), "only lists of texts can be appended"));
            }
            _ => check_value(&name, value)?,
        }
        push(&mut out, &name, value);
    }
    Ok((!out.is_empty()).then(|| out.finish()))
}

fn check_value(name: &str, raw: &str) -> Result<(), Reject> {
    let field = || format!("properties.{name}");
    match json::read(raw) {
        Value::Text(text) => check_text(&text, field),
        Value::Array(list) => json::items(list).try_for_each(|item| match json::read(item) {
            Value::Text(text) => check_text(&text, field),
            _ => Err(value_form(&field(), "a list holds texts only")),
        }),
        Value::Object(_) => Err(value_form(&field(), "a value is no object")),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_text(text: &str, field: impl Fn() -> String) -> Result<(), Reject> {
    // Bytes are at least as many as characters: counting is rare.
    if text.len() > TEXT_CHARS_MAX && text.chars().count() > TEXT_CHARS_MAX {
        return Err(value_form(&field(), "a text over 8,191 characters"));
    }
    Ok(())
}

fn push(out: &mut ObjectWriter, name: &str, raw: &str) {
    match full_date(raw) {
        Some(date) => out.text(name, &date),
        None if raw == "null" => out,
        None => out.raw(name, raw),
    };
}

/// `"YYYY-MM-DD hh:mm:ss.f"` or `.ff`: milliseconds without zeros in front, as SDKs print them.
fn full_date(raw: &str) -> Option<String> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !(21..=22).contains(&text.len()) {
        return None;
    }
    let form = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b' ',
        13 | 16 => byte == b':',
        19 => byte == b'.',
        _ => byte.is_ascii_digit(),
    });
    form.then(|| format!("{}{:0>3}", &text[..20], &text[20..]))
}

/// An id within the vendor's limit.
pub(super) fn id<'a>(raw: &'a str, field: &str) -> Result<Option<Cow<'a, str>>, Reject> {
    let id = id_text(raw, field)?;
    match id {
        Some(id) if id.chars().count() > ID_CHARS_MAX => {
            Err(value_form(field, "an id over 255 characters"))
        }
        id => Ok(id),
    }
}
