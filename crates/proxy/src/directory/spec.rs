//! From a line of the file to the spec of a pool.

use std::sync::Arc;

use plimsoll_config::{LoadBalance, Plan};
use plimsoll_pool::{Fairness, Pick, PoolSpec, Pools, Standing};
use plimsoll_types::{Moment, PoolId};

use super::terms::pool_limits;
use super::{DatabaseEntry, Directory, Purpose};

impl Directory {
    /// What a pool is for, where it leads, and its limits.
    pub(super) fn spec(
        &mut self,
        pools: &mut Pools,
        plan: &Plan,
        database: &Arc<DatabaseEntry>,
        (role, purpose): (&Arc<str>, Purpose),
        now: Moment,
    ) -> PoolSpec {
        let config = database.config();
        let user = self.user_id(pools, plan, role, now);
        let targets = self
            .addresses(&config)
            .into_iter()
            .map(|addr| self.target(pools, plan, addr, now))
            .collect::<Vec<_>>();
        // A name with several addresses is one server reached in several ways; a list of hosts is several servers.
        let pick = match (config.load_balance, config.hosts.len() > 1) {
            (None | Some(LoadBalance::RoundRobin), true) => Pick::RoundRobin,
            (Some(LoadBalance::Disable), _) | (_, false) => Pick::UntilFailure,
        };
        let mut limits = pool_limits(plan, &config, role);
        let mut targets = targets;
        let standing = match purpose {
            Purpose::Clients => Standing::Ordinary,
            Purpose::Control(target) => {
                targets.retain(|listed| *listed == target);
                (limits.size, limits.min_size, limits.reserve_size) = (1, 0, 0);
                Standing::Guaranteed
            }
            Purpose::AuthQuery => {
                limits.min_size = 0;
                Standing::Guaranteed
            }
            Purpose::Replication => {
                (limits.min_size, limits.guaranteed, limits.fairness) = (0, 0, Fairness::Fifo);
                // One that is gone by now shares nothing.
                let beside = self.find_pool(database.id, role).map_or(PoolId(u32::MAX), |pool| pool.id);
                Standing::Replication { beside }
            }
        };
        PoolSpec { database: database.id, user, targets, pick, standing, limits }
    }
}
