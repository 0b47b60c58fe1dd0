//! Opening a server connection: connect, log in, take in what the server says of itself, run connect_query.

mod startup;

use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_auth::{Challenge, Credential, Random, ServerLogin, ServerReply, Stored};
use plimsoll_config::{Compat, Plan};
use plimsoll_ledger::Record;
use plimsoll_pool::Failure;
use plimsoll_session::{Ending, Link, Params, Round, RoundStep, error_of};
use plimsoll_types::{Cause, Moment, SlotId, SqlState, TargetId, WorkerId};
use plimsoll_wire::back::{self, Authentication};
use plimsoll_wire::{encode, header};

use crate::ask::{ANSWER_TIMEOUT, Values, take_rows};
use crate::carry::Carry;
use crate::credentials::{self, ClearText, Lent};
use crate::directory::{Parameter, PoolEntry, Welcome};
use crate::entry::{self, ServerEntry, TargetAddr};
use crate::hub::Hub;
use crate::liveness::Life;
use crate::replication::{Kind, Wishes};
use crate::server::{Closing, ServerConn};
use crate::socket::{Stream, server_cause};
use crate::tally::Tally;
use crate::{closer, dial, message, random, report, targets};

/// Longest message a server may send while it logs us in, bytes.
const LOGIN_MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// How long a name that has to be looked up again may keep a connection waiting: then its last addresses go on.
const REFRESH_MAX: Duration = Duration::from_secs(1);

/// What is opened where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The slot.
    pub(crate) slot: SlotId,
    /// Its target.
    pub(crate) target: TargetId,
    /// Where it lives.
    pub(crate) worker: WorkerId,
}

/// Opens the connection for a slot and tells the pool how it went. Ends within server_connect_timeout (and
/// close_timeout, where a login has to be given up). `wishes`: it is for the client alone that asks for this.
pub(crate) async fn open(hub: Arc<Hub>, place: Place, pool: Arc<PoolEntry>, wishes: Option<Arc<Wishes>>) {
    let plan = hub.plan();
    let Place { slot, target: place, worker } = place;
    let Some(target) = ({ hub.directory.lock().target_addr(place) }) else {
        return hub.failed(slot, Failure::Connect(Cause::DnsFailed));
    };
    let limit = match plan.general.server_connect_timeout {
        Duration::ZERO => Duration::from_secs(3600),
        limit => limit,
    };
    let mut opening = Opening {
        hub: hub.clone(),
        plan,
        slot,
        pool,
        place,
        target,
        worker,
        wishes,
        stream: None,
        entry: None,
        conn: None,
    };
    let (failure, ending) = match tokio::time::timeout(limit, opening.run()).await {
        Ok(Ok(conn)) => return hub.opened(conn),
        Ok(Err(failure)) => (failure, Ending::Terminate),
        Err(_elapsed) => (Failure::Connect(Cause::ConnectTimeout), Ending::Cancel),
    };
    opening.give_up(failure, ending).await;
}

/// Rows of a query of our own that are kept.
const ROWS_MAX: usize = 8;

struct Opening {
    hub: Arc<Hub>,
    plan: Arc<Plan>,
    slot: SlotId,
    pool: Arc<PoolEntry>,
    place: TargetId,
    target: TargetAddr,
    worker: WorkerId,
    /// What its client asks for, where it is for one alone.
    wishes: Option<Arc<Wishes>>,
    /// Here and not in `run`, so that a login which is given up can be seen to end.
    stream: Option<Stream>,
    entry: Option<Arc<ServerEntry>>,
    /// Logged in, and connect_query runs.
    conn: Option<Box<ServerConn>>,
}

/// What a server says while it logs us in.
#[derive(Default)]
struct Said {
    parameters: Vec<Parameter>,
    key: Box<[u8]>,
}

/// A server has let us in.
struct LoggedIn {
    said: Said,
    /// What came behind the login.
    rest: Vec<u8>,
    entry: Arc<ServerEntry>,
}

/// How a login went that the server did not refuse.
enum Told {
    Said(Said),
    /// It asked for a secret in the clear that must not be seen.
    Withheld,
}

fn io_failure(error: io::Error) -> Failure {
    Failure::Connect(server_cause(&error))
}

