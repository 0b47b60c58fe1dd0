//! What the pools have decided is done: grants go to mailboxes, the rest to tasks.

use std::sync::Arc;

use plimsoll_pool::{Action, Failure, Grant, Returned};
use plimsoll_types::{Cause, ClientId, Moment, Ticket};

use super::{Core, Hub, place};
use crate::{cleaner, closer, connector, slot_task};

impl Hub {
    /// Carries out what the pools decided.
    pub(super) fn run_actions(self: &Arc<Self>, core: &mut Core, now: Moment) {
        let stands_still = self.stillness.is_taking();
        while let Some(action) = core.pools.poll_action() {
            match action {
                action if stands_still => self.put_by(core, action, now),
                Action::Grant { ticket, client, grant } => self.grant(core, ticket, client, grant, now),
                other => self.act(core, other, now),
            }
        }
    }

    /// Out of the way of grants: the tasks that are made here take much room on the stack.
    #[cold]
    pub(super) fn act(self: &Arc<Self>, core: &mut Core, action: Action, now: Moment) {
        match action {
            Action::Grant { ticket, client, grant } => self.grant(core, ticket, client, grant, now),
            Action::Refuse { ticket, client, cause } => {
                if let Some(entry) = place(&mut core.waiting, ticket.index, None) {
                    debug_assert_eq!(entry.id, client);
                    entry.post(|mail| mail.refused = Some(Box::new(cause)));
                }
            }
            Action::Open { slot, pool, target, worker } => {
                let Some(pool) = core.entries.get(&pool) else {
                    // Decided just before its database was removed.
                    core.pools.handle_failed(slot, Failure::Connect(Cause::DatabaseRemoved), now);
                    return;
                };
                if core.pools.is_from_reserve(slot) {
                    let oldest = core.oldest_waiter(&pool.database.name);
                    let whose = oldest.map_or_else(
                        || format!("{}/{}: ", pool.database.name, pool.user),
                        |client| client.log_prefix(),
                    );
                    tracing::warn!("{whose}taking connection from reserve_pool");
                }
                let wishes = core.opened_for(slot).and_then(|client| client.replication.clone());
                let place = connector::Place { slot, target, worker };
                let open = connector::open(self.clone(), place, pool.clone(), wishes);
                self.spawn_on(worker, slot_task::watched(self.clone(), slot, open));
            }
            Action::Check { slot } => {
                if let Some(conn) = core.take(slot) {
                    let (home, check) = (conn.home, cleaner::check(self.clone(), conn));
                    self.spawn_on(home, slot_task::watched(self.clone(), slot, check));
                }
            }
            Action::Clean { slot } => {
                if let Some(conn) = core.take(slot) {
                    let (home, clean) = (conn.home, cleaner::clean(self.clone(), conn));
                    self.spawn_on(home, slot_task::watched(self.clone(), slot, clean));
                }
            }
            Action::Close { slot, cause } => {
                if let Some(conn) = core.take(slot) {
                    let (home, close) = (conn.home, closer::close(self.clone(), conn, cause));
                    self.spawn_on(home, slot_task::watched(self.clone(), slot, close));
                }
            }
        }
    }

    fn grant(self: &Arc<Self>, core: &mut Core, ticket: Ticket, client: ClientId, grant: Grant, now: Moment) {
        let entry = place(&mut core.waiting, ticket.index, None).filter(|entry| entry.id == client);
        let Some(conn) = core.take(grant.slot) else { return };
        match entry {
            Some(entry) => entry.post(|mail| mail.grant = Some((conn, grant))),
            None => {
                // Nobody is behind the ticket: the connection goes back where it came from.
                place(&mut core.parked, grant.slot.index, Some(conn));
                core.pools.handle_returned(grant.slot, Returned::Clean, now);
            }
        }
    }
}
