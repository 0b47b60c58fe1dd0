//! Everything made again, holding still: no byte is read or written here.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use plimsoll_config::Database;
use plimsoll_ledger::{Provenance, Record, Said, SaidKind};
use plimsoll_pool::{Adopted, AdoptedState, CapOf, Future, Grant, Moves};
use plimsoll_session::{ImageError, Link, Session, Unpacking};
use plimsoll_types::{Cause, ClientId, HoldId, Moment, SlotId, WorkerId};
use socket2::Socket;

use super::record::{
    self, ClientImage, ConsoleImage, Doing, FreshImage, HeldImage, PoolImage, ServerImage, What,
};
use super::rules::by_rules;
use super::take::{Hearing, Received, Taking};
use crate::carry::Carry;
use crate::console::Level;
use crate::control::holders;
use crate::control_thread::{ConsoleClient, Welcomed};
use crate::credentials::Term;
use crate::directory::{PoolEntry, Role, Welcome};
use crate::entry::{ClientEntry, ClientTls, Identity, Peer, ServerEntry, TargetAddr};
use crate::hub::Hub;
use crate::listener::{self, Arrival, ClientGuard, Fresh, Terms};
use crate::liveness::Life;
use crate::login::CONSOLE;
use crate::relay::{self, Relay, Rest};
use crate::replication::Wishes;
use crate::server::{Closing, ServerConn};
use crate::socket::Stream;
use crate::stats::Totals;
use crate::tally::Tally;

/// Latest moment that makes sense, microseconds.
const MOMENT_MAX: u64 = 1 << 62;

/// What was handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    #[error("{0}")]
    Image(#[from] ImageError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn bad<T>(what: &'static str) -> Result<T, AdoptError> {
    Err(AdoptError::Image(ImageError(what)))
}

/// Everything, ready to go.
pub(crate) struct Adoption {
    relays: Vec<(WorkerId, Relay)>,
    fresh: Vec<Fresh>,
    consoles: Vec<ConsoleClient>,
    /// Clients that the old process carries.
    carried: Vec<Arc<ClientEntry>>,
    /// Clients that hold what it carries.
    holders: Vec<ClientId>,
    /// Places of server connections that stay there.
    left: Vec<Option<SlotId>>,
    pub(crate) taking: Taking,
}

impl Adoption {
    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.relays.len()
    }

    /// Begins. The workers run; `hearing` is for what becomes of the rest.
    pub(crate) fn go(self, hub: &Arc<Hub>, hearing: Hearing) {
        for (worker, relay) in self.relays {
            listener::resume(hub, worker, relay);
        }
        self.fresh.into_iter().for_each(|fresh| listener::log_in(hub, fresh));
        for console in self.consoles {
            // Without a control thread the process is at its end.
            let _ = hub.console_door.send(console);
        }
        hub.watch_all_parked();
        super::see_off(hub, self.carried, self.holders);
        self.taking.hear(hub.clone(), self.left, hearing);
    }
}

/// What is known while the parts are put together.
struct Adopter {
    hub: Arc<Hub>,
    unpacking: Unpacking,
    pools: Vec<Arc<PoolEntry>>,
    /// Server connections that clients hold, by client.
    held: HashMap<u64, (Box<ServerConn>, HeldImage, Grant)>,
    carried: Vec<Arc<ClientEntry>>,
    holders: Vec<ClientId>,
    ids: HashSet<u64>,
    now: Moment,
}

