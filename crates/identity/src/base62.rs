//! Base62 of a fixed width: digits, capitals, small letters; no sign that a double click or a URL breaks at.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Writes a number (big end first) with `chars` digits, zeros before it. What does not fit into them is left out at the
/// front, as in a calculation modulo 62^`chars`.
pub(crate) fn write(bytes: &[u8], chars: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![0_u8; chars];
    for digit in digits.iter_mut().rev() {
        // A long division by 62 in place: what remains is the next digit.
        let mut rest = 0_u16;
        for byte in &mut number {
            let value = (rest << 8) | u16::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = DIGITS[usize::from(rest)];
    }
    number.fill(0);
    digits.into_iter().map(char::from).collect()
}

/// Whether it has nothing but base62 digits.
pub(crate) fn is_all(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A text with its checksum behind it.
pub(crate) fn with_checksum(text: &str) -> String {
    format!("{text}{}", checksum(text))
}

/// Whether a text ends with the checksum of what is before it.
pub(crate) fn has_checksum(text: &str) -> bool {
    let split = text.len().checked_sub(CHECKSUM_CHARS).and_then(|at| text.split_at_checked(at));
    split.is_some_and(|(body, sum)| sum == checksum(body))
}

/// The CRC32 of a text in 6 digits (62^6 is more than 2^32).
fn checksum(text: &str) -> String {
    write(&crc32fast::hash(text.as_bytes()).to_be_bytes(), CHECKSUM_CHARS)
}

/// Characters of a checksum.
pub(crate) const CHECKSUM_CHARS: usize = 6;

/// Characters of 256 bits (62^43 is just more than 2^256).
pub(crate) const BITS_256_CHARS: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_width() {
        assert_eq!(write(&[], 3), "000");
        assert_eq!(write(&[0], 2), "00");
        assert_eq!(write(&[61], 2), "0z");
        assert_eq!(write(&[62], 2), "10");
        assert_eq!(write(&[1, 0], 3), "048");
        assert_eq!(write(&u32::MAX.to_be_bytes(), 6), "4gfFC3");
        // Too large: modulo 62^2.
        assert_eq!(write(&[1, 0, 0], 2), "32");
        // The largest of 256 bits needs all 43.
        let largest = write(&[255; 32], BITS_256_CHARS);
        assert!(!largest.starts_with('0'));
        assert_eq!(write(&[255; 32], BITS_256_CHARS + 1), format!("0{largest}"));
    }

    #[test]
    fn a_checksum_is_the_usual_crc32() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        let whole = with_checksum("123456789");
        assert_eq!(whole, format!("123456789{}", write(&0xcbf4_3926_u32.to_be_bytes(), 6)));
        assert!(
            has_checksum(&whole) && !has_checksum("123456789") && !has_checksum("1é345") && !has_checksum("")
        );
    }
}
