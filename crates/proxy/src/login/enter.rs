//! The way in for a client that has shown who it is: the pool, what its server says of itself, the welcome.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use plimsoll_auth::ScramKeys;
use plimsoll_pool::{CapOf, Class, Grant, Request, USUAL_WEIGHT};
use plimsoll_session::{Params, Release, Session};
use plimsoll_types::{Cause, Ticket};

use super::goal::Goal;
use super::look_up::{Known, Source};
use super::{Awaits, End, Entered, Login};
use crate::control::holders;
use crate::directory::{
    DatabaseEntry, Found, Learnt, PoolEntry, Role, Welcome, database_client_limit, longest_wait,
};
use crate::entry::{ClientEntry, Identity};
use crate::hub::{Answer, Hub, Phase};
use crate::keeper::Counted;
use crate::server::ServerConn;
use crate::stats::Counter;
use crate::welcome;

impl Login {
    /// Lets the client in.
    pub(super) async fn enter(&mut self, goal: Goal, params: Params, shown: Shown) -> Result<Entered, End> {
        let (known, keys, counted) = match shown {
            Shown::Secret(known, keys) => (known, keys, None),
            Shown::Identity(counted) => (None, None, Some(counted)),
        };
        let credential = self.credential(known.as_ref(), counted.as_ref());
        let database = match goal {
            Goal::Console(level, _) => {
                // The console's own welcome is written by the control thread.
                self.flush().await?;
                let entry = self.register(None, credential, counted);
                *entry.params.lock() = Some(Arc::new(params));
                return Ok(Entered::Console(entry, level));
            }
            Goal::Known(database) => self.admit(database),
            Goal::Auto => self.make_database(),
            Goal::Missing => Err(self.missing()),
        }
        .map_err(End::Refused)?;
        let role = counted.as_ref().map_or(&self.user, |counted| &counted.proved.role);
        let pool =
            self.hub.pool(&database, &Role::Login(role)).ok_or(End::Refused(Cause::DatabaseRemoved))?;
        if counted.is_some() && *pool.user != **role {
            // The line of the database names another role for everybody.
            let why = format!(
                "the grant is for role \"{role}\", and the database enters its server as another one"
            );
            return Err(End::Refused(Cause::NotGranted { why: why.into() }));
        }
        if *pool.user == *self.user {
            if let Some(keys) = keys {
                pool.set_keys(keys);
            }
            match known {
                Some(Known { secret, from: Source::Query }) => pool.set_secret(Learnt::Asked(secret)),
                Some(Known { secret, from: Source::Voucher }) => pool.set_secret(Learnt::Vouched(secret)),
                Some(Known { from: Source::File, .. }) | None => {}
            }
        }
        let entry = self.register(Some(pool.clone()), credential, counted);
        if entry.replication.is_some() {
            return Box::pin(self.enter_stream(pool, entry)).await;
        }
        let settings = entry.settings(&pool, || self.hub.plan());
        let welcome = match pool.welcome() {
            Some(welcome) => welcome,
            None => Box::pin(self.first_welcome(&pool, &entry)).await?,
        };
        let params = self.params_of(params, &welcome);
        *entry.params.lock() = Some(params.clone());
        let end = welcome::End { key: entry.key, notice: &self.plan.general.login_notify_message };
        welcome::client(&mut self.pending, &self.hub.tracked, &welcome, &params, &end);
        entry.set_active();
        self.flush().await?;
        pool.stats(usize::from(self.guard.worker().0)).add(Counter::Logins, 1);
        let session = Session::new(settings, params, self.hub.now());
        Ok(Entered::Pool(Box::new((entry, pool, session))))
    }

    /// Whether a database takes clients now.
    fn admit(&self, database: Arc<DatabaseEntry>) -> Result<Arc<DatabaseEntry>, Cause> {
        if database.disabled.load(Ordering::Relaxed) {
            return Err(Cause::DatabaseDisabled { name: (&*database.name).into() });
        }
        if self.hub.phase() != Phase::Running {
            return Err(Cause::ShuttingDown);
        }
        Ok(database)
    }

    /// The `*` line makes a database, now that it is known who asks for it.
    fn make_database(&mut self) -> Result<Arc<DatabaseEntry>, Cause> {
        if self.hub.phase() != Phase::Running {
            return Err(Cause::ShuttingDown);
        }
        let found = self.hub.directory.lock().database_or_auto(&self.plan, &self.database);
        let Some((database, found)) = found else { return Err(self.missing()) };
        match found {
            Found::Registered => {
                tracing::info!("{}registered new auto-database: {}", self.log_prefix(), database.name);
            }
            Found::Known => {}
        }
        self.database = database.name.clone();
        self.guard.found(&database, database_client_limit(&self.plan, &database.config()))?;
        self.admit(database)
    }

    fn missing(&self) -> Cause {
        if self.plan.general.log.connections {
            tracing::info!("{}login failed: db={} user={}", self.log_prefix(), self.database, self.user);
        }
        Cause::NoSuchDatabase { name: (&*self.database).into() }
    }

    /// Stands for what the client has shown.
    fn credential(&self, known: Option<&Known>, counted: Option<&Counted>) -> u64 {
        if let Some(Counted { proved, .. }) = counted {
            return self.hub.ledger.credentials.mark_identity(proved);
        }
        let certificate = self.secured.as_ref().and_then(|secured| secured.certificate.as_deref());
        self.hub.ledger.credentials.mark(&self.user, known.map(|known| &known.secret), certificate)
    }

