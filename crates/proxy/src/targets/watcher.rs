//! Who looks at one target, for as long as the process runs.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use plimsoll_config::{Budget, Compat, Place, Plan};
use plimsoll_pool::{Class, Request, USUAL_WEIGHT, Walsenders};
use plimsoll_types::{Cause, Moment, SqlState, TargetId};
use tokio::sync::Notify;

use super::lost::LostOne;
use super::{Counted, First, Limited, Look, Rule, WayIn, audit, question, tell_limits};
use crate::ask::{self, ASKING_WORKER};
use crate::directory::PoolEntry;
use crate::entry::{ClientEntry, TargetAddr};
use crate::hub::{Answer, Hub};
use crate::server::ServerConn;

/// `control_interval`, unless it is set.
const INTERVAL: Duration = Duration::from_secs(5);

/// After so many looks that failed the last one that did not says nothing certain any more,
const LOOKS_MISSED: u32 = 3;

/// but no sooner than this: a server that is short of time is no reason to ask more of it.
const STALE_MIN: Duration = Duration::from_secs(10);

/// A target that could not be asked is asked again no sooner than this.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// `control_interval`.
pub(super) fn interval(plan: &Plan) -> Duration {
    plan.own.control_interval.unwrap_or(INTERVAL)
}

/// See the module.
pub(super) struct Watcher {
    hub: Arc<Hub>,
    target: TargetId,
    addr: TargetAddr,
    /// What it goes by; a new plan is a new chance.
    plan: Arc<Plan>,
    /// How often another database had to be tried.
    failed: usize,
    /// For how many looks in a row there was no place for control_user.
    placeless: u32,
    /// control_user does not log in before.
    blocked_until: Option<Moment>,
    /// Whether the first look may yet come.
    hope: Hope,
    /// What was said of the budget of the file, and of whom control_user may see.
    told_budget: Option<String>,
    told_counted: Option<String>,
}

/// How long the few connections of the time before the first look go on being few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hope {
    /// As long as it takes.
    Open,
    /// There has been no place for control_user since: for some looks more.
    Placeless(Moment),
    /// Not any longer.
    Gone,
}

/// Why a target could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// There is no place for control_user: the server's word, if it was asked.
    NoPlace(Option<String>),
    /// Nobody gets there.
    Unreachable(String),
    /// The server does not want control_user; when to try again.
    Refused(String, Again),
    /// It did not answer as it should.
    Strange(String),
}

/// When a login that was refused is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// With the next look, in another database if there is one.
    Elsewhere,
    /// The secret is wrong, everywhere: after `server_login_retry`.
    Later,
}

impl Trouble {
    fn of(cause: &Cause) -> Trouble {
        let (code, words) = (cause.sqlstate(), cause.message().into_owned());
        match (cause, code) {
            (Cause::Server { .. }, SqlState::TOO_MANY_CONNECTIONS) => Trouble::NoPlace(Some(words)),
            (_, SqlState::INVALID_PASSWORD) => Trouble::Refused(words, Again::Later),
            _ if ["08", "53", "57"].iter().any(|class| code.as_str().starts_with(class)) => {
                Trouble::Unreachable(words)
            }
            _ => Trouble::Refused(words, Again::Elsewhere),
        }
    }

    fn words(self) -> String {
        match self {
            Trouble::NoPlace(None) => "control_user has no place there yet".to_string(),
            Trouble::NoPlace(Some(words)) => format!("control_user has no place there: {words}"),
            Trouble::Unreachable(words) | Trouble::Refused(words, _) | Trouble::Strange(words) => words,
        }
    }
}

impl Watcher {
    pub(super) fn new(hub: &Arc<Hub>, target: TargetId, addr: TargetAddr) -> Watcher {
        Watcher {
            hub: hub.clone(),
            target,
            addr,
            plan: hub.plan(),
            failed: 0,
            placeless: 0,
            blocked_until: None,
            hope: Hope::Open,
            told_budget: None,
            told_counted: None,
        }
    }

