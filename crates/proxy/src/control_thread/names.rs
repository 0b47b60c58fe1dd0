//! Host names of servers and what they resolve to.
//!
//! A name is looked up once when it is new, so that its first client need not wait, and from then on when somebody is
//! about to connect to it and what is known is out of date: as long as connections stay, nobody asks. Only the serial
//! numbers of zones are asked for on their own.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::system_conf::{parse_resolv_conf, read_system_conf};
use plimsoll_config::{Host, Plan};
use plimsoll_types::Cause;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::directory::PoolEntry;
use crate::entry::server_ptr;
use crate::hub::Hub;
use crate::map::Map;
use crate::needed::Needed;
use crate::report;

/// Nothing is looked up more often than this, whatever the name server and the plan say.
const AT_LEAST: Duration = Duration::from_millis(500);

/// A name and what came of it.
pub(super) enum Found {
    /// Its addresses and how long they may be kept, or why there are none.
    Addresses(String, Result<(Vec<IpAddr>, Duration), String>),
    /// The serial number of a zone.
    Serial(String, Option<u32>),
}

/// What is known of which name, and the look-ups under way.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<String, Known>,
    /// Serial numbers of the zones that names are in (`dns_zone_check_period`).
    zones: Map<String, Option<u32>>,
    zones_due: Option<Instant>,
    under_way: JoinSet<Found>,
}

enum Known {
    /// Being looked up; for these.
    UnderWay(Vec<oneshot::Sender<()>>),
    /// Fresh until then.
    Until(Instant),
}

impl Names {
    /// Begins to look up what is new, and names without an address that somebody waits for; forgets names of which no
    /// database speaks any more.
    pub(super) fn look_up_new(&mut self, hub: &Arc<Hub>) {
        let wanted = wanted(hub);
        let is_wanted = |name: &String| wanted.binary_search(name).is_ok();
        self.known.retain(|name, known| matches!(known, Known::UnderWay(_)) || is_wanted(name));
        hub.directory.lock().asked.retain(|name, _| is_wanted(name));
        let now = Instant::now();
        for name in &wanted {
            if !self.known.contains_key(name) {
                self.look_up(hub, name.clone(), Vec::new());
            }
        }
        for name in missed(hub) {
            if matches!(self.known.get(&name), Some(Known::Until(fresh_until)) if *fresh_until <= now) {
                self.look_up(hub, name, Vec::new());
            }
        }
        self.check_zones(hub, now);
    }

    /// Begins to look up what somebody is about to connect to. Who asks for what is fresh is told at once.
    pub(super) fn look_up_needed(&mut self, hub: &Arc<Hub>, needed: Vec<Needed>) {
        let now = Instant::now();
        for Needed { name, done } in needed {
            match self.known.get_mut(&name) {
                Some(Known::UnderWay(waiting)) => waiting.push(done),
                Some(Known::Until(fresh_until)) if *fresh_until > now => drop(done),
                Some(Known::Until(_)) => self.look_up(hub, name, vec![done]),
                // No database speaks of it any more.
                None => drop(done),
            }
        }
    }

    fn look_up(&mut self, hub: &Hub, name: String, waiting: Vec<oneshot::Sender<()>>) {
        hub.directory.lock().asked.insert(name.clone(), None);
        self.under_way.spawn(look_up(name.clone(), hub.plan()));
        self.known.insert(name, Known::UnderWay(waiting));
    }

