//! What is left of a value for people who may not see it.

use crate::profile::Value;

/// Digits shown in front and behind of a number-like text of at least this many characters.
const TELLING_CHARS_MIN: usize = 7;

/// A masked value: of a long text the ends (`138****5678`, `zh****.com`), of a short one its first character (`张*`), of
/// anything else nothing.
///
/// ```
/// use cdp::profile::{Value, view::mask};
/// assert_eq!(mask(&Value::Text("13812345678".into())), Value::Text("138****5678".into()));
/// assert_eq!(mask(&Value::Text("张三丰".into())), Value::Text("张**".into()));
/// assert_eq!(mask(&Value::Int(42)), Value::Cleared);
/// ```
pub fn mask(value: &Value) -> Value {
    match value {
        Value::Text(text) => {
            let chars: Vec<char> = text.chars().collect();
            let masked: String = if chars.len() < TELLING_CHARS_MIN {
                let stars = chars.len().saturating_sub(1).max(1);
                chars
                    .iter()
                    .take(1)
                    .copied()
                    .chain(std::iter::repeat_n('*', stars))
                    .collect()
            } else {
                let (front, back) = if text.contains('@') { (2, 4) } else { (3, 4) };
                chars[..front]
                    .iter()
                    .copied()
                    .chain("****".chars())
                    .chain(
                        chars[chars.len() - back.min(chars.len() - front)..]
                            .iter()
                            .copied(),
                    )
                    .collect()
            };
            Value::Text(masked.into())
        }
        Value::List(values) => Value::List(values.iter().map(mask).collect()),
        _ => Value::Cleared,
    }
}