impl Opening {
    async fn run(&mut self) -> Result<Box<ServerConn>, Failure> {
        self.refresh_name().await?;
        let lent = credentials::lend(&self.hub, &self.plan, &self.pool, &self.target).await?;
        let LoggedIn { said, rest, entry } = match self.log_in(lent.as_ref()).await {
            Ok(logged_in) => logged_in,
            Err(failure) => match credentials::renew(&self.hub, lent.as_ref(), &failure).await {
                Some(newer) => self.log_in_again(&newer, failure).await?,
                None => return Err(failure),
            },
        };
        *entry.key.lock() = said.key.clone();
        entry.record.lock().set_pid(entry.pid());
        let welcome = self.remember(said);
        let params = welcome.params.clone();
        *entry.params.lock() = Some(params.clone());
        let link = match self.wishes {
            None => Link::new(params),
            Some(_) => Link::for_replication(params),
        };
        let stream = self.stream.take().ok_or(Failure::Connect(Cause::ServerStateUnknown))?;
        let conn = self.conn.insert(Box::new(ServerConn {
            slot: self.slot,
            pool: self.pool.clone(),
            stream,
            link,
            input: rest,
            output: Carry::default(),
            entry,
            shown: None,
            home: self.worker,
            tally: Tally::none(),
            closing: Closing::Untold,
            welcome: self.wishes.is_some().then_some(welcome),
            unfinished: None,
        }));
        let (hub, plan, is_control) = (&self.hub, &self.plan, self.pool.purpose.is_control());
        let replication = self.wishes.as_ref().map(|wishes| wishes.kind);
        if !is_control && replication.is_none() && targets::asks_first(hub, plan, self.place, &self.target) {
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, run(hub, conn, targets::LIMITS)).await;
            let rows = asked.map_err(|_| Failure::Connect(Cause::ConnectTimeout))??.unwrap_or_default();
            targets::note_first(hub, plan, self.place, &self.target, &rows);
        }
        let query = self.pool.database.config().connect_query.clone();
        // A walsender without a database takes no SQL.
        let takes_sql = !is_control && replication != Some(Kind::Physical);
        if let Some(query) = query.filter(|_| takes_sql) {
            connect_query(&self.hub, conn, &query).await?;
        }
        self.conn.take().ok_or(Failure::Connect(Cause::ServerStateUnknown))
    }

    /// The server has refused what a provider gave, and that has another secret by now: once more in the same slot, as
    /// soon as nothing is left of the first attempt.
    async fn log_in_again(&mut self, newer: &Lent, failure: Failure) -> Result<LoggedIn, Failure> {
        let limit = self.plan.own.close_timeout.unwrap_or(closer::CLOSE_TIMEOUT);
        if let Some(stream) = &mut self.stream {
            stream.shutdown_write();
            if tokio::time::timeout(limit, closer::read_to_end(stream)).await.is_err() {
                return Err(failure);
            }
        }
        (self.stream, self.entry) = (None, None);
        self.log_in(Some(newer)).await
    }

    /// Connects, encrypts, logs in.
    async fn log_in(&mut self, lent: Option<&Lent>) -> Result<LoggedIn, Failure> {
        let begun = self.hub.now();
        let connected = dial::connect(&self.target, &self.plan.general).await;
        let stream = connected.map_err(|error| self.not_connected(begun, &error))?;
        let (serial, opened) = (self.hub.next_server(), self.hub.now());
        let entry = Arc::new(ServerEntry {
            slot: self.slot,
            database: self.pool.database.name.clone(),
            user: self.pool.user.clone(),
            local: dial::local_peer(stream.socket(), &self.target),
            target: self.target.clone(),
            life: Life::of(stream.handle()),
            opened,
            replication: self.wishes.as_ref().map(|wishes| wishes.kind),
            term: lent.map(|lent| lent.term),
            serial,
            key: Mutex::default(),
            params: Mutex::new(None),
            tls: OnceLock::new(),
            prepared: AtomicU32::new(0),
            record: Mutex::new(Record::new(self.slot, serial, 0, opened)),
        });
        if self.plan.general.log.connections {
            tracing::info!("{}new connection to server (from {})", entry.log_prefix(), entry.local);
        }
        self.entry = Some(entry.clone());
        let stream = self.stream.insert(stream);
        let secured = dial::secure(&self.hub, stream, &self.pool, &self.target).await.map_err(|cause| {
            tracing::warn!("{}{}", entry.log_prefix(), cause.message());
            Failure::Connect(cause)
        })?;
        if let Some(secured) = secured {
            if self.plan.general.log.connections {
                tracing::info!("{}SSL established: {}", entry.log_prefix(), secured.text);
            }
            // Nobody else writes it.
            let _ = entry.tls.set(secured.text.into());
        }
        let clear_text = credentials::clear_text(lent, &self.target, entry.tls.get().map(|tls| &**tls));
        let credential = match lent {
            Some(lent) => Credential::Stored(Stored::Plain(lent.secret.clone())),
            None => startup::credential(&self.plan, &self.pool),
        };
        let mut incoming = Incoming { stream, buffer: Vec::new() };
        let wishes = self.wishes.as_deref();
        let who = Who { plan: &self.plan, pool: &self.pool, wishes };
        let said = match login(&who, &mut incoming, (credential, clear_text)).await? {
            Told::Said(said) => said,
            Told::Withheld => return Err(credentials::withheld(lent)),
        };
        Ok(LoggedIn { said, rest: incoming.buffer, entry })
    }

    /// A name is looked up when somebody is about to connect to it. If it leads elsewhere by now, this attempt is
    /// nobody's, and the pool makes another one at once.
    async fn refresh_name(&mut self) -> Result<(), Failure> {
        let config = self.pool.database.config();
        let outdated = {
            let directory = self.hub.directory.lock();
            directory.outdated_name(&config, &self.target, self.hub.now())
        };
        let Some(name) = outdated else { return Ok(()) };
        // A name server that is slow or gone: what was known goes on.
        let _ = tokio::time::timeout(REFRESH_MAX, self.hub.needed_names.ask(name)).await;
        match self.hub.directory.lock().host_of(&config, &self.target) {
            Some(_) => Ok(()),
            None => Err(Failure::Connect(Cause::DnsFailed)),
        }
    }

    /// Nobody there; who looks for `closing because: connect failed` finds it, and what the system says beside it.
    fn not_connected(&self, begun: Moment, error: &io::Error) -> Failure {
        let cause = match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Cause::NoFileDescriptors,
            _ => Cause::ConnectFailed,
        };
        let (pool, peer, ptr) = (&self.pool, self.target.peer(), entry::server_ptr(self.hub.next_server()));
        let prefix = format!("S-{ptr:#x}: {}/{}@{peer} ", pool.database.name, pool.user);
        tracing::warn!("{prefix}connect failed: {error}");
        report::log_closing(&self.plan, &prefix, self.hub.now().since(begun), &cause);
        Failure::Connect(cause)
    }

    /// Splits what the server reported into tracked parameters and the rest, for new clients. What it says on a
    /// connection that one client has asked for in its own way is for that one.
    fn remember(&self, said: Said) -> Arc<Welcome> {
        let tracked = &self.hub.tracked;
        let mut params = Params::none(tracked);
        let mut untracked = Vec::new();
        for (name, value) in said.parameters {
            match tracked.index(&name) {
                Some(index) => params.values[index] = Some(String::from_utf8_lossy(&value).into()),
                None => encode::parameter_status(&mut untracked, &name, &value),
            }
        }
        let welcome = Arc::new(Welcome { params: Arc::new(params), untracked: untracked.into() });
        if self.wishes.is_none() {
            self.pool.set_welcome(welcome.clone());
        }
        welcome
    }

    /// Sees to it that nothing is left at the server before the slot is free again, and tells the pool.
    async fn give_up(mut self, failure: Failure, ending: Ending) {
        let cause = failure.cause();
        let stream = match (self.conn.take(), &self.entry) {
            (Some(conn), _) => Some(closer::abandon(&self.hub, conn, ending, cause).await),
            (None, Some(entry)) => {
                let age = self.hub.now().since(entry.opened);
                match &failure {
                    Failure::Login(_) | Failure::Full(_) | Failure::Limited(_) if self.wishes.is_some() => {
                        let cause = Cause::ReplicationRefused { said: cause.message().into() };
                        report::log_closing(&self.plan, &entry.log_prefix(), age, &cause);
                    }
                    Failure::Login(_) => {
                        report::log_login_failed(&self.plan, &entry.log_prefix(), age, cause);
                    }
                    Failure::Connect(_) | Failure::Lost(_) | Failure::Full(_) | Failure::Limited(_) => {
                        report::log_closing(&self.plan, &entry.log_prefix(), age, cause);
                    }
                }
                self.stream.take()
            }
            (None, None) => None,
        };
        let pid = self.entry.as_ref().map_or(0, |entry| entry.pid());
        closer::give_up_process(&self.hub, self.slot, pid, stream, failure).await;
    }
}

