//! What is known of a client before it proves who it is: its line in auth_file, or what auth_query says of it
//! (reference 3.4).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use plimsoll_auth::Stored;
use plimsoll_config::AuthType;
use plimsoll_ledger::{Hear, Provenance, Said, SaidKind};
use plimsoll_session::Release;
use plimsoll_types::Cause;
use plimsoll_wire::{WireError, back, encode};

use super::enter::Served;
use super::goal::{Goal, Trust};
use super::{Awaits, CONSOLE, End, Login};
use crate::directory::{DatabaseEntry, Found, PoolEntry, Role};
use crate::entry::{ClientEntry, Identity};
use crate::message;
use crate::server::ServerConn;
use crate::socket::server_cause;
use crate::stats::Counter;
use crate::tally::Tally;

/// Longest message of an answer to auth_query, bytes.
const ANSWER_BYTES_MAX: u32 = 1 << 20;

/// Columns that auth_query must give: the user and its secret.
const COLUMNS: u16 = 2;

/// What is known of a user.
pub(super) struct Known {
    /// Its secret.
    pub(super) secret: Stored,
    /// Where it comes from.
    pub(super) from: Source,
}

/// Where a secret comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// auth_file.
    File,
    /// auth_query.
    Query,
    /// The client, and others have said that it is good.
    Voucher,
}

/// Who asks whom what.
struct Question {
    database: Option<Arc<DatabaseEntry>>,
    auth_user: String,
    auth_dbname: Option<String>,
    auth_query: String,
}

/// The answer.
enum Row {
    None,
    Secret(Stored),
}

impl Login {
    /// What is known of the user. `None`: nothing at all, and nobody may see that before the end of the dialogue.
    pub(super) async fn look_up(&mut self, goal: &Goal) -> Result<Option<Known>, End> {
        let by_name = self.plan.logins.get(&*self.user);
        if let Some(secret) = by_name {
            let secret = secret.expose_text().map_or_else(Stored::impossible, Stored::parse);
            return Ok(Some(Known { secret, from: Source::File }));
        }
        let Some(question) = self.question(goal)? else { return Ok(None) };
        let database = self.auth_database(&question)?;
        let pool = self.hub.pool(&database, &Role::AuthUser(&question.auth_user));
        let pool = pool.ok_or(End::Refused(Cause::AuthConfig))?;
        self.flush().await?;
        self.stage = Awaits::Server;
        // Boxed, so that logins without it stay small.
        let row = Box::pin(self.ask(&pool, &question.auth_query)).await?;
        self.stage = Awaits::Client;
        match row {
            Row::Secret(secret) => Ok(Some(Known { secret, from: Source::Query })),
            Row::None => Err(End::Refused(Cause::NoSuchUser)),
        }
    }

    /// Whether auth_query is to be asked, and how. A database that does not exist asks nobody: that would tell.
    fn question(&self, goal: &Goal) -> Result<Option<Question>, End> {
        if self.plan.general.auth_type == AuthType::Any {
            return Ok(None);
        }
        let (line, database) = match goal {
            Goal::Known(database) => (Some(database.config()), Some(database.clone())),
            Goal::Auto => (self.plan.auto_database.clone().map(Arc::new), None),
            Goal::Missing | Goal::Console(_, Trust::Kin) => return Ok(None),
            Goal::Console(_, Trust::Proof) => (None, None),
        };
        let general = &self.plan.general;
        let own = line.as_deref();
        let auth_user = own.and_then(|line| line.auth_user.as_ref()).or(general.auth_user.as_ref());
        let Some(auth_user) = auth_user.cloned() else { return Ok(None) };
        let auth_query = own.and_then(|line| line.auth_query.clone());
        Ok(Some(Question {
            database,
            auth_user,
            auth_dbname: own.and_then(|line| line.auth_dbname.clone()).or(general.auth_dbname.clone()),
            auth_query: auth_query.unwrap_or_else(|| general.auth_query.clone()),
        }))
    }

    /// Where the question is asked: auth_dbname, or the database the client wants.
    fn auth_database(&self, question: &Question) -> Result<Arc<DatabaseEntry>, End> {
        let refused = |words: String| {
            tracing::error!("{}{words}", self.log_prefix());
            End::Refused(Cause::AuthConfig)
        };
        let database = match (&question.auth_dbname, &question.database) {
            (None, Some(database)) => database.clone(),
            (name, _) => {
                let name = name.as_deref().unwrap_or(&self.database);
                if name == CONSOLE {
                    let words = "cannot use the reserved \"pgbouncer\" database as an auth_dbname";
                    return Err(refused(words.to_string()));
                }
                let found = self.hub.directory.lock().database_or_auto(&self.plan, name);
                let Some((database, found)) = found else {
                    return Err(refused(format!("authentication database \"{name}\" is not configured.")));
                };
                if found == Found::Registered {
                    tracing::info!("{}registered new auto-database: {name}", self.log_prefix());
                }
                database
            }
        };
        if database.disabled.load(Ordering::Relaxed) {
            let name = (&*database.name).into();
            return Err(End::Refused(Cause::AuthDatabaseDisabled { name }));
        }
        Ok(database)
    }

