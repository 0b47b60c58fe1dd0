//! Who holds what a client waits for: the DETAIL of those who wait in vain.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Disclose, Plan};
use plimsoll_ledger::SiteId;
use plimsoll_types::Moment;

use super::{Ledger, application_of, clients_by_id, open_holds, site_text};
use crate::directory::{PoolEntry, pool_size};
use crate::entry::ClientEntry;
use crate::hub::Hub;
use crate::views;

/// How long an answer is good, microseconds: when a thousand waiters give up at once they all read the same.
const FRESH_US: u64 = 250_000;

/// How many sites are named.
const TOP: usize = 3;

/// What to do next.
pub(crate) const HINT: &str =
    "An administrator sees who holds what, since when and why: plimsoll leaks, or SHOW LEAKS on the console.";

/// Who holds the connections of a pool.
#[derive(Debug)]
pub(crate) struct Holders {
    database: Arc<str>,
    role: Arc<str>,
    size: u32,
    waiting: u32,
    held: u32,
    /// Why no more are opened, if the last attempt failed.
    failure: Option<String>,
    /// Most connections first.
    groups: Vec<Group>,
}

/// The holds of one login user at one site.
#[derive(Debug)]
struct Group {
    user: Arc<str>,
    site: String,
    count: u32,
    oldest: Duration,
    idle: u32,
}

impl Ledger {
    /// Who holds the connections of the pool now.
    pub(crate) fn holders(&self, hub: &Hub, pool: &PoolEntry) -> Arc<Holders> {
        let now = hub.now();
        let mut known = self.holders.lock();
        if let Some((at, holders)) = known.get(&pool.id)
            && now.0.saturating_sub(at.0) < FRESH_US
        {
            return holders.clone();
        }
        let holders = Arc::new(find(hub, pool, now));
        known.retain(|_, (at, _)| now.0.saturating_sub(at.0) < FRESH_US);
        known.insert(pool.id, (now, holders.clone()));
        holders
    }
}

fn find(hub: &Hub, pool: &PoolEntry, now: Moment) -> Holders {
    let plan = hub.plan();
    let (counts, failure) = {
        let core = hub.core.lock();
        let failure = core.pools.last_failure(pool.id).map(|cause| cause.message().into_owned());
        (core.pools.counts(pool.id, now), failure)
    };
    let clients = clients_by_id(hub);
    let mut groups: HashMap<(Arc<str>, SiteId), Group> = HashMap::new();
    let holds = open_holds(hub);
    for (hold, _) in holds.iter().filter(|(hold, _)| hold.opening.pool == pool.id) {
        let Some(client) = clients.get(&hold.opening.client) else { continue };
        let application = application_of(hub, client);
        let mut book = hub.ledger.book.lock();
        let id = match hold.site {
            SiteId::UNKNOWN => book.site_of(&application, hold.first.as_ref(), now),
            known => known,
        };
        let group = groups.entry((client.user.clone(), id)).or_insert_with(|| Group {
            user: client.user.clone(),
            site: book.site(id).map(|site| site_text(site, &plan)).unwrap_or_default(),
            count: 0,
            oldest: Duration::ZERO,
            idle: 0,
        });
        group.count += 1;
        group.oldest = group.oldest.max(now.since(hold.opening.granted));
        group.idle += u32::from(plimsoll_ledger::is_sleeping(hold.progress.state));
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse((group.count, group.oldest)));
    Holders {
        database: pool.database.name.clone(),
        role: pool.user.clone(),
        size: pool_size(&plan, &pool.database.config(), &pool.user),
        waiting: counts.waiting,
        held: counts.held,
        failure,
        groups,
    }
}

impl Holders {
    /// What a client that waits is told, as far as `disclose_holders` lets it.
    pub(crate) fn detail(&self, plan: &Plan, reader: &ClientEntry) -> String {
        let Holders { database, role, size, waiting, held, .. } = self;
        let mut text = format!(
            "{held} of {size} server connections of pool {database}/{role} are held, {waiting} other clients wait"
        );
        let may_see = |group: &&Group| match plan.own.disclose_holders {
            Disclose::None => false,
            Disclose::SamePool => group.user == reader.user,
            Disclose::All => true,
        };
        let named: Vec<&Group> = self.groups.iter().filter(may_see).take(TOP).collect();
        for (group, separator) in named.iter().zip(std::iter::once(": ").chain(std::iter::repeat(", "))) {
            let Group { site, count, oldest, idle, .. } = group;
            text.push_str(&format!(
                "{separator}{count} by {site} (oldest {}, {idle} idle)",
                views::age(*oldest)
            ));
        }
        let others = held.saturating_sub(named.iter().map(|group| group.count).sum());
        if !named.is_empty() && others > 0 {
            text.push_str(&format!(", {others} by others"));
        }
        text.push('.');
        if let Some(failure) = &self.failure {
            text.push_str(&format!(" The last attempt to connect to PostgreSQL failed: {failure}."));
        }
        text
    }
}
