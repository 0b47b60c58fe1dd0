//! Whole messages off a buffer, outside the relay: logins, our own questions, the console.

use plimsoll_wire::{WireError, header};

/// The first message of a buffer, taken off it as soon as it is whole.
///
/// # Errors
/// It has an impossible length, or more than `bytes_max` bytes.
pub(crate) fn take(buffer: &mut Vec<u8>, bytes_max: u32) -> Result<Option<Vec<u8>>, WireError> {
    let whole = header(buffer, bytes_max)?.filter(|head| buffer.len() >= head.total);
    Ok(whole.map(|head| {
        let rest = buffer.split_off(head.total);
        std::mem::replace(buffer, rest)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_whole() {
        let mut buffer = vec![b'Z', 0, 0, 0, 5];
        assert_eq!(take(&mut buffer, 100), Ok(None));
        buffer.extend_from_slice(b"IZ");
        assert_eq!(take(&mut buffer, 100), Ok(Some(vec![b'Z', 0, 0, 0, 5, b'I'])));
        assert_eq!(buffer, b"Z");
        assert_eq!(take(&mut vec![b'Z', 0, 0, 0, 3], 100), Err(WireError::BadLength));
        assert_eq!(take(&mut vec![b'Z', 0, 0, 1, 0], 100), Err(WireError::TooLong));
    }
}
