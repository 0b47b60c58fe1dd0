//! Questions of our own to the servers: over a connection of a pool that nobody is using now, so that asking never
//! costs a server one more and never makes a client wait.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use plimsoll_pool::{Class, Request, USUAL_WEIGHT, WaitCause};
use plimsoll_session::{Release, Round, RoundStep};
use plimsoll_types::{Cause, WorkerId};
use plimsoll_wire::{MESSAGE_BYTES_MAX, back, header};
use tokio::sync::oneshot;

use crate::directory::PoolEntry;
use crate::entry::{ClientEntry, Identity, Peer, TargetAddr};
use crate::hub::{Answer, Hub};
use crate::server::ServerConn;
use crate::socket::server_cause;

/// The worker on which questions are asked.
pub(crate) const ASKING_WORKER: WorkerId = WorkerId(0);

/// How long an answer may take.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Most bytes of an answer: some thousand sessions.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Limits of the server, then its sessions. Of a session that the role may not look into, only database, role and
/// application come, and not even its kind: what has a database and a role is taken for a client's then.
/// `pg_blocking_pids` takes all lock tables' locks, so it is asked only of who waits for one.
const QUESTION: &str = "SELECT 'S', pg_catalog.current_setting('max_connections'), \
    pg_catalog.current_setting('superuser_reserved_connections'), \
    coalesce(pg_catalog.current_setting('reserved_connections', true), '0'), \
    pg_catalog.current_setting('server_version'); \
    SELECT 'B', a.pid, a.datname, a.usename, a.application_name, pg_catalog.host(a.client_addr), a.state, \
    a.wait_event_type || ':' || a.wait_event, \
    CASE WHEN a.wait_event_type = 'Lock' THEN pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(a.pid), ' ') END, \
    coalesce(l.count, 0), \
    pg_catalog.floor(extract(epoch from pg_catalog.clock_timestamp() - a.state_change)), \
    CASE WHEN a.backend_type IS NULL THEN 'hidden' END \
    FROM pg_catalog.pg_stat_activity a LEFT JOIN \
    (SELECT pid, pg_catalog.count(*) AS count FROM pg_catalog.pg_locks WHERE granted GROUP BY pid) l ON l.pid = a.pid \
    WHERE a.backend_type = 'client backend' \
    OR (a.backend_type IS NULL AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL) ORDER BY a.pid";

/// What one server says of itself.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Its address.
    pub target: String,
    /// Through which pool it was asked (database, login role); `None`: no pool of it has a connection to spare.
    pub via: Option<(Arc<str>, Arc<str>)>,
    /// What it said, or why not.
    pub said: Result<Said, String>,
}

/// The answer of a server.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// `server_version`.
    pub version: String,
    /// `max_connections`.
    pub max_connections: u32,
    /// `superuser_reserved_connections` and `reserved_connections`.
    pub reserved: u32,
    /// Its sessions.
    pub backends: Vec<Backend>,
}

/// A session as `pg_stat_activity` and `pg_locks` show it; empty where our role may not look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// Process id.
    pub pid: u32,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
    /// application_name (claimed).
    pub application: String,
    /// Address of its client.
    pub address: String,
    /// `active`, `idle`, `idle in transaction`, …
    pub state: String,
    /// `type:event` it waits for.
    pub wait: String,
    /// Process ids that block it.
    pub blocked_by: String,
    /// Locks it holds.
    pub locks: u32,
    /// How long it has been in this state.
    pub state_for: Duration,
    /// Whether it is one of ours.
    pub ours: bool,
    /// Whether our role may not see what it does (it has no `pg_read_all_stats`).
    pub hidden: bool,
}