    /// Looks, every `control_interval` and when `bell` rings.
    pub(super) async fn run(mut self, bell: Arc<Notify>) {
        loop {
            let pause = self.look().await;
            // What rings does so again and again.
            tokio::time::sleep(PATIENCE.min(pause)).await;
            let _ = tokio::time::timeout(pause, bell.notified()).await;
        }
    }

    /// One look; how long until the next.
    async fn look(&mut self) -> Duration {
        let plan = self.hub.plan();
        if !Arc::ptr_eq(&plan, &self.plan) {
            self.plan = plan.clone();
            (self.blocked_until, self.hope) = (None, Hope::Open);
            (self.told_budget, self.told_counted) = (None, None);
            self.hub.targets.note(self.target, |known| (known.trouble, known.first) = (None, First::Never));
            if plan.own.control_user.is_none() && self.hub.targets.known(self.target).look.is_none() {
                // Nobody waits for a first look any more.
                self.hub.set_asked(self.target, None, Counted::No);
            }
        }
        let rule = self.hub.directory.lock().rule_of(&plan, &self.addr);
        match (&plan.own.control_user, rule.budget, plan.own.compat) {
            (_, Budget::Off, _) | (None, Budget::Auto | Budget::Max(_), Compat::Pgbouncer) => {
                self.see_nothing();
            }
            (None, Budget::Auto | Budget::Max(_), Compat::Plimsoll) => self.ask_limits(rule).await,
            (Some(user), Budget::Auto | Budget::Max(_), _) => return self.look_as(user, rule).await,
        }
        interval(&plan)
    }

    /// Nobody looks at this target: what was seen before counts no longer.
    fn see_nothing(&mut self) {
        self.hub.forget_ways_to(self.target);
        self.hub.set_asked(self.target, None, Counted::No);
        self.hub.set_walsenders(self.target, Walsenders::Apart(None));
        self.hub.allot(self.target, &Limited::default());
        self.hub.targets.note(self.target, |known| {
            (known.look, known.trouble) = (None, None);
            known.audit.rest();
        });
    }

    /// Limits alone, over a connection nobody is using: once, and while the end of a connection is to be seen.
    async fn ask_limits(&mut self, rule: Rule) {
        let lost = self.hub.targets.lost.at(self.target);
        let known = self.hub.targets.known(self.target).look;
        let stands = known.as_ref().is_some_and(|look| self.hub.has_stayed_since(self.target, look.at));
        let conn = match stands && lost.is_empty() {
            true => None,
            false => ask::idle_at(&self.hub, &self.addr),
        };
        let Some(conn) = conn else {
            if let Some(look) = known {
                self.take_in(rule, look.limits_only(), &[]);
            }
            return;
        };
        let said = ask::ask(&self.hub, conn, &question::limits_and(&lost)).await;
        let said = said.map_err(|cause| cause.message().into_owned());
        match said.and_then(|rows| question::limits(&rows, self.hub.now())) {
            Ok(look) => self.take_in(rule, look, &lost),
            Err(words) => self.tell_trouble(words, None),
        }
    }

    /// Limits and sessions, by the control connection; how long until the next look.
    async fn look_as(&mut self, user: &str, rule: Rule) -> Duration {
        let every = interval(&self.plan);
        if self.blocked_until.is_some_and(|until| self.hub.now() < until) {
            self.age(rule);
            return every;
        }
        let pool = match self.hub.way_to(user, self.target, self.failed) {
            WayIn::Open(pool) => pool,
            // Nobody opens anything there: what was seen last holds until somebody may again.
            WayIn::Paused => return PATIENCE,
            WayIn::Nowhere => {
                self.see_nothing();
                return every;
            }
        };
        let lost = self.hub.targets.lost.at(self.target);
        match self.whole_look(&pool, &lost).await {
            Ok(look) => {
                (self.placeless, self.hope) = (0, Hope::Open);
                self.take_in(rule, look, &lost);
                audit::compare(&self.hub, self.target, &self.addr);
                every
            }
            // A new plan or a PAUSE came in between.
            Err(_) if !self.hub.is_way_to(self.target, &pool) => PATIENCE,
            Err(trouble) => {
                self.note_trouble(trouble, &pool, rule);
                every
            }
        }
    }

