//! Other poolers behind the same address. A cancel request comes on a connection of its own, which a balancer, or the
//! kernel (`so_reuseport`), may take to another one than its query: the key says whose it is, and that one gets it.
//!
//! As in PgBouncer, so that both can stand behind one address: bytes 1 and 2 of a key are the `peer_id` (little endian)
//! of whoever gave it out, the low two bits of its last byte say how often the request may still be passed on.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_config::{Host, Peer, Plan};
use plimsoll_types::Cause;
use plimsoll_wire::encode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::count::Count;
use crate::dial;
use crate::entry::TargetAddr;
use crate::hub::Hub;
use crate::socket::Stream;

/// A cancel key.
pub(crate) type Key = [u8; 8];

/// How long an address of a peer may take to answer: there may be another one, and a cancel request does not wait for long.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// The bits that say how often a request may be passed on; a key is given out with all of them set.
const HOPS: u8 = 0b11;

/// A line of [`crate::Control::peers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Its `peer_id`.
    pub id: u16,
    /// `host=` of its line.
    pub host: String,
    /// `port=` of its line.
    pub port: u16,
    /// How many cancel requests may be on their way to it at once.
    pub pool_size: u32,
    /// What is going on with it; `None`: nothing has been passed on to it yet.
    pub traffic: Option<PeerTraffic>,
}

/// Cancel requests for a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerTraffic {
    /// Clients whose request has been passed on, and who wait for its end.
    pub active: u32,
    /// Clients whose request waits for a connection.
    pub waiting: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// Those to which something was passed on.
    roads: Mutex<BTreeMap<u16, Arc<Road>>>,
}

/// The way to a peer.
#[derive(Debug)]
struct Road {
    size: u32,
    places: Semaphore,
    active: AtomicU32,
    waiting: AtomicU32,
}

/// A key that says whose it is; `own` is our `peer_id`, 0: there are no others, and it is random throughout.
pub(crate) fn marked(mut key: Key, own: u16) -> Key {
    if own != 0 {
        [key[1], key[2]] = own.to_le_bytes();
        key[7] |= HOPS;
    }
    key
}

/// The key as it was given out, however often it has been passed on.
pub(crate) fn as_given_out(mut key: Key) -> Key {
    key[7] |= HOPS;
    key
}

impl Peers {
    /// Passes a cancel request that is nobody's here on to whoever gave its key out, and waits until that one has dealt
    /// with it. Cancel safe: the connection is closed when the future is dropped.
    pub(crate) async fn pass_on(&self, hub: &Hub, key: Key) -> Cause {
        let plan = hub.plan();
        let own = plan.general.peer_id;
        let id = u16::from_le_bytes([key[1], key[2]]);
        if own == 0 || id == own {
            return Cause::CancelFailed;
        }
        let Some(peer) = plan.peers.get(&id) else { return Cause::CancelNoPeer };
        let Some(hops) = (key[7] & HOPS).checked_sub(1) else { return Cause::CancelHops };
        let mut passed = key;
        passed[7] = key[7] & !HOPS | hops;
        let road = self.road(id, pool_size(&plan, peer));
        let waiting = Count::one_more(&road.waiting);
        // It is never closed.
        let Ok(_place) = road.places.acquire().await else { return Cause::CancelUndelivered };
        drop(waiting);
        let _active = Count::one_more(&road.active);
        match deliver(hub, &plan, peer, passed).await {
            Ok(()) => Cause::CancelSent,
            Err(error) => {
                let Peer { id, host, .. } = peer;
                tracing::warn!(
                    "cancel request could not be passed on to peer {id} ({host} port {}): {error}",
                    peer.port()
                );
                Cause::CancelUndelivered
            }
        }
    }

    /// The peers of a plan, by id.
    pub(crate) fn views(&self, plan: &Plan) -> Vec<PeerView> {
        let roads = self.roads.lock();
        let view = |peer: &Peer| PeerView {
            id: peer.id,
            host: peer.host.clone(),
            port: peer.port(),
            pool_size: pool_size(plan, peer),
            traffic: roads.get(&peer.id).map(|road| PeerTraffic {
                active: road.active.load(Ordering::Relaxed),
                waiting: road.waiting.load(Ordering::Relaxed),
            }),
        };
        plan.peers.values().map(view).collect()
    }

    /// The way to a peer, with so many places. Who is on one that had another number goes on there.
    fn road(&self, id: u16, size: u32) -> Arc<Road> {
        let mut roads = self.roads.lock();
        let road = roads.entry(id).or_insert_with(|| Road::new(size));
        if road.size != size {
            *road = Road::new(size);
        }
        road.clone()
    }
}

impl Road {
    fn new(size: u32) -> Arc<Road> {
        let places = usize::try_from(size).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Arc::new(Road {
            size,
            places: Semaphore::new(places),
            active: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        })
    }
}

fn pool_size(plan: &Plan, peer: &Peer) -> u32 {
    peer.pool_size.unwrap_or(plan.general.default_pool_size)
}

async fn deliver(hub: &Hub, plan: &Plan, peer: &Peer, key: Key) -> io::Result<()> {
    let mut stream = reach(hub, plan, peer).await?;
    let mut out = Vec::new();
    encode::cancel_request(&mut out, &key);
    stream.write_all(&out).await?;
    stream.shutdown_write();
    let mut chunk = [0; 64];
    while stream.read(&mut chunk).await? > 0 {}
    Ok(())
}

/// Connects to the first address that answers in time.
async fn reach(hub: &Hub, plan: &Plan, peer: &Peer) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for target in targets(hub, peer) {
        let connect = dial::connect(&target, &plan.general);
        match timeout(CONNECT_MAX, connect).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "it does not answer"),
        }
    }
    Err(last)
}

/// Its addresses; those of a name as they are known: nobody is asked for the sake of a cancel request.
fn targets(hub: &Hub, peer: &Peer) -> Vec<TargetAddr> {
    let (host, port) = match &peer.at {
        Host::Unix { dir, port } => return vec![TargetAddr::unix(dir, *port)],
        Host::Tcp { host, port } => (host, *port),
    };
    let ips = match host.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) => hub.directory.lock().addresses_of(host).to_vec(),
    };
    ips.into_iter().map(|ip| TargetAddr::Tcp(SocketAddr::new(ip, port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whose_it_is() {
        let key = [0x7f, 1, 2, 3, 4, 5, 6, 0x80];
        assert_eq!(marked(key, 0), key, "nobody else is there");
        let own = marked(key, 0x3fff);
        assert_eq!(own, [0x7f, 0xff, 0x3f, 3, 4, 5, 6, 0x83]);
        let passed = [own[0], own[1], own[2], own[3], own[4], own[5], own[6], 0x81];
        assert_eq!(as_given_out(passed), own);
    }

    #[test]
    fn the_way_to_a_peer_follows_its_line() {
        let peers = Peers::default();
        let road = peers.road(1, 2);
        assert_eq!(road.places.available_permits(), 2);
        assert!(Arc::ptr_eq(&road, &peers.road(1, 2)));
        let wider = peers.road(1, 5);
        assert!(!Arc::ptr_eq(&road, &wider) && wider.places.available_permits() == 5);
    }
}
