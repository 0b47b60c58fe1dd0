//! `http_listen` and `http_hosts`: where `/metrics` is answered, and by which names.

pub(crate) mod hosts;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::table::Fault;

/// What its value looks like.
pub(crate) const EXPECTED: &str =
    "off, or ports or addresses of this machine with commas, such as: 6433, 127.0.0.1:6433, [::1]:6433";

/// The port beside 6432, which poolers have.
const PORT: u16 = 6433;

/// Most addresses.
const ADDRESSES_MAX: usize = 8;

/// Where HTTP is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpListen {
    /// Nowhere.
    Off,
    /// On these. Other machines reach none of them, or there is TLS.
    At(Vec<SocketAddr>),
}

impl Default for HttpListen {
    fn default() -> HttpListen {
        HttpListen::At(vec![loopback(PORT)])
    }
}

impl HttpListen {
    /// The addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        match self {
            HttpListen::Off => &[],
            HttpListen::At(all) => all,
        }
    }

    /// Why it cannot be without TLS; `None`: it can.
    pub(crate) fn refused_without_tls(&self) -> Option<String> {
        let address = self.addresses().iter().find(|address| !address.ip().is_loopback())?;
        Some(format!(
            "http_listen has to be a loopback address where there is no TLS: {address} would tell everybody who reaches \
             it, unencrypted, which applications, users and servers there are; set http_tls_cert_file and \
             http_tls_key_file, or listen on 127.0.0.1:{} and let a collector or a proxy with TLS on this machine ask \
             there",
            address.port()
        ))
    }

    /// Reads a value.
    ///
    /// # Errors
    /// An item is no address and port, or there are too many.
    pub(crate) fn parse(text: &str) -> Result<HttpListen, Fault> {
        if text == "off" {
            return Ok(HttpListen::Off);
        }
        let mut all = Vec::new();
        for item in text.split(',').map(str::trim) {
            let address = address(item).ok_or(Fault::Invalid(EXPECTED))?;
            if !all.contains(&address) {
                all.push(address);
            }
        }
        if all.len() > ADDRESSES_MAX {
            return Err(Fault::Wanted(format!("at most {ADDRESSES_MAX} addresses")));
        }
        Ok(HttpListen::At(all))
    }
}

/// `6433`, `localhost:6433`, `127.0.0.1:6433`, `*:6433` or `[::1]:6433`; the port is not 0.
fn address(item: &str) -> Option<SocketAddr> {
    let address = match item.rsplit_once(':') {
        None => loopback(item.parse().ok()?),
        Some(("localhost", port)) => loopback(port.parse().ok()?),
        Some(("*", port)) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.parse().ok()?),
        Some(_) => item.parse().ok()?,
    };
    (address.port() != 0).then_some(address)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

impl fmt::Display for HttpListen {
    /// As a file would say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpListen::Off => f.write_str("off"),
            HttpListen::At(all) => {
                let all: Vec<String> = all.iter().map(SocketAddr::to_string).collect();
                f.write_str(&all.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, Fault> {
        HttpListen::parse(text).map(|listen| listen.to_string())
    }

    #[test]
    fn what_is_read_is_shown() {
        for (text, wanted) in [
            ("off", "off"),
            ("7000", "127.0.0.1:7000"),
            ("localhost:7000", "127.0.0.1:7000"),
            ("127.0.0.9:7000,[::1]:7000", "127.0.0.9:7000, [::1]:7000"),
            ("7000, 127.0.0.1:7000", "127.0.0.1:7000"),
        ] {
            assert_eq!(shown(text), Ok(wanted.to_string()), "{text}");
        }
        assert_eq!(HttpListen::default().to_string(), "127.0.0.1:6433");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "on", "0", "127.0.0.1:0", "70000", "127.0.0.1", "::1", "example:7000", "7000,"] {
            assert_eq!(shown(text), Err(Fault::Invalid(EXPECTED)), "{text}");
        }
        let many: Vec<String> = (1..=9).map(|port| port.to_string()).collect();
        assert!(shown(&many.join(",")).is_err());
    }

    #[test]
    fn other_machines_are_kept_out_without_tls_and_why_is_said() {
        for text in ["0.0.0.0:7000", "*:7000", "[::]:7000", "10.0.0.1:7000", "7000, 192.168.0.1:7000"] {
            let listen = HttpListen::parse(text).expect("addresses");
            let why = listen.refused_without_tls().unwrap_or_default();
            assert!(why.contains("no TLS") && why.contains("127.0.0.1:7000"), "{text}: {why}");
        }
        for text in ["off", "7000", "127.0.0.9:7000,[::1]:7000"] {
            assert_eq!(HttpListen::parse(text).expect("addresses").refused_without_tls(), None, "{text}");
        }
    }
}