    async fn whole_look(&self, pool: &Arc<PoolEntry>, lost: &[LostOne]) -> Result<Look, Trouble> {
        let hub = &self.hub;
        let conn = match borrow(hub, pool).await {
            Ok(conn) => conn,
            Err(Cause::QueryWaitTimeout) => {
                let failure = { hub.core.lock().pools.last_failure(pool.id).cloned() };
                return Err(failure.as_ref().map_or(Trouble::NoPlace(None), Trouble::of));
            }
            Err(cause) => return Err(Trouble::of(&cause)),
        };
        let control = conn.entry.pid();
        let rows = ask::ask(hub, conn, &question::sessions_and(lost)).await;
        let rows = rows.map_err(|cause| Trouble::Strange(cause.message().into_owned()))?;
        let (all, in_databases) = (hub.pids_at(self.target), hub.pids_in_databases_at(self.target).len());
        let ours = question::Ours { control, all: &all, in_databases };
        question::whole(&rows, &ours, hub.now()).map_err(Trouble::Strange)
    }

    /// The server has said something, or what it said before is seen by the rule of today.
    fn take_in(&mut self, rule: Rule, look: Look, lost: &[LostOne]) {
        let before = self.hub.targets.known(self.target).look;
        self.hub.targets.lost.judge(lost, before.as_ref(), &look);
        if before.is_none_or(|before| before.max_connections != look.max_connections) {
            tell_limits(&self.addr, rule, &look);
        }
        self.tell_counted(&look);
        self.tell_budget(rule, &look);
        self.hub.set_asked(self.target, rule.places(&look), look.counted);
        self.hub.set_walsenders(self.target, look.walsenders_for_us());
        self.hub.allot(self.target, &look.limited);
        self.hub.targets.note(self.target, |known| (known.look, known.trouble) = (Some(look), None));
    }

    fn tell_counted(&mut self, look: &Look) {
        let told = (look.counted == Counted::Roughly).then(|| {
            format!(
                "{}target {}: control_user may not see the sessions of others; they are counted by database. \
                 GRANT pg_read_all_stats to it",
                at(self.control_place()),
                self.addr.peer()
            )
        });
        tell(&mut self.told_counted, told);
    }

    /// A budget that the server cannot give.
    fn tell_budget(&mut self, rule: Rule, look: &Look) {
        let room = look.room();
        let place = self.hub.directory.lock().budget_place(&self.plan, &self.addr);
        let told = rule.cap().filter(|budget| *budget > room).map(|budget| {
            format!(
                "{}target {}: the budget ({budget}) is more than the server has for us: max_connections {} less {} \
                 reserved is {room}, which counts",
                at(place.as_ref()),
                self.addr.peer(),
                look.max_connections,
                look.reserved
            )
        });
        tell(&mut self.told_budget, told);
    }

    fn note_trouble(&mut self, trouble: Trouble, pool: &Arc<PoolEntry>, rule: Rule) {
        let now = self.hub.now();
        match &trouble {
            Trouble::NoPlace(_) => {
                self.hope = match self.hope {
                    Hope::Open => Hope::Placeless(now),
                    Hope::Placeless(_) | Hope::Gone => self.hope,
                };
                self.placeless += 1;
                if self.placeless.is_multiple_of(LOOKS_MISSED) {
                    self.move_on(pool);
                }
            }
            // Nobody else gets there either: the few that may be opened first go on being few.
            Trouble::Unreachable(_) => self.hope = Hope::Open,
            Trouble::Refused(_, again) => {
                self.hope = Hope::Gone;
                self.move_on(pool);
                self.blocked_until = match again {
                    Again::Elsewhere => None,
                    Again::Later => {
                        Some(now + self.plan.general.server_login_retry.max(interval(&self.plan)))
                    }
                };
            }
            Trouble::Strange(_) => self.hope = Hope::Gone,
        }
        self.age(rule);
        let place = self.control_place().cloned();
        self.tell_trouble(trouble.words(), place.as_ref());
    }

