//! What of a plan, and of grants, is looked at with each query: numbers, so that nobody has to read a plan for them.

use std::sync::atomic::Ordering;

use super::Hub;
use crate::loss;

impl Hub {
    pub(super) fn note_timeouts(&self) {
        let plan = self.plan();
        let general = &plan.general;
        let users = plan.users.values();
        let any_user = users.into_iter().any(|u| {
            u.query_timeout.is_some()
                || u.idle_transaction_timeout.is_some()
                || u.transaction_timeout.is_some()
                || u.client_idle_timeout.is_some()
        });
        let any = [
            general.query_timeout,
            general.idle_transaction_timeout,
            general.transaction_timeout,
            general.client_idle_timeout,
        ];
        self.collect_memory.store(plan.own.collect_memory.unwrap_or(64 << 20), Ordering::Relaxed);
        let hold_memory = plan.own.batch_hold_memory.unwrap_or(loss::BATCH_HOLD_MEMORY);
        self.hold_memory.store(hold_memory, Ordering::Relaxed);
        let notify = u64::try_from(general.query_wait_notify.as_micros()).unwrap_or(u64::MAX);
        self.query_wait_notify_us.store(notify, Ordering::Relaxed);
        let granted = self.timed_grants.load(Ordering::SeqCst);
        self.timed.store(granted || any_user || any.iter().any(|t| !t.is_zero()), Ordering::Relaxed);
    }

    /// A client is here whose grant limits how long something may last.
    pub(crate) fn note_timed_grant(&self) {
        if !self.timed_grants.swap(true, Ordering::SeqCst) {
            self.note_timeouts();
        }
    }
}
