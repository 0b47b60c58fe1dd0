//! Everything at rest: written down and sent, and then let go of, or set going again.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use plimsoll_pool::{CapOf, Grant, SlotState, SlotView};
use plimsoll_session::Packing;
use plimsoll_types::{Cause, SlotId};

use super::carry::{Carrier, Load};
use super::frames::{FrameError, Frames};
use super::record::{
    self, Address, ClientImage, ConsoleImage, Doing, FreshImage, Head, HeldImage, LeftImage, Paused,
    PoolImage, PoolName, ServerImage, What,
};
use super::rules::rules;
use super::stage::{Count, Fate, Resting, Seated, Stage};
use super::{STILL_MAX, TASKS_MAX};
use crate::console::Level;
use crate::control_thread::ConsoleClient;
use crate::directory::{PoolEntry, Purpose};
use crate::entry::ClientEntry;
use crate::hub::Hub;
use crate::listener::{self, Fresh};
use crate::outlet::Outlet;
use crate::relay::{self, Relay};
use crate::server::ServerConn;

/// How often tasks that nobody can stop are looked at.
const LOOK: Duration = Duration::from_millis(1);

/// How long logins have to leave what they have said.
const FRESH_MAX: Duration = Duration::from_millis(50);

/// Everything, standing still.
#[expect(clippy::vec_box, reason = "they are boxed wherever they are, and go back as they came")]
pub(super) struct Frozen {
    hub: Arc<Hub>,
    resting: Resting,
    parked: Vec<Box<ServerConn>>,
    /// Granted to clients that have not taken them yet.
    grants: Vec<(Arc<ClientEntry>, Box<ServerConn>, Grant)>,
    /// Server connections in other hands.
    left: Vec<SlotView>,
    pools: Vec<Arc<PoolEntry>>,
}

/// A record and what goes with it.
struct Piece<T> {
    record: T,
    /// The other end of what is carried.
    pair: Option<UnixStream>,
}

/// What is sent.
pub(super) struct Image {
    head: Head,
    pools: Vec<PoolImage>,
    servers: Vec<Piece<ServerImage>>,
    clients: Vec<Piece<ClientImage>>,
    fresh: Vec<FreshImage>,
    consoles: Vec<ConsoleImage>,
    left: Vec<LeftImage>,
    /// Our ends of the pairs.
    server_ends: Vec<Option<UnixStream>>,
    client_ends: Vec<Option<UnixStream>>,
}

/// Stops everything. On failure everything goes on.
pub(super) fn freeze(hub: &Arc<Hub>) -> Result<Frozen, String> {
    let stillness = &hub.stillness;
    stillness.enter(Stage::Still);
    hub.clients.lock().values().for_each(|client| client.post(|_| {}));
    let all_rest = stillness.all_rest(Instant::now() + STILL_MAX);
    let until = Instant::now() + FRESH_MAX;
    stillness.none_left(Count::Logins, until);
    // One that waits for something does not rest, and is told at the end.
    stillness.consoles_rest(hub.entrance.console_clients.load(Ordering::Acquire), until);
    let resting = stillness.take();
    let mut frozen = Frozen {
        hub: hub.clone(),
        resting,
        parked: Vec::new(),
        grants: Vec::new(),
        left: Vec::new(),
        pools: hub.directory.lock().pools(),
    };
    if !all_rest {
        frozen.thaw();
        return Err("not all clients could be stopped in time".to_string());
    }
    frozen.gather();
    // Both sides number them, so both have the same.
    let left = std::mem::take(&mut frozen.left);
    frozen.left = left.into_iter().filter(|slot| frozen.left_image(slot).is_some()).collect();
    Ok(frozen)
}