    /// The next look is by another database, if there is one; the place that was kept for this one is free.
    fn move_on(&mut self, pool: &Arc<PoolEntry>) {
        self.failed = self.failed.wrapping_add(1);
        self.hub.forget_control_pool(pool);
    }

    /// A look has failed. What was never asked is learned from refusals, after some looks; of what was asked once the
    /// server's limits and the sessions of others go on counting, and CONNECTION LIMITs are learned from refusals.
    fn age(&self, rule: Rule) {
        let (hub, now) = (&self.hub, self.hub.now());
        let patience = (interval(&self.plan) * LOOKS_MISSED).max(STALE_MIN);
        let over = match self.hope {
            Hope::Open => false,
            Hope::Placeless(since) => since + patience < now,
            Hope::Gone => true,
        };
        match hub.targets.known(self.target).look {
            None if over => {
                hub.set_asked(self.target, None, Counted::No);
                hub.allot(self.target, &Limited::default());
            }
            Some(look) if look.at + patience < now => {
                if let Some(places) = rule.places(&look) {
                    hub.set_presumed(self.target, places);
                }
                hub.allot(self.target, &Limited::default());
            }
            None | Some(_) => {}
        }
    }

    fn tell_trouble(&self, words: String, place: Option<&Place>) {
        if self.hub.targets.known(self.target).trouble.as_deref() != Some(&*words) {
            tracing::warn!(
                "{}target {}: cannot be asked for its limits: {words}",
                at(place),
                self.addr.peer()
            );
        }
        self.hub.targets.note(self.target, |known| known.trouble = Some(words));
    }

    fn control_place(&self) -> Option<&Place> {
        self.plan.place_of("plimsoll", "control_user")
    }
}

/// Says what has not been said yet.
fn tell(told: &mut Option<String>, words: Option<String>) {
    if *told != words
        && let Some(words) = &words
    {
        tracing::warn!("{words}");
    }
    *told = words;
}

/// `FILE:LINE: `, as far as it is known.
fn at(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!("{place}: "))
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
        class: Class::Everybody,
        weight: USUAL_WEIGHT,
    };
    match hub.request(request, &entry, now) {
        Answer::Granted(conn, _) => Ok(conn),
        Answer::Refused(cause) => Err(cause),
        Answer::StandsStill => Err(Cause::Restarting),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn server(sqlstate: SqlState, message: &str) -> Cause {
        Cause::Server { sqlstate, message: message.into() }
    }

    #[test]
    fn what_keeps_us_out_has_its_own_name() {
        let full = Trouble::of(&server(SqlState::TOO_MANY_CONNECTIONS, "too many"));
        assert_eq!(full, Trouble::NoPlace(Some("too many".to_string())));
        // Ours, not the server's.
        assert!(matches!(Trouble::of(&Cause::NoFileDescriptors), Trouble::Unreachable(_)));
        assert!(matches!(Trouble::of(&Cause::ConnectFailed), Trouble::Unreachable(_)));
        let starting = server(SqlState::CANNOT_CONNECT_NOW, "starting up");
        assert!(matches!(Trouble::of(&starting), Trouble::Unreachable(_)));
        let wrong = server(SqlState::INVALID_PASSWORD, "no");
        assert_eq!(Trouble::of(&wrong), Trouble::Refused("no".to_string(), Again::Later));
        let absent = server(SqlState::INVALID_CATALOG, "no");
        assert_eq!(Trouble::of(&absent), Trouble::Refused("no".to_string(), Again::Elsewhere));
    }
}
