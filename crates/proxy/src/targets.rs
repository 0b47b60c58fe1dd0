//! What each physical server has for us: asked of it now and then, and told to the pool.
//!
//! With a `control_user` one connection of its own to each target looks every `control_interval`: at the server's limits
//! and at the sessions there that are not ours. Without one, and unless PgBouncer's shape is wanted, the limits alone are
//! asked for once, over a connection that nobody is using. Whatever is not asked is learned from refusals (`pool`).

mod audit;
mod limited;
mod question;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_config::{Budget, Compat, Plan};
use plimsoll_pool::Request;
use plimsoll_types::{Cause, Moment, TargetId};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use audit::Audit;
pub(crate) use limited::{Limited, Sharer};
use question::Foreign;

use crate::ask::{self, ASKING_WORKER};
use crate::control::SaidView;
use crate::directory::PoolEntry;
use crate::entry::{ClientEntry, TargetAddr};
use crate::hub::{Answer, Hub};
use crate::map::Map;
use crate::server::ServerConn;

/// `target_headroom`, unless it is set.
const HEADROOM: u32 = 3;

/// `control_interval`, unless it is set.
const INTERVAL: Duration = Duration::from_secs(5);

/// After so many looks that failed the last one that did not says nothing any more of the sessions of others,
const LOOKS_MISSED: u32 = 3;

/// but no sooner than this: a server that is short of time is no reason to ask more of it.
const STALE_MIN: Duration = Duration::from_secs(10);

/// A target that could not be asked is asked again no sooner than this.
const PATIENCE: Duration = Duration::from_millis(200);

/// What is known of all targets.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    known: Mutex<Map<TargetId, Known>>,
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
    /// How often no control connection was to be had.
    failed: usize,
    /// Whether what we count is what it sees.
    pub(crate) audit: Audit,
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
        }
    }
}

/// Why a target could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// The server is full, and the place that is kept for us not free yet.
    NoPlace,
    /// For another reason.
    Other(String),
}

impl Trouble {
    fn words(self) -> String {
        match self {
            Trouble::NoPlace => "control_user has no place there yet".to_string(),
            Trouble::Other(words) => words,
        }
    }
}

