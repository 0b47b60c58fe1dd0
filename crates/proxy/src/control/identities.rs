//! Sessions by a proved identity: who they are, and their end when their right to be here ends.

use std::collections::HashSet;
use std::sync::Arc;

use plimsoll_pool::USUAL_WEIGHT;
use plimsoll_types::Cause;

use super::Control;
use crate::entry::ClientEntry;
use crate::keeper::ProvedView;

impl Control {
    /// All sessions that came by a key or a token, by client.
    pub fn identities(&self) -> Vec<ProvedView> {
        let now = self.hub.now();
        let mut views: Vec<ProvedView> = self
            .proved_clients()
            .iter()
            .filter_map(|entry| {
                let proved = entry.proved.as_ref()?.proved.clone();
                Some(ProvedView {
                    client: entry.id.0,
                    database: entry.database.clone(),
                    host: entry.peer.addr(),
                    connected_for: now.since(entry.connected),
                    is_holding: entry.held().is_some(),
                    is_waiting: entry.waiting_since().is_some(),
                    weight: entry.stake().map_or(USUAL_WEIGHT, |(_, weight)| weight),
                    proved,
                })
            })
            .collect();
        views.sort_by_key(|view| view.client);
        views
    }

    /// The right of these clients has ended: each goes as soon as it is outside a transaction.
    pub fn let_go(&self, clients: &HashSet<u64>, why: &str) {
        self.tell(clients, |entry, cause| entry.post(|mail| mail.leave = Some(cause)), why);
    }

    /// Those of them that are still there go now, whatever they are doing.
    pub fn throw_out(&self, clients: &HashSet<u64>, why: &str) {
        self.tell(clients, |entry, cause| entry.post(|mail| mail.kill = Some(cause)), why);
    }

    fn tell(&self, clients: &HashSet<u64>, tell: impl Fn(&ClientEntry, Box<Cause>), why: &str) {
        for entry in self.proved_clients().iter().filter(|entry| clients.contains(&entry.id.0)) {
            tell(entry, Box::new(Cause::IdentityEnded { why: why.into() }));
        }
    }

    fn proved_clients(&self) -> Vec<Arc<ClientEntry>> {
        let clients = self.hub.clients.lock();
        clients.values().filter(|entry| entry.proved.is_some()).cloned().collect()
    }
}
