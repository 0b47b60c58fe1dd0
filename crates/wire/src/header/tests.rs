use super::*;

#[test]
fn a_header_counts_the_type_byte() {
    assert_eq!(header(b"Z\0\0\0\x05I", MESSAGE_BYTES_MAX), Ok(Some(Header { tag: b'Z', total: 6 })));
    assert_eq!(header(b"S\0\0\0\x04", MESSAGE_BYTES_MAX), Ok(Some(Header { tag: b'S', total: 5 })));
    assert_eq!(header(b"D\x01\x02\x03\x04rest", MESSAGE_BYTES_MAX), {
        Ok(Some(Header { tag: b'D', total: 0x0102_0305 }))
    });
}

#[test]
fn four_bytes_are_not_a_header() {
    for end in 0..HEADER_BYTES {
        assert_eq!(header(&b"Z\0\0\0\x05I"[..end], MESSAGE_BYTES_MAX), Ok(None), "{end} bytes");
    }
}

#[test]
fn a_length_does_not_count_less_than_itself() {
    for length in 0..4 {
        assert_eq!(header(&[b'Q', 0, 0, 0, length, 0], MESSAGE_BYTES_MAX), Err(WireError::BadLength));
    }
}

#[test]
fn the_limit_is_the_longest_message_with_its_type_byte() {
    assert_eq!(header(b"Q\0\0\0\x09", 10), Ok(Some(Header { tag: b'Q', total: 10 })));
    assert_eq!(header(b"Q\0\0\0\x0a", 10), Err(WireError::TooLong));
    // 2^31 and -1: what a signed reader takes for negative.
    assert_eq!(header(b"Q\x80\0\0\0", MESSAGE_BYTES_MAX), Err(WireError::TooLong));
    assert_eq!(header(b"Q\xff\xff\xff\xff", u32::MAX), Err(WireError::TooLong));
}
