//! A line of `[peers]`: another pooler behind the same address, which would get its clients' cancel requests.

use crate::database::one_host;
use crate::mistake::Mistake;
use crate::place::Place;
use crate::plan::Host;
use crate::slot::{self, Row, Slot};
use crate::table::Fault;
use crate::value;

/// Largest id of a peer, as in PgBouncer.
pub(crate) const ID_MAX: u16 = 16_383;

/// Port of a peer whose line names none: the default of `listen_port`.
const PORT: u16 = 6432;

/// A line of `[peers]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its `peer_id`, from 1 on.
    pub id: u16,
    /// `host=` as written.
    pub host: String,
    /// Where it listens: `host=` and `port=`.
    pub at: Host,
    /// `pool_size=`: how many cancel requests are on their way to it at once; `None`: `default_pool_size`.
    pub pool_size: Option<u32>,
}

impl Peer {
    /// `port=`.
    pub fn port(&self) -> u16 {
        match self.at {
            Host::Tcp { port, .. } | Host::Unix { port, .. } => port,
        }
    }
}

/// A line while it is read.
#[derive(Default)]
pub(crate) struct Draft {
    host: Option<String>,
    port: Option<u16>,
    pool_size: Option<u32>,
}

/// The keys of a line of `[peers]`.
pub(crate) static KEYS: &[Row<Draft>] = &[
    ("host", Slot::Text(|p| &mut p.host)),
    ("port", Slot::Own(take_port)),
    ("pool_size", Slot::Count(|p| &mut p.pool_size)),
];

fn take_port(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    draft.port = Some(port.ok_or_else(|| Fault::Said(format!("invalid port: {text}")))?);
    Ok(())
}

/// Reads what stands behind `id =`.
pub(crate) fn parse(id: &str, text: &str, place: &Place) -> Result<Peer, Vec<Mistake>> {
    let mut draft = Draft::default();
    let mut mistakes = slot::take(&mut draft, KEYS, "peer", text, place);
    let number =
        value::count(id).and_then(|id| u16::try_from(id).ok()).filter(|id| (1..=ID_MAX).contains(id));
    if number.is_none() {
        let fault = Fault::Wanted(format!("a peer id, 1 to {ID_MAX}"));
        mistakes.push(place.mistake(fault.message("peer id", id, Some(place))));
    }
    let host = draft.host.filter(|host| !host.is_empty());
    if host.is_none() {
        mistakes.push(place.mistake(format!("peer {id} has no host= in configuration ({place})")));
    }
    match (number, host) {
        (Some(id), Some(host)) if mistakes.is_empty() => {
            let port = draft.port.unwrap_or(PORT);
            Ok(Peer { id, at: one_host(&host, port), host, pool_size: draft.pool_size })
        }
        _ => Err(mistakes),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    fn read(id: &str, text: &str) -> Result<Peer, Vec<String>> {
        let place = Place::new(&Arc::from(Path::new("a.ini")), 3);
        parse(id, text, &place).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_peer_is_a_folder_or_a_host() {
        let unix = read("1", "host=/run/p1 port=6433").expect("good");
        assert_eq!(unix.at, Host::Unix { dir: "/run/p1".into(), port: 6433 });
        assert_eq!((unix.id, unix.port(), unix.pool_size), (1, 6433, None));
        let tcp = read("16383", "host=p2.example pool_size=3").expect("good");
        assert_eq!(tcp.at, Host::Tcp { host: "p2.example".to_string(), port: 6432 });
        assert_eq!((tcp.id, tcp.pool_size), (16_383, Some(3)));
    }

    #[test]
    fn what_is_wrong_is_said_all_at_once() {
        let said = |id: &str, text: &str| read(id, text).expect_err("bad").join("\n");
        assert!(said("0", "host=/x").contains("1 to 16383"));
        assert!(said("16384", "host=/x").contains("1 to 16383"));
        assert!(said("-1", "host=/x").contains("1 to 16383"));
        let two = said("x", "port=6432");
        assert!(two.contains("a peer id") && two.contains("has no host="), "{two}");
        assert!(said("1", "host=/x port=0").contains("port"));
        assert!(said("1", "host=/x port=99999").contains("port"));
        assert!(said("1", "host=/x user=joe").contains("user"));
    }
}
