//! `proxy_protocol`: which listener expects which header of the PROXY protocol.

use std::fmt;
use std::net::IpAddr;

use crate::network::Network;
use crate::plan::ProxyProtocol;
use crate::table::Fault;

/// What its value looks like.
pub(crate) const EXPECTED: &str =
    "off, v2, any, or a list by address listened on, such as: off, 10.0.9.5=v2, 2001:db8::/64=any";

const ALL: [ProxyProtocol; 3] = [ProxyProtocol::Off, ProxyProtocol::V2, ProxyProtocol::Any];

/// Which header of the PROXY protocol is expected at which address of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyListeners {
    rest: ProxyProtocol,
    at: Vec<(Network, ProxyProtocol)>,
}

impl ProxyListeners {
    /// For a connection that came in at this address of ours; of several that name it, the first counts.
    pub fn at(&self, local: IpAddr) -> ProxyProtocol {
        let named = self.at.iter().find(|(network, _)| network.contains(local));
        named.map_or(self.rest, |(_, versions)| *versions)
    }

    /// Whether no listener expects a header.
    pub fn is_off(&self) -> bool {
        let mut all = std::iter::once(&self.rest).chain(self.at.iter().map(|(_, versions)| versions));
        all.all(|versions| *versions == ProxyProtocol::Off)
    }

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// If a word or an address is none, or there are two words for the rest.
    pub(crate) fn parse(text: &str) -> Result<ProxyListeners, Fault> {
        let fault = || Fault::Invalid(EXPECTED);
        let word = |text: &str| ALL.into_iter().find(|versions| word_of(*versions) == text);
        let mut listeners = ProxyListeners::default();
        let mut rest = None;
        for item in text.split(',').map(str::trim) {
            match item.split_once('=') {
                Some((network, versions)) => {
                    let network = Network::parse(network.trim()).ok_or_else(fault)?;
                    listeners.at.push((network, word(versions.trim()).ok_or_else(fault)?));
                }
                None => {
                    let before = rest.replace(word(item).ok_or_else(fault)?);
                    if before.is_some() {
                        return Err(fault());
                    }
                }
            }
        }
        listeners.rest = rest.unwrap_or_default();
        Ok(listeners)
    }
}

impl fmt::Display for ProxyListeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(self.rest))?;
        self.at.iter().try_for_each(|(network, versions)| write!(f, ", {network}={}", word_of(*versions)))
    }
}

fn word_of(versions: ProxyProtocol) -> &'static str {
    match versions {
        ProxyProtocol::Off => "off",
        ProxyProtocol::V2 => "v2",
        ProxyProtocol::Any => "any",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, local: &str) -> ProxyProtocol {
        ProxyListeners::parse(text).expect("a value").at(local.parse().expect("an address"))
    }

    #[test]
    fn each_listener_has_its_own() {
        assert_eq!(at("v2", "10.0.9.5"), ProxyProtocol::V2);
        let some = "off, 10.0.9.5=v2, 10.0.9.0/24=any";
        assert_eq!(at(some, "10.0.9.5"), ProxyProtocol::V2);
        assert_eq!(at(some, "10.0.9.6"), ProxyProtocol::Any);
        assert_eq!(at(some, "::ffff:10.0.9.5"), ProxyProtocol::V2);
        assert_eq!(at(some, "127.0.0.1"), ProxyProtocol::Off);
        assert_eq!(at("10.0.9.5 = off, any", "10.0.9.5"), ProxyProtocol::Off);
        assert_eq!(at("10.0.9.5 = off, any", "::1"), ProxyProtocol::Any);
    }

    #[test]
    fn off_is_off_everywhere() {
        for (text, off) in [("off", true), ("10.0.9.5=off", true), ("off, ::1=v2", false), ("any", false)] {
            assert_eq!(ProxyListeners::parse(text).expect("a value").is_off(), off, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in
            ["", "on", "v1", "v2, any", "10.0.9.5", "10.0.9.5=", "=v2", "10.0.9.5/8=v2", "v2,", "a=b=c"]
        {
            assert!(ProxyListeners::parse(text).is_err(), "{text}");
        }
    }
}
