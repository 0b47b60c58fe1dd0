//! Whole numbers as JSON Schema has them (2020-12 Validation, 6.1.1): `284.0` and `2.84e2` are the same as `284`.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// Beyond this no field goes, and a floating-point number is exact up to a part of it only.
const MAX: f64 = 1e19;

/// A number that has to be there.
#[cfg(any(feature = "service", test))]
pub(crate) fn one<'de, T: TryFrom<i128>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let number = Number::deserialize(deserializer)?;
    read(&number).ok_or_else(|| fault(&number))
}

/// A number that may be null.
pub(crate) fn maybe<'de, T: TryFrom<i128>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    match Option::<Number>::deserialize(deserializer)? {
        None => Ok(None),
        Some(number) => read(&number).map(Some).ok_or_else(|| fault(&number)),
    }
}

fn fault<E: Error>(number: &Number) -> E {
    E::custom(format_args!("{number} is no whole number, or out of its range"))
}

fn read<T: TryFrom<i128>>(number: &Number) -> Option<T> {
    let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let whole = exact.or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= MAX)?;
        format!("{float:.0}").parse().ok()
    })?;
    T::try_from(whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(deserialize_with = "one")]
        small: u32,
        #[serde(default, deserialize_with = "maybe")]
        large: Option<i64>,
    }

    fn small(text: &str) -> Option<u32> {
        serde_json::from_str(&format!("{{\"small\": {text}}}")).ok().map(|body: Body| body.small)
    }

    fn large(text: &str) -> Option<Option<i64>> {
        let text = format!("{{\"small\": 1, \"large\": {text}}}");
        serde_json::from_str(&text).ok().map(|body: Body| body.large)
    }

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for text in ["284", "284.0", "2.84e2", "28400e-2"] {
            assert_eq!((small(text), large(text)), (Some(284), Some(Some(284))), "{text}");
        }
        assert_eq!((small("-0.0"), large("null")), (Some(0), Some(None)));
        assert_eq!(large("9223372036854775807"), Some(Some(i64::MAX)));
        for text in ["284.5", "-1", "4294967296", "1e300", "\"284\"", "null", "true", "[]", "{}"] {
            assert_eq!(small(text), None, "{text}");
        }
        for text in ["9223372036854775808", "9.3e18", "1e19", "0.1"] {
            assert_eq!(large(text), None, "{text}");
        }
    }
}