/// Whole messages from a server during login.
struct Incoming<'a> {
    stream: &'a mut Stream,
    buffer: Vec<u8>,
}

impl Incoming<'_> {
    /// The next whole message, taken off the buffer.
    async fn message(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            let taken = message::take(&mut self.buffer, LOGIN_MESSAGE_BYTES_MAX)
                .map_err(|_| Failure::Connect(Cause::ServerProtocol { what: "bad length during login" }))?;
            if let Some(message) = taken {
                return Ok(message);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await.map_err(io_failure)? {
                0 => return Err(Failure::Connect(Cause::ServerEof)),
                n => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

/// Fresh random bytes for a dialogue.
pub(crate) fn random() -> Random {
    Random { bytes: random::bytes() }
}

fn challenge(message: &[u8]) -> Option<Challenge<'_>> {
    Some(match back::authentication(message).ok()? {
        Authentication::Ok => Challenge::Ok,
        Authentication::Cleartext => Challenge::Cleartext,
        Authentication::Md5 { salt } => Challenge::Md5(salt),
        Authentication::Sasl { mechanisms } => Challenge::Sasl(mechanisms),
        Authentication::SaslContinue { data } => Challenge::SaslContinue(data),
        Authentication::SaslFinal { data } => Challenge::SaslFinal(data),
        Authentication::Other(_) => Challenge::Other,
    })
}

/// What an ErrorResponse during login means for the pool.
fn refusal(message: &[u8]) -> Failure {
    let cause = error_of(message);
    match cause.sqlstate() {
        // 57P02: all sessions were ended because one has crashed; the server goes on.
        SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
            Failure::Connect(cause)
        }
        SqlState::TOO_MANY_CONNECTIONS if is_of_one_role(message) => Failure::Limited(cause),
        SqlState::TOO_MANY_CONNECTIONS => Failure::Full(cause),
        _ => Failure::Login(cause),
    }
}

/// Whether a refusal for want of a place (53300) is for the CONNECTION LIMIT of the role or the database, not for the
/// server's own limits. Its text is in the server's language, so it is told by the function that raised it: field R,
/// from PostgreSQL's `utils/init`, the same in versions 12 to 18.
fn is_of_one_role(message: &[u8]) -> bool {
    let raised_by = back::error_fields(message).find(|(code, _)| *code == b'R');
    raised_by.is_some_and(|(_, name)| matches!(name, b"InitializeSessionUserId" | b"CheckMyDatabase"))
}

/// Who logs in, and with what wishes.
struct Who<'a> {
    plan: &'a Plan,
    pool: &'a PoolEntry,
    wishes: Option<&'a Wishes>,
}

