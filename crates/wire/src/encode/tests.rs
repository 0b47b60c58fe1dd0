//! Every encoder beside bytes written by hand from the manual's "Message Formats".

use super::*;

/// What `encode` appends is `expected`, and it leaves alone what was there.
#[track_caller]
fn assert_bytes(encode: impl Fn(&mut Vec<u8>), expected: &[u8]) {
    let mut out = b"before".to_vec();
    encode(&mut out);
    assert_eq!(out.strip_prefix(b"before").map(<[u8]>::escape_ascii).map(|s| s.to_string()), {
        Some(expected.escape_ascii().to_string())
    });
}

#[test]
fn authentication_messages() {
    assert_bytes(authentication_ok, b"R\0\0\0\x08\0\0\0\0");
    assert_bytes(authentication_cleartext, b"R\0\0\0\x08\0\0\0\x03");
    assert_bytes(|out| authentication_md5(out, *b"\xfe\0\x01\x7f"), b"R\0\0\0\x0c\0\0\0\x05\xfe\0\x01\x7f");
    assert_bytes(authentication_sasl, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    assert_bytes(authentication_sasl_bearer, b"R\0\0\0\x15\0\0\0\x0aOAUTHBEARER\0\0");
    assert_bytes(|out| authentication_sasl_continue(out, b"r=ab"), b"R\0\0\0\x0c\0\0\0\x0br=ab");
    assert_bytes(|out| authentication_sasl_final(out, b"v=ab"), b"R\0\0\0\x0c\0\0\0\x0cv=ab");
}

#[test]
fn messages_of_the_login() {
    assert_bytes(
        |out| negotiate_protocol_version(out, &[b"_pq_.a", b"_pq_.bc"]),
        b"v\0\0\0\x1b\0\x03\0\0\0\0\0\x02_pq_.a\0_pq_.bc\0",
    );
    assert_bytes(|out| negotiate_protocol_version(out, &[]), b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0");
    assert_bytes(|out| parameter_status(out, b"TimeZone", b"UTC"), b"S\0\0\0\x11TimeZone\0UTC\0");
    assert_bytes(
        |out| backend_key_data(out, *b"\0\0\x01\x02\xaa\xbb\xcc\xdd"),
        b"K\0\0\0\x0c\0\0\x01\x02\xaa\xbb\xcc\xdd",
    );
    for status in [b'I', b'T', b'E'] {
        assert_bytes(|out| ready_for_query(out, status), &[b'Z', 0, 0, 0, 5, status]);
    }
}

#[test]
fn errors_and_notices() {
    let fields = Fields {
        severity: "FATAL",
        sqlstate: "08P01",
        message: "no such database: x",
        detail: None,
        hint: None,
    };
    assert_bytes(|out| error_response(out, &fields), b"E\0\0\0\x28SFATAL\0C08P01\0Mno such database: x\0\0");
    let fields =
        Fields { severity: "NOTICE", sqlstate: "00000", message: "m", detail: Some("d"), hint: Some("h") };
    assert_bytes(|out| notice_response(out, &fields), b"N\0\0\0\x1dSNOTICE\0C00000\0Mm\0Dd\0Hh\0\0");
}

#[test]
fn answers_that_are_only_a_header() {
    assert_bytes(parse_complete, b"1\0\0\0\x04");
    assert_bytes(bind_complete, b"2\0\0\0\x04");
    assert_bytes(close_complete, b"3\0\0\0\x04");
    assert_bytes(no_data, b"n\0\0\0\x04");
    assert_bytes(empty_query_response, b"I\0\0\0\x04");
    assert_bytes(parameter_description_empty, b"t\0\0\0\x06\0\0");
}

#[test]
fn rows_and_what_they_are() {
    let columns = [
        Column { name: "name", type_oid: 25 },
        Column { name: "n", type_oid: 23 },
        Column { name: "big", type_oid: 20 },
        Column { name: "key", type_oid: 17 },
    ];
    assert_bytes(
        |out| row_description(out, &columns),
        b"T\0\0\0\x5d\0\x04\
          name\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0\
          n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
          big\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\0\
          key\0\0\0\0\0\0\0\0\0\0\x11\xff\xff\xff\xff\xff\xff\0\0",
    );
    assert_bytes(
        |out| data_row(out, &[Some(b"a\0b"), None, Some(b"")]),
        b"D\0\0\0\x15\0\x03\0\0\0\x03a\0b\xff\xff\xff\xff\0\0\0\0",
    );
    assert_bytes(|out| data_row(out, &[]), b"D\0\0\0\x06\0\0");
    assert_bytes(|out| command_complete(out, "SHOW"), b"C\0\0\0\x09SHOW\0");
}

#[test]
fn first_packets() {
    assert_bytes(
        |out| startup(out, &[(b"user", b"bob"), (b"database", b"shop")]),
        b"\0\0\0\x20\0\x03\0\0user\0bob\0database\0shop\0\0",
    );
    assert_bytes(|out| startup(out, &[]), b"\0\0\0\x09\0\x03\0\0\0");
    assert_bytes(ssl_request, b"\0\0\0\x08\x04\xd2\x16\x2f");
    assert_bytes(
        |out| cancel_request(out, b"\0\0\x01\x02\xaa\xbb\xcc\xdd"),
        b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02\xaa\xbb\xcc\xdd",
    );
}

#[test]
fn passwords_and_sasl() {
    assert_bytes(|out| password(out, b"secret"), b"p\0\0\0\x0bsecret\0");
    assert_bytes(
        |out| sasl_initial_response(out, "SCRAM-SHA-256", b"n,,n=,r=abcd"),
        b"p\0\0\0\x22SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=abcd",
    );
    assert_bytes(|out| sasl_response(out, b"c=biws"), b"p\0\0\0\x0ac=biws");
}

#[test]
fn queries_and_statements() {
    assert_bytes(|out| query(out, b"select 1"), b"Q\0\0\0\x0dselect 1\0");
    assert_bytes(
        |out| parse(out, b"s1", b"select $1\0\0\x01\0\0\0\x17"),
        b"P\0\0\0\x17s1\0select $1\0\0\x01\0\0\0\x17",
    );
    assert_bytes(|out| describe_statement(out, b"s1"), b"D\0\0\0\x08Ss1\0");
    assert_bytes(|out| close_statement(out, b"s1"), b"C\0\0\0\x08Ss1\0");
    assert_bytes(sync, b"S\0\0\0\x04");
    assert_bytes(|out| copy_fail(out, "gone"), b"f\0\0\0\x09gone\0");
    assert_bytes(terminate, b"X\0\0\0\x04");
}

#[test]
fn a_bind_head_counts_what_the_caller_still_sends() {
    assert_bytes(|out| bind_head(out, 26, b"p", b"st"), b"B\0\0\0\x19p\0st\0");
    assert_bytes(|out| bind_head(out, 0x0102_0305, b"", b""), b"B\x01\x02\x03\x04\0\0");
}

#[test]
fn strings_are_cut_at_an_inner_zero() {
    assert_bytes(|out| query(out, b"select 1\0; drop table t"), b"Q\0\0\0\x0dselect 1\0");
    assert_bytes(|out| parameter_status(out, b"a\0b", b"\0c"), b"S\0\0\0\x07a\0\0");
}
