//! Packets written by hand from the manual's "Message Formats".

use super::*;

type Pair<'a> = (&'a [u8], &'a [u8]);

/// Protocol 3.0, user bob, database shop.
const STARTUP: &[u8] = b"\0\0\0\x20\0\x03\0\0user\0bob\0database\0shop\0\0";

#[test]
fn requests_are_told_by_their_code() {
    assert_eq!(parse(b"\0\0\0\x08\x04\xd2\x16\x2f"), Ok(Some((Packet::Ssl, 8))));
    assert_eq!(parse(b"\0\0\0\x08\x04\xd2\x16\x30"), Ok(Some((Packet::GssEnc, 8))));
    let cancel = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02\xaa\xbb\xcc\xdd";
    let key = &b"\0\0\x01\x02\xaa\xbb\xcc\xdd"[..];
    assert_eq!(parse(cancel), Ok(Some((Packet::Cancel { key }, 16))));
}

#[test]
fn what_follows_a_packet_is_not_part_of_it() {
    assert_eq!(parse(b"\0\0\0\x08\x04\xd2\x16\x2fmore"), Ok(Some((Packet::Ssl, 8))));
    let followed = [STARTUP, b"p\0\0\0\x05\0"].concat();
    assert_eq!(parse(&followed).map(|found| found.map(|(_, bytes)| bytes)), Ok(Some(STARTUP.len())));
}

#[test]
fn requests_with_another_length_are_not_requests() {
    for code in [SSL_CODE, GSSENC_CODE] {
        for length in [9_u32, 12, 10_000] {
            assert_bad_header(&head(length, code), 8);
        }
    }
    for length in [8_u32, 12, 15, 269, 10_000] {
        assert_eq!(parse(&head(length, CANCEL_CODE)), Err(StartupError::BadCancel), "{length}");
    }
}

#[test]
fn a_cancel_key_may_have_256_bytes_of_secret() {
    for length in [16_u32, 17, 268] {
        let mut packet = head(length, CANCEL_CODE);
        packet.resize(length as usize, 7);
        let key = &packet[8..];
        assert_eq!(parse(&packet), Ok(Some((Packet::Cancel { key }, packet.len()))), "{length}");
        assert_eq!(parse(&packet[..packet.len() - 1]), Ok(None), "{length}");
    }
}

#[test]
fn startup_has_a_minor_version_and_pairs() {
    let pairs = [(&b"user"[..], &b"bob"[..]), (b"database", b"shop")];
    assert_eq!(startup_of(STARTUP), (0, pairs.to_vec()));
    let newer = b"\0\0\0\x1a\0\x03\0\x02user\0b\0_pq_.opt\0\0\0";
    assert_eq!(startup_of(newer), (2, vec![(&b"user"[..], &b"b"[..]), (b"_pq_.opt", b"")]));
}

#[test]
fn startup_may_have_empty_values_and_no_pairs() {
    let empty_value = b"\0\0\0\x19\0\x03\0\0options\0\0user\0b\0\0";
    assert_eq!(startup_of(empty_value).1, [(&b"options"[..], &b""[..]), (b"user", b"b")]);
    assert_eq!(startup_of(b"\0\0\0\x09\0\x03\0\0\0").1, []);
}

#[test]
fn startup_waits_for_its_last_byte() {
    for end in 0..STARTUP.len() {
        assert_eq!(parse(&STARTUP[..end]), Ok(None), "{end} bytes");
    }
}

#[test]
fn startup_without_its_terminator_or_with_more_is_refused() {
    let wrong: [&[u8]; 8] = [
        b"",
        b"x",
        b"user\0bob\0",
        b"user\0bob\0x",
        b"user\0bob\0\0\0",
        b"user\0bob\0\0x\0y\0\0",
        b"user\0\0",
        b"user\0bob\0database\0shop",
    ];
    for body in wrong {
        let mut packet = head(8 + body.len() as u32, 3 << 16);
        packet.extend_from_slice(body);
        assert_eq!(parse(&packet), Err(StartupError::BadLayout), "{body:?}");
    }
}

#[test]
fn other_protocols_on_the_port_are_seen_by_their_first_word() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc", b"SSH-2.0-x"] {
        for end in 0..4 {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
        for end in 4..bytes.len() {
            assert_bad_header(&bytes[..end], end.min(8));
        }
    }
}

#[test]
fn lengths_have_two_limits() {
    for length in [0_u32, 3, 4, 7, 10_001, 1 << 31, u32::MAX] {
        assert_bad_header(&length.to_be_bytes(), 4);
    }
    for length in [8_u32, 10_000] {
        assert_eq!(parse(&length.to_be_bytes()), Ok(None));
    }
}

#[test]
fn the_longest_packet_is_read() {
    let mut packet = head(STARTUP_BYTES_MAX, 3 << 16);
    packet.extend_from_slice(b"options\0");
    packet.resize(STARTUP_BYTES_MAX as usize - 2, b'x');
    packet.extend_from_slice(b"\0\0");
    let pairs = startup_of(&packet).1;
    assert_eq!(pairs.iter().map(|(_, value)| value.len()).collect::<Vec<_>>(), [9_982]);
}

#[test]
fn other_versions_are_refused_before_they_are_whole() {
    assert_eq!(parse(b"\0\0\x01\x28\0\x02\0\0"), Ok(Some((Packet::Version2, 8))));
    for code in [0_u32, 1 << 16, 4 << 16, CANCEL_CODE - 1, GSSENC_CODE + 1] {
        let packet = head(100, code);
        let head = packet[..8].try_into().expect("eight bytes");
        assert_eq!(parse(&packet), Ok(Some((Packet::Unknown { head }, 8))), "{code}");
    }
}

fn head(length: u32, code: u32) -> Vec<u8> {
    [length.to_be_bytes(), code.to_be_bytes()].concat()
}

/// The answer is `BadHeader` with this many bytes.
#[track_caller]
fn assert_bad_header(packet: &[u8], bytes: usize) {
    assert_eq!(parse(packet), Err(StartupError::BadHeader(packet[..bytes].to_vec())), "{packet:?}");
}

/// Minor version and pairs of a packet that is a startup and nothing more.
#[track_caller]
fn startup_of(packet: &[u8]) -> (u16, Vec<Pair<'_>>) {
    match parse(packet) {
        Ok(Some((Packet::Startup { minor, params }, bytes))) => {
            assert_eq!(bytes, packet.len());
            (minor, params.iter().collect())
        }
        other => panic!("no startup: {other:?}"),
    }
}