impl Who<'_> {
    /// The server has said no.
    fn tell_refusal(&self, failure: &Failure) {
        let (name, user, text) = (&self.pool.database.name, &self.pool.user, failure.cause().message());
        match (self.plan.own.compat, self.wishes) {
            (Compat::Plimsoll, _) => tracing::warn!("S: {name}/{user} login failed: FATAL: {text}"),
            (Compat::Pgbouncer, None) => tracing::warn!("server login failed: FATAL {text}"),
            (Compat::Pgbouncer, Some(_)) => tracing::warn!("S: login failed: FATAL: {text}"),
        }
    }
}

async fn login(
    who: &Who<'_>,
    incoming: &mut Incoming<'_>,
    (credential, clear_text): (Credential, ClearText),
) -> Result<Told, Failure> {
    let pool = who.pool;
    incoming.stream.write_all(&startup::packet(pool, who.wishes)).await.map_err(io_failure)?;
    let mut dialogue = ServerLogin::new(&pool.user, credential, random());
    let mut accepted = Accepted::No;
    let mut said = Said::default();
    loop {
        let message = incoming.message().await?;
        match message.first().copied() {
            Some(back::ERROR_RESPONSE) => {
                let failure = refusal(&message);
                who.tell_refusal(&failure);
                return Err(failure);
            }
            Some(back::NOTICE_RESPONSE) => {}
            Some(back::AUTHENTICATION)
                if clear_text == ClearText::Withheld
                    && matches!(challenge(&message), Some(Challenge::Cleartext)) =>
            {
                return Ok(Told::Withheld);
            }
            Some(back::AUTHENTICATION) if accepted == Accepted::No => {
                accepted = authenticate(&mut dialogue, &message, incoming).await?;
            }
            Some(back::PARAMETER_STATUS) if accepted == Accepted::Yes => {
                if let Ok((name, value)) = back::parameter_status(&message) {
                    said.parameters.push((name.into(), value.into()));
                }
            }
            Some(back::BACKEND_KEY_DATA) if accepted == Accepted::Yes => {
                if let Ok(key) = back::backend_key(&message) {
                    said.key = key.into();
                }
            }
            Some(back::READY_FOR_QUERY) if accepted == Accepted::Yes => return Ok(Told::Said(said)),
            _ => {
                return Err(Failure::Connect(Cause::ServerProtocol {
                    what: "unexpected message during login",
                }));
            }
        }
    }
}

