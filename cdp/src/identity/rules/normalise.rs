//! Values made comparable, and values that point to nobody.

use std::borrow::Cow;

use actors::model::Identifier;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::{Normalise, ORDER_KIND, Rules, ScopeUse};

/// Digits of the shortest and longest phone number that is kept though it is valid nowhere.
const LOOSE_PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;
/// From this length on, a value of one repeated character (`11111`, `xxxxxx`) is filler.
const FILLER_MIN: usize = 5;

/// Why a value points to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// On the list of blocked values, or filler (all zeros, one repeated character).
    Blocked,
    /// Empty, too long, with control characters, or not of its kind's form.
    Invalid,
    /// Its kind needs a scope and it has none.
    NoScope,
}

impl Unusable {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Unusable::Blocked => "identifier_blocked",
            Unusable::Invalid => "identifier_invalid",
            Unusable::NoScope => "identifier_scope_missing",
        }
    }
}

impl Rules {
    /// The identifier in the form in which it is compared, or why it points to nobody.
    ///
    /// ```
    /// use cdp::identity::rules::Rules;
    /// let sent = "phone: 138 0000 0000 ".parse().unwrap();
    /// let normal = Rules::shipped().normalise(&sent).unwrap();
    /// assert_eq!(normal.to_string(), "phone:+8613800000000");
    /// ```
    pub fn normalise(&self, sent: &Identifier) -> Result<Identifier, Unusable> {
        if &*sent.kind == ORDER_KIND {
            return Err(Unusable::Blocked);
        }
        let kind = self.kind_form(&sent.kind);
        let (scope_use, how) = kind.map_or((ScopeUse::Optional, Normalise::Text), |(_, form)| {
            (form.scope, form.normalise)
        });
        let scope = match scope_use {
            ScopeUse::None => Cow::Borrowed(""),
            ScopeUse::Optional | ScopeUse::Required => text(&sent.scope),
        };
        if scope_use == ScopeUse::Required && scope.is_empty() {
            return Err(Unusable::NoScope);
        }
        let value = text(&sent.value);
        if filler(&value) || self.is_blocked(&value, kind.map(|(index, _)| index)) {
            return Err(Unusable::Blocked);
        }
        let value = match how {
            Normalise::Text => value,
            Normalise::Email => match email(&value) {
                Some(value) => Cow::Owned(value),
                None => return Err(Unusable::Invalid),
            },
            Normalise::Phone => match self.phone(&value) {
                Some(value) => Cow::Owned(value),
                None => return Err(Unusable::Invalid),
            },
        };
        if value.chars().chain(scope.chars()).any(char::is_control) {
            return Err(Unusable::Invalid);
        }
        let normal = Identifier::new(&sent.kind, &scope, &value);
        match normal.check() {
            Ok(()) => Ok(normal),
            Err(_) => Err(Unusable::Invalid),
        }
    }

    fn is_blocked(&self, value: &str, kind: Option<usize>) -> bool {
        let mut lower = [0; 24];
        // Blocked values are short; most values are longer and need no lower-casing.
        if value.len() > 64 {
            return false;
        }
        let lower: Cow<'_, str> = match lower.get_mut(..value.len()) {
            Some(buffer) if value.is_ascii() => {
                buffer.copy_from_slice(value.as_bytes());
                buffer.make_ascii_lowercase();
                Cow::Borrowed(std::str::from_utf8(buffer).expect("ASCII stays ASCII"))
            }
            _ => Cow::Owned(value.to_lowercase()),
        };
        self.blocked.contains(&*lower)
            || kind.is_some_and(|index| self.blocked_kind[index].contains(&*lower))
    }

    /// E.164; Chinese mobile numbers, nearly all there are, without the general parser.
    fn phone(&self, value: &str) -> Option<String> {
        let plus = value.starts_with('+');
        let mut digits = String::with_capacity(20);
        for c in value.chars() {
            match c {
                '0'..='9' => digits.push(c),
                '+' | '-' | ' ' | '(' | ')' | '.' | '/' => {}
                // Extensions and letters are the general parser's business.
                _ => return self.foreign_phone(value, None),
            }
        }
        if self.region == phonenumber::country::Id::CN {
            let national = match plus {
                true => digits.strip_prefix("86"),
                false => digits
                    .strip_prefix("0086")
                    .or_else(|| digits.strip_prefix("86"))
                    .filter(|rest| rest.len() == 11)
                    .or(Some(&*digits)),
            };
            if let Some(mobile) = national.filter(|digits| chinese_mobile(digits)) {
                return Some(format!("+86{mobile}"));
            }
            if national.is_some_and(filler) {
                return None;
            }
        }
        if filler(&digits) {
            return None;
        }
        self.foreign_phone(value, Some(digits))
    }

    fn foreign_phone(&self, value: &str, digits: Option<String>) -> Option<String> {
        match phonenumber::parse(Some(self.region), value) {
            Ok(number) if phonenumber::is_valid(&number) => {
                Some(number.format().mode(phonenumber::Mode::E164).to_string())
            }
            // Valid nowhere, but the same every time it comes: a shop's internal number, an old format.
            _ => digits.filter(|digits| LOOSE_PHONE_DIGITS.contains(&digits.len())),
        }
    }
}

/// NFKC and trimming; borrows what is plain already.
pub(super) fn text(value: &str) -> Cow<'_, str> {
    if value.is_ascii() || is_nfkc_quick(value.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(value.trim());
    }
    let normal: String = value.nfkc().collect();
    match normal.trim() {
        trimmed if trimmed.len() == normal.len() => Cow::Owned(normal),
        trimmed => Cow::Owned(trimmed.to_owned()),
    }
}

fn email(value: &str) -> Option<String> {
    let (name, domain) = value.rsplit_once('@')?;
    let plain = !name.is_empty() && !domain.is_empty() && !value.contains(char::is_whitespace);
    plain.then(|| value.to_lowercase())
}

fn chinese_mobile(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    bytes.len() == 11 && bytes[0] == b'1' && (b'3'..=b'9').contains(&bytes[1])
}

/// All zeros (`0`, `00000000-0000-…`), or one character five times and more; separators do not count.
fn filler(value: &str) -> bool {
    let mut rest = value
        .chars()
        .filter(|c| !matches!(c, '-' | ':' | ' ' | '.' | '_'));
    let Some(first) = rest.next() else {
        return !value.is_empty();
    };
    let mut count = 1;
    for c in rest {
        if c != first {
            return false;
        }
        count += 1;
    }
    first == '0' || count >= FILLER_MIN
}
