//! The address column of an HBA line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lines::{Token, Tokens, shown};

/// The addresses a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Net {
    /// `all`.
    All,
    V4 {
        base: u32,
        mask: u32,
    },
    V6 {
        base: u128,
        mask: u128,
    },
}

impl Net {
    /// Reads `all`, `address/bits` or `address mask`.
    ///
    /// # Errors
    /// What is wrong, in PgBouncer's words.
    pub(super) fn read(tokens: &mut Tokens<'_>) -> Result<Net, String> {
        let Token::Word(word) = *tokens.current() else {
            return Err("did not find address".to_owned());
        };
        tokens.take();
        if word == "all" {
            return Ok(Net::All);
        }
        match word.split_once('/') {
            Some((address, bits)) => with_length(parse_address(address)?, bits),
            None => with_mask(parse_address(word)?, tokens),
        }
    }

    /// Whether a client at this address is meant. One that came over IPv6 with an IPv4 address in it
    /// (`::ffff:10.0.0.1`, RFC 4291 2.5.5.2) is meant by lines for either.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        match (*self, ip, ip.to_canonical()) {
            (Net::All, _, _) => true,
            (Net::V4 { base, mask }, _, IpAddr::V4(ip)) => ip.to_bits() & mask == base,
            (Net::V6 { base, mask }, IpAddr::V6(ip), _) => ip.to_bits() & mask == base,
            (Net::V4 { .. }, _, IpAddr::V6(_)) | (Net::V6 { .. }, IpAddr::V4(_), _) => false,
        }
    }

    /// Whether no other machine has any of its addresses (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
    pub(super) fn is_loopback(&self) -> bool {
        match *self {
            Net::All => false,
            Net::V4 { base, mask } => Ipv4Addr::from_bits(base).is_loopback() && mask >> 24 == 0xff,
            Net::V6 { base, mask } => {
                let ip = Ipv6Addr::from_bits(base);
                let in_v4 = ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback());
                (ip.is_loopback() && mask == u128::MAX) || (in_v4 && mask >> 24 == u128::MAX >> 24)
            }
        }
    }

    /// Whether the address has bits that the mask takes away: no client's address ever equals it.
    pub(super) fn has_bits_beyond_mask(&self) -> bool {
        match *self {
            Net::All => false,
            Net::V4 { base, mask } => base & !mask != 0,
            Net::V6 { base, mask } => base & !mask != 0,
        }
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Net::All => f.write_str("all"),
            Net::V4 { base, mask } => {
                write!(f, "{} / {}", Ipv4Addr::from_bits(base), Ipv4Addr::from_bits(mask))
            }
            Net::V6 { base, mask } => {
                write!(f, "{} / {}", Ipv6Addr::from_bits(base), Ipv6Addr::from_bits(mask))
            }
        }
    }
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("failed to parse address - {}", shown(text)))
}

/// An address with the length of its mask in bits.
fn with_length(address: IpAddr, bits: &str) -> Result<Net, String> {
    let invalid = || "invalid mask".to_owned();
    // `u32::from_str` would take a sign.
    if !bits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    let bits: u32 = bits.parse().map_err(|_| invalid())?;
    match address {
        IpAddr::V4(address) => {
            let beyond = u32::BITS.checked_sub(bits).ok_or_else(invalid)?;
            Ok(Net::V4 { base: address.to_bits(), mask: u32::MAX.checked_shl(beyond).unwrap_or(0) })
        }
        IpAddr::V6(address) => {
            let beyond = u128::BITS.checked_sub(bits).ok_or_else(invalid)?;
            Ok(Net::V6 { base: address.to_bits(), mask: u128::MAX.checked_shl(beyond).unwrap_or(0) })
        }
    }
}

/// An address whose mask is the next column.
fn with_mask(address: IpAddr, tokens: &mut Tokens<'_>) -> Result<Net, String> {
    let Token::Word(mask) = *tokens.current() else {
        return Err("did not find mask".to_owned());
    };
    let failed = || format!("failed to parse mask: {}", shown(mask));
    let net = match address {
        IpAddr::V4(address) => {
            let mask: Ipv4Addr = mask.parse().map_err(|_| failed())?;
            Net::V4 { base: address.to_bits(), mask: mask.to_bits() }
        }
        IpAddr::V6(address) => {
            let mask: Ipv6Addr = mask.parse().map_err(|_| failed())?;
            Net::V6 { base: address.to_bits(), mask: mask.to_bits() }
        }
    };
    tokens.take();
    Ok(net)
}