/// Makes everything again.
///
/// # Errors
/// Something in it is none of ours. The process must end without running anything: it has sockets that are others'.
pub(crate) fn adopt(hub: &Arc<Hub>, received: Received) -> Result<Adoption, AdoptError> {
    let Received { head, pools, servers, clients, fresh, consoles, left, taking } = received;
    if head.next_client >= MOMENT_MAX || head.next_server >= MOMENT_MAX || head.holds >= MOMENT_MAX {
        return bad("a number beyond all numbers");
    }
    hub.count_from(head.next_client, head.next_server);
    for (name, ips) in head.names {
        hub.set_addresses(&name, ips);
    }
    let unpacking = Unpacking::new(head.shared, &hub.tracked, &mut hub.statements.table())?;
    let mut adopter = Adopter {
        hub: hub.clone(),
        unpacking,
        pools: Vec::new(),
        held: HashMap::new(),
        carried: Vec::new(),
        holders: Vec::new(),
        ids: HashSet::new(),
        now: hub.now(),
    };
    for pool in pools {
        let pool = adopter.pool(pool)?;
        adopter.pools.push(pool);
    }
    for (address, places) in head.targets {
        adopter.target(address.into(), places);
    }
    adopter.totals(&head.totals);
    hub.core.lock().pools.count_holds_from(head.holds);
    let left = left.into_iter().map(|left| adopter.left(left)).collect::<Result<_, _>>()?;
    let workers = adopter.workers(&clients);
    let mut servers = servers;
    // The one that was used last is the first to be used again.
    servers.sort_by_key(|(server, _)| server.used);
    for (server, fd) in servers {
        adopter.server(server, fd, &workers)?;
    }
    let mut relays = Vec::new();
    let mut waiting = Vec::new();
    for (number, (client, fd)) in clients.into_iter().enumerate() {
        let worker = adopter.worker_of(number);
        if let Doing::Waiting { since, told } = client.doing {
            waiting.push((since, told, number));
        }
        relays.push((worker, adopter.client(client, fd, worker)?));
    }
    if !adopter.held.is_empty() {
        return bad("a server connection is held by nobody");
    }
    adopter.standing(head.paused, &head.disabled, head.caps);
    waiting.sort_unstable();
    for (since, told, number) in waiting {
        if let Some((_, relay)) = relays.get_mut(number) {
            relay.wait_again(Moment(since), told, adopter.now);
        }
    }
    let fresh = fresh.into_iter().map(|(fresh, fd)| adopter.fresh(fresh, fd)).collect::<Result<_, _>>()?;
    let consoles =
        consoles.into_iter().map(|(console, fd)| adopter.console(console, fd)).collect::<Result<_, _>>()?;
    let Adopter { carried, holders, .. } = adopter;
    Ok(Adoption { relays, fresh, consoles, carried, holders, left, taking })
}

impl Adopter {
    fn worker_of(&self, number: usize) -> WorkerId {
        let worker = number % self.hub.workers.len().max(1);
        WorkerId(u16::try_from(worker).unwrap_or(0))
    }

    /// On which worker each client will live.
    fn workers(&self, clients: &[(ClientImage, OwnedFd)]) -> HashMap<u64, WorkerId> {
        let one =
            |(number, (client, _)): (usize, &(ClientImage, OwnedFd))| (client.id, self.worker_of(number));
        clients.iter().enumerate().map(one).collect()
    }

    fn database(&self, name: &str) -> Arc<crate::directory::DatabaseEntry> {
        let plan = self.hub.plan();
        let mut directory = self.hub.directory.lock();
        match directory.database_or_auto(&plan, name) {
            Some((database, _)) => database,
            // The configuration has lost it: what it has goes as after a reload, when everything has begun.
            None => directory.add_database(Database { name: name.to_string(), ..Database::default() }),
        }
    }

    fn pool(&self, image: PoolImage) -> Result<Arc<PoolEntry>, AdoptError> {
        let PoolImage { name, welcome, keys, secret } = image;
        let database = self.database(&name.database);
        let target = match &name.purpose {
            What::Control(address) => Some(self.target(address.clone().into(), None)),
            What::Clients | What::AuthQuery | What::Replication => None,
        };
        let role = match (&name.purpose, target) {
            (What::Control(_), Some(target)) => Role::Control(&name.role, target),
            (What::AuthQuery, _) => Role::AuthUser(&name.role),
            (What::Replication, _) => Role::Replication(&name.role),
            (_, _) => Role::Kept(&name.role),
        };
        let Some(pool) = self.hub.pool(&database, &role) else { return bad("a pool of no database") };
        if let Some((params, untracked)) = welcome {
            let params = self.unpacking.params(params)?;
            pool.set_welcome(Arc::new(Welcome { params, untracked: untracked.0 }));
        }
        if let Some(keys) = keys {
            pool.set_keys(record::keys_of(keys));
        }
        if let Some(secret) = secret {
            pool.set_secret(secret.into());
        }
        Ok(pool)
    }