/// Whether the server has let us in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepted {
    No,
    Yes,
}

async fn authenticate(
    dialogue: &mut ServerLogin,
    message: &[u8],
    incoming: &mut Incoming<'_>,
) -> Result<Accepted, Failure> {
    let bad = Failure::Connect(Cause::ServerProtocol { what: "malformed authentication request" });
    let mut reply = dialogue.handle_challenge(challenge(message).ok_or(bad)?);
    loop {
        let mut out = Vec::new();
        match reply {
            ServerReply::Password(text) => encode::password(&mut out, &text),
            ServerReply::SaslInitial(data) => encode::sasl_initial_response(&mut out, "SCRAM-SHA-256", &data),
            ServerReply::SaslResponse(data) => encode::sasl_response(&mut out, &data),
            ServerReply::Compute(job) => {
                let done = tokio::task::spawn_blocking(move || job.run()).await;
                let done = done.map_err(|_| Failure::Connect(Cause::ServerStateUnknown))?;
                reply = dialogue.handle_done(done);
                continue;
            }
            ServerReply::Wait => {}
            ServerReply::Accepted => return Ok(Accepted::Yes),
            ServerReply::Refuse(cause) => return Err(Failure::Login(cause)),
        }
        incoming.stream.write_all(&out).await.map_err(io_failure)?;
        return Ok(Accepted::No);
    }
}

/// Runs connect_query; an error of the server in it is logged and otherwise ignored, as PgBouncer does.
async fn connect_query(hub: &Hub, conn: &mut ServerConn, query: &str) -> Result<(), Failure> {
    if let Err(refused) = run(hub, conn, query).await? {
        let prefix = conn.entry.log_prefix();
        tracing::error!("{prefix}S: error while executing exec_on_query: ERROR: {}", refused.message());
    }
    Ok(())
}

/// Runs a query of our own: its first rows, or the server's error, after which the connection is as good as before.
async fn run(hub: &Hub, conn: &mut ServerConn, query: &str) -> Result<Result<Vec<Values>, Cause>, Failure> {
    let refused = match round(hub, conn, query).await? {
        Ran::Well(rows) => return Ok(Ok(rows)),
        Ran::Refused(cause) => cause,
    };
    // The answer to an empty query comes after everything the failed one has left.
    drop_error(&mut conn.input);
    match round(hub, conn, "").await? {
        Ran::Well(_) => Ok(Err(refused)),
        Ran::Refused(cause) => Err(Failure::Connect(cause)),
    }
}

/// How a query of our own went.
enum Ran {
    /// With these rows, the first [`ROWS_MAX`] of them or a few more.
    Well(Vec<Values>),
    /// The server answered with an error, which is still in the input.
    Refused(Cause),
}

async fn round(hub: &Hub, conn: &mut ServerConn, query: &str) -> Result<Ran, Failure> {
    let mut out = Vec::new();
    let mut round = Round::start(query, &mut out);
    conn.stream.write_all(&out).await.map_err(io_failure)?;
    let (mut chunk, mut rows) = ([0; 4096], Vec::new());
    loop {
        let step = round.on_server(&mut conn.link, &conn.input, &hub.tracked);
        let consumed = match step {
            RoundStep::More { consumed } | RoundStep::Done { consumed } => consumed,
            RoundStep::Failed(cause @ Cause::Server { .. }) => return Ok(Ran::Refused(cause)),
            RoundStep::Failed(cause) => return Err(Failure::Connect(cause)),
        };
        if rows.len() < ROWS_MAX {
            take_rows(&conn.input[..consumed], &mut rows);
        }
        conn.input.drain(..consumed);
        if let RoundStep::Done { .. } = step {
            return Ok(Ran::Well(rows));
        }
        match conn.stream.read(&mut chunk).await.map_err(io_failure)? {
            0 => return Err(Failure::Connect(Cause::ServerEof)),
            n => conn.input.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Takes out everything up to and including the first ErrorResponse.
fn drop_error(input: &mut Vec<u8>) {
    let mut at = 0;
    while let Ok(Some(head)) = header(&input[at..], LOGIN_MESSAGE_BYTES_MAX)
        && at + head.total <= input.len()
    {
        at += head.total;
        if head.tag == back::ERROR_RESPONSE {
            break;
        }
    }
    input.drain(..at);
}
