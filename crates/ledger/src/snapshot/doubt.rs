//! What makes a comparison say less than it seems to.

use super::{PoolState, Recorded, Snapshot};

/// Most pools of a snapshot that are named.
const POOLS_MAX: usize = 3;

/// What is to be said against these snapshots: the ledger was off, there was no room, a pool held what the ledger did not
/// know.
pub fn doubts(snapshots: &[&Snapshot]) -> Vec<String> {
    let mut out = Vec::new();
    for Snapshot { head, pools, .. } in snapshots {
        let when = head.taken.to_second();
        match head.ledger {
            Recorded::On => {}
            Recorded::Off => out.push(format!("The ledger was off at {when}: new holds were not recorded.")),
        }
        out.extend(unrecorded(pools, &when));
        match head.holds_left_out {
            0 => {}
            1 => out.push(format!("The snapshot of {when} had no room for 1 hold, the youngest.")),
            many => out.push(format!("The snapshot of {when} had no room for {many} holds, the youngest.")),
        }
    }
    out
}

fn unrecorded(pools: &[PoolState], when: &str) -> Vec<String> {
    let mut pools: Vec<&PoolState> = pools.iter().filter(|pool| pool.unrecorded > 0).collect();
    pools.sort_by_key(|pool| std::cmp::Reverse(pool.unrecorded));
    let sentence = |pool: &&PoolState| {
        let PoolState { database, role, held, unrecorded, .. } = pool;
        let connections = if *held == 1 { "connection" } else { "connections" };
        let were = if *unrecorded == 1 { "was" } else { "were" };
        format!(
            "Pool {database}/{role} held {held} {connections} at {when}; {unrecorded} of them {were} not recorded."
        )
    };
    let mut out: Vec<String> = pools.iter().take(POOLS_MAX).map(sentence).collect();
    match pools.len().saturating_sub(POOLS_MAX) {
        0 => {}
        1 => out.push("So it was with 1 other pool.".to_string()),
        more => out.push(format!("So it was with {more} other pools.")),
    }
    out
}
