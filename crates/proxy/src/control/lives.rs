//! Whether the other sides are there, for `SHOW SOCKETS`, `SHOW HOLDS` and `SHOW LIVENESS`.

use std::collections::HashMap;

use plimsoll_types::Side;

use super::Control;
use crate::liveness::{self, FoundView, LifeView};

impl Control {
    /// What is known of each client and server connection, by `ptr`; nothing of Unix sockets.
    pub fn lives(&self) -> HashMap<u64, LifeView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let plan = hub.plan();
        let clients: Vec<_> = hub.clients.lock().values().cloned().collect();
        let servers: Vec<_> = hub.core.lock().servers().cloned().collect();
        let bound = liveness::bound(&plan, Side::Client);
        let clients = clients.iter().filter_map(|entry| Some((entry.ptr(), entry.life.look(bound, now)?)));
        let bound = liveness::bound(&plan, Side::Server);
        let servers = servers.iter().filter_map(|entry| Some((entry.ptr(), entry.life.look(bound, now)?)));
        clients.chain(servers).map(|(ptr, seen)| (ptr, seen.into())).collect()
    }

    /// Who was found dead since the start, by what, and how soon server connections came back.
    pub fn found_dead(&self) -> Vec<FoundView> {
        self.hub.found.views()
    }
}
