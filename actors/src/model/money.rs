//! Money: integers of the smallest unit with a currency, never floats.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 code, e.g. `CNY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Currency([u8; 3]);

/// Why a text is no currency or amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not three capital letters.
    #[error("`{0}` is not a currency: use an ISO 4217 code such as CNY")]
    Currency(String),
    /// Not a decimal number.
    #[error("`{0}` is not a decimal number")]
    Number(String),
    /// Does not fit 64 bits of the smallest unit.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

impl Currency {
    /// Chinese yuan, the default of an installation.
    pub const CNY: Currency = Currency(*b"CNY");

    /// Digits behind the decimal point (ISO 4217 minor units).
    pub fn exponent(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG"
            | b"RWF" | b"UGX" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency is three ASCII letters")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let upper = text.trim().to_ascii_uppercase();
        let letters: [u8; 3] = upper
            .as_bytes()
            .try_into()
            .map_err(|_| MoneyError::Currency(text.into()))?;
        if letters.iter().all(u8::is_ascii_uppercase) {
            Ok(Currency(letters))
        } else {
            Err(MoneyError::Currency(text.into()))
        }
    }
}

/// A unit price: decimal(18,6), kept as millionths of the main unit.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnitPrice(pub i64);

/// An amount in the smallest unit of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Smallest units: fen, cents.
    pub minor: i64,
    /// Which currency.
    pub currency: Currency,
}

impl Money {
    /// Rounds `millionths` of the main unit once, half away from zero.
    ///
    /// ```
    /// use actors::model::{Currency, Money};
    /// assert_eq!(Money::round(Currency::CNY, 12_345_000).map(|m| m.minor), Some(1_235));
    /// assert_eq!(Money::round(Currency::CNY, -12_345_000).map(|m| m.minor), Some(-1_235));
    /// ```
    pub fn round(currency: Currency, millionths: i128) -> Option<Money> {
        let step = 10i128.pow(6 - currency.exponent());
        let half = if millionths < 0 { -step / 2 } else { step / 2 };
        let minor = i64::try_from(millionths.checked_add(half)? / step).ok()?;
        Some(Money { minor, currency })
    }
}

impl fmt::Display for Money {
    /// Main units with all minor digits, no currency: `-12.50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exponent = self.currency.exponent();
        let unit = 10u64.pow(exponent);
        let sign = if self.minor < 0 { "-" } else { "" };
        let minor = self.minor.unsigned_abs();
        if exponent == 0 {
            return write!(f, "{sign}{minor}");
        }
        let width = exponent as usize;
        write!(f, "{sign}{}.{:0width$}", minor / unit, minor % unit)
    }
}

/// A fixed-point number without trailing zeros: `decimal(-1_500, 3)` is `-1.5`.
pub fn decimal(value: i64, places: u32) -> String {
    let unit = 10u64.pow(places);
    let sign = if value < 0 { "-" } else { "" };
    let magnitude = value.unsigned_abs();
    let (whole, part) = (magnitude / unit, magnitude % unit);
    let width = places as usize;
    let text = format!("{sign}{whole}.{part:0width$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimals_have_no_trailing_zeros() {
        for (value, places, text) in [
            (0, 3, "0"),
            (1_000, 3, "1"),
            (-1_500, 3, "-1.5"),
            (12_345_600, 6, "12.3456"),
            (100_000_000, 6, "100"),
            (i64::MIN, 3, "-9223372036854775.808"),
        ] {
            assert_eq!(decimal(value, places), text);
        }
    }
}
