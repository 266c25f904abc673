//! What HTTP hands over: the opened body, the write key, the parts of the request.

use std::io::Read;

use actors::model::{BrandId, Currency, IdSpace, SourceId, Time};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;

use crate::json::{self, Value};
use crate::{AdmitError, Protocol, limits};

/// What the registry knows of the source that sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInfo {
    /// Its id.
    pub id: SourceId,
    /// The id space that its `user_id anonymous_id device_id member_card` belong to.
    pub id_space: IdSpace,
    /// The brand that owns its events.
    pub brand: BrandId,
    /// A test source: kept out of counts.
    pub test: bool,
    /// For orders that do not say it themselves.
    pub orders: OrderDefaults,
    /// How records of the Sensors Analytics SDKs are read.
    pub sensors: SensorsSettings,
}

/// How records of the Sensors Analytics SDKs are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SensorsSettings {
    /// How ids become one person.
    pub id_mapping: IdMapping,
    /// Identity keys beside the usual ones, for 3.0; in 1.0 and 2.0 undeclared keys are passed over.
    pub id_keys: Vec<Box<str>>,
}

/// The vendor's modes of ID-Mapping, in the order in which a source may change to another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdMapping {
    /// 1.0: one device and one login are paired once; the first pairing wins.
    #[default]
    One,
    /// 2.0: one login, many devices; a device belongs to one login.
    Two,
    /// 3.0: typed ids that are declared, bound and unbound.
    Three,
}

impl IdMapping {
    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            IdMapping::One => "1.0",
            IdMapping::Two => "2.0",
            IdMapping::Three => "3.0",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<IdMapping> {
        [IdMapping::One, IdMapping::Two, IdMapping::Three]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }
}

/// What a source says of orders that do not say it themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderDefaults {
    /// Currency of amounts.
    pub currency: Currency,
    /// Where order ids are unique; empty: the source's id space.
    pub shop: Box<str>,
}

impl Default for OrderDefaults {
    fn default() -> Self {
        OrderDefaults {
            currency: Currency::CNY,
            shop: "".into(),
        }
    }
}

/// One request, as far as admission looks at it.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Path without the query, e.g. `/v1/batch`. Only its last part is read, and only for the tracking API.
    pub path: &'a str,
    /// The query, without `?`. Only read for the Sensors Analytics SDKs, which send data there.
    pub query: &'a str,
    /// Headers, names in any case. Only `ce-…` and, beside those, `content-type` are read.
    pub headers: &'a [(&'a str, &'a str)],
    /// When the request was received.
    pub received: Time,
    /// Unlike that of any other request of this installation: part of the ids of events that bring neither a message id
    /// nor a time.
    pub nonce: u64,
    /// The body; plain or gzip, see [`open`].
    pub body: Bytes,
}

/// Undoes gzip, known by its first bytes and never by a header, within the protocol's limit. Plain bodies pass through,
/// so opening twice costs nothing.
pub fn open(protocol: Protocol, body: Bytes) -> Result<Bytes, AdmitError> {
    let max = limits::body_bytes(protocol);
    if body.len() > max {
        return Err(AdmitError::BodyTooLarge { max });
    }
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(body);
    }
    let mut open = Vec::with_capacity((body.len() * 6).min(max));
    flate2::read::MultiGzDecoder::new(&body[..])
        .take(max as u64 + 1)
        .read_to_end(&mut open)
        .map_err(|error| AdmitError::InvalidGzip {
            what: error.to_string(),
        })?;
    if open.len() > max {
        return Err(AdmitError::BodyTooLarge { max });
    }
    Ok(open.into())
}

/// The write key, from where clients put it: `Authorization: Basic base64("KEY:")` or `Bearer KEY`, the query
/// (`?writeKey=KEY`), or `writeKey` in the (opened) body, in this order. Whether it is known is for the caller to say.
pub fn write_key(
    authorization: Option<&str>,
    query: Option<&str>,
    body: &[u8],
) -> Option<Box<str>> {
    authorization
        .and_then(key_in_header)
        .or_else(|| query.and_then(|query| key_in_query(query, &["writeKey", "write_key"])))
        .or_else(|| key_in_body(body))
}

/// The write key of a request of the Sensors Analytics SDKs: `token` in the query of their address, or `project` where no
/// token is set (both percent-encoded if need be). `Authorization` comes first, as everywhere.
pub fn sensors_key(authorization: Option<&str>, query: Option<&str>) -> Option<Box<str>> {
    authorization
        .and_then(key_in_header)
        .or_else(|| query.and_then(|query| key_in_query(query, &["token"])))
        .or_else(|| query.and_then(|query| key_in_query(query, &["project"])))
}

fn key_in_header(value: &str) -> Option<Box<str>> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    let key = if scheme.eq_ignore_ascii_case("bearer") {
        rest.to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let bytes = STANDARD
            .decode(rest)
            .or_else(|_| STANDARD_NO_PAD.decode(rest))
            .ok()?;
        let pair = String::from_utf8(bytes).ok()?;
        match pair.split_once(':') {
            Some((key, _)) => key.to_owned(),
            None => pair,
        }
    } else {
        return None;
    };
    (!key.is_empty()).then(|| key.into())
}

fn key_in_query(query: &str, names: &[&str]) -> Option<Box<str>> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (names.contains(&name) && !value.is_empty()).then(|| value.into())
    })
}

fn key_in_body(body: &[u8]) -> Option<Box<str>> {
    let text = text(body).ok()?;
    json::members(text)
        .filter(|(name, _)| name == "writeKey")
        .find_map(|(_, value)| match json::read(value) {
            Value::Text(key) if !key.is_empty() => Some(key.into()),
            _ => None,
        })
}

/// The body as text, without byte order mark and white space around it.
pub(crate) fn text(body: &[u8]) -> Result<&str, AdmitError> {
    let text = std::str::from_utf8(body).map_err(|error| AdmitError::InvalidUtf8 {
        at: error.valid_up_to(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.trim_matches([' ', '\n', '\r', '\t']))
}
