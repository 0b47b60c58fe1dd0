//! CONNECTION LIMITs of roles and of databases: what each pool may have of them.
//!
//! PostgreSQL counts the sessions of a role over all databases, and those of a database over all roles, ours and
//! others'. What others leave is divided among our pools: max-min fair by what each has and how many wait, as the
//! budget is. Until the pools above their part have let go, those below it have no more than is really free, so that
//! no login of ours is refused.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_types::PoolId;

/// What a look has shown of CONNECTION LIMITs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Most sessions of a role.
    pub(crate) roles: BTreeMap<String, u32>,
    /// Most sessions of a database.
    pub(crate) databases: BTreeMap<String, u32>,
    /// Whom no limit holds.
    pub(crate) superusers: BTreeSet<String>,
    /// All sessions there; none where nothing is limited.
    pub(crate) sessions: Vec<Session>,
}

/// A session at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) pid: u32,
    pub(crate) role: String,
    pub(crate) database: String,
}

/// One of our pools at that server.
#[derive(Clone, Debug)]
pub(crate) struct Sharer {
    pub(crate) pool: PoolId,
    pub(crate) role: String,
    /// Its name at the server.
    pub(crate) database: String,
    /// Connections it has there.
    pub(crate) used: u32,
    /// Clients that wait for one more.
    pub(crate) waiting: u32,
}

impl Limited {
    /// What each pool may have; `None`: nothing limits it. `ours` are the process ids of our connections.
    pub(crate) fn allot(&self, sharers: &[Sharer], ours: &[u32]) -> Vec<(PoolId, Option<u32>)> {
        let mut parts: Vec<Option<u32>> = vec![None; sharers.len()];
        let foreign: Vec<&Session> =
            self.sessions.iter().filter(|session| !ours.contains(&session.pid)).collect();
        for (role, most) in &self.roles {
            let theirs = foreign.iter().filter(|session| session.role == *role).count();
            let mine = |sharer: &Sharer| sharer.role == *role;
            share(&mut parts, sharers, left(*most, theirs), mine);
        }
        for (database, most) in &self.databases {
            let counts = |session: &&&Session| session.database == *database;
            let theirs = foreign.iter().filter(counts).count();
            let mine =
                |sharer: &Sharer| sharer.database == *database && !self.superusers.contains(&sharer.role);
            share(&mut parts, sharers, left(*most, theirs), mine);
        }
        sharers.iter().map(|sharer| sharer.pool).zip(parts).collect()
    }
}

fn left(most: u32, theirs: usize) -> u32 {
    most.saturating_sub(u32::try_from(theirs).unwrap_or(u32::MAX))
}

/// Divides `places` among those who share them; what a pool had been given before may only become less.
fn share(parts: &mut [Option<u32>], sharers: &[Sharer], places: u32, mine: impl Fn(&Sharer) -> bool) {
    let mut group: Vec<usize> = (0..sharers.len()).filter(|at| mine(&sharers[*at])).collect();
    let demand = |at: usize| sharers[at].used.saturating_add(sharers[at].waiting);
    group.sort_by_key(|at| demand(*at));
    let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
    // The one that wants least comes first: what it leaves is for the others, and what nobody wants is for all.
    let (mut rest, mut left) = (places, count);
    let mut fair = Vec::with_capacity(group.len());
    for at in &group {
        let part = demand(*at).min(rest / left.max(1));
        (rest, left) = (rest - part, left - 1);
        fair.push(part);
    }
    let used: u32 = group.iter().map(|at| sharers[*at].used).sum();
    let mut free = places.saturating_sub(used);
    for (nth, (at, fair)) in (0..).zip(group.iter().zip(fair)) {
        let spare = rest / count + u32::from(nth < rest % count);
        let has = sharers[*at].used;
        let more = (fair + spare).saturating_sub(has).min(free);
        free -= more;
        // Who has nothing may always ask for one: the server's own answer is what its clients are told.
        let part = (fair + spare).min(has + more).max(1);
        parts[*at] = Some(parts[*at].map_or(part, |before| before.min(part)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharer(pool: u32, role: &str, database: &str, used: u32, waiting: u32) -> Sharer {
        Sharer { pool: PoolId(pool), role: role.into(), database: database.into(), used, waiting }
    }

    fn session(pid: u32, role: &str, database: &str) -> Session {
        Session { pid, role: role.into(), database: database.into() }
    }

    fn limited(roles: &[(&str, u32)], databases: &[(&str, u32)]) -> Limited {
        let owned = |pairs: &[(&str, u32)]| pairs.iter().map(|(name, n)| (name.to_string(), *n)).collect();
        Limited {
            roles: owned(roles),
            databases: owned(databases),
            superusers: ["boss".to_string()].into(),
            sessions: Vec::new(),
        }
    }

    fn parts(limited: &Limited, sharers: &[Sharer], ours: &[u32]) -> Vec<Option<u32>> {
        limited.allot(sharers, ours).into_iter().map(|(_, part)| part).collect()
    }

    #[test]
    fn what_nothing_limits_is_not_limited() {
        let free = limited(&[("batch", 3)], &[]);
        assert_eq!(parts(&free, &[sharer(1, "app", "shop", 9, 9)], &[]), [None]);
    }

    #[test]
    fn others_sessions_count_and_ours_do_not_twice() {
        let mut limits = limited(&[("app", 5)], &[]);
        limits.sessions =
            vec![session(1, "app", "shop"), session(2, "app", "other"), session(3, "ops", "shop")];
        // Process 1 is ours.
        assert_eq!(parts(&limits, &[sharer(1, "app", "shop", 1, 9)], &[1]), [Some(4)]);
    }

    #[test]
    fn pools_of_one_role_share_its_limit_and_nobody_gets_what_is_not_free_yet() {
        let limits = limited(&[("app", 10)], &[]);
        let sharers = [sharer(1, "app", "shop", 10, 4), sharer(2, "app", "till", 0, 3)];
        // The second waits until the first has let go: it may ask, for one.
        assert_eq!(parts(&limits, &sharers, &[]), [Some(7), Some(1)]);
        let later = [sharer(1, "app", "shop", 7, 4), sharer(2, "app", "till", 0, 3)];
        assert_eq!(parts(&limits, &later, &[]), [Some(7), Some(3)]);
        // What nobody wants is for both.
        let calm = [sharer(1, "app", "shop", 1, 0), sharer(2, "app", "till", 2, 0)];
        assert_eq!(parts(&limits, &calm, &[]), [Some(5), Some(5)]);
        // What is free is given away once.
        let tight =
            [sharer(1, "app", "shop", 8, 0), sharer(2, "app", "till", 0, 5), sharer(3, "app", "desk", 0, 5)];
        assert_eq!(parts(&limits, &tight, &[]), [Some(4), Some(2), Some(1)]);
    }

    #[test]
    fn a_database_is_limited_for_all_but_superusers() {
        let limits = limited(&[], &[("shop", 4)]);
        let sharers =
            [sharer(1, "app", "shop", 2, 9), sharer(2, "boss", "shop", 1, 0), sharer(3, "app", "till", 0, 0)];
        assert_eq!(parts(&limits, &sharers, &[]), [Some(4), None, None]);
    }

    #[test]
    fn a_role_with_both_limits_keeps_to_the_smaller() {
        let limits = limited(&[("app", 8)], &[("shop", 3)]);
        assert_eq!(parts(&limits, &[sharer(1, "app", "shop", 0, 20)], &[]), [Some(3)]);
    }
}