/// Asks every server of which a pool has an idle connection. One after the other: this is for people.
pub(crate) async fn servers(hub: &Arc<Hub>) -> Vec<ServerFacts> {
    let mut ways: Vec<(TargetAddr, Vec<Arc<PoolEntry>>)> = Vec::new();
    for (target, pool) in known(hub) {
        match ways.iter_mut().find(|(known, _)| *known == target) {
            Some((_, pools)) => pools.push(pool),
            None => ways.push((target, vec![pool])),
        }
    }
    let mut out = Vec::new();
    for (target, pools) in ways {
        out.push(server(hub, &target, pools).await);
    }
    out
}

/// Targets we have connections to, each with the pools that have one idle.
fn known(hub: &Hub) -> Vec<(TargetAddr, Arc<PoolEntry>)> {
    let core = hub.core.lock();
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for entry in core.servers() {
        let Some(slot) = core.pools.slot(entry.slot) else { continue };
        if let Some(pool) = core.pool(slot.pool)
            && seen.insert((entry.target.clone(), slot.pool))
        {
            out.push((entry.target.clone(), pool.clone()));
        }
    }
    out
}

async fn server(hub: &Arc<Hub>, target: &TargetAddr, pools: Vec<Arc<PoolEntry>>) -> ServerFacts {
    let address = target.peer().to_string();
    for pool in pools {
        let Some(conn) = take_idle(hub, &pool, target) else { continue };
        let via = Some((pool.database.name.clone(), pool.user.clone()));
        let (answer, heard) = oneshot::channel();
        let asking = hub.clone();
        hub.spawn_on(ASKING_WORKER, async move {
            // Whoever asked may be gone by now.
            let _ = answer.send(ask(&asking, conn, QUESTION).await);
        });
        let said = match heard.await {
            Ok(Ok(rows)) => Ok(understand(hub, target, &rows)),
            Ok(Err(cause)) => Err(cause.message().into_owned()),
            Err(_) => Err("the question was given up".to_string()),
        };
        return ServerFacts { target: address, via, said };
    }
    let said = Err("not asked: none of our connections to it is idle".to_string());
    ServerFacts { target: address, via: None, said }
}

/// An idle connection of the pool to this server, if there is one that nobody waits for.
fn take_idle(hub: &Arc<Hub>, pool: &Arc<PoolEntry>, target: &TargetAddr) -> Option<Box<ServerConn>> {
    let now = hub.now();
    let counts = hub.core.lock().pools.counts(pool.id, now);
    if counts.idle == 0 || counts.waiting > 0 {
        return None;
    }
    let entry = Arc::new(ClientEntry::new(hub.next_client(), [0; 8], identity(pool), now));
    let request = Request {
        pool: pool.id,
        client: entry.id,
        worker: ASKING_WORKER,
        wait_max: ANSWER_TIMEOUT,
        wait_cause: WaitCause::QueryWaitTimeout,
        class: Class::Everybody,
        weight: USUAL_WEIGHT,
    };
    match hub.request(request, &entry, now) {
        Answer::Granted(conn, _) if conn.entry.target == *target => Some(conn),
        Answer::Granted(conn, _) => {
            hub.give_back(conn, Release::Clean, now);
            None
        }
        Answer::Queued(ticket) => {
            // Somebody was faster.
            hub.withdraw(ticket, entry.id, now);
            let late = entry.mail().grant.take();
            if let Some((conn, _)) = late {
                hub.give_back(conn, Release::Clean, now);
            }
            None
        }
        Answer::Refused(_) | Answer::StandsStill => None,
    }
}

/// An idle connection to this server, of whatever pool.
pub(crate) fn idle_at(hub: &Arc<Hub>, target: &TargetAddr) -> Option<Box<ServerConn>> {
    let pools = known(hub).into_iter().filter(|(addr, _)| addr == target);
    let pools: Vec<_> = pools.map(|(_, pool)| pool).collect();
    pools.iter().find_map(|pool| take_idle(hub, pool, target))
}

/// We ourselves, as a client of a pool.
pub(crate) fn identity(pool: &PoolEntry) -> Identity {
    let here = Peer::Unix { pid: std::process::id(), port: 0 };
    Identity {
        user: pool.user.clone(),
        database: pool.database.name.clone(),
        peer: here.clone(),
        local: here,
        secured: None,
        credential: 0,
        proved: None,
        socket: Weak::new(),
        replication: None,
    }
}