    /// Asks for the serial numbers of all zones, as often as `dns_zone_check_period` says.
    fn check_zones(&mut self, hub: &Arc<Hub>, now: Instant) {
        let period = hub.plan().general.dns.zone_check_period;
        if period.is_zero() {
            (self.zones, self.zones_due) = (Map::default(), None);
            return;
        }
        if self.zones_due.is_some_and(|due| now < due) {
            return;
        }
        self.zones_due = Some(now + period);
        let zones: HashSet<String> = self.known.keys().filter_map(|name| zone_of(name)).collect();
        self.zones.retain(|zone, _| zones.contains(zone));
        hub.directory.lock().zones = self.zones.clone();
        for zone in zones {
            self.under_way.spawn(look_up_serial(zone, hub.plan()));
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
    pub(super) fn take_in(&mut self, hub: &Arc<Hub>, found: Found) {
        let (name, addresses) = match found {
            Found::Addresses(name, addresses) => (name, addresses),
            Found::Serial(zone, serial) => return self.take_in_serial(hub, zone, serial),
        };
        let plan = hub.plan();
        let again = match addresses {
            Ok((ips, ttl)) => {
                let again = ttl.min(plan.general.dns.max_ttl);
                hub.set_addresses(&name, ips);
                again
            }
            Err(e) => {
                log_failed(hub, &plan, &name, &e);
                plan.general.dns.nxdomain_ttl
            }
        };
        hub.directory.lock().asked.insert(name.clone(), Some(hub.now() + again));
        // Whoever waits for it hears of it with this.
        self.known.insert(name, Known::Until(Instant::now() + again.max(AT_LEAST)));
    }

    /// A zone that has changed: all its names are looked up again.
    fn take_in_serial(&mut self, hub: &Hub, zone: String, serial: Option<u32>) {
        let before = self.zones.insert(zone.clone(), serial).flatten();
        if serial.is_none() || before.is_none() || before == serial {
            return;
        }
        let names = self.known.iter().filter(|(name, known)| {
            zone_of(name).as_deref() == Some(&zone) && matches!(known, Known::Until(_))
        });
        for name in names.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.look_up(hub, name, Vec::new());
        }
    }

    /// Takes in everything that is under way. Cancel safe.
    pub(super) async fn all_found(&mut self, hub: &Arc<Hub>) {
        while !self.under_way.is_empty() {
            let found = self.found().await;
            self.take_in(hub, found);
        }
    }
}

/// All names of the plan (those in its `*` line before the first client asks for a database it makes, those of peers
/// before the first cancel request), and of the databases made by that line, sorted.
fn wanted(hub: &Hub) -> Vec<String> {
    let mut names = hub.directory.lock().host_names();
    let plan = hub.plan();
    names.extend(names_of(plan.auto_database.iter().flat_map(|database| &database.hosts)));
    names.extend(names_of(plan.peers.values().map(|peer| &peer.at)));
    names.sort();
    names.dedup();
    names
}

/// Names without an address that somebody waits for.
fn missed(hub: &Hub) -> Vec<String> {
    let names = { hub.directory.lock().names_without_address() };
    names.into_iter().filter(|name| !waiting_for(hub, name).is_empty()).collect()
}

/// Pools of which somebody wants a connection to this name.
fn waiting_for(hub: &Hub, name: &str) -> Vec<Arc<PoolEntry>> {
    let (now, plan) = (hub.now(), hub.plan());
    let mut pools = { hub.directory.lock().pools_of_host(name) };
    let core = hub.core.lock();
    pools.retain(|pool| {
        let min = pool.database.config().min_pool_size.unwrap_or(plan.general.min_pool_size);
        min > 0 || core.pools.counts(pool.id, now).waiting > 0
    });
    pools
}

/// A name has no address: the attempts that come to nothing are in the log like others.
fn log_failed(hub: &Hub, plan: &Plan, name: &str, error: &str) {
    tracing::warn!("DNS lookup failed: {name}: {error}");
    if !hub.directory.lock().addresses_of(name).is_empty() {
        return;
    }
    for pool in waiting_for(hub, name) {
        let ptr = server_ptr(hub.next_server());
        let prefix = format!("S-{ptr:#x}: {}/{}@{name} ", pool.database.name, pool.user);
        report::log_closing(plan, &prefix, Duration::ZERO, &Cause::DnsFailed);
    }
}

/// Names that have to be resolved.
fn names_of<'a>(hosts: impl Iterator<Item = &'a Host>) -> impl Iterator<Item = String> {
    hosts.filter_map(|host| match host {
        Host::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.clone()),
        Host::Tcp { .. } | Host::Unix { .. } => None,
    })
}

/// A resolver as the system, or `resolv_conf`, is set up now; /etc/hosts comes first. It is made for each look-up: what
/// it could keep is kept here, and a change of these files is noticed.
fn resolver(plan: &Plan) -> Result<TokioResolver, String> {
    let (config, mut options) = match &plan.general.dns.resolv_conf {
        None => read_system_conf().map_err(|e| e.to_string())?,
        Some(path) => {
            let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            parse_resolv_conf(text).map_err(|e| format!("{}: {e}", path.display()))?
        }
    };
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options).build().map_err(|e| e.to_string())
}

async fn look_up(name: String, plan: Arc<Plan>) -> Found {
    let addresses = addresses(&name, &plan).await;
    Found::Addresses(name, addresses)
}

/// What a name resolves to now, and for how long. Cancel safe.
///
/// # Errors
/// Nothing; why.
async fn addresses(name: &str, plan: &Plan) -> Result<(Vec<IpAddr>, Duration), String> {
    let found = resolver(plan)?.lookup_ip(name).await.map_err(|e| e.to_string())?;
    let ips = in_order(found.iter().collect());
    let ttl = found.valid_until().saturating_duration_since(Instant::now());
    if ips.is_empty() { Err("no address".to_string()) } else { Ok((ips, ttl)) }
}

async fn look_up_serial(zone: String, plan: Arc<Plan>) -> Found {
    let serial = serial(&zone, &plan).await;
    Found::Serial(zone, serial)
}

async fn serial(zone: &str, plan: &Plan) -> Option<u32> {
    let found = resolver(plan).ok()?.soa_lookup(format!("{zone}.")).await.ok()?;
    found.answers().iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

/// The zone a name is taken to be in: what follows its first label, as PgBouncer has it.
fn zone_of(name: &str) -> Option<String> {
    let (_, zone) = name.trim_end_matches('.').split_once('.')?;
    (!zone.is_empty()).then(|| zone.to_string())
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
