//! Host names: which are out of date, which lead nowhere, and to whom they matter.

use std::sync::Arc;

use plimsoll_config::{Database, Host};
use plimsoll_types::Moment;

use super::{Directory, PoolEntry};
use crate::entry::TargetAddr;

impl Directory {
    /// The name behind an address that somebody is about to connect to, if what is known of it is out of date.
    pub(crate) fn outdated_name(&self, config: &Database, addr: &TargetAddr, now: Moment) -> Option<String> {
        let name = self.host_of(config, addr)?;
        match self.asked.get(&name) {
            None => None,
            Some(Some(fresh_until)) if *fresh_until > now => None,
            Some(_) => Some(name),
        }
    }

    /// Names that do not lead anywhere as far as is known.
    pub(crate) fn names_without_address(&self) -> Vec<String> {
        self.asked.keys().filter(|name| self.addresses_of(name).is_empty()).cloned().collect()
    }

    /// Pools of databases whose line names this host.
    pub(crate) fn pools_of_host(&self, name: &str) -> Vec<Arc<PoolEntry>> {
        let is_it = |host: &Host| matches!(host, Host::Tcp { host, .. } if host == name);
        let uses = |pool: &&Arc<PoolEntry>| pool.database.config().hosts.iter().any(is_it);
        self.pools.values().filter(uses).cloned().collect()
    }
}
