//! The way in for a client that wants replication: a server connection is opened for it alone, logged in with what it has
//! asked for, and is its own until it leaves. It is opened in the login, so that a server that does not let it in is a login
//! that has failed, and the client is welcomed with what its own server has said.

use std::sync::Arc;

use plimsoll_session::{Release, Session};
use plimsoll_types::Cause;

use super::enter::Served;
use super::{Awaits, End, Entered, Login};
use crate::directory::{PoolEntry, Role};
use crate::entry::ClientEntry;
use crate::hub::Hub;
use crate::stats::Counter;
use crate::welcome;

impl Login {
    /// Lets the client in. `pool` is that of its database and role: what it holds is counted there.
    pub(super) async fn enter_stream(
        &mut self,
        pool: Arc<PoolEntry>,
        entry: Arc<ClientEntry>,
    ) -> Result<Entered, End> {
        let beside = self.hub.pool(&pool.database, &Role::Replication(&pool.user));
        let beside = beside.ok_or(End::Refused(Cause::DatabaseRemoved))?;
        beside.take_secrets_of(&pool);
        self.flush().await?;
        self.stage = Awaits::Server;
        let Served { mut conn, grant } = self.any_server(&beside, &entry).await?;
        self.stage = Awaits::Client;
        let params = conn.link.params().clone();
        let Some(said) = conn.welcome.take() else {
            self.hub.give_back(conn, Release::Unusable(Cause::ServerStateUnknown), self.hub.now());
            return Err(End::Refused(Cause::ServerStateUnknown));
        };
        // From here on it is in the client's mailbox, where its task finds it.
        entry.mail().grant = Some((conn, grant));
        let mut kept = Kept { hub: self.hub.clone(), entry: Some(entry.clone()) };
        *entry.params.lock() = Some(params.clone());
        let end = welcome::End { key: entry.key, notice: &self.plan.general.login_notify_message };
        welcome::client(&mut self.pending, &self.hub.tracked, &said, &params, &end);
        entry.set_active();
        self.flush().await?;
        pool.stats(usize::from(self.guard.worker().0)).add(Counter::Logins, 1);
        let settings = entry.settings(&pool, || self.hub.plan());
        let session = Session::new(settings, params, self.hub.now());
        // Woken as by any other grant.
        entry.post(|_| {});
        kept.entry = None;
        Ok(Entered::Pool(Box::new((entry, pool, session))))
    }
}

/// Gives the server connection back if the login comes to nothing.
struct Kept {
    hub: Arc<Hub>,
    /// `None`: it has come to something.
    entry: Option<Arc<ClientEntry>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let late = self.entry.as_ref().and_then(|entry| entry.mail().grant.take());
        if let Some((conn, _)) = late {
            self.hub.give_back(conn, Release::Clean, self.hub.now());
        }
    }
}