    fn pool_of(&self, number: u32) -> Result<Arc<PoolEntry>, AdoptError> {
        let found = usize::try_from(number).ok().and_then(|number| self.pools.get(number));
        found.cloned().map_or_else(|| bad("a pool that is not there"), Ok)
    }

    fn target(&self, address: TargetAddr, places: Option<u32>) -> plimsoll_types::TargetId {
        let plan = self.hub.plan();
        let mut directory = self.hub.directory.lock();
        let mut core = self.hub.core.lock();
        let target = directory.target(&mut core.pools, &plan, address, self.now);
        if let Some(places) = places.filter(|_| plan.own.control_user.is_some()) {
            // Until the first look of this process.
            core.pools.set_presumed(target, places, self.now);
        }
        target
    }

    fn totals(&self, totals: &[(String, Vec<u64>)]) {
        for (name, counters) in totals {
            let mut before = Totals::default();
            before.0.iter_mut().zip(counters).for_each(|(counter, before)| *counter = *before);
            self.database(name).retired.lock().add(&before);
        }
    }

    fn left(&self, left: record::LeftImage) -> Result<Option<SlotId>, AdoptError> {
        let (pool, target) = (self.pool_of(left.pool)?, self.target(left.target.into(), None));
        let opened = moment(left.opened)?;
        let adopted = Adopted {
            state: AdoptedState::Left,
            home: WorkerId(0),
            opened,
            used: opened,
            future: Future::Close,
            reserve: false,
        };
        Ok(self.hub.core.lock().pools.adopt(pool.id, target, &adopted, self.now))
    }

    fn server(
        &mut self,
        mut image: ServerImage,
        fd: OwnedFd,
        workers: &HashMap<u64, WorkerId>,
    ) -> Result<(), AdoptError> {
        let pool = self.pool_of(image.pool)?;
        let address: TargetAddr = image.target.clone().into();
        let target = self.target(address.clone(), None);
        let (opened, used) = (moment(image.opened)?, moment(image.used)?);
        let (home, state) = match &image.held {
            None => (self.worker_of(usize::try_from(image.serial).unwrap_or(0)), AdoptedState::Idle),
            Some(held) => {
                let Some(home) = workers.get(&held.client) else { return bad("held by nobody") };
                (*home, AdoptedState::Held(ClientId(held.client), HoldId(held.hold.min(MOMENT_MAX))))
            }
        };
        let future = if image.close_needed { Future::Close } else { Future::Reuse };
        let adopted = Adopted { state, home, opened, used, future, reserve: image.reserve };
        let link = Link::from_image(image.link.clone(), &self.unpacking)?;
        let stream = self.stream(fd, home)?;
        let mut core = self.hub.core.lock();
        let Some(slot) = core.pools.adopt(pool.id, target, &adopted, self.now) else {
            return bad("a server connection of no pool");
        };
        let entry = server_entry(slot, &pool, address, &mut image, (&link, &stream));
        core.note_server(&entry);
        let mut output = Carry::default();
        if !image.output.is_empty() {
            output.push(&image.output);
        }
        let mut conn = Box::new(ServerConn {
            slot,
            pool: pool.clone(),
            stream,
            link,
            input: image.input.to_vec(),
            output,
            entry,
            shown: None,
            home,
            tally: Tally::none(),
            closing: Closing::Untold,
            // Its client has been told in its login.
            welcome: None,
            unfinished: None,
        });
        let Some(held) = image.held else {
            core.park(conn);
            return Ok(());
        };
        drop(core);
        let grant = Grant { slot, hold: HoldId(held.hold.min(MOMENT_MAX)), moves: Moves::Stays };
        conn.tally = Tally::begin(&grant, moment(held.asked)?, moment(held.granted)?);
        self.open_record(&conn, &held, pool.id);
        if image.carried {
            self.holders.push(ClientId(held.client));
        }
        match self.held.insert(held.client, (conn, held, grant)) {
            None => Ok(()),
            Some(_) => bad("a client with two server connections"),
        }
    }

    fn open_record(&self, conn: &ServerConn, held: &HeldImage, pool: plimsoll_types::PoolId) {
        if !self.hub.ledger.is_on() {
            return;
        }
        let bytes_max = self.hub.ledger.statement_bytes.load(Ordering::Relaxed);
        let mut record = conn.entry.record.lock();
        let tally = &conn.tally;
        record.begin(tally.hold, ClientId(held.client), pool, tally.asked, tally.granted);
        for (text, total) in &held.said {
            let said = Said {
                text,
                bytes: usize::try_from(*total).unwrap_or(text.len()),
                tail: &[],
                provenance: Provenance::Here,
                kind: SaidKind::Any,
            };
            record.say(&said, bytes_max);
        }
    }

