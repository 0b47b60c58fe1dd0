//! Where something listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// 127.0.0.1 and this port.
    pub fn v4(port: u16) -> Address {
        Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// ::1 and this port.
    pub fn v6(port: u16) -> Address {
        Address::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port))
    }
}

/// First of the ports [`free_port`] gives out: above the well-known ones.
const PORT_FIRST: u16 = 10_000;
/// How many there are: all below 32768, where the kernel takes the ports of outgoing connections from.
const PORT_COUNT: u16 = 22_000;

/// A port of the loopback interface on which nobody listens, on neither address. Another process may take it before
/// the caller does, so who starts something on it tries again; each process looks in another corner first.
///
/// # Panics
/// All ports are taken.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // 7919 is prime to the count: neighbours in process ids land far from each other.
    let corner = u64::from(std::process::id()) * 7919;
    for _ in 0..PORT_COUNT {
        let step = u64::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((corner + step) % u64::from(PORT_COUNT)).expect("below the count");
        let port = PORT_FIRST + offset;
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
        if v4.is_ok() && v6.is_ok() {
            return port;
        }
    }
    panic!("no free port between {PORT_FIRST} and {}", PORT_FIRST + PORT_COUNT)
}
