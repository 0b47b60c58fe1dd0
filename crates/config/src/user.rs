//! A line of `[users]`.

use crate::mistake::Mistake;
use crate::place::Place;
use crate::plan::UserSettings;
use crate::slot::{self, Row, Slot, WEIGHT_MAX};
use crate::target::BUDGET_MAX;

/// The keys of a line of `[users]`.
pub(crate) static KEYS: &[Row<UserSettings>] = &[
    ("pool_mode", Slot::PoolMode(|u| &mut u.pool_mode)),
    ("pool_size", Slot::Count(|u| &mut u.pool_size)),
    ("reserve_pool_size", Slot::Count(|u| &mut u.reserve_pool_size)),
    ("max_user_connections", Slot::Count(|u| &mut u.max_user_connections)),
    ("max_user_client_connections", Slot::Count(|u| &mut u.max_user_client_connections)),
    ("query_timeout", Slot::Seconds(|u| &mut u.query_timeout)),
    ("query_wait_timeout", Slot::Seconds(|u| &mut u.query_wait_timeout)),
    ("idle_transaction_timeout", Slot::Seconds(|u| &mut u.idle_transaction_timeout)),
    ("transaction_timeout", Slot::Seconds(|u| &mut u.transaction_timeout)),
    ("client_idle_timeout", Slot::Seconds(|u| &mut u.client_idle_timeout)),
    ("weight", Slot::Range(|u| &mut u.weight, 1, WEIGHT_MAX)),
    ("guaranteed_pool_size", Slot::Range(|u| &mut u.guaranteed_pool_size, 0, BUDGET_MAX)),
    ("spill", Slot::Spill(|u| &mut u.spill)),
    ("leak_warn_after", Slot::LeakAfter(|u| &mut u.leak.warn_after)),
    ("leak_cancel_after", Slot::LeakAfter(|u| &mut u.leak.cancel_after)),
    ("leak_close_after", Slot::LeakAfter(|u| &mut u.leak.close_after)),
    ("leak_act", Slot::LeakAct(|u| &mut u.leak.act)),
    ("credential", Slot::Credential(|u| &mut u.credential)),
];

/// Reads what stands behind `name =`.
pub(crate) fn parse(text: &str, place: &Place) -> Result<UserSettings, Vec<Mistake>> {
    let mut user = UserSettings::default();
    let mistakes = slot::take(&mut user, KEYS, "user", text, place);
    if mistakes.is_empty() { Ok(user) } else { Err(mistakes) }
}
