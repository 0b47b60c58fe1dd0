use plimsoll_config::{HttpListen, TargetLine};
use plimsoll_types::Secret;

use super::*;

fn plan() -> Plan {
    let mut plan = Plan::default();
    plan.general.max_client_conn = 100;
    plan.own.http_listen = Some(HttpListen::Off);
    plan.general.default_pool_size = 20;
    for user in ["a", "b", "c"] {
        plan.logins.insert(user.to_string(), Secret::from_text("x"));
    }
    plan.databases = vec![
        Database { name: "any".to_string(), ..Database::default() },
        Database { user: Some("f".to_string()), pool_size: Some(5), ..Database::default() },
    ];
    plan
}

#[test]
fn every_client_and_every_pool_of_every_user_is_counted() {
    assert_eq!(expected(&plan(), 2), 100 + 20 * 3 + 5 + SPARE + SPILL_FILES + 2 * PER_WORKER);
}

#[test]
fn the_budget_bounds_the_servers() {
    let mut plan = plan();
    plan.own.target_budget = Budget::Max(26);
    assert_eq!(expected(&plan, 1), 100 + 52 + SPARE + SPILL_FILES + PER_WORKER);
    let line = |budget| TargetLine { budget: Some(budget), ..TargetLine::default() };
    plan.targets = vec![line(Budget::Max(30))];
    assert_eq!(expected(&plan, 1), 100 + 60 + SPARE + SPILL_FILES + PER_WORKER);
    plan.targets.push(line(Budget::Auto));
    assert_eq!(expected(&plan, 1), 100 + 65 + SPARE + SPILL_FILES + PER_WORKER);
}

#[test]
fn where_nothing_goes_to_a_file_none_is_counted() {
    let mut plan = plan();
    let with = expected(&plan, 1);
    plan.own.spill = plimsoll_config::Spill::Memory;
    assert_eq!(expected(&plan, 1), with - SPILL_FILES);
}

#[test]
fn nothing_overflows() {
    let mut plan = plan();
    plan.general.max_client_conn = u32::MAX;
    plan.general.default_pool_size = u32::MAX;
    assert!(expected(&plan, u16::MAX) > u64::from(u32::MAX));
}

#[test]
fn scrapers_are_counted_where_they_may_come() {
    let mut plan = plan();
    let without = expected(&plan, 1);
    plan.own.http_listen = None;
    assert_eq!(expected(&plan, 1), without + http_descriptors(&plan));
}
