//! Times as people read them.

use std::time::Duration;

/// `80us`, `12ms`, `4.2s`, `3m20s`, `1h05m`, `2d03h`: two units at most.
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.as_micros() < 1_000 => format!("{}us", time.as_micros()),
        0 => format!("{}ms", time.as_millis()),
        1..10 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_enough() {
        let cases = [
            (0, "0us"),
            (999, "999us"),
            (12_345, "12ms"),
            (4_299_999, "4.2s"),
            (59_900_000, "59s"),
            (200_000_000, "3m20s"),
            (3_600_000_000, "1h00m"),
            (3_900_000_000, "1h05m"),
            (183_600_000_000, "2d03h"),
        ];
        for (micros, text) in cases {
            assert_eq!(age(Duration::from_micros(micros)), text);
        }
    }
}