    /// Waits for a server connection like a query, asks, and gives it back.
    async fn ask(&mut self, pool: &Arc<PoolEntry>, query: &str) -> Result<Row, End> {
        let identity = Identity {
            user: self.user.clone(),
            database: self.database.clone(),
            peer: self.peer.clone(),
            local: self.local.clone(),
            secured: None,
            credential: 0,
            proved: None,
            socket: Weak::new(),
            replication: None,
        };
        let asked = self.hub.now();
        // Nobody can cancel or kill it yet.
        let entry = Arc::new(ClientEntry::new(self.id, [0; 8], identity, self.since));
        let Served { conn, grant } = self.any_server(pool, &entry).await?;
        pool.stats(usize::from(self.guard.worker().0)).add(Counter::Assignments, 1);
        let mut lent = Lent { login: self, conn: Some(conn) };
        let answered = lent.ask(query, &Tally::begin(&grant, asked, asked)).await;
        match &answered {
            Ok(_) | Err(Answered::Bad(_)) => lent.give_back(Release::Clean),
            Err(Answered::Broken(cause)) => lent.give_back(Release::Unusable(cause.clone())),
        }
        answered.map_err(|answered| {
            match answered {
                Answered::Bad(words) => tracing::warn!("{}{words}", self.log_prefix()),
                Answered::Broken(cause) => {
                    tracing::warn!("{}auth_query: {}", self.log_prefix(), cause.message());
                }
            }
            End::Refused(Cause::AuthConfig)
        })
    }
}

/// What came instead of a row.
enum Answered {
    /// The server goes on, but with this nothing can be done.
    Bad(String),
    /// The connection is of no use any more.
    Broken(Cause),
}

/// A server connection for as long as the question takes; it goes back however that ends.
struct Lent<'a> {
    login: &'a Login,
    conn: Option<Box<ServerConn>>,
}

impl Lent<'_> {
    fn give_back(&mut self, release: Release) {
        if let Some(conn) = self.conn.take() {
            let now = self.login.hub.now();
            // One of many short holds that explain themselves: the history has no use for it.
            drop(conn.entry.record.lock().end(Hear::IfRemarkable, now));
            self.login.hub.give_back(conn, release, now);
        }
    }

    async fn ask(&mut self, query: &str, tally: &Tally) -> Result<Row, Answered> {
        let Some(conn) = &mut self.conn else { return Err(Answered::Broken(Cause::ServerStateUnknown)) };
        let login = self.login;
        if login.hub.ledger.is_on() {
            note(login, conn, tally, query);
        }
        let mut out = Vec::new();
        question(&mut out, query, login.user.as_bytes());
        let broken = |e: std::io::Error| Answered::Broken(server_cause(&e));
        conn.stream.write_all(&out).await.map_err(broken)?;
        let mut answer = Answer { row: Ok(Row::None) };
        let mut chunk = [0; 4096];
        loop {
            while let Some(message) = message::take(&mut conn.input, ANSWER_BYTES_MAX).map_err(bad_length)? {
                if message.first() == Some(&back::READY_FOR_QUERY) {
                    return answer.row.map_err(Answered::Bad);
                }
                answer.take_in(&message);
            }
            match conn.stream.read(&mut chunk).await.map_err(broken)? {
                0 => return Err(Answered::Broken(Cause::ServerEof)),
                n => conn.input.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.give_back(Release::Unusable(Cause::LoginTimeout));
    }
}

/// The ledger hears who holds the connection, and for what.
fn note(login: &Login, conn: &ServerConn, tally: &Tally, query: &str) {
    let mut record = conn.entry.record.lock();
    record.begin(tally.hold, login.id, conn.pool.id, tally.asked, login.hub.now());
    let text = query.as_bytes();
    let bytes_max = login.hub.ledger.statement_bytes.load(Ordering::Relaxed);
    let said =
        Said { text, bytes: text.len(), tail: &[], provenance: Provenance::Here, kind: SaidKind::Plain };
    record.say(&said, bytes_max);
}

/// Parse, Bind with one text parameter, Describe, Execute, Sync: nothing that changes the session.
fn question(out: &mut Vec<u8>, query: &str, user: &[u8]) {
    let mut text = query.as_bytes().to_vec();
    text.extend_from_slice(&[0, 0, 0]);
    encode::parse(out, b"", &text);
    encode::message(out, b'B', |body| {
        // Unnamed portal and statement, no parameter formats, one parameter.
        body.extend_from_slice(&[0, 0, 0, 0, 0, 1]);
        let length = u32::try_from(user.len()).unwrap_or(0);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(user);
        body.extend_from_slice(&[0, 0]);
    });
    encode::message(out, b'D', |body| body.extend_from_slice(b"P\0"));
    encode::message(out, b'E', |body| body.extend_from_slice(&[0, 0, 0, 0, 0]));
    encode::sync(out);
}

/// What the server has said so far.
struct Answer {
    row: Result<Row, String>,
}

impl Answer {
    fn take_in(&mut self, message: &[u8]) {
        match message.first() {
            Some(&back::ERROR_RESPONSE) => {
                let cause = plimsoll_session::error_of(message);
                self.row = Err(format!("S: error in auth_query: ERROR: {}", cause.message()));
            }
            Some(&back::ROW_DESCRIPTION) => {
                let columns = message.get(5..7).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
                if columns != COLUMNS && self.row.is_ok() {
                    self.row = Err(format!("expected {COLUMNS} columns from auth_query, not {columns}"));
                }
            }
            Some(&back::DATA_ROW) if self.row.is_ok() => {
                let mut values = back::data_row(message);
                self.row = match (values.next().flatten(), values.next()) {
                    (None, _) => Err("auth_query response contained null user name".to_string()),
                    (Some(_), None) => Err("auth_query gave no secret".to_string()),
                    (Some(_), Some(None)) => Ok(Row::Secret(Stored::impossible())),
                    (Some(_), Some(Some(secret))) => match std::str::from_utf8(secret) {
                        Ok(secret) => Ok(Row::Secret(Stored::parse(secret))),
                        Err(_) => Err("auth_query gave a secret that is not UTF-8".to_string()),
                    },
                };
            }
            _ => {}
        }
    }
}

fn bad_length(_: WireError) -> Answered {
    Answered::Broken(Cause::ServerProtocol { what: "bad length in the answer to auth_query" })
}
