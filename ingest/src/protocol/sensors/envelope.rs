//! The form around the records: `data` (one) or `data_list` (several), base64 of JSON or of gzip of JSON.
//!
//! Nothing is chosen by media type: mini-programs send forms as `text/plain`, and some gateways change it.

use std::borrow::Cow;
use std::io::Read;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::json;
use crate::{Reject, RejectCode, limits};

/// Accepts base64 with and without `=` at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Where the form stands: the body, if it holds data, otherwise the query. `None`: there is no data anywhere.
pub(crate) fn form(body: &Bytes, query: &str) -> Option<Bytes> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if !text.is_empty() && (text.starts_with(['{', '[']) || has_data(text)) {
        return Some(body.clone());
    }
    if has_data(query) {
        // The token is the source's secret and stays out of what is kept.
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| !pair.starts_with("token=") && !pair.starts_with("project="))
            .collect();
        return Some(kept.join("&").into());
    }
    (!text.is_empty()).then(|| body.clone())
}

fn has_data(form: &str) -> bool {
    form.split('&')
        .any(|pair| pair.starts_with("data=") || pair.starts_with("data_list="))
}

/// Undoes form, base64 and gzip. Answers the JSON text, unread.
pub(crate) fn unfold(form: &[u8]) -> Result<Bytes, Reject> {
    let bad = |what: &str| Reject::new(RejectCode::DataForm, what);
    let text = std::str::from_utf8(form).map_err(|_| bad("the form is not UTF-8"))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with(['{', '[']) {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let (mut data, mut crc, mut gzip) = (None, None, None);
    for pair in text.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        match name.trim() {
            "data" | "data_list" => data = Some(value),
            "crc" => crc = Some(plain(value).into_owned()),
            "gzip" => gzip = Some(plain(value).into_owned()),
            "ext" => {
                let ext = plain(value);
                crc = ext
                    .split('&')
                    .find_map(|pair| Some(pair.strip_prefix("crc=")?.to_owned()))
                    .or(crc);
            }
            _ => {}
        }
    }
    let data = data.ok_or_else(|| bad("the form has neither `data` nor `data_list`"))?;
    let data = plain(data);
    if let Some(crc) = crc.filter(|crc| !crc.is_empty()) {
        let told: i64 = crc
            .trim()
            .parse()
            .map_err(|_| bad("`crc` is not a whole number"))?;
        let found = hash_code(&data);
        if told as i32 != found {
            return Err(Reject::new(
                RejectCode::CrcMismatch,
                format!("the data has the checksum {found}, the request says {told}"),
            ));
        }
    }
    let bytes = BASE64
        .decode(
            data.bytes()
                .filter(|byte| !byte.is_ascii_whitespace())
                .map(|byte| match byte {
                    b'-' => b'+',
                    b'_' => b'/',
                    byte => byte,
                })
                .collect::<Vec<u8>>(),
        )
        .map_err(|error| bad(&format!("the data is not base64: {error}")))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return unzip(&bytes);
    }
    if bytes.len() > limits::SENSORS_BATCH_BYTES {
        return Err(too_large());
    }
    let json =
        std::str::from_utf8(&bytes).is_ok_and(|text| text.trim_start().starts_with(['{', '[']));
    match gzip.as_deref() {
        _ if json => Ok(bytes.into()),
        Some("9") => Err(bad(
            "the data is encrypted: switch encryption off in the SDK",
        )),
        Some("1") => Err(bad("the data is neither gzip, as `gzip=1` says, nor JSON")),
        _ => Err(bad("the data is not JSON")),
    }
}

/// Why a text that is no record cannot be one. The text is a whole form, or an item of a list that is no object.
pub(crate) fn problem(text: &str) -> Reject {
    let not_one = || Reject::new(RejectCode::NotAnObject, "each record is a JSON object");
    match unfold(text.as_bytes()) {
        Err(_) if !has_data(text) && !text.contains('=') => not_one(),
        Err(reject) => reject,
        Ok(json) => match crate::request::text(&json) {
            Err(error) => Reject::new(RejectCode::InvalidUtf8, error.to_string()),
            Ok(json) if json.starts_with('[') => match json::split_array(json) {
                Err(flaw) => flaw.into(),
                Ok(_) => not_one(),
            },
            Ok(_) => not_one(),
        },
    }
}

fn too_large() -> Reject {
    Reject::new(
        RejectCode::TooLarge,
        format!(
            "the data has more than {} bytes when it is unpacked",
            limits::SENSORS_BATCH_BYTES
        ),
    )
}

/// Reading stops one byte behind the limit, so that a bomb costs no more than a batch.
fn unzip(bytes: &[u8]) -> Result<Bytes, Reject> {
    let max = limits::SENSORS_BATCH_BYTES;
    let mut open = Vec::with_capacity((bytes.len() * 6).min(max));
    flate2::read::MultiGzDecoder::new(bytes)
        .take(max as u64 + 1)
        .read_to_end(&mut open)
        .map_err(|error| {
            Reject::new(
                RejectCode::DataForm,
                format!("the gzip of the data is broken: {error}"),
            )
        })?;
    if open.len() > max {
        return Err(too_large());
    }
    if std::str::from_utf8(&open).is_err() {
        return Err(Reject::new(
            RejectCode::InvalidUtf8,
            "the data is not UTF-8",
        ));
    }
    Ok(open.into())
}

/// Percent-encoding undone. A `+` is a plus: base64 has them, and some clients do not encode them. What is no encoding
/// stays as it is.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = match bytes[at] {
            b'%' => bytes
                .get(at + 1..at + 3)
                .and_then(|hex| std::str::from_utf8(hex).ok())
                .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    Cow::Owned(
        String::from_utf8(out)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// Java's `String.hashCode`.
fn hash_code(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(unit.into())
    })
}
