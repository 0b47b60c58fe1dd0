//! The header with which a load balancer says for whom it connects (HAProxy, "The PROXY protocol", versions 1 and 2).
//!
//! It comes before anything else. The parser is given what has been received and takes no more of it than the header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, its CR LF included, bytes (specification, 2.1).
pub(crate) const V1_BYTES_MAX: usize = 107;

/// Longest header of version 2 we take, bytes. The addresses are 36 at most; the rest is for additions (TLVs), which
/// are passed over.
pub(crate) const V2_BYTES_MAX: usize = 16 + 1024;

/// What every header of version 1 begins with.
const V1_SIGNATURE: &[u8] = b"PROXY ";

/// What every header of version 2 begins with (specification, 2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Which versions are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    /// Version 2 alone.
    V2,
    /// Both.
    Any,
}

/// For whom the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// For this client.
    Client(SocketAddr),
    /// For the balancer itself (a health check), or it does not know for whom: the connection's own address counts.
    Balancer,
}

/// Why it is no header, or none that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// There is none.
    Missing,
    /// There is one, and it is wrong: how.
    Bad(&'static str),
}

/// Whether these bytes begin like a header of any version.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(V1_SIGNATURE) || bytes.starts_with(&V2_SIGNATURE[..8])
}

/// Whether so few bytes may still become this signature.
fn may_become(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.len() < signature.len() && signature.starts_with(bytes)
}

/// Reads a header: for whom, and how many bytes it has. `None`: more bytes are needed.
///
/// # Errors
/// See [`HeaderError`].
pub(crate) fn parse(bytes: &[u8], versions: Versions) -> Result<Option<(Origin, usize)>, HeaderError> {
    // Also where version 1 is not taken: what is said of it does not depend on where the network cuts it.
    if may_become(bytes, V2_SIGNATURE) || may_become(bytes, V1_SIGNATURE) {
        return Ok(None);
    }
    if bytes.starts_with(V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    match (bytes.starts_with(V1_SIGNATURE), versions) {
        (true, Versions::Any) => parse_v1(bytes),
        (true, Versions::V2) => Err(HeaderError::Bad("version 1, and only version 2 is taken")),
        (false, _) => Err(HeaderError::Missing),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Origin, usize)>, HeaderError> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let [.., version_command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 {
        return Err(HeaderError::Bad("not version 2"));
    }
    if head.len() + length > V2_BYTES_MAX {
        return Err(HeaderError::Bad("too long"));
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let origin = match version_command & 0xf {
        0 => Origin::Balancer,
        1 => Origin::Client(checked(address_v2(family, body)?)?),
        _ => return Err(HeaderError::Bad("unknown command")),
    };
    Ok(Some((origin, head.len() + length)))
}

/// The source address of a body: both addresses, then both ports.
fn address_v2(family: u8, body: &[u8]) -> Result<SocketAddr, HeaderError> {
    const SHORT: HeaderError = HeaderError::Bad("addresses are cut off");
    let port = |at: usize| {
        let bytes = body.get(at..).and_then(|rest| rest.first_chunk::<2>());
        bytes.map(|bytes| u16::from_be_bytes(*bytes)).ok_or(SHORT)
    };
    match family {
        0x11 => {
            let ip = Ipv4Addr::from(*body.first_chunk::<4>().ok_or(SHORT)?);
            // Behind the ports nothing of the addresses is left to be cut off.
            port(10).and(port(8)).map(|port| SocketAddr::new(ip.into(), port))
        }
        0x21 => {
            let ip = Ipv6Addr::from(*body.first_chunk::<16>().ok_or(SHORT)?);
            port(34).and(port(32)).map(|port| SocketAddr::new(ip.into(), port))
        }
        0x31 | 0x32 => Err(HeaderError::Bad("a Unix socket's address")),
        0x00 => Err(HeaderError::Bad("no address")),
        _ => Err(HeaderError::Bad("not TCP")),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Origin, usize)>, HeaderError> {
    let within = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_BYTES_MAX { Ok(None) } else { Err(HeaderError::Bad("too long")) };
    };
    let line = std::str::from_utf8(&within[..end]).map_err(|_| HeaderError::Bad("not text"))?;
    let mut words = line.split(' ').skip(1);
    let origin = match words.next() {
        Some("UNKNOWN") => Origin::Balancer,
        Some("TCP4") => Origin::Client(checked(address_v1::<Ipv4Addr>(words)?)?),
        Some("TCP6") => Origin::Client(checked(address_v1::<Ipv6Addr>(words)?)?),
        Some(_) | None => return Err(HeaderError::Bad("unknown family")),
    };
    Ok(Some((origin, end + 2)))
}

/// Source address, destination address, source port, destination port, and nothing else.
fn address_v1<'a, Ip>(mut words: impl Iterator<Item = &'a str>) -> Result<SocketAddr, HeaderError>
where
    Ip: std::str::FromStr + Into<IpAddr>,
{
    const BAD: HeaderError = HeaderError::Bad("broken addresses");
    let mut ip = || words.next().and_then(|word| word.parse::<Ip>().ok()).ok_or(BAD);
    let (source, _destination) = (ip()?, ip()?);
    let mut port = || words.next().and_then(port).ok_or(BAD);
    let (source_port, _destination_port) = (port()?, port()?);
    if words.next().is_some() { Err(BAD) } else { Ok(SocketAddr::new(source.into(), source_port)) }
}

/// Decimal digits without leading zeros (specification, 2.1).
fn port(word: &str) -> Option<u16> {
    let is_plain =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word.len() == 1 || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

/// An address that only a client of this very machine has opens doors of an HBA file that are not for the network.
fn checked(address: SocketAddr) -> Result<SocketAddr, HeaderError> {
    let ip = address.ip().to_canonical();
    if ip.is_loopback() {
        return Err(HeaderError::Bad("a loopback address"));
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(HeaderError::Bad("an address nobody has"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(parse(b"PRO", Versions::V2), Ok(None));
        assert!(looks_like(line) && looks_like(V2_SIGNATURE) && looks_like(&V2_SIGNATURE[..8]));
        assert!(!looks_like(b"PROXY") && !looks_like(b"\0\0\0\x08\x04\xd2\x16\x2f"));
    }
}
