//! Why one event cannot be taken: the reason a dead letter shows.

use std::fmt;

use actors::model::{ErrorKind, Fault};

use crate::json::{Flaw, FlawKind};

/// Why one event was set aside. Its original bytes are kept beside it; fixed, it can be admitted again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Reject {
    /// Stable code.
    pub code: RejectCode,
    /// What is wrong and what to do, with the facts. May quote the event: treat it as personal.
    pub reason: String,
    /// Where in the event, e.g. `properties.products[2].price`.
    pub field: Option<String>,
}

impl Reject {
    pub(crate) fn new(code: RejectCode, reason: impl Into<String>) -> Reject {
        Reject {
            code,
            reason: reason.into(),
            field: None,
        }
    }

    pub(crate) fn at(
        code: RejectCode,
        field: impl Into<String>,
        reason: impl Into<String>,
    ) -> Reject {
        Reject {
            code,
            reason: reason.into(),
            field: Some(field.into()),
        }
    }
}

impl Fault for Reject {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
    fn code(&self) -> &'static str {
        self.code.as_str()
    }
}

impl From<Flaw> for Reject {
    fn from(flaw: Flaw) -> Reject {
        let code = match flaw.kind {
            FlawKind::Syntax(_) => RejectCode::InvalidJson,
            FlawKind::Depth => RejectCode::TooDeep,
            FlawKind::Properties(_) => RejectCode::TooManyProperties,
            FlawKind::Name => RejectCode::NameTooLong,
            FlawKind::Number => RejectCode::NumberRange,
        };
        Reject::new(
            code,
            format!("{} (byte {} of the event)", flaw.kind, flaw.at),
        )
    }
}

/// One row of the table of codes.
#[derive(Debug, Clone, Copy)]
pub struct CodeInfo {
    /// The code.
    pub code: RejectCode,
    /// The number it has in stored records. Never reused.
    pub number: u8,
    /// Its stable text.
    pub text: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What the sender does about it.
    pub fix: &'static str,
}

macro_rules! codes {
    ($($number:literal $name:ident $text:literal $meaning:literal $fix:literal)*) => {
        /// Stable code of a [`Reject`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum RejectCode {
            $(#[doc = $meaning] $name,)*
        }

        /// All codes, with what they mean and what to do. All are [`ErrorKind::Invalid`].
        pub const CODES: &[CodeInfo] = &[
            $(CodeInfo {
                code: RejectCode::$name,
                number: $number,
                text: $text,
                meaning: $meaning,
                fix: $fix,
            },)*
        ];
    };
}

codes! {
    1 InvalidJson "invalid_json" "The event is not JSON." "Send JSON: no NaN or Infinity, no trailing comma, no comment."
    2 InvalidUtf8 "invalid_utf8" "The row is not UTF-8." "Export the file as UTF-8."
    3 NotAnObject "not_an_object" "The event is not a JSON object." "Send each event as {…}."
    4 TooLarge "too_large" "The event has more bytes than its limit." "Send less per event; split long orders."
    5 TooDeep "too_deep" "Objects and lists are nested more than 64 levels deep." "Flatten the event."
    6 TooManyProperties "too_many_properties" "An object or the event has too many names." "Use lists for data; do not use ids as names."
    7 NameTooLong "name_too_long" "The name of the event or a property is longer than 255 bytes." "Shorten it."
    8 NumberRange "number_range" "A number is outside what can be kept." "Send long numbers as text."
    9 MessageIdTooLong "message_id_too_long" "The message id is longer than 100 characters." "Send a shorter unique id, e.g. a UUID."
    10 TypeUnknown "type_unknown" "The type of the event is missing or unknown." "Use track, identify, page, screen, group, alias; in our own JSON also order and scan."
    11 NameMissing "name_missing" "A track event has no name." "Send `event` (our own JSON: `name`)."
    12 IdentifierMissing "identifier_missing" "Nobody is named." "Send userId or anonymousId (our own JSON: `identifiers`)."
    13 IdentifierForm "identifier_form" "An identifier is not of the form kind[@scope]:value, or its value is no text, empty or too long." "Correct it."
    14 TooManyIdentifiers "too_many_identifiers" "The event has more than 20 identifiers." "Send those of one person only."
    15 TimeForm "time_form" "A time cannot be read." "Send RFC 3339, e.g. 2026-11-22T09:50:41.080+08:00, or epoch milliseconds."
    16 TimeRange "time_range" "The event's time is before 1970 or after 9999." "Correct the sender's clock or send `sentAt`."
    17 FieldMissing "field_missing" "A required field is missing." "Send it."
    18 FieldType "field_type" "A field has another type than expected." "Correct it."
    19 FieldUnknown "field_unknown" "Our own JSON has no such field." "Correct its name; other facts belong in `properties`."
    20 WordUnknown "word_unknown" "A field's word is none of the known ones." "Use one of the words that the reason lists."
    21 Amount "amount_form" "An amount, price or quantity is no decimal number or too large." "Send a plain decimal number, as number or text."
    22 Currency "currency_form" "The currency is not an ISO 4217 code." "Send e.g. CNY."
    23 PlaceRange "place_range" "Latitude or longitude is outside the globe." "Check the order: lat −90…90, lon −180…180."
    24 RowColumns "row_columns" "The row has another number of columns than the header." "Check quotes and delimiters in this row."
    25 DecoderUnknown "decoder_unknown" "A newer version of Tributary admitted this event." "Start that version."
    26 DataForm "data_form" "The request's data cannot be read: its form, base64 or gzip is broken." "Send `data` or `data_list` as the SDKs do: base64 of JSON, or of gzip of JSON."
    27 CrcMismatch "crc_mismatch" "The checksum of the data is another one." "Look for what changes requests on their way."
    28 NameForm "name_form" "A name is not allowed." "Use up to 100 letters, digits, _ and $, not beginning with a digit, and no reserved word."
    29 ValueForm "value_form" "A value has a type or length that is not allowed." "Send text up to 8,191 characters, numbers, booleans, dates or lists of texts."
    30 IdentityUndeclared "identity_undeclared" "The record names an identity key that the source does not declare." "Declare it in the source's settings (`id_keys`) or correct the sender."
    40 AttributeReserved "attribute_reserved" "The name of an attribute begins with `consent:`, which only consents write." "Send an event named `consent` with `channel`, `purpose` and `state`."
}

impl RejectCode {
    /// Its row in the table.
    pub fn info(self) -> &'static CodeInfo {
        CODES
            .iter()
            .find(|info| info.code == self)
            .expect("the macro lists every code")
    }

    /// Its stable text.
    pub fn as_str(self) -> &'static str {
        self.info().text
    }

    pub(crate) fn number(self) -> u8 {
        self.info().number
    }

    pub(crate) fn from_number(number: u8) -> Option<RejectCode> {
        CODES
            .iter()
            .find(|info| info.number == number)
            .map(|info| info.code)
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
