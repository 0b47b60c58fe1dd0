//! The policies about connections that are kept and not used: who is warned of, taken from or closed, once a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_config::{LeakAct, LeakLimit, LeakPolicy, Plan};
use plimsoll_ledger::policy::{Due, Limits, unused_us};
use plimsoll_ledger::{Deed, HoldCopy, What};
use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId};

use super::{application_of, us, who_of};
use crate::directory::PoolEntry;
use crate::entry::{ClientEntry, ServerEntry};
use crate::hub::Hub;
use crate::order::{Force, Order, Want};
use crate::views;

/// What was done about the open holds, so that it is done once for each rest.
#[derive(Default)]
pub(crate) struct Policies {
    done: Mutex<HashMap<HoldId, Done>>,
}

/// What was done last, and when the hold had been used by then.
#[derive(Clone, Copy)]
struct Done {
    used: Moment,
    due: Due,
}

/// A hold about which something is due.
struct Case<'a> {
    hold: &'a HoldCopy,
    server: &'a Arc<ServerEntry>,
    client: &'a Arc<ClientEntry>,
    unused_us: u64,
    due: Due,
    policy: LeakPolicy,
}

impl Case<'_> {
    /// The limit that has been passed: its key, and where it is set.
    fn limit(&self) -> Option<(&'static str, &LeakLimit)> {
        Some(match self.due {
            Due::Warn => ("leak_warn_after", self.policy.warn.as_ref()?),
            Due::Cancel => ("leak_cancel_after", self.policy.cancel.as_ref()?),
            Due::Close => ("leak_close_after", self.policy.close.as_ref()?),
        })
    }

    fn by(&self) -> String {
        let Some((key, limit)) = self.limit() else { return String::new() };
        format!("{key} = {} {}", views::age(limit.after), limit.whose)
    }

    /// For the client.
    fn why(&self, now: Moment) -> String {
        let held = Duration::from_micros(now.0.saturating_sub(self.hold.opening.granted.0));
        let unused = Duration::from_micros(self.unused_us);
        format!("{}: held for {}, not used for {}", self.by(), views::age(held), views::age(unused))
    }
}

fn limits(policy: &LeakPolicy) -> Limits {
    let limit = |limit: &Option<LeakLimit>| limit.as_ref().map(|limit| us(limit.after));
    Limits { warn: limit(&policy.warn), cancel: limit(&policy.cancel), close: limit(&policy.close) }
}

/// Does what is due about these open holds.
pub(super) fn enforce(
    hub: &Hub,
    plan: &Plan,
    holds: &[(HoldCopy, Arc<ServerEntry>)],
    clients: &HashMap<ClientId, Arc<ClientEntry>>,
    now: Moment,
) {
    let done = &hub.ledger.policies.done;
    if !plan.has_leak_policies() {
        done.lock().clear();
        return;
    }
    let open: HashMap<HoldId, Moment> =
        holds.iter().map(|(hold, _)| (hold.opening.hold, hold.progress.used)).collect();
    done.lock().retain(|hold, done| open.get(hold).is_some_and(|used| *used == done.used));
    let mut cases = cases(hub, plan, holds, clients, now);
    // Where not all are acted upon, those come first that have rested longest.
    cases.sort_by_key(|case| std::cmp::Reverse(case.unused_us));
    let mut acted: HashMap<String, u32> = HashMap::new();
    for case in &cases {
        let used = case.hold.progress.used;
        match case.due {
            Due::Warn => warn(hub, case, now),
            Due::Cancel | Due::Close => {
                let at = acted.entry(case.server.target.peer().to_string()).or_default();
                if case.policy.act == LeakAct::Waiting && *at >= waiting_for(hub, case.server.slot) {
                    // It may be due again in a second, and until then the milder limit has its say.
                    continue;
                }
                *at += 1;
                order(case, now);
            }
        }
        done.lock().insert(case.hold.opening.hold, Done { used, due: case.due });
    }
}

fn waiting_for(hub: &Hub, slot: SlotId) -> u32 {
    hub.core.lock().pools.waiting_for(slot)
}

fn cases<'a>(
    hub: &Hub,
    plan: &Plan,
    holds: &'a [(HoldCopy, Arc<ServerEntry>)],
    clients: &'a HashMap<ClientId, Arc<ClientEntry>>,
    now: Moment,
) -> Vec<Case<'a>> {
    let pools: HashMap<PoolId, Arc<PoolEntry>> =
        hub.directory.lock().pools().into_iter().map(|pool| (pool.id, pool)).collect();
    let done = hub.ledger.policies.done.lock();
    let case = |(hold, server): &'a (HoldCopy, Arc<ServerEntry>)| {
        let unused_us = unused_us(&hold.progress, now)?;
        let client = clients.get(&hold.opening.client)?;
        let database = pools.get(&hold.opening.pool)?.database.config();
        let policy = plan.leak_policy(&database, &client.user);
        let is_new = |due: &Due| done.get(&hold.opening.hold).is_none_or(|done| done.due < *due);
        let mut due = limits(&policy).due(unused_us).filter(is_new)?;
        if due > Due::Warn && policy.act == LeakAct::Waiting && waiting_for(hub, server.slot) == 0 {
            // Nobody misses it: it is only told of.
            let told = Limits { cancel: None, close: None, ..limits(&policy) };
            due = told.due(unused_us).filter(is_new)?;
        }
        Some(Case { hold, server, client, unused_us, due, policy })
    };
    holds.iter().filter_map(case).collect()
}

fn warn(hub: &Hub, case: &Case<'_>, now: Moment) {
    let (prefix, by, state) = (case.client.log_prefix(), case.by(), case.hold.progress.state.as_str());
    let unused = views::age(Duration::from_micros(case.unused_us));
    let (hold, pid) = (case.hold.opening.hold, case.hold.opening.pid);
    tracing::warn!(
        "{prefix}{by}: hold {} of server pid {pid}, {state}, not used for {unused}; see: plimsoll why {}",
        hold.0,
        case.client.id.0
    );
    let who = who_of(case.client, case.server, application_of(hub, case.client));
    hub.ledger.book.lock().note_deed(Deed::of(case.hold, who, by, What::Warned, now));
}

fn order(case: &Case<'_>, now: Moment) {
    let want = match case.due {
        Due::Close => Want::Close,
        Due::Warn | Due::Cancel => Want::Take,
    };
    let order = Order {
        hold: case.hold.opening.hold,
        unused_since: Some(case.hold.progress.used),
        want,
        force: Force::No,
        by: case.by().into(),
        why: case.why(now).into(),
        done: Arc::default(),
    };
    case.client.post(|mail| mail.order = Some(Box::new(order)));
}
