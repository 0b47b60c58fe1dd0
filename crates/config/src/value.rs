//! Numbers, times and sizes as text, and back.

use std::time::Duration;

/// Longest time that can be configured, seconds (over a hundred years): what is added to a clock stays in range.
const SECONDS_MAX: f64 = 4e9;

/// A whole number as C's `strtol` with base 0 reads it, which PgBouncer uses: decimal, `0x` hexadecimal, and octal
/// after a leading `0`.
pub(crate) fn int(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // Rust would accept a second sign here.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

/// A whole number from 0 up to what PgBouncer's `int` holds.
pub(crate) fn count(text: &str) -> Option<u32> {
    u32::try_from(int(text)?).ok().filter(|number| i32::try_from(*number).is_ok())
}

/// Seconds with a fraction, as C's `strtod` reads them; neither negative nor infinite.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.trim().parse().ok()?;
    if number <= SECONDS_MAX { Duration::try_from_secs_f64(number).ok() } else { None }
}

/// Seconds as `SHOW CONFIG` writes them, which is C's `%g`.
pub(crate) fn seconds_text(time: Duration) -> String {
    let scientific = format!("{:.5e}", time.as_secs_f64());
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or(0);
        return without_zeros(&format!("{:.decimals$}", time.as_secs_f64())).to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// What [`time`] takes, for messages.
pub(crate) const TIME_EXPECTED: &str = "a number with one of the units ms, s, min, h (none is seconds)";

/// A time with a unit: `5ms`, `5s`, `10min`, `1h`, a plain number is seconds. `None` for anything else.
pub(crate) fn time(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text);
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number = number.parse::<f64>().ok()? * factor;
    if number <= SECONDS_MAX { Duration::try_from_secs_f64(number).ok() } else { None }
}

/// A time in its largest whole unit.
pub(crate) fn time_text(time: Duration) -> String {
    match time.as_millis() {
        0 => "0".to_string(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}min", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// A size in its largest whole unit.
pub(crate) fn size_text(bytes: usize) -> String {
    match bytes {
        0 => "0".to_string(),
        bytes if bytes % (1 << 30) == 0 => format!("{}GiB", bytes >> 30),
        bytes if bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
        bytes => format!("{bytes}B"),
    }
}

/// What [`size`] takes, for messages.
pub(crate) const SIZE_EXPECTED: &str =
    "a whole number with one of the units B, kB, KiB, MB, MiB, GB, GiB (none is bytes)";

/// A size with a unit: `1MiB`, `64kB` (1000 bytes each), a plain number is bytes. `None` for anything else.
pub(crate) fn size(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text);
    let factor: usize = match unit {
        "" | "B" => 1,
        "kB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

/// Digits (and a point) at the beginning, and the word behind them.
fn number_and_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A list with commas, blanks around each item removed, empty items left out.
pub(crate) fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{count, int, seconds, seconds_text, size, time};

    #[test]
    fn numbers_are_read_as_strtol_reads_them() {
        for (text, number) in
            [("0", 0), ("42", 42), ("+7", 7), ("-1", -1), ("0777", 511), ("0x10", 16), (" 5 ", 5)]
        {
            assert_eq!(int(text), Some(number), "{text}");
        }
        for text in
            ["", "-", "abc", "1.5", "08", "0x", "1 2", "--1", "+-1", "99999999999999999999", "yes", "on"]
        {
            assert_eq!(int(text), None, "{text}");
        }
        assert_eq!(count("2147483647"), Some(2_147_483_647));
        assert_eq!(count("2147483648"), None);
        assert_eq!(count("-1"), None);
    }

    #[test]
    fn seconds_have_fractions_and_are_shown_as_printf_does() {
        assert_eq!(seconds("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(seconds("1e3"), Some(Duration::from_secs(1000)));
        for text in ["", "-1", "5m", "abc", "inf", "nan", "1e300", "0.5s"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        let shown = [
            ("0", "0"),
            ("3600", "3600"),
            ("0.25", "0.25"),
            ("12345678.5", "1.23457e+07"),
            ("999999", "999999"),
            ("1000000", "1e+06"),
            ("0.00001", "1e-05"),
            ("100.125", "100.125"),
        ];
        for (text, text_shown) in shown {
            assert_eq!(seconds(text).map(seconds_text).as_deref(), Some(text_shown));
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(time("5ms"), Some(Duration::from_millis(5)));
        assert_eq!(time("2.5 s"), Some(Duration::from_millis(2500)));
        assert_eq!(time("10min"), Some(Duration::from_secs(600)));
        assert_eq!(time("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(time("7"), Some(Duration::from_secs(7)));
        for text in ["", "ms", "5m", "5M", "5 days", "-1s", "1.2.3s", "99999999999h"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("1kB"), Some(1000));
        assert_eq!(size("1 KiB"), Some(1024));
        assert_eq!(size("64MiB"), Some(64 << 20));
        for text in ["", "MiB", "1m", "1mb", "1.5MiB", "-1", "99999999999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