/// The values of a row.
pub(crate) type Values = Vec<Option<Box<[u8]>>>;

/// Asks on the worker it runs on, and gives the connection back.
pub(crate) async fn ask(hub: &Arc<Hub>, conn: Box<ServerConn>, question: &str) -> Result<Vec<Values>, Cause> {
    let (slot, entry) = (conn.slot, conn.entry.clone());
    let Some(mut conn) = conn.rehomed(ASKING_WORKER) else {
        crate::closer::cut_off(hub, slot, &entry, &Cause::NoFileDescriptors);
        return Err(Cause::NoFileDescriptors);
    };
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, round(hub, &mut conn, question)).await;
    let asked = asked.unwrap_or(Err(Cause::QueryTimeout));
    let release = match &asked {
        Ok(_) => Release::Clean,
        Err(cause) => Release::Unusable(cause.clone()),
    };
    hub.give_back(conn, release, hub.now());
    asked
}

async fn round(hub: &Hub, conn: &mut ServerConn, question: &str) -> Result<Vec<Values>, Cause> {
    let mut out = Vec::new();
    let mut round = Round::start(question, &mut out);
    conn.stream.write_all(&out).await.map_err(|e| server_cause(&e))?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let mut chunk = [0; 16 * 1024];
    loop {
        match conn.stream.read(&mut chunk).await {
            Ok(0) => return Err(Cause::ServerEof),
            Err(e) => return Err(server_cause(&e)),
            Ok(n) => {
                bytes += n;
                conn.input.extend_from_slice(&chunk[..n]);
            }
        }
        if bytes > ANSWER_BYTES_MAX {
            return Err(Cause::ServerProtocol { what: "answer too long" });
        }
        let step = round.on_server(&mut conn.link, &conn.input, &hub.tracked);
        let consumed = match &step {
            RoundStep::More { consumed } | RoundStep::Done { consumed } => *consumed,
            RoundStep::Failed(_) => 0,
        };
        take_rows(&conn.input[..consumed], &mut rows);
        conn.input.drain(..consumed);
        match step {
            RoundStep::More { .. } => {}
            RoundStep::Done { .. } => return Ok(rows),
            RoundStep::Failed(cause) => return Err(cause),
        }
    }
}

/// The rows among whole messages.
pub(crate) fn take_rows(mut messages: &[u8], rows: &mut Vec<Values>) {
    while let Ok(Some(head)) = header(messages, MESSAGE_BYTES_MAX)
        && let Some(message) = messages.get(..head.total)
    {
        if head.tag == back::DATA_ROW {
            rows.push(back::data_row(message).map(|value| value.map(Into::into)).collect());
        }
        messages = &messages[head.total..];
    }
}

fn understand(hub: &Hub, target: &TargetAddr, rows: &[Values]) -> Said {
    let ours: HashSet<u32> = {
        let core = hub.core.lock();
        core.servers().filter(|entry| entry.target == *target).map(|entry| entry.pid()).collect()
    };
    let mut said = Said::default();
    for row in rows {
        let text = |at: usize| {
            let value = row.get(at).and_then(|value| value.as_deref()).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let number = |at: usize| text(at).parse::<u32>().unwrap_or(0);
        if text(0) == "S" {
            said.max_connections = number(1);
            said.reserved = number(2).saturating_add(number(3));
            said.version = text(4);
            continue;
        }
        said.backends.push(Backend {
            pid: number(1),
            database: text(2),
            user: text(3),
            application: text(4),
            address: text(5),
            state: text(6),
            wait: text(7),
            blocked_by: text(8),
            locks: number(9),
            state_for: Duration::from_secs(number(10).into()),
            ours: ours.contains(&number(1)),
            hidden: !text(11).is_empty(),
        });
    }
    said
}