    /// A socket, known to the worker on which it will live.
    fn stream(&self, fd: OwnedFd, worker: WorkerId) -> Result<Stream, AdoptError> {
        let socket = Socket::from(fd);
        socket.set_nonblocking(true)?;
        let Some(worker) = self.hub.workers.get(usize::from(worker.0)) else { return bad("no such worker") };
        let _inside = worker.handle.enter();
        Ok(Stream::with_bytes(socket)?)
    }

    fn client(&mut self, image: ClientImage, fd: OwnedFd, worker: WorkerId) -> Result<Relay, AdoptError> {
        let pool = self.pool_of(image.pool)?;
        let id = ClientId(image.id);
        let key = self.new_client(image.id, &image.key)?;
        let stream = self.stream(fd, worker)?;
        let proved = match image.proved {
            Some(proved) => Some(Box::new(self.hub.census.enter_again(Arc::new(proved.into())))),
            None => None,
        };
        let identity = Identity {
            user: image.user.into(),
            database: image.database.into(),
            peer: image.peer.into(),
            local: image.local.into(),
            secured: None,
            credential: image.credential,
            proved,
            socket: stream.handle(),
            // Its server connection is there: nothing is asked for any more.
            replication: image
                .replication
                .map(|kind| Arc::new(Wishes { kind: kind.into(), startup: Vec::new() })),
        };
        let mut entry = ClientEntry::new(id, key, identity, moment(image.connected)?);
        entry.tls = image.tls.map(|(text, subject)| {
            Box::new(ClientTls { text: text.into(), subject: subject.map(Into::into) })
        });
        entry.resume(moment(image.requested)?, image.uses);
        let entry = Arc::new(entry);
        if image.killed {
            entry.mail().kill = Some(Box::new(Cause::AdminDisconnect));
        }
        if entry.grant_id().is_some() {
            self.note_grant(&entry);
        }
        let guard = ClientGuard::adopt(self.hub.clone(), worker, &entry, &pool);
        if image.carried {
            self.carried.push(entry.clone());
        }
        let held = self.held.remove(&image.id);
        if held.is_some() != image.session.is_attached()
            || image.session.is_settling() != (image.doing == Doing::Settling)
        {
            return bad("a client that has a server connection and has none");
        }
        let usual = entry.settings(&pool, || self.hub.plan());
        let settings = match &held {
            Some((_, held, _)) => Arc::new(by_rules(&usual, held.rules)),
            None => usual,
        };
        let session = Session::from_image(image.session, settings, &self.unpacking)?;
        let rest = Rest {
            doing: match image.doing {
                Doing::Open => relay::Doing::Open,
                Doing::Waiting { since, told } => relay::Doing::Waiting { since: moment(since)?, told },
                Doing::Settling => relay::Doing::Settling,
                Doing::Busy => relay::Doing::Busy,
            },
            input: image.input.to_vec(),
            wanted: usize::try_from(image.wanted).unwrap_or(0),
            output: image.output.to_vec(),
        };
        let held = held.map(|(conn, _, grant)| (conn, grant));
        Ok(Relay::adopt((self.hub.clone(), stream, entry, pool), session, held, rest, guard))
    }

    /// The cancel key of a client that is not here yet.
    fn new_client(&mut self, id: u64, key: &[u8]) -> Result<[u8; 8], AdoptError> {
        let Ok(key) = <[u8; 8]>::try_from(key) else { return bad("a cancel key of the wrong length") };
        if id >= MOMENT_MAX || !self.ids.insert(id) || self.hub.clients.lock().contains_key(&key) {
            return bad("a client that is here twice");
        }
        Ok(key)
    }

    fn note_grant(&self, entry: &ClientEntry) {
        let Some(counted) = &entry.proved else { return };
        let limits = counted.proved.limits;
        if limits.is_timed() {
            self.hub.note_timed_grant();
        }
        if limits.holds.is_some() {
            let by = format!("limit of the grant of \"{}\"", counted.proved.name);
            let holders = |of: &CapOf| holders(&self.hub, of);
            self.hub.gate.limit(&counted.proved.grant_id, limits.holds, &by, holders);
        }
    }

