//! Networks: an address and how many of its bits count.

use std::fmt;
use std::net::IpAddr;

use crate::table::Fault;

/// What a list of them looks like.
pub(crate) const EXPECTED: &str = "networks with commas, such as 10.0.0.0/8, 192.0.2.7, 2001:db8::/32";

/// `10.0.0.0/8`, `2001:db8::/32`; a single address has all its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads one. `None`: it is none, or has bits where its mask has none.
    pub(crate) fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let network = Network { address, bits: bits.unwrap_or(most_bits(address)) };
        let fits = network.bits <= most_bits(address) && network.masked(address) == bits_of(address);
        fits.then_some(network)
    }

    /// Whether an address is in it. An IPv4 address inside IPv6 is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == bits_of(self.address)
    }

    /// The bits of an address that count.
    fn masked(&self, address: IpAddr) -> u128 {
        let rest = u32::from(most_bits(address).saturating_sub(self.bits));
        // All bits shifted out is nothing left.
        bits_of(address).checked_shr(rest).and_then(|bits| bits.checked_shl(rest)).unwrap_or(0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn most_bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Reads a list with commas; empty is none.
pub(crate) fn list(text: &str) -> Result<Vec<Network>, Fault> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| Network::parse(name).ok_or(Fault::Invalid(EXPECTED))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        let network = Network::parse(network).expect("a network");
        network.contains(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_is_in_a_network_if_the_bits_that_count_are_the_same() {
        assert!(holds("10.0.0.0/8", "10.255.1.2"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.0.2.7", "192.0.2.7"));
        assert!(!holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["10.0.0.1/8", "10.0.0.0/33", "::/129", "host", "10.0.0.0/", "/8", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
        assert!(list("10.0.0.0/8,, 192.0.2.0/24 ").is_ok_and(|list| list.len() == 2));
        assert!(list("").is_ok_and(|list| list.is_empty()));
    }
}
