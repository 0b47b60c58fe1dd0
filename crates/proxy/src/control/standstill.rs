//! SUSPEND, server_fast_close, auto-databases that nobody uses, and what is known of names.

use std::sync::atomic::Ordering;

use plimsoll_types::{Cause, DatabaseId};

use super::Control;
use crate::console::{ControlError, DnsView, ZoneView};
use crate::hub::{Hub, Phase};

impl Control {
    /// `SUSPEND`: from now on nothing is read from clients and servers.
    ///
    /// # Errors
    /// Something is paused or suspended already.
    pub fn suspend(&self) -> Result<(), ControlError> {
        let hub = &self.hub;
        if hub.phase() != Phase::Running {
            return Err(ControlError::ShuttingDown);
        }
        if self.is_paused() || self.is_suspended() {
            return Err(ControlError::AlreadyPaused);
        }
        let databases = hub.directory.lock().databases();
        if databases.iter().any(|database| hub.core.lock().pools.is_paused(Some(database.id))) {
            return Err(ControlError::PausedDatabases);
        }
        hub.suspended.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether everything is suspended.
    pub fn is_suspended(&self) -> bool {
        self.hub.suspended.load(Ordering::Acquire)
    }

    /// Ends a suspension. False: there was none.
    pub fn wake_up(&self) -> bool {
        let was = self.hub.suspended.swap(false, Ordering::AcqRel);
        if was {
            self.hub.clients.lock().values().for_each(|client| client.post(|_| {}));
        }
        was
    }

    /// Server connections that are to be closed go as soon as nothing is under way on them, whoever holds them.
    pub(super) fn hurry(&self, database: Option<DatabaseId>) {
        let mut held = Vec::new();
        {
            let core = self.hub.core.lock();
            for entry in core.servers() {
                let Some(slot) = core.pools.slot(entry.slot) else { continue };
                let meant = core
                    .pool(slot.pool)
                    .is_some_and(|pool| database.is_none_or(|database| pool.database.id == database));
                if slot.close_needed && meant {
                    entry.leave.store(true, Ordering::Relaxed);
                    held.push(entry.slot);
                }
            }
        }
        for client in self.hub.clients.lock().values() {
            if client.held().is_some_and(|(slot, _)| held.contains(&slot)) {
                client.post(|_| {});
            }
        }
    }

    /// `SHOW DNS_HOSTS`.
    pub fn dns_hosts(&self) -> Vec<DnsView> {
        let now = self.hub.now();
        let directory = self.hub.directory.lock();
        let mut hosts: Vec<DnsView> = directory
            .resolved()
            .map(|(name, resolved)| DnsView {
                name: name.to_string(),
                ttl: resolved.until.since(now),
                ips: resolved.ips.clone(),
            })
            .collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        hosts
    }

    /// `SHOW DNS_ZONES`.
    pub fn dns_zones(&self) -> Vec<ZoneView> {
        let directory = self.hub.directory.lock();
        let zones = directory.zones.iter();
        zones
            .map(|(name, serial)| ZoneView {
                name: name.clone(),
                serial: serial.unwrap_or(0),
                hosts: directory.resolved().filter(|(host, _)| is_in(host, name)).count() as u64,
            })
            .collect()
    }
}

fn is_in(host: &str, zone: &str) -> bool {
    host.trim_end_matches('.').split_once('.').is_some_and(|(_, rest)| rest == zone)
}

/// Clients that do not take the rest of their answers while everything is suspended, after `suspend_timeout`.
pub(crate) fn end_stuck(hub: &Hub) {
    let unread: Vec<_> = {
        let core = hub.core.lock();
        core.servers().filter(|entry| entry.record.lock().progress.unread_bytes > 0).map(|e| e.slot).collect()
    };
    for client in hub.clients.lock().values() {
        if client.held().is_some_and(|(slot, _)| unread.contains(&slot)) {
            client.post(|mail| mail.kill = Some(Box::new(Cause::SuspendTimeout)));
        }
    }
}