    /// PAUSE, DISABLE, temporary caps.
    fn standing(&self, paused: record::Paused, disabled: &[String], caps: Vec<record::Cap>) {
        for name in disabled {
            self.database(name).disabled.store(true, Ordering::Relaxed);
        }
        for name in &paused.databases {
            let database = self.database(name).id;
            self.hub.with_pools(|pools, now| pools.pause(Some(database), now));
        }
        if paused.all {
            self.hub.with_pools(|pools, now| pools.pause(None, now));
        }
        for cap in caps {
            let of = match cap.of {
                record::CapOf::Application(name) => CapOf::Application(name),
                record::CapOf::Host(host) => CapOf::Host(host),
                record::CapOf::Grant(grant) => CapOf::Grant(grant),
            };
            let held = || holders(&self.hub, &of);
            self.hub.gate.set(of.clone(), cap.max, cap.until.map(Moment), &cap.by, held);
        }
    }

    fn fresh(&mut self, image: FreshImage, fd: OwnedFd) -> Result<Fresh, AdoptError> {
        let socket = Socket::from(fd);
        socket.set_nonblocking(true)?;
        if image.id >= MOMENT_MAX || !self.ids.insert(image.id) {
            return bad("a client that is here twice");
        }
        let arrival = Arrival {
            socket,
            id: ClientId(image.id),
            peer: image.peer.into(),
            peer_uid: image.peer_uid,
            local: image.local.into(),
            at: moment(image.at)?,
            terms: Terms::Anybody,
        };
        Ok(Fresh { arrival, heard: image.heard.to_vec() })
    }

    fn console(&mut self, image: ConsoleImage, fd: OwnedFd) -> Result<ConsoleClient, AdoptError> {
        let key = self.new_client(image.id, &image.key)?;
        let stream = self.stream(fd, WorkerId(0))?;
        let peer: Peer = image.peer.into();
        let identity = Identity {
            user: image.user.into(),
            database: CONSOLE.into(),
            peer,
            local: image.local.into(),
            secured: None,
            credential: 0,
            proved: None,
            socket: stream.handle(),
            replication: None,
        };
        let entry = ClientEntry::new(ClientId(image.id), key, identity, moment(image.connected)?);
        entry.set_active();
        let entry = Arc::new(entry);
        let guard = ClientGuard::adopt_console(self.hub.clone(), WorkerId(0), &entry);
        let level = if image.admin { Level::Admin } else { Level::Stats };
        let welcomed = Welcomed::Yes;
        let input = image.input.to_vec();
        Ok(ConsoleClient { stream: stream.detach(), entry, level, guard, input, welcomed })
    }
}

fn moment(at: u64) -> Result<Moment, AdoptError> {
    if at < MOMENT_MAX { Ok(Moment(at)) } else { bad("a moment that never comes") }
}

/// What others see of it.
fn server_entry(
    slot: SlotId,
    pool: &PoolEntry,
    target: TargetAddr,
    image: &mut ServerImage,
    (link, stream): (&Link, &Stream),
) -> Arc<ServerEntry> {
    let opened = Moment(image.opened);
    let entry = ServerEntry {
        slot,
        database: pool.database.name.clone(),
        user: pool.user.clone(),
        life: Life::of(stream.handle()),
        target,
        local: image.local.clone().into(),
        opened,
        replication: image.replication.map(Into::into),
        term: image.term.map(|(_, ends)| Term::of_another(ends.map(Moment))),
        serial: image.serial,
        key: Mutex::new(std::mem::take(&mut image.key).0),
        params: Mutex::new(Some(link.params().clone())),
        tls: OnceLock::new(),
        prepared: AtomicU32::new(u32::try_from(link.prepared_count()).unwrap_or(u32::MAX)),
        record: Mutex::new(Record::new(slot, image.serial, 0, opened)),
    };
    entry.record.lock().set_pid(entry.pid());
    if let Some(tls) = image.tls.take() {
        // It is new, so it has none yet.
        let _ = entry.tls.set(tls.into());
    }
    Arc::new(entry)
}
