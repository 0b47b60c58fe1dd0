//! Where a client wants to, and whether there is a place for it: everything that is decided before it is asked who
//! it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plimsoll_config::Plan;
use plimsoll_types::Cause;

use super::startup::Wanted;
use super::{End, Login, first};
use crate::console::Level;
use crate::directory::{DatabaseEntry, database_client_limit, user_client_limit};
use crate::listener::{Counted, Limits, Terms};
use crate::replication::Kind;

/// The database that is the console.
pub(crate) const CONSOLE: &str = "pgbouncer";

/// A key has more bytes than this.
const KEY_BYTES_MIN: usize = 60;

/// Where a client wants to.
pub(super) enum Goal {
    /// To a database that is known.
    Known(Arc<DatabaseEntry>),
    /// To one that the `*` line makes, as soon as it is known who asks.
    Auto,
    /// To one that does not exist; that is said only to who has shown who it is.
    Missing,
    /// To the console, as somebody who may.
    Console(Level, Trust),
}

/// Whether a console client has to show who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Like everybody.
    Proof,
    /// No: over the Unix socket, as the system user we run as.
    Kin,
}

impl Login {
    /// Descriptors, max_client_conn, protocol, database, limits of database and user, permission: in this order.
    pub(super) fn goal(&mut self, wanted: &Wanted) -> Result<Goal, End> {
        if self.terms == Terms::Console && wanted.database != CONSOLE {
            return Err(End::Refused(Cause::NoFileDescriptors));
        }
        let sockets = self.hub.sockets.load(Ordering::Acquire);
        let max = self.plan.general.max_client_conn;
        if wanted.database != CONSOLE {
            self.hub.ledger.crowd.enter(&self.hub, sockets, max);
            if sockets > max {
                self.hub.ledger.crowd.refuse(&self.hub, max);
                return Err(End::Refused(Cause::MaxClientConn));
            }
        }
        first::negotiate(wanted, &mut self.pending);
        // Before either is in a line of the log.
        if is_secret(&wanted.user) || is_secret(&wanted.database) {
            return Err(End::Refused(Cause::SecretAsName));
        }
        self.database = wanted.database.as_str().into();
        let goal = self.find(wanted);
        let (counted, limits) = match &goal {
            Ok(goal) => self.limits(goal, &wanted.user),
            // Counted like anybody, so that limits come before permission.
            Err(_) => self.console_limits(&wanted.user),
        };
        // For the log line of a refusal; the shared name follows.
        self.user = wanted.user.as_str().into();
        self.user = self.guard.name(&wanted.user, counted, limits).map_err(End::Refused)?;
        if self.plan.general.log.connections {
            let (prefix, database, user) = (self.log_prefix(), &wanted.database, &wanted.user);
            let tls = self.secured.as_ref().map_or("no", |secured| &secured.text);
            let replication = Kind::logged(self.replication());
            tracing::info!(
                "{prefix}login attempt: db={database} user={user} tls={tls} replication={replication}"
            );
        }
        goal.map_err(End::Refused)
    }

    fn find(&mut self, wanted: &Wanted) -> Result<Goal, Cause> {
        if wanted.database == CONSOLE {
            if self.is_kin(&wanted.user) {
                tracing::info!("{}pgbouncer access from unix socket", self.log_prefix());
                return Ok(Goal::Console(Level::Admin, Trust::Kin));
            }
            let level = level(&self.plan, &wanted.user).ok_or(Cause::NotAllowed)?;
            return Ok(Goal::Console(level, Trust::Proof));
        }
        let known = self.hub.directory.lock().database(&wanted.database);
        Ok(match known {
            Some(database) => {
                self.database = database.name.clone();
                Goal::Known(database)
            }
            None if self.plan.auto_database.is_some() => Goal::Auto,
            None => Goal::Missing,
        })
    }

    fn limits(&self, goal: &Goal, user: &str) -> (Counted, Limits) {
        let plan = &self.plan;
        let of_user = user_client_limit(plan, user);
        match goal {
            Goal::Known(database) => {
                let limits =
                    Limits { database: database_client_limit(plan, &database.config()), user: of_user };
                (Counted::Database(database.clone()), limits)
            }
            Goal::Auto | Goal::Missing => (Counted::Nowhere, Limits { database: 0, user: of_user }),
            Goal::Console(Level::Admin, _) => (Counted::Console, Limits::default()),
            Goal::Console(Level::Stats, _) => self.console_limits(user),
        }
    }

    fn console_limits(&self, user: &str) -> (Counted, Limits) {
        let database = self.plan.general.max_db_client_connections;
        (Counted::Console, Limits { database, user: user_client_limit(&self.plan, user) })
    }

    /// Whether the peer is the very system user we run as, and says that it is the pooler's own.
    fn is_kin(&self, user: &str) -> bool {
        user == CONSOLE && self.peer_uid.is_some() && self.peer_uid == own_uid()
    }
}

/// Whether what is given as a name looks like a key or a token, which has got into the wrong field.
fn is_secret(name: &str) -> bool {
    // `eyJ` is `{"` in base64: with that the header of each token begins.
    let is_token = || name.starts_with("eyJ") && name.matches('.').count() == 2;
    name.len() > KEY_BYTES_MIN && (name.starts_with("plim_") || is_token())
}

/// Our own user id, as the kernel tells it to peers.
fn own_uid() -> Option<u32> {
    let (one, _other) = tokio::net::UnixStream::pair().ok()?;
    Some(one.peer_cred().ok()?.uid())
}

/// What a user may do on the console.
fn level(plan: &Plan, user: &str) -> Option<Level> {
    let is_in = |users: &[String]| users.iter().any(|name| name == user);
    if is_in(&plan.general.admin_users) {
        Some(Level::Admin)
    } else if is_in(&plan.general.stats_users) {
        Some(Level::Stats)
    } else {
        None
    }
}
