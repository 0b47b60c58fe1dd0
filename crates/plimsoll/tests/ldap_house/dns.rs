//! A name server that knows where the LDAP servers of one domain are (RFC 1035, RFC 2782).

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Not 127.0.0.1: what the system has there is left alone.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 53, 0, 10);

/// The one port that a resolv.conf can mean.
const PORT: u16 = 53;

/// Bytes of a query's header; the question begins behind it.
const HEADER_BYTES: usize = 12;

const SRV: u16 = 33;

/// Where a service is: priority, port.
pub(crate) type Place = (u16, u16);

/// It goes on until the test program ends.
pub(crate) struct Dns {
    /// How often it was asked for the service.
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Dns {
    /// All places are on `localhost`. `None`: only root may listen there, and nobody requires that.
    pub(crate) fn start(service: &str, places: Vec<Place>) -> Option<Dns> {
        let socket = match UdpSocket::bind((ADDRESS, PORT)) {
            Ok(socket) => socket,
            Err(error) => {
                assert!(std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_none(), "{ADDRESS}:{PORT}: {error}");
                return None;
            }
        };
        let (asked, wanted) = (Arc::new(AtomicUsize::new(0)), labels(service));
        let counter = asked.clone();
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((bytes, from)) = socket.recv_from(&mut query) {
                let query = &query[..bytes];
                let is_it = question(query).is_some_and(|(name, kind)| name == wanted && kind == SRV);
                counter.fetch_add(usize::from(is_it), Ordering::SeqCst);
                let answer = answer(query, if is_it { &places } else { &[] });
                // Whoever asked may be gone.
                let _ = socket.send_to(&answer, from);
            }
        });
        Some(Dns { asked })
    }

    /// A resolv.conf that names it.
    pub(crate) fn resolv_conf(folder: &Path) -> PathBuf {
        let path = folder.join("resolv.conf");
        fs::write(&path, format!("nameserver {ADDRESS}\noptions timeout:1 attempts:1\n"))
            .expect("a folder of ours");
        path
    }
}

/// A name as it stands in a message.
fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).expect("a short name"));
        out.extend(label.to_ascii_lowercase().bytes());
    }
    out.push(0);
    out
}

/// What a query asks for: name and type.
fn question(query: &[u8]) -> Option<(Vec<u8>, u16)> {
    let rest = query.get(HEADER_BYTES..)?;
    let end = rest.iter().position(|byte| *byte == 0)? + 1;
    let kind = rest.get(end..end + 2)?;
    Some((rest[..end].to_ascii_lowercase(), u16::from_be_bytes([kind[0], kind[1]])))
}

fn answer(query: &[u8], places: &[Place]) -> Vec<u8> {
    let question_bytes = question(query).map_or(0, |(name, _)| name.len() + 4);
    // Answered, recursion is there; there is no such name where there is nothing to say.
    let flags: u16 = if places.is_empty() { 0x8183 } else { 0x8180 };
    let count = u16::try_from(places.len()).expect("a few");
    let mut out = query[..2].to_vec();
    for number in [flags, u16::from(question_bytes > 0), count, 0, 0] {
        out.extend(number.to_be_bytes());
    }
    out.extend(&query[HEADER_BYTES..HEADER_BYTES + question_bytes]);
    let target = labels("localhost");
    for (priority, port) in places {
        // The name of the question, type, class, a minute.
        out.extend([0xc0, 0x0c, 0, 33, 0, 1, 0, 0, 0, 60]);
        let data_bytes = u16::try_from(6 + target.len()).expect("a short name");
        for number in [data_bytes, *priority, 0, *port] {
            out.extend(number.to_be_bytes());
        }
        out.extend(&target);
    }
    out
}