impl Frozen {
    /// Takes the server connections that nobody uses, when those that somebody else has have come back, or will not.
    fn gather(&mut self) {
        let until = Instant::now() + TASKS_MAX;
        loop {
            for Seated { relay, .. } in &self.resting.relays {
                let grant = relay.entry().mail().grant.take();
                self.grants.extend(grant.map(|(conn, grant)| (relay.entry().clone(), conn, grant)));
            }
            let mut core = self.hub.core.lock();
            self.parked.extend(core.take_parked());
            let known: Vec<SlotId> = self.conns().map(|conn| conn.slot).collect();
            self.left = core.pools.slots().filter(|slot| !known.contains(&slot.id)).collect();
            drop(core);
            // What is lost already will not come back.
            let awaited = self.left.iter().any(|slot| slot.state != SlotState::Lost);
            if !awaited || Instant::now() >= until {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn conns(&self) -> impl Iterator<Item = &ServerConn> {
        let held = self.resting.relays.iter().filter_map(|seated| seated.relay.conn());
        let granted = self.grants.iter().map(|(_, conn, _)| &**conn);
        held.chain(granted).chain(self.parked.iter().map(|conn| &**conn))
    }

    /// How many clients and server connections there are, for the log.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.resting.relays.len(), self.conns().count())
    }

    /// Sets everything going again.
    pub(super) fn thaw(self) {
        let Frozen { hub, resting, parked, grants, .. } = self;
        {
            let mut core = hub.core.lock();
            parked.into_iter().for_each(|conn| core.park(conn));
        }
        for (entry, conn, grant) in grants {
            entry.mail().grant = Some((conn, grant));
        }
        hub.stillness.enter(Stage::Running);
        hub.run_put_by();
        let late = hub.stillness.take();
        for resting in [resting, late] {
            let Resting { relays, fresh, consoles } = resting;
            for Seated { relay, seat } in relays {
                let entry = relay.entry().clone();
                seat.tell(Fate::GoOn(relay));
                // Who asked for a server connection while everything stood still asks again.
                entry.post(|mail| mail.admitted = true);
            }
            fresh.into_iter().for_each(|fresh| listener::log_in(&hub, fresh));
            for console in consoles {
                // Without a control thread the process is at its end.
                let _ = hub.console_door.send(console);
            }
        }
        listener::open_doors(&hub);
        hub.watch_all_parked();
    }

    /// Everything is another process's. What is left here is what it carries, and what ends by itself.
    pub(super) fn let_go(self, image: Image) -> Vec<SlotId> {
        let Frozen { hub, resting, parked, grants, left, .. } = self;
        hub.stillness.enter(Stage::Given);
        let late = { hub.core.lock().take_parked() };
        late.into_iter().for_each(|conn| hub.end_late(conn));
        // Of what was decided meanwhile nothing is left to do but to tell those who wait here.
        hub.run_put_by();
        hub.with_pools(|pools, now| pools.refuse_all(Cause::ServerShuttingDown, now));
        let Image { server_ends, client_ends, .. } = image;
        let mut ends = server_ends.into_iter();
        let mut release = |conn: Box<ServerConn>| {
            if let Some(inner) = ends.next().flatten() {
                let (home, ServerConn { stream, .. }) = (conn.home, *conn);
                let load = Load { entry: None, stream, outlet: Outlet::default(), inner };
                hub.spawn_on(home, Carrier::new(&hub, load));
            }
        };
        // In the order in which they were written down.
        parked.into_iter().for_each(&mut release);
        grants.into_iter().for_each(|(_, conn, _)| release(conn));
        for (Seated { relay, seat }, inner) in resting.relays.into_iter().zip(client_ends) {
            let entry = relay.entry().clone();
            let (stream, outlet, conn) = relay.let_go_of();
            conn.into_iter().for_each(&mut release);
            match (stream, inner) {
                (Some(stream), Some(inner)) => {
                    let load = Load { entry: Some(entry), stream, outlet, inner };
                    seat.tell(Fate::Carry(Box::new(Carrier::new(&hub, load))));
                }
                (_, _) => seat.tell(Fate::End),
            }
        }
        // Who came to rest too late has been told nothing by the new process: it comes again.
        for Seated { relay, seat } in hub.stillness.take().relays {
            relay.let_go_of();
            seat.tell(Fate::End);
        }
        left.into_iter().map(|slot| slot.id).collect()
    }

    /// Writes everything down. Nothing changes.
    pub(super) fn image(&self) -> std::io::Result<Image> {
        let mut packing = Packing::of(&self.hub.statements.table());
        let pools = self.pools.iter().map(|pool| self.pool_image(pool, &mut packing)).collect();
        let (mut servers, mut server_ends) = (Vec::new(), Vec::new());
        for conn in self.parked.iter().chain(self.grants.iter().map(|(_, conn, _)| conn)) {
            let (piece, end) = self.server_image(conn, None, &mut packing)?;
            servers.push(piece);
            server_ends.push(end);
        }
        let (mut clients, mut client_ends) = (Vec::new(), Vec::new());
        for Seated { relay, .. } in &self.resting.relays {
            if let Some(conn) = relay.conn() {
                let (piece, end) = self.server_image(conn, Some(relay), &mut packing)?;
                servers.push(piece);
                server_ends.push(end);
            }
            let (piece, end) = self.client_image(relay, &mut packing)?;
            clients.push(piece);
            client_ends.push(end);
        }
        let left: Vec<LeftImage> = self.left.iter().filter_map(|slot| self.left_image(slot)).collect();
        let fresh: Vec<FreshImage> = self.resting.fresh.iter().map(fresh_image).collect();
        let consoles: Vec<ConsoleImage> = self.resting.consoles.iter().map(console_image).collect();
        let mut head = self.head(packing);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (head.pools, head.servers) = (count(self.pools.len()), count(servers.len()));
        (head.clients, head.fresh) = (count(clients.len()), count(fresh.len()));
        (head.consoles, head.left) = (count(consoles.len()), count(left.len()));
        Ok(Image { head, pools, servers, clients, fresh, consoles, left, server_ends, client_ends })
    }

    fn head(&self, packing: Packing) -> Head {
        let hub = &self.hub;
        let caps = hub.gate.views().into_iter().map(cap_image).collect();
        let directory = hub.directory.lock();
        let core = hub.core.lock();
        let databases = directory.databases();
        let named = |of: &dyn Fn(&Arc<crate::directory::DatabaseEntry>) -> bool| -> Vec<String> {
            databases
                .iter()
                .filter(|database| of(database))
                .map(|database| database.name.to_string())
                .collect()
        };
        let disabled = named(&|database| database.disabled.load(Ordering::Relaxed));
        let paused = named(&|database| core.pools.is_paused(Some(database.id)));
        let totals = databases.iter().map(|database| {
            let mut totals = *database.retired.lock();
            let pools = self.pools.iter().filter(|pool| pool.database.id == database.id);
            pools.for_each(|pool| totals.add(&pool.totals()));
            (database.name.to_string(), totals.0.to_vec())
        });
        let targets = directory.targets().into_iter().map(|(target, address)| {
            let budget = core.pools.target_view(target).and_then(|view| view.budget);
            (Address::from(&address), budget)
        });
        Head {
            next_client: hub.next_client().0,
            next_server: hub.next_server(),
            holds: core.pools.holds(),
            paused: Paused { all: core.pools.is_paused(None), databases: paused },
            disabled,
            names: directory.known_names(),
            targets: targets.collect(),
            caps,
            totals: totals.collect(),
            shared: packing.finish(&hub.tracked),
            pools: 0,
            servers: 0,
            clients: 0,
            fresh: 0,
            consoles: 0,
            left: 0,
        }
    }

    fn number(&self, pool: &PoolEntry) -> u32 {
        let found = self.pools.iter().position(|known| known.id == pool.id);
        found.and_then(|number| u32::try_from(number).ok()).unwrap_or(u32::MAX)
    }

    fn pool_image(&self, pool: &PoolEntry, packing: &mut Packing) -> PoolImage {
        let purpose = match pool.purpose {
            Purpose::Clients => What::Clients,
            Purpose::AuthQuery => What::AuthQuery,
            Purpose::Replication => What::Replication,
            Purpose::Control(target) => match self.hub.directory.lock().target_addr(target) {
                Some(address) => What::Control((&address).into()),
                None => What::Clients,
            },
        };
        let welcome = pool.welcome();
        PoolImage {
            name: PoolName { database: pool.database.name.to_string(), role: pool.user.to_string(), purpose },
            welcome: welcome.map(|welcome| (packing.params(&welcome.params), (&*welcome.untracked).into())),
            keys: pool.keys().map(|keys| ((&keys.client_key).into(), (&keys.server_key).into())),
            secret: pool.secret().as_ref().map(Into::into),
        }
    }

    fn server_image(
        &self,
        conn: &ServerConn,
        holder: Option<&Relay>,
        packing: &mut Packing,
    ) -> std::io::Result<(Piece<ServerImage>, Option<UnixStream>)> {
        let core = self.hub.core.lock();
        let slot = core.pools.slot(conn.slot);
        let reserve = core.pools.is_from_reserve(conn.slot);
        drop(core);
        let entry = &conn.entry;
        let is_tls = conn.stream.is_secured() || entry.tls.get().is_some();
        // In a state that one request leads out of, with no cancel on its way that could strike whoever is next.
        let is_free = conn.unfinished.is_none()
            && slot.as_ref().is_some_and(|slot| {
                let is_known = matches!(slot.state, SlotState::Idle | SlotState::Held);
                !slot.close_needed && is_known && slot.cancels == 0
            });
        let (end, pair) = if conn.stream.is_secured() {
            let (one, other) = UnixStream::pair()?;
            (Some(one), Some(other))
        } else {
            (None, None)
        };
        let record = ServerImage {
            pool: self.number(&conn.pool),
            target: (&entry.target).into(),
            local: (&entry.local).into(),
            serial: entry.serial,
            opened: entry.opened.0,
            used: slot.as_ref().map_or(entry.opened.0, |slot| slot.used.0),
            close_needed: is_tls || !is_free,
            reserve,
            carried: is_tls,
            key: (&**entry.key.lock()).into(),
            tls: entry.tls.get().map(ToString::to_string),
            term: entry.term.map(|term| (0, term.ends().map(|ends| ends.0))),
            link: conn.link.image(packing),
            input: (&*conn.input).into(),
            output: conn.output.pending().into(),
            held: holder.map(|relay| held_image(relay, conn)),
            replication: entry.replication.map(Into::into),
        };
        Ok((Piece { record, pair }, end))
    }

    fn client_image(
        &self,
        relay: &Relay,
        packing: &mut Packing,
    ) -> std::io::Result<(Piece<ClientImage>, Option<UnixStream>)> {
        let (parts, entry) = (relay.parts(packing), relay.entry());
        let is_secured = relay.stream().is_some_and(crate::socket::Stream::is_secured);
        let (end, pair) = if is_secured || parts.output.is_none() {
            let (one, other) = UnixStream::pair()?;
            (Some(one), Some(other))
        } else {
            (None, None)
        };
        // What is carried goes out from here.
        let output = if pair.is_some() { Vec::new() } else { parts.output.unwrap_or_default() };
        let tls = entry
            .tls
            .as_ref()
            .map(|tls| (tls.text.to_string(), tls.subject.as_ref().map(ToString::to_string)));
        let record = ClientImage {
            id: entry.id.0,
            key: (&entry.key[..]).into(),
            user: entry.user.to_string(),
            database: entry.database.to_string(),
            pool: self.number(relay.pool()),
            peer: (&entry.peer).into(),
            local: (&entry.local).into(),
            carried: tls.is_some(),
            tls,
            credential: entry.credential,
            proved: entry.proved.as_ref().map(|counted| (&*counted.proved).into()),
            connected: entry.connected.0,
            requested: entry.requested().0,
            uses: entry.uses(),
            doing: match parts.doing {
                relay::Doing::Open => Doing::Open,
                relay::Doing::Waiting { since, told } => Doing::Waiting { since: since.0, told },
                relay::Doing::Settling => Doing::Settling,
                relay::Doing::Busy => Doing::Busy,
            },
            session: parts.session,
            input: parts.input.into(),
            wanted: parts.wanted as u64,
            output: output.into(),
            replication: entry.replication.as_ref().map(|wishes| wishes.kind.into()),
            killed: entry.mail().kill.is_some(),
        };
        Ok((Piece { record, pair }, end))
    }

    fn left_image(&self, slot: &SlotView) -> Option<LeftImage> {
        let target = self.hub.directory.lock().target_addr(slot.target)?;
        let number = self.pools.iter().position(|known| known.id == slot.pool);
        let pool = number.and_then(|number| u32::try_from(number).ok())?;
        Some(LeftImage { pool, target: (&target).into(), opened: slot.opened.0 })
    }

    /// Sends it all.
    pub(super) fn send(&self, image: &Image, frames: &mut Frames) -> Result<(), FrameError> {
        frames.send(&image.head, None)?;
        for pool in &image.pools {
            frames.send(pool, None)?;
        }
        let granted = self.grants.iter().map(|(_, conn, _)| conn);
        let held = self.resting.relays.iter().filter_map(|seated| seated.relay.conn());
        let conns = self.parked.iter().chain(granted).map(|conn| &**conn).chain(held);
        for (piece, conn) in image.servers.iter().zip(conns) {
            frames.send(&piece.record, Some(end_of(&piece.pair, || conn.stream.socket().as_fd())))?;
        }
        for (piece, Seated { relay, .. }) in image.clients.iter().zip(&self.resting.relays) {
            let Some(stream) = relay.stream() else {
                return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
            };
            frames.send(&piece.record, Some(end_of(&piece.pair, || stream.socket().as_fd())))?;
        }
        for (record, fresh) in image.fresh.iter().zip(&self.resting.fresh) {
            frames.send(record, Some(fresh.arrival.socket.as_fd()))?;
        }
        for (record, console) in image.consoles.iter().zip(&self.resting.consoles) {
            frames.send(record, Some(console.stream.socket().as_fd()))?;
        }
        for left in &image.left {
            frames.send(left, None)?;
        }
        Ok(())
    }
}

fn end_of<'a>(pair: &'a Option<UnixStream>, socket: impl FnOnce() -> BorrowedFd<'a>) -> BorrowedFd<'a> {
    pair.as_ref().map_or_else(socket, AsFd::as_fd)
}

fn held_image(relay: &Relay, conn: &ServerConn) -> HeldImage {
    let copy = conn.entry.record.lock().copy();
    let texts = copy.map(|hold| [hold.first, hold.last]).into_iter().flatten().flatten();
    HeldImage {
        client: relay.entry().id.0,
        hold: conn.tally.hold.0,
        asked: conn.tally.asked.0,
        granted: conn.tally.granted.0,
        rules: rules(relay.settings()),
        said: texts.map(|text| (text.bytes.into(), text.total as u64)).collect(),
    }
}

fn fresh_image(Fresh { arrival, heard }: &Fresh) -> FreshImage {
    FreshImage {
        id: arrival.id.0,
        peer: (&arrival.peer).into(),
        peer_uid: arrival.peer_uid,
        local: (&arrival.local).into(),
        at: arrival.at.0,
        heard: (&**heard).into(),
    }
}

fn console_image(client: &ConsoleClient) -> ConsoleImage {
    let ConsoleClient { entry, level, input, .. } = client;
    ConsoleImage {
        id: entry.id.0,
        key: (&entry.key[..]).into(),
        user: entry.user.to_string(),
        peer: (&entry.peer).into(),
        local: (&entry.local).into(),
        admin: *level == Level::Admin,
        connected: entry.connected.0,
        input: (&**input).into(),
    }
}

fn cap_image(cap: plimsoll_pool::CapView) -> record::Cap {
    record::Cap {
        of: match cap.of {
            CapOf::Application(name) => record::CapOf::Application(name),
            CapOf::Host(host) => record::CapOf::Host(host),
            CapOf::Grant(grant) => record::CapOf::Grant(grant),
        },
        max: cap.max,
        until: cap.until.map(|until| until.0),
        by: cap.by,
    }
}
