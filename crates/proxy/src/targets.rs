//! What each physical server has for us: asked of it now and then, and told to the pool.
//!
//! With a `control_user` one connection of its own to each target looks every `control_interval`: at the server's limits
//! and at the sessions there that are not ours. Without one, and unless PgBouncer's shape is wanted, the limits alone are
//! asked for: by the first connection before anybody gets it, and again over one that nobody is using when the server
//! may have started anew. Whatever is not asked is learned from refusals (`pool`).

mod audit;
mod limited;
mod lost;
mod question;
mod watcher;

use std::sync::Arc;

use parking_lot::Mutex;
use plimsoll_config::{Budget, Compat, Plan};
use plimsoll_pool::Walsenders;
use plimsoll_types::{Moment, TargetId};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use audit::Audit;
pub(crate) use limited::{Limited, Sharer};
pub(crate) use lost::{Lost, LostOnes};
use question::Foreign;
pub(crate) use question::LIMITS;
use watcher::{PATIENCE, Watcher, interval};

use crate::ask::Values;
use crate::control::SaidView;
use crate::directory::PoolEntry;
use crate::entry::TargetAddr;
use crate::hub::Hub;
use crate::map::Map;

/// `target_headroom`, unless it is set.
const HEADROOM: u32 = 3;

/// What is known of all targets.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    known: Mutex<Map<TargetId, Known>>,
    /// Connections that the servers have not been seen to end.
    pub(crate) lost: LostOnes,
    /// Something happened that a look may explain: a refusal, a new target, a new plan.
    pub(crate) wake: Notify,
}

/// What is known of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// What it said last.
    pub(crate) look: Option<Look>,
    /// Why it could not be asked.
    pub(crate) trouble: Option<String>,
    /// Whether a connection has asked for the limits before anybody got it.
    first: First,
    /// Whether what we count is what it sees.
    pub(crate) audit: Audit,
}

/// Whether a connection has asked for the limits before anybody got it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum First {
    /// Not yet.
    #[default]
    Never,
    /// One does, or has not come to an end with it: a server that cannot be asked this must not lose every connection.
    Asking,
    /// One has, then.
    Asked(Moment),
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) at: Moment,
    /// `max_connections`.
    pub(crate) max_connections: u32,
    /// `superuser_reserved_connections` and `reserved_connections`.
    pub(crate) reserved: u32,
    /// Sessions that are not ours; the control connection is not among them.
    pub(crate) foreign: u32,
    /// The same by role and application; empty where our role may not see that.
    pub(crate) by_user: Vec<Foreign>,
    /// Process ids of the sessions there.
    pub(crate) pids: Vec<u32>,
    /// Replicas and the like, which have places of their own; `None`: not counted.
    pub(crate) walsenders: Option<u32>,
    /// Those of them that are not ours.
    pub(crate) foreign_walsenders: u32,
    /// Places for replication there, if it has said.
    pub(crate) walsender_places: Option<Places>,
    /// When the server was started, in its own words.
    pub(crate) started: String,
    /// All processes there, if the end of a connection was to be seen.
    pub(crate) alive: Option<Vec<u32>>,
    /// Whether foreign sessions were counted at all.
    pub(crate) counted: Counted,
    /// CONNECTION LIMITs of roles and databases, and whose sessions count.
    pub(crate) limited: Limited,
}

impl Look {
    /// For the console.
    pub(crate) fn view(self, now: Moment) -> SaidView {
        let by_user = self.by_user.into_iter().map(|it| (it.user, it.application, it.count));
        SaidView {
            ago: now.since(self.at),
            max_connections: self.max_connections,
            reserved: self.reserved,
            foreign: (self.counted != Counted::No).then_some(self.foreign),
            by_user: by_user.collect(),
            walsenders: self.walsenders,
        }
    }

    /// Places that are not reserved for others.
    fn room(&self) -> u32 {
        self.max_connections.saturating_sub(self.reserved)
    }

    /// What it has for replication connections of ours; those of others may have all of the places where nobody sees them.
    fn walsenders_for_us(&self) -> Walsenders {
        match self.walsender_places {
            None => Walsenders::Apart(None),
            Some(Places::Among) => Walsenders::Among,
            Some(Places::Apart(places)) => {
                Walsenders::Apart(Some(places.saturating_sub(self.foreign_walsenders)))
            }
        }
    }

    /// Without what only control_user sees.
    fn limits_only(self) -> Look {
        Look {
            at: self.at,
            max_connections: self.max_connections,
            reserved: self.reserved,
            started: self.started,
            walsender_places: self.walsender_places,
            ..Look::default()
        }
    }
}

/// The places of a server for replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// `max_wal_senders`.
    Apart(u32),
    /// They are places for anybody (before PostgreSQL 12).
    Among,
}

/// How a connection of our own gets to a target.
pub(crate) enum WayIn {
    /// Through this pool.
    Open(Arc<PoolEntry>),
    /// All databases that lead there are paused.
    Paused,
    /// No database leads there.
    Nowhere,
}

/// Whether a look has counted the sessions of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Only the limits were asked for.
    #[default]
    No,
    /// By the numbers of each database: our role may not read pg_stat_activity.
    Roughly,
    /// One by one.
    Exactly,
}

