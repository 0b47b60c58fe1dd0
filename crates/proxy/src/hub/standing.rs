//! Pools that are there before anybody asks for them.

use super::Hub;
use crate::directory::Role;

impl Hub {
    /// Pools of databases with a forced user and a minimum exist before the first client.
    pub(super) fn create_standing_pools(&self) {
        let plan = self.plan();
        for database in &plan.databases {
            let min = database.min_pool_size.unwrap_or(plan.general.min_pool_size);
            if let (Some(user), true) = (&database.user, min > 0)
                && let Some(entry) = { self.directory.lock().database(&database.name) }
            {
                self.pool(&entry, &Role::Login(user));
            }
        }
    }
}
