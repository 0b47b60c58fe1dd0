//! What an online restart needs of the hub: connections out and in, the clock that both processes share, and the end of what
//! comes back too late.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plimsoll_pool::{Action, Failure};
use plimsoll_session::Ending;
use plimsoll_types::{Cause, Moment, SlotId};

use super::{Core, Hub, place};
use crate::closer;
use crate::entry::ServerEntry;
use crate::handover::Stage;
use crate::server::ServerConn;

/// The machine's monotonic clock, nanoseconds: the same in all processes.
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

impl Core {
    /// Takes out all server connections that nobody uses.
    #[expect(clippy::vec_box, reason = "they are boxed wherever they are")]
    pub(crate) fn take_parked(&mut self) -> Vec<Box<ServerConn>> {
        self.parked.iter_mut().filter_map(Option::take).collect()
    }

    /// Puts a server connection where those are that nobody uses.
    pub(crate) fn park(&mut self, conn: Box<ServerConn>) {
        let index = conn.slot.index;
        place(&mut self.parked, index, Some(conn));
    }

    /// Notes a server connection that has come from another process.
    pub(crate) fn note_server(&mut self, entry: &Arc<ServerEntry>) {
        place(&mut self.servers, entry.slot.index, Some(entry.clone()));
    }
}

impl Hub {
    /// What the pools have decided about connections while these are being written down is done when they move again. Others
    /// go on being opened.
    #[cold]
    pub(super) fn put_by(self: &Arc<Self>, core: &mut Core, action: Action, now: Moment) {
        match action {
            Action::Open { .. } => self.act(core, action, now),
            Action::Grant { .. }
            | Action::Refuse { .. }
            | Action::Check { .. }
            | Action::Clean { .. }
            | Action::Close { .. } => core.put_by.push(action),
        }
    }

    /// Everything moves again: what was put by is done.
    pub(crate) fn run_put_by(self: &Arc<Self>) {
        let now = self.now();
        let mut core = self.core.lock();
        for action in std::mem::take(&mut core.put_by) {
            self.act(&mut core, action, now);
        }
        self.run_actions(&mut core, now);
    }

    /// Where the machine's monotonic clock stood at moment 0, nanoseconds.
    pub(crate) fn zero_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Numbers of clients and server connections go on from here.
    pub(crate) fn count_from(&self, client: u64, server: u64) {
        self.next_client.fetch_max(client, Ordering::Relaxed);
        self.next_server.fetch_max(server, Ordering::Relaxed);
    }

    /// Watches all connections that nobody uses.
    pub(crate) fn watch_all_parked(&self) {
        let mut core = self.core.lock();
        let slots: Vec<SlotId> = core.parked_mut().map(|conn| conn.slot).collect();
        slots.into_iter().for_each(|slot| self.watch_parked(&mut core, slot));
    }

    /// Everything belongs to another process by now: what comes back late is ended here.
    #[inline]
    pub(super) fn is_too_late(&self) -> bool {
        self.stillness.is_still() && self.stillness.stage() == Stage::Given
    }

    #[cold]
    pub(crate) fn end_late(self: &Arc<Self>, conn: Box<ServerConn>) {
        let (hub, slot, home) = (self.clone(), conn.slot, conn.home);
        self.spawn_on(home, async move {
            let stream = closer::abandon(&hub, conn, Ending::Terminate, &Cause::Unneeded).await;
            closer::give_up(&hub, slot, Some(stream), Failure::Connect(Cause::Unneeded)).await;
            hub.stillness.note_ended(slot);
        });
    }
}
