//! Host names of servers and what they resolve to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll_config::{Host, Plan};
use tokio::task::JoinSet;

use crate::hub::Hub;

/// When a name that did not resolve is looked up again (PgBouncer's `dns_nxdomain_ttl`).
const RETRY: Duration = Duration::from_secs(15);

/// A name and its addresses, or why there are none.
pub(super) type Found = (String, std::io::Result<Vec<IpAddr>>);

/// When which name is due, and the look-ups under way.
#[derive(Default)]
pub(super) struct Names {
    due: HashMap<String, Due>,
    under_way: JoinSet<Found>,
}

#[derive(Clone, Copy)]
enum Due {
    /// Being looked up.
    UnderWay,
    /// To be looked up then.
    At(Instant),
}

impl Names {
    /// Begins to look up what is new or due, and forgets names nobody uses any more.
    pub(super) fn look_up_due(&mut self, hub: &Arc<Hub>) {
        let wanted = wanted(hub);
        self.due.retain(|name, due| matches!(due, Due::UnderWay) || wanted.binary_search(name).is_ok());
        hub.directory.lock().asked.retain(|name, _| wanted.binary_search(name).is_ok());
        let now = Instant::now();
        for name in wanted {
            let is_due = match self.due.get(&name) {
                None => true,
                Some(Due::UnderWay) => false,
                Some(Due::At(at)) => *at <= now,
            };
            if is_due {
                self.due.insert(name.clone(), Due::UnderWay);
                hub.directory.lock().asked.insert(name.clone(), None);
                self.under_way.spawn(look_up(name));
            }
        }
    }

    /// The next look-up that ends; waits for ever when there is none. Cancel safe.
    pub(super) async fn found(&mut self) -> Found {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(found)) => return found,
                // A look-up that broke: its name stays as it was.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Takes in what a look-up gave. A name that does not resolve any more keeps its last addresses.
    pub(super) fn take_in(&mut self, hub: &Arc<Hub>, (name, found): Found) {
        let again = match found {
            Ok(ips) if !ips.is_empty() => {
                hub.set_addresses(&name, ips);
                hub.plan().general.dns_max_ttl
            }
            Ok(_) => {
                tracing::warn!("DNS lookup failed: {name}: no address");
                RETRY
            }
            Err(e) => {
                tracing::warn!("DNS lookup failed: {name}: {e}");
                RETRY
            }
        };
        hub.directory.lock().asked.insert(name.clone(), Some(hub.now() + again));
        self.due.insert(name, Due::At(Instant::now() + again));
    }

    /// Takes in everything that is under way. Cancel safe.
    pub(super) async fn all_found(&mut self, hub: &Arc<Hub>) {
        while !self.under_way.is_empty() {
            let found = self.found().await;
            self.take_in(hub, found);
        }
    }
}

/// All names of the plan and of the databases made by its `*` line, sorted.
fn wanted(hub: &Hub) -> Vec<String> {
    let mut names = hub.directory.lock().host_names();
    names.extend(auto_names(&hub.plan()));
    names.sort();
    names.dedup();
    names
}

/// Names in the `*` line: resolved before the first client asks for a database it makes.
fn auto_names(plan: &Plan) -> Vec<String> {
    let hosts = plan.auto_database.iter().flat_map(|database| &database.hosts);
    hosts
        .filter_map(|host| match host {
            Host::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.clone()),
            Host::Tcp { .. } | Host::Unix { .. } => None,
        })
        .collect()
}

async fn look_up(name: String) -> Found {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await;
    let addresses = found.map(|addresses| in_order(addresses.map(|address| address.ip()).collect()));
    (name, addresses)
}

/// IPv4 first, every address once, and always in the same order: a name server that turns its list round with every
/// answer must not look like a change.
fn in_order(mut ips: Vec<IpAddr>) -> Vec<IpAddr> {
    ips.sort();
    ips.dedup();
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_comes_first_and_nothing_twice() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let ips = ["::1", "10.0.0.2", "10.0.0.1", "::1", "10.0.0.2"].map(ip).to_vec();
        assert_eq!(in_order(ips), ["10.0.0.1", "10.0.0.2", "::1"].map(ip));
    }
}
