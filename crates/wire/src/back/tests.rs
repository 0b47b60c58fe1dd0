//! Messages written by hand from the manual's "Message Formats".

use super::*;

#[test]
fn authentication_knows_what_is_asked_for() {
    let salt = *b"\x01\x02\x03\x04";
    let mechanisms = &b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0"[..];
    let messages: [(&[u8], Authentication<'_>); 8] = [
        (b"R\0\0\0\x08\0\0\0\0", Authentication::Ok),
        (b"R\0\0\0\x08\0\0\0\x03", Authentication::Cleartext),
        (b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04", Authentication::Md5 { salt }),
        (b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", Authentication::Sasl { mechanisms }),
        (b"R\0\0\0\x0d\0\0\0\x0br=abc", Authentication::SaslContinue { data: b"r=abc" }),
        (b"R\0\0\0\x0e\0\0\0\x0cv=abcd", Authentication::SaslFinal { data: b"v=abcd" }),
        (b"R\0\0\0\x08\0\0\0\x07", Authentication::Other(7)),
        (b"R\0\0\0\x0a\0\0\0\x08xy", Authentication::Other(8)),
    ];
    for (message, asked) in messages {
        assert_eq!(authentication(golden(message)), Ok(asked));
    }
}

#[test]
fn authentication_refuses_a_body_that_does_not_fit() {
    let wrong: [&[u8]; 10] = [
        b"",
        b"\0\0\0",
        b"\0\0\0\0x",
        b"\0\0\0\x03x",
        b"\0\0\0\x05\x01\x02\x03",
        b"\0\0\0\x05\x01\x02\x03\x04\x05",
        b"\0\0\0\x0a",
        b"\0\0\0\x0aSCRAM-SHA-256",
        b"\0\0\0\x0aSCRAM-SHA-256\0",
        b"\0\0\0\x0aSCRAM-SHA-256\0\0x\0",
    ];
    for body in wrong {
        assert_eq!(authentication(&framed(b'R', body)), Err(WireError::BadBody), "{body:?}");
    }
    assert_eq!(authentication(b"R\0\0"), Err(WireError::BadBody));
}

#[test]
fn an_empty_list_of_mechanisms_is_a_list() {
    let message = framed(b'R', b"\0\0\0\x0a\0");
    assert_eq!(authentication(&message), Ok(Authentication::Sasl { mechanisms: b"" }));
}

#[test]
fn parameter_status_is_a_name_and_a_value() {
    let message = b"S\0\0\0\x11TimeZone\0UTC\0";
    assert_eq!(parameter_status(golden(message)), Ok((&b"TimeZone"[..], &b"UTC"[..])));
    assert_eq!(parameter_status(golden(b"S\0\0\0\x07a\0\0")), Ok((&b"a"[..], &b""[..])));
    for body in [&b""[..], b"a", b"a\0", b"a\0b", b"a\0b\0c"] {
        assert_eq!(parameter_status(&framed(b'S', body)), Err(WireError::BadBody), "{body:?}");
    }
}

#[test]
fn command_tag_ends_with_the_message() {
    assert_eq!(command_tag(golden(b"C\0\0\0\x0dSELECT 1\0")), Ok(&b"SELECT 1"[..]));
    for body in [&b""[..], b"BEGIN", b"BEGIN\0x"] {
        assert_eq!(command_tag(&framed(b'C', body)), Err(WireError::BadBody), "{body:?}");
    }
}

#[test]
fn backend_key_is_8_bytes_and_at_most_260_in_protocol_3_2() {
    let message = b"K\0\0\0\x0c\0\0\x01\x02\xaa\xbb\xcc\xdd";
    assert_eq!(backend_key(golden(message)), Ok(&b"\0\0\x01\x02\xaa\xbb\xcc\xdd"[..]));
    assert_eq!(backend_key(&framed(b'K', &[7; 260])).map(<[u8]>::len), Ok(260));
    assert_eq!(backend_key(&framed(b'K', &[7; 261])), Err(WireError::BadBody));
    assert_eq!(backend_key(&framed(b'K', &[7; 7])), Err(WireError::BadBody));
}

#[test]
fn error_fields_come_in_their_order() {
    let message = b"E\0\0\0\x2cSFATAL\0VFATAL\0C53300\0Mtoo many clients\0\0";
    let fields: Vec<_> = error_fields(golden(message)).collect();
    let expected: [(u8, &[u8]); 4] =
        [(b'S', b"FATAL"), (b'V', b"FATAL"), (b'C', b"53300"), (b'M', b"too many clients")];
    assert_eq!(fields, expected);
}

#[test]
fn error_fields_end_quietly_where_they_are_broken() {
    let cases: [(&[u8], usize); 5] =
        [(b"", 0), (b"\0", 0), (b"SERROR", 0), (b"SERROR\0M", 1), (b"SERROR\0\0Mx\0", 1)];
    for (body, fields) in cases {
        assert_eq!(error_fields(&framed(b'E', body)).count(), fields, "{body:?}");
    }
    assert_eq!(error_fields(b"E\0").count(), 0);
}

#[test]
fn a_row_gives_its_values_and_ends_quietly_where_it_is_broken() {
    let message = b"D\0\0\0\x13\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0";
    let values: Vec<_> = data_row(golden(message)).collect();
    assert_eq!(values, [Some(&b"a"[..]), None, Some(b"")]);
    let cases: [(&[u8], usize); 5] = [
        (b"", 0),
        (b"\0", 0),
        (b"\0\x02\0\0\0\x01a", 1),
        (b"\0\x01\0\0\0\x02a", 0),
        (b"\xff\xff\x7f\xff\xff\xff", 0),
    ];
    for (body, values) in cases {
        assert_eq!(data_row(&framed(b'D', body)).count(), values, "{body:?}");
    }
}

fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::encode::message(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

/// A message written by hand, once its length is seen to be right.
#[track_caller]
fn golden(message: &[u8]) -> &[u8] {
    let total =
        crate::header(message, crate::MESSAGE_BYTES_MAX).map(|found| found.map(|header| header.total));
    assert_eq!(total, Ok(Some(message.len())), "{message:?}");
    message
}
