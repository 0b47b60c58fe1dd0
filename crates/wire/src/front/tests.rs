//! Messages written by hand from the manual's "Message Formats".

use super::*;

/// A Bind: portal "p", statement "st", one parameter in text format with the value "42", results in text format.
const BIND: &[u8] = b"B\0\0\0\x17p\0st\0\0\x01\0\0\0\x01\0\0\0\x0242\0\0";

#[test]
fn query_gives_the_text_without_its_zero() {
    assert_eq!(query(golden(b"Q\0\0\0\x0dselect 1\0")), Ok(&b"select 1"[..]));
    assert_eq!(query(golden(b"Q\0\0\0\x05\0")), Ok(&b""[..]));
}

#[test]
fn query_refuses_a_text_that_does_not_end_with_the_message() {
    for body in [&b""[..], b"select 1", b"select 1\0;", b"\0\0"] {
        assert_eq!(query(&framed(b'Q', body)), Err(WireError::BadBody), "{body:?}");
    }
}

#[test]
fn parse_keeps_text_and_types_together() {
    let message = b"P\0\0\0\x17s1\0select $1\0\0\x01\0\0\0\x17";
    let text_and_types = &b"select $1\0\0\x01\0\0\0\x17"[..];
    assert_eq!(parse(golden(message)), Ok(Parse { name: b"s1", text_and_types }));
    let unnamed = b"P\0\0\0\x08\0\0\0\0";
    assert_eq!(parse(golden(unnamed)), Ok(Parse { name: b"", text_and_types: b"\0\0\0" }));
}

#[test]
fn parse_refuses_what_is_cut_or_has_more() {
    let cut: [&[u8]; 6] =
        [b"", b"s1", b"s1\0select", b"s1\0select\0", b"s1\0select\0\0", b"s1\0select\0\0\x01\0\0\0"];
    let more: [&[u8]; 2] = [b"\0\0\0\0x", b"\0\0\0\x01\0\0\0\x17\0"];
    for body in cut.iter().chain(&more) {
        assert_eq!(parse(&framed(b'P', body)), Err(WireError::BadBody), "{body:?}");
    }
}

#[test]
fn parse_counts_types_without_a_sign() {
    let mut body = b"\0\0\xff\xff".to_vec();
    body.extend_from_slice(&[0; 65_535 * 4]);
    assert!(parse(&framed(b'P', &body)).is_ok());
}

#[test]
fn bind_names_end_where_the_formats_begin() {
    let names = BindNames { portal: b"p", statement: b"st", end: 10 };
    assert_eq!(bind_names(golden(BIND), BIND.len()), Ok(Some(names)));
    let unnamed = BindNames { portal: b"", statement: b"", end: 7 };
    assert_eq!(bind_names(golden(b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"), 13), Ok(Some(unnamed)));
}

#[test]
fn bind_names_of_a_beginning_wait_until_both_are_there() {
    let names = BindNames { portal: b"p", statement: b"st", end: 10 };
    for end in 0..10 {
        assert_eq!(bind_names(&BIND[..end], BIND.len()), Ok(None), "{end} bytes");
    }
    for end in 10..=BIND.len() {
        assert_eq!(bind_names(&BIND[..end], BIND.len()), Ok(Some(names)), "{end} bytes");
    }
}

#[test]
fn bind_names_never_look_into_the_next_message() {
    // The length of the first message ends inside the names; the bytes behind it would complete them.
    for total in 0..10 {
        assert_eq!(bind_names(BIND, total), Err(WireError::BadBody), "total {total}");
    }
}

#[test]
fn describe_and_close_name_a_statement_or_a_portal() {
    assert_eq!(subject(golden(b"D\0\0\0\x08Ss1\0")), Ok(Subject::Statement(b"s1")));
    assert_eq!(subject(golden(b"C\0\0\0\x06P\0")), Ok(Subject::Portal(b"")));
    for body in [&b""[..], b"S", b"Ss1", b"Ss1\0x", b"Xs1\0", b"\0s1\0"] {
        assert_eq!(subject(&framed(b'D', body)), Err(WireError::BadBody), "{body:?}");
    }
}

#[test]
fn password_is_text_and_a_sasl_response_is_not() {
    assert_eq!(password(golden(b"p\0\0\0\x0bsecret\0")), Ok(&b"secret"[..]));
    assert_eq!(password(golden(b"p\0\0\0\x0asecret")), Err(WireError::BadBody));
    assert_eq!(password(golden(b"p\0\0\0\x0dsecret\0x\0")), Err(WireError::BadBody));
    assert_eq!(sasl_response(golden(b"p\0\0\0\x09c=biw")), Ok(&b"c=biw"[..]));
    assert_eq!(sasl_response(b"p\0\0\0"), Err(WireError::BadBody));
}

#[test]
fn sasl_initial_has_a_mechanism_and_counted_data() {
    let message = b"p\0\0\0\x22SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=abcd";
    assert_eq!(sasl_initial(golden(message)), Ok((&b"SCRAM-SHA-256"[..], &b"n,,n=,r=abcd"[..])));
    let silent = b"p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff";
    assert_eq!(sasl_initial(golden(silent)), Ok((&b"SCRAM-SHA-256"[..], &b""[..])));
    let wrong: [&[u8]; 6] =
        [b"", b"X", b"X\0\0\0\0", b"X\0\0\0\0\x02a", b"X\0\0\0\0\x01ab", b"X\0\xff\xff\xff\xffa"];
    for body in wrong {
        assert_eq!(sasl_initial(&framed(b'p', body)), Err(WireError::BadBody), "{body:?}");
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
