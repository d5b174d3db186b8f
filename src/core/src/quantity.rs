//! The value of a Kubernetes quantity, exactly.
//!
//! Invariant: nothing is lost on the way: the value is kept in thousandths as an `i128`, fractions are rounded up as
//! Kubernetes rounds them, and what does not fit is an error, never another number.
//! Source: `k8s.io/apimachinery/pkg/api/resource`.

use duj_api::Quantity;
use thiserror::Error;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// The text is not in Kubernetes' notation.
    #[error("'{0}' is not a quantity: write a number with a unit, such as '500m', '2' or '1.5Gi'")]
    Malformed(String),
    /// The number is larger than an `i64` can hold.
    #[error("'{0}' is too large")]
    TooLarge(String),
}

/// A quantity in thousandths of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

impl Amount {
    /// Reads Kubernetes' notation: sign, decimal number, and a binary, decimal or exponent suffix.
    pub fn parse(quantity: &Quantity) -> Result<Self, QuantityError> {
        let text = quantity.0.as_str();
        let malformed = || QuantityError::Malformed(text.to_owned());
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(malformed());
        }
        let scale = scale(suffix).ok_or_else(malformed)?;
        let too_large = || QuantityError::TooLarge(text.to_owned());
        if whole.len() + fraction.len() > 30 {
            return Err(too_large());
        }
        let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| malformed())?;
        let places = i32::try_from(fraction.len()).map_err(|_| too_large())?;
        let value = match scale {
            Scale::Binary(power) => {
                let scaled =
                    digits.checked_mul(1 << (10 * power)).and_then(|v| v.checked_mul(1000));
                divide_up(scaled.ok_or_else(too_large)?, places)
            }
            Scale::Decimal(power) => {
                let power = power + 3 - places;
                if power >= 0 {
                    let factor = 10i128.checked_pow(power.unsigned_abs()).ok_or_else(too_large)?;
                    digits.checked_mul(factor).ok_or_else(too_large)?
                } else {
                    divide_up(digits, -power)
                }
            }
        };
        if value > i128::from(i64::MAX) * 1000 {
            return Err(too_large());
        }
        Ok(Self(if negative { -value } else { value }))
    }

    /// Whole units, rounded up.
    pub fn units(self) -> i64 {
        i64::try_from(self.0.div_euclid(1000) + i128::from(self.0.rem_euclid(1000) != 0))
            .unwrap_or(i64::MAX)
    }

    /// Units of `size` each, rounded up: `in_units_of(1 << 20)` is mebibytes.
    pub fn in_units_of(self, size: i64) -> i64 {
        let units = self.units();
        units / size + i64::from(units % size != 0)
    }

    /// The value as a number, for a log that prints fractions.
    #[allow(clippy::cast_precision_loss, reason = "printed with two digits")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

enum Scale {
    Binary(u32),
    Decimal(i32),
}

fn scale(suffix: &str) -> Option<Scale> {
    Some(match suffix {
        "n" => Scale::Decimal(-9),
        "u" => Scale::Decimal(-6),
        "m" => Scale::Decimal(-3),
        "" => Scale::Decimal(0),
        "k" => Scale::Decimal(3),
        "M" => Scale::Decimal(6),
        "G" => Scale::Decimal(9),
        "T" => Scale::Decimal(12),
        "P" => Scale::Decimal(15),
        "E" => Scale::Decimal(18),
        "Ki" => Scale::Binary(1),
        "Mi" => Scale::Binary(2),
        "Gi" => Scale::Binary(3),
        "Ti" => Scale::Binary(4),
        "Pi" => Scale::Binary(5),
        "Ei" => Scale::Binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let power: i32 = exponent.parse().ok()?;
            (-30..=30).contains(&power).then_some(Scale::Decimal(power))?
        }
    })
}

fn divide_up(value: i128, places: i32) -> i128 {
    let Some(divisor) = 10i128.checked_pow(places.unsigned_abs()) else { return 1 };
    value / divisor + i128::from(value % divisor != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn units(text: &str) -> Result<i64, QuantityError> {
        Amount::parse(&Quantity(text.into())).map(Amount::units)
    }

    #[test]
    fn kubernetes_notation_is_read_exactly() {
        for (text, value) in [
            ("0", 0),
            ("128Mi", 134_217_728),
            ("1.5Gi", 1_610_612_736),
            ("0.5", 1),
            ("500m", 1),
            ("1500m", 2),
            (".5Gi", 536_870_912),
            ("12E", 0),
            ("1e3", 1000),
            ("1E3", 1000),
            ("2e-1", 1),
            ("-1", -1),
            ("+1k", 1000),
            ("100n", 1),
        ] {
            let expected =
                if text == "12E" { Err(QuantityError::TooLarge(text.into())) } else { Ok(value) };
            assert_eq!(units(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for text in ["", "-", ".", "1.2.3", "1 Gi", "Gi", "1gi", "0x10", "1e", "1e999", "٣", "--1"]
        {
            assert!(
                matches!(units(text), Err(QuantityError::Malformed(_))),
                "{text}: {:?}",
                units(text)
            );
        }
        assert!(matches!(units("99999999999999999999Gi"), Err(QuantityError::TooLarge(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: duj_tally::cases(ProptestConfig::default().cases), ..ProptestConfig::default() })]

        #[test]
        fn any_text_has_an_answer(text in ".{0,40}") {
            let _ = units(&text);
        }

        #[test]
        fn mebibytes_come_back(n in 0i64..1_000_000) {
            prop_assert_eq!(Amount::parse(&Quantity(format!("{n}Mi"))).unwrap().in_units_of(1 << 20), n);
        }
    }
}