impl From<String> for Trouble {
    fn from(words: String) -> Trouble {
        Trouble::Other(words)
    }
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
    /// them, and there is always that one, or nobody would ever look again.
    fn places(&self, look: &Look) -> Option<u32> {
        let theirs = look.reserved.saturating_add(look.foreign).saturating_add(self.headroom);
        match self.budget {
            Budget::Off => None,
            Budget::Auto | Budget::Max(_) => Some(look.max_connections.saturating_sub(theirs).max(1)),
        }
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

/// Looks at all targets, for as long as the process runs.
pub(crate) async fn watch(hub: Arc<Hub>) {
    loop {
        let plan = hub.plan();
        let targets = hub.directory.lock().targets();
        // All at once: one that does not answer must not keep us from seeing the others.
        let mut looks = JoinSet::new();
        for (target, addr) in targets {
            let (hub, plan) = (hub.clone(), plan.clone());
            looks.spawn(async move { look_at(&hub, &plan, target, &addr).await });
        }
        looks.join_all().await;
        let every = plan.own.control_interval.unwrap_or(INTERVAL);
        // What wakes us says so again and again.
        tokio::time::sleep(PATIENCE.min(every)).await;
        let _ = tokio::time::timeout(every, hub.targets.wake.notified()).await;
    }
}

async fn look_at(hub: &Arc<Hub>, plan: &Plan, target: TargetId, addr: &TargetAddr) {
    let rule = hub.directory.lock().rule_of(plan, addr);
    if rule.budget == Budget::Off {
        hub.set_asked(target, None);
        return;
    }
    let asked = match &plan.own.control_user {
        Some(user) => whole_look(hub, user, target).await,
        None if plan.own.compat == Compat::Plimsoll && rule.budget == Budget::Auto => {
            match limits_only(hub, target, addr).await {
                Some(asked) => asked.map_err(Trouble::Other),
                None => return known_limits(hub, rule, target),
            }
        }
        None => return hub.set_asked(target, None),
    };
    match asked {
        Ok(look) => {
            let places = rule.places(&look);
            hub.targets.note(target, |known| {
                if known.look.as_ref().is_none_or(|before| before.max_connections != look.max_connections) {
                    tracing::info!(
                        "target {addr}: max_connections {}, {} reserved, headroom {}",
                        look.max_connections,
                        look.reserved,
                        rule.headroom,
                        addr = addr.peer()
                    );
                }
                let before = known.look.as_ref().map(|before| before.counted);
                if look.counted == Counted::Roughly && before != Some(Counted::Roughly) {
                    tracing::warn!(
                        "target {}: control_user may not see the sessions of others; they are counted by database. \
                         GRANT pg_read_all_stats to it",
                        addr.peer()
                    );
                }
                (known.look, known.trouble) = (Some(look), None);
            });
            hub.set_asked(target, places);
            if let Some(look) = hub.targets.known(target).look {
                hub.allot(target, &look.limited);
            }
            audit::compare(hub, target, addr);
        }
        Err(trouble) => {
            // What was never asked is learned from refusals. Of what was asked once the limits hold on, the sessions of
            // others for a while.
            let patience = (plan.own.control_interval.unwrap_or(INTERVAL) * LOOKS_MISSED).max(STALE_MIN);
            match hub.targets.known(target).look {
                None if trouble == Trouble::NoPlace => {}
                None => hub.set_asked(target, None),
                Some(look) if look.at + patience < hub.now() => {
                    hub.allot(target, &Limited::default());
                    known_limits(hub, rule, target);
                }
                Some(_) => {}
            }
            let trouble = trouble.words();
            if hub.targets.known(target).trouble.as_deref() != Some(&*trouble) {
                tracing::warn!("target {}: cannot be asked for its limits: {trouble}", addr.peer());
            }
            hub.targets.note(target, |known| known.trouble = Some(trouble));
        }
    }
}

/// Nothing new was asked: what is known holds, without the sessions of others, by the rule of today.
fn known_limits(hub: &Arc<Hub>, rule: Rule, target: TargetId) {
    if let Some(look) = hub.targets.known(target).look {
        hub.set_asked(target, rule.places(&Look { foreign: 0, ..look }));
    }
}

/// Limits and sessions, by the control connection.
async fn whole_look(hub: &Arc<Hub>, user: &str, target: TargetId) -> Result<Look, Trouble> {
    let failed = hub.targets.known(target).failed;
    let pool = hub.control_pool(user, target, failed).ok_or_else(|| "no database leads there".to_string())?;
    let conn = match borrow(hub, &pool).await {
        Ok(conn) => conn,
        // This pool is the one that the next place is kept for.
        Err(Cause::QueryWaitTimeout) => return Err(Trouble::NoPlace),
        Err(cause) => {
            hub.targets.note(target, |known| known.failed = failed.wrapping_add(1));
            hub.forget_control_pool(&pool);
            return Err(cause.message().into_owned().into());
        }
    };
    let own_pid = conn.entry.pid();
    let rows = ask::ask(hub, conn, question::SESSIONS).await.map_err(|cause| cause.message().into_owned())?;
    let ours = hub.pids_at(target);
    Ok(question::whole(&rows, own_pid, &ours, hub.now())?)
}

/// Limits alone, once, over a connection nobody is using. `None`: not now, or known already.
async fn limits_only(hub: &Arc<Hub>, target: TargetId, addr: &TargetAddr) -> Option<Result<Look, String>> {
    if hub.targets.known(target).look.is_some_and(|look| hub.has_stayed_since(target, look.at)) {
        return None;
    }
    let conn = ask::idle_at(hub, addr)?;
    let rows = ask::ask(hub, conn, question::LIMITS).await;
    Some(match rows {
        Ok(rows) => question::limits(&rows, hub.now()),
        Err(cause) => Err(cause.message().into_owned()),
    })
}

/// A connection of the control pool, opened if there is none.
async fn borrow(hub: &Arc<Hub>, pool: &Arc<PoolEntry>) -> Result<Box<ServerConn>, Cause> {
    let now = hub.now();
    let entry = Arc::new(ClientEntry::new(hub.next_client(), [0; 8], ask::identity(pool), now));
    let request = Request {
        pool: pool.id,
        client: entry.id,
        worker: ASKING_WORKER,
        wait_max: ask::ANSWER_TIMEOUT,
        wait_cause: plimsoll_pool::WaitCause::QueryWaitTimeout,
        class: 0,
    };
    match hub.request(request, &entry, now) {
        Answer::Granted(conn, _) => Ok(conn),
        Answer::Refused(cause) => Err(cause),
        Answer::Queued(_) => {
            std::future::poll_fn(|cx| {
                entry.set_waker(cx.waker());
                let mut mail = entry.mail();
                match (mail.grant.take(), mail.refused.take()) {
                    (Some((conn, _)), _) => Poll::Ready(Ok(conn)),
                    (None, Some(cause)) => Poll::Ready(Err(*cause)),
                    (None, None) => Poll::Pending,
                }
            })
            .await
        }
    }
}
