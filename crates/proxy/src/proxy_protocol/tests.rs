use super::*;

/// A header of version 2.
fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = V2_SIGNATURE.to_vec();
    out.extend([version_command, family]);
    out.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
    out.extend(body);
    out
}

const V4_BODY: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 0x04, 0x19, 0x20];

fn any(bytes: &[u8]) -> Result<Option<(Origin, usize)>, HeaderError> {
    parse(bytes, Versions::Any)
}

fn client(address: &str) -> Origin {
    Origin::Client(address.parse().expect("an address"))
}

#[test]
fn version_2_tells_the_client_and_leaves_what_follows() {
    let mut bytes = v2(0x21, 0x11, &V4_BODY);
    assert_eq!(any(&bytes), Ok(Some((client("203.0.113.9:56324"), 28))));
    bytes.extend(b"\0\0\0\x08rest");
    assert_eq!(any(&bytes), Ok(Some((client("203.0.113.9:56324"), 28))));
    let mut v6 = vec![0_u8; 36];
    v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets());
    v6[32..34].copy_from_slice(&[1, 0]);
    assert_eq!(any(&v2(0x21, 0x21, &v6)), Ok(Some((client("[2001:db8::7]:256"), 52))));
}

#[test]
fn additions_are_passed_over_up_to_a_bound() {
    let mut body = V4_BODY.to_vec();
    body.extend([4; 1012]);
    assert_eq!(any(&v2(0x21, 0x11, &body)), Ok(Some((client("203.0.113.9:56324"), 16 + 1024))));
    body.push(4);
    // Refused as soon as the length is there, before anything is kept for it.
    assert_eq!(any(&v2(0x21, 0x11, &body)[..16]), Err(HeaderError::Bad("too long")));
}

#[test]
fn version_1_tells_the_client_and_leaves_what_follows() {
    let line = b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 6432\r\n\0\0\0\x08";
    assert_eq!(any(line), Ok(Some((client("203.0.113.9:56324"), line.len() - 4))));
    let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n";
    assert_eq!(any(line), Ok(Some((client("[2001:db8::7]:1"), line.len()))));
}

#[test]
fn health_checks_have_the_balancers_own_address() {
    assert_eq!(any(&v2(0x20, 0x00, &[])), Ok(Some((Origin::Balancer, 16))));
    assert_eq!(any(&v2(0x20, 0x11, &V4_BODY)), Ok(Some((Origin::Balancer, 28))));
    assert_eq!(any(b"PROXY UNKNOWN\r\n"), Ok(Some((Origin::Balancer, 15))));
    assert_eq!(any(b"PROXY UNKNOWN ff 1 2 3\r\n"), Ok(Some((Origin::Balancer, 24))));
}

#[test]
fn every_beginning_of_a_header_waits_for_more() {
    for whole in [v2(0x21, 0x11, &V4_BODY), b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 6432\r\n".to_vec()] {
        for end in 0..whole.len() {
            assert_eq!(any(&whole[..end]), Ok(None), "{end} bytes");
        }
    }
}

#[test]
fn addresses_of_this_machine_and_of_nobody_open_no_door() {
    for ip in [[127, 0, 0, 1], [127, 9, 9, 9], [0, 0, 0, 0], [224, 0, 0, 1]] {
        let mut body = V4_BODY;
        body[..4].copy_from_slice(&ip);
        assert!(matches!(any(&v2(0x21, 0x11, &body)), Err(HeaderError::Bad(_))), "{ip:?}");
    }
    for ip in ["::1", "::", "::ffff:127.0.0.1"] {
        let line = format!("PROXY TCP6 {ip} 2001:db8::1 1 2\r\n");
        assert!(matches!(any(line.as_bytes()), Err(HeaderError::Bad(_))), "{ip}");
    }
    assert_eq!(any(&v2(0x21, 0x31, &[0; 216])), Err(HeaderError::Bad("a Unix socket's address")));
}

#[test]
fn what_is_broken_is_refused() {
    let bad = |bytes: &[u8]| assert!(matches!(any(bytes), Err(HeaderError::Bad(_))), "{bytes:?}");
    bad(&v2(0x11, 0x11, &V4_BODY));
    bad(&v2(0x22, 0x11, &V4_BODY));
    bad(&v2(0x21, 0x00, &[]));
    bad(&v2(0x21, 0x12, &V4_BODY));
    bad(&v2(0x21, 0x11, &V4_BODY[..11]));
    bad(&v2(0x21, 0x21, &[1; 35]));
    for rest in [
        "TCP4 203.0.113.9 10.0.0.1 56324 6432 more",
        "TCP4 203.0.113.9 10.0.0.1 056324 6432",
        "TCP4 203.0.113.9 10.0.0.1 +56 6432",
        "TCP4 203.0.113.9 10.0.0.1 65536 6432",
        "TCP4 203.0.113.9  10.0.0.1 1 2",
        "TCP4 2001:db8::7 10.0.0.1 1 2",
        "TCP6 203.0.113.9 10.0.0.1 1 2",
        "TCP5 203.0.113.9 10.0.0.1 1 2",
        "TCP4",
        "",
    ] {
        bad(format!("PROXY {rest}\r\n").as_bytes());
    }
    bad(&[b"PROXY ", &[b'x'; 101][..]].concat());
    bad(b"PROXY \xff\xfe\r\n");
}

#[test]
fn something_else_is_no_header_and_version_1_only_where_it_is_taken() {
    assert_eq!(any(b"\0\0\0\x08\x04\xd2\x16\x2f"), Err(HeaderError::Missing));
    assert_eq!(any(b"PROXX"), Err(HeaderError::Missing));
    assert_eq!(any(b"\r\n\r\n\0\r\nQUIX"), Err(HeaderError::Missing));
    let line = b"PROXY UNKNOWN\r\n";
    assert!(matches!(parse(line, Versions::V2), Err(HeaderError::Bad(_))));
    assert_eq!(parse(b"PRO", Versions::V2), Err(HeaderError::Missing));
    assert!(looks_like(line) && looks_like(V2_SIGNATURE) && looks_like(&V2_SIGNATURE[..8]));
    assert!(!looks_like(b"PROXY") && !looks_like(b"\0\0\0\x08\x04\xd2\x16\x2f"));
}