    /// From here on the client can be cancelled, killed and seen.
    fn register(
        &mut self,
        pool: Option<Arc<PoolEntry>>,
        credential: u64,
        counted: Option<Counted>,
    ) -> Arc<ClientEntry> {
        if let Some(Counted { proved, .. }) = &counted {
            if proved.limits.is_timed() {
                self.hub.note_timed_grant();
            }
            if proved.limits.holds.is_some() || self.hub.gate.is_on() {
                let by = format!("limit of the grant of \"{}\"", proved.name);
                let holders = |of: &CapOf| holders(&self.hub, of);
                self.hub.gate.limit(&proved.grant_id, proved.limits.holds, &by, holders);
            }
        }
        let identity = Identity {
            proved: counted.map(Box::new),
            user: self.user.clone(),
            database: self.database.clone(),
            peer: self.peer.clone(),
            local: self.local.clone(),
            secured: self.secured.take(),
            credential,
            socket: self.stream.handle(),
            replication: self.wishes.clone().filter(|_| pool.is_some()),
        };
        self.guard.enter(self.id, identity, pool, self.since)
    }

    /// The client's values, gaps filled with the pool's; one value for all clients that have the same.
    fn params_of(&self, given: Params, welcome: &Welcome) -> Arc<Params> {
        let params = given.or(&welcome.params);
        if params == *welcome.params {
            welcome.params.clone()
        } else {
            self.hub.entrance.params.intern(params)
        }
    }

    /// Waits until a server of the pool has logged us in and so has told what its clients are welcomed with.
    async fn first_welcome(
        &mut self,
        pool: &Arc<PoolEntry>,
        entry: &Arc<ClientEntry>,
    ) -> Result<Arc<Welcome>, End> {
        self.flush().await?;
        self.stage = Awaits::Server;
        loop {
            let Served { conn, .. } = self.any_server(pool, entry).await?;
            self.hub.give_back(conn, Release::Clean, self.hub.now());
            if let Some(welcome) = pool.welcome() {
                self.stage = Awaits::Client;
                return Ok(welcome);
            }
            // A connection from before RECONNECT: it is being closed, and the next one is new.
            tokio::task::yield_now().await;
        }
    }

    /// Waits for a server connection like a query.
    pub(super) async fn any_server(
        &mut self,
        pool: &Arc<PoolEntry>,
        entry: &Arc<ClientEntry>,
    ) -> Result<Served, End> {
        let (hub, now) = (self.hub.clone(), self.hub.now());
        let settings = entry.settings(pool, || hub.plan());
        let (wait_max, wait_cause) =
            longest_wait(&self.plan, &pool.database.config(), &self.user, settings.query_timeout);
        let worker = self.guard.worker();
        let (pool_id, client) = (pool.id, entry.id);
        let (class, weight) = entry.stake().unwrap_or((Class::Everybody, USUAL_WEIGHT));
        let request = Request { pool: pool_id, client, worker, wait_max, wait_cause, class, weight };
        let ticket = match hub.request(request, entry, now) {
            Answer::Granted(conn, grant) => return Ok(Served { conn, grant }),
            Answer::Refused(cause) => return Err(End::Refused(cause)),
            Answer::StandsStill => return Err(End::Refused(Cause::Restarting)),
            Answer::Queued(ticket) => ticket,
        };
        entry.set_waiting(now);
        let place = Place { hub: &hub, entry, ticket };
        let served = std::future::poll_fn(|cx| self.poll_mail(cx, place.entry)).await;
        let stats = pool.stats(usize::from(worker.0));
        match &served {
            Ok(_) => stats.add(Counter::WaitTime, hub.now().micros_since(now)),
            Err(End::Refused(Cause::QueryWaitTimeout | Cause::QueryTimeoutWaiting)) => {
                stats.add(Counter::WaitTimeouts, 1);
            }
            Err(_) => {}
        }
        served
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>, entry: &ClientEntry) -> Poll<Result<Served, End>> {
        entry.set_waker(cx.waker());
        {
            let mut mail = entry.mail();
            if let Some((conn, grant)) = mail.grant.take() {
                return Poll::Ready(Ok(Served { conn, grant }));
            }
            if let Some(cause) = mail.kill.take().or_else(|| mail.refused.take()) {
                return Poll::Ready(Err(End::Refused(*cause)));
            }
        }
        self.stream.poll_gone(cx).map(|_gone| Err(End::Left(Cause::ClientEof)))
    }
}

/// By what a client has shown who it is.
pub(super) enum Shown {
    /// By a secret (or by nothing, or by something else): what is known of it, and the keys of a SCRAM login.
    Secret(Option<Known>, Option<ScramKeys>),
    /// By a key or a token.
    Identity(Counted),
}

/// A server connection that a login has been given.
pub(super) struct Served {
    pub(super) conn: Box<ServerConn>,
    pub(super) grant: Grant,
}

/// A place in a pool's queue, given up when it is dropped.
struct Place<'a> {
    hub: &'a Arc<Hub>,
    entry: &'a ClientEntry,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let now = self.hub.now();
        self.hub.withdraw(self.ticket, self.entry.id, now);
        let late = self.entry.mail().grant.take();
        if let Some((conn, _)) = late {
            self.hub.give_back(conn, Release::Clean, now);
        }
    }
}