/// What the file says of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) budget: Budget,
    pub(crate) headroom: u32,
}

impl Rule {
    pub(crate) fn of(plan: &Plan, line: Option<&plimsoll_config::TargetLine>) -> Rule {
        let headroom = line.and_then(|line| line.headroom).or(plan.own.target_headroom);
        Rule {
            budget: line.and_then(|line| line.budget).unwrap_or(plan.own.target_budget),
            headroom: headroom.unwrap_or(HEADROOM),
        }
    }

    /// The cap that the file sets.
    pub(crate) fn cap(&self) -> Option<u32> {
        match self.budget {
            Budget::Off | Budget::Auto => None,
            Budget::Max(max) => Some(max),
        }
    }

    /// How many server connections of ours there may be, by what the server said: the control connection is one of
    /// them, and there is always that one, or nobody would ever look again. Where a number is written down and nobody
    /// sees the sessions of others, the headroom for them is in that number.
    fn places(&self, look: &Look) -> Option<u32> {
        let headroom = match (self.budget, look.counted) {
            (Budget::Off, _) => return None,
            (Budget::Max(_), Counted::No) => 0,
            (Budget::Auto, _) | (Budget::Max(_), Counted::Roughly | Counted::Exactly) => self.headroom,
        };
        Some(look.room().saturating_sub(look.foreign.saturating_add(headroom)).max(1))
    }
}

impl Targets {
    /// What is known of a target.
    pub(crate) fn known(&self, target: TargetId) -> Known {
        self.known.lock().get(&target).cloned().unwrap_or_default()
    }

    fn note(&self, target: TargetId, change: impl FnOnce(&mut Known)) {
        change(self.known.lock().entry(target).or_default());
    }
}

/// Looks at all targets, for as long as the process runs. Each has a task of its own: one that does not answer must not
/// keep us from seeing the others.
pub(crate) async fn watch(hub: Arc<Hub>) {
    let mut tasks = JoinSet::new();
    let mut bells: Map<TargetId, (Arc<Notify>, AbortHandle)> = Map::default();
    loop {
        refresh_names(&hub);
        let targets = { hub.directory.lock().targets() };
        for (target, addr) in targets {
            match bells.get(&target) {
                Some((bell, task)) if !task.is_finished() => bell.notify_one(),
                // New, or its task broke down.
                Some(_) | None => {
                    let bell = Arc::new(Notify::new());
                    let task = tasks.spawn(Watcher::new(&hub, target, addr).run(bell.clone()));
                    bells.insert(target, (bell, task));
                }
            }
        }
        tokio::time::sleep(PATIENCE).await;
        let every = interval(&hub.plan());
        while tokio::time::timeout(every, hub.targets.wake.notified()).await.is_err() {
            refresh_names(&hub);
            // None ends by itself: one that broke down begins anew.
            if tasks.try_join_next().is_some() {
                break;
            }
        }
    }
}

/// Names of `[targets]` are looked up again in their time; nobody waits for what comes of it.
fn refresh_names(hub: &Hub) {
    let now = hub.now();
    let names = { hub.directory.lock().outdated_target_names(now) };
    names.into_iter().for_each(|name| drop(hub.needed_names.ask(name)));
}

/// Whether a connection that has just been opened asks for the limits of its server before anybody gets it. Who is told
/// so owes [`note_first`].
pub(crate) fn asks_first(hub: &Hub, plan: &Plan, target: TargetId, addr: &TargetAddr) -> bool {
    if plan.own.control_user.is_some() || plan.own.compat == Compat::Pgbouncer {
        return false;
    }
    let is_off = { hub.directory.lock().rule_of(plan, addr).budget == Budget::Off };
    let known = hub.targets.known(target);
    let asked = match known.first {
        First::Never => None,
        First::Asking => return false,
        First::Asked(at) => Some(at),
    };
    let asked = known.look.map(|look| look.at).max(asked);
    if is_off || asked.is_some_and(|asked| hub.has_stayed_since(target, asked)) {
        return false;
    }
    let mut is_first = false;
    hub.targets.note(target, |known| {
        is_first = known.first != First::Asking;
        known.first = First::Asking;
    });
    is_first
}

/// What the answer to [`LIMITS`] was on a connection that has just been opened. If there was none, one that is idle is
/// asked again.
pub(crate) fn note_first(hub: &Arc<Hub>, plan: &Plan, target: TargetId, addr: &TargetAddr, rows: &[Values]) {
    let now = hub.now();
    let look = question::limits(rows, now).ok();
    let rule = { hub.directory.lock().rule_of(plan, addr) };
    if let Some(look) = &look {
        tell_limits(addr, rule, look);
        hub.set_asked(target, rule.places(look), look.counted);
        hub.set_walsenders(target, look.walsenders_for_us());
    }
    hub.targets.note(target, |known| {
        known.first = First::Asked(now);
        known.look = look.or(known.look.take());
    });
    hub.targets.wake.notify_one();
}

fn tell_limits(addr: &TargetAddr, rule: Rule, look: &Look) {
    let Look { max_connections, reserved, .. } = look;
    let (addr, headroom) = (addr.peer(), rule.headroom);
    tracing::info!(
        "target {addr}: max_connections {max_connections}, {reserved} reserved, headroom {headroom}"
    );
}
