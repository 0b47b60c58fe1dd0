//! What a server is asked, and what its answer means.

use std::collections::BTreeMap;

use plimsoll_types::Moment;

use super::limited::{Limited, Session};
use super::lost::LostOne;
use super::{Counted, Look, Places};
use crate::ask::Values;

/// What everybody may see of a server: its limits, and when it was started. The columns go on where more is asked.
macro_rules! server {
    () => {
        "SELECT 'S', pg_catalog.current_setting('max_connections'), \
        pg_catalog.current_setting('superuser_reserved_connections'), \
        coalesce(pg_catalog.current_setting('reserved_connections', true), '0'), \
        extract(epoch from pg_catalog.pg_postmaster_start_time())"
    };
}

/// Places for replication, and since which version they are none of max_connections.
macro_rules! walsenders {
    () => {
        "; SELECT 'W', pg_catalog.current_setting('max_wal_senders'), \
        pg_catalog.current_setting('server_version_num')"
    };
}

/// Limits.
pub(crate) const LIMITS: &str = concat!(server!(), walsenders!());

/// The first version whose walsenders have places of their own (`server_version_num`).
const APART_SINCE: u32 = 120_000;

/// Processes: everybody may see that they are there.
const ALIVE: &str = "; SELECT 'P', pid FROM pg_catalog.pg_stat_activity WHERE pid IS NOT NULL";

/// Limits and sessions. pg_stat_activity hides from most roles what a session is, so the numbers of the databases are
/// asked for as well: they count parallel workers and autovacuum too, which is on the safe side. Walsenders have places
/// of their own since PostgreSQL 12.
const SESSIONS: &str = concat!(
    server!(),
    ", pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), \
    (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)",
    walsenders!(),
    "; SELECT 'V', pid FROM pg_catalog.pg_stat_activity WHERE backend_type = 'walsender'; \
    SELECT 'B', pid, usename, application_name, datname FROM pg_catalog.pg_stat_activity \
    WHERE backend_type = 'client backend'; \
    SELECT 'R', rolname, rolconnlimit FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper; \
    SELECT 'D', datname, datconnlimit FROM pg_catalog.pg_database WHERE datconnlimit >= 0; \
    SELECT 'U', rolname FROM pg_catalog.pg_roles WHERE rolsuper"
);

/// Sessions of others by role and application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Role.
    pub(crate) user: String,
    /// application_name (claimed).
    pub(crate) application: String,
    /// How many.
    pub(crate) count: u32,
}

/// [`LIMITS`]; and the processes, where some of `lost` may be among them.
pub(super) fn limits_and(lost: &[LostOne]) -> String {
    format!("{LIMITS}{}", alive(lost))
}

/// [`SESSIONS`]; and the same.
pub(super) fn sessions_and(lost: &[LostOne]) -> String {
    format!("{SESSIONS}{}", alive(lost))
}

fn alive(lost: &[LostOne]) -> &'static str {
    if lost.is_empty() { "" } else { ALIVE }
}

/// Understands the answer to [`LIMITS`].
///
/// # Errors
/// It says nothing of limits: no PostgreSQL, or none that we know.
pub(super) fn limits(rows: &[Values], at: Moment) -> Result<Look, String> {
    let mut look = Look { at, ..Look::default() };
    for row in rows.iter().map(Row).filter(|row| row.text(0) == "S") {
        look.max_connections = row.number(1);
        look.reserved = row.number(2).saturating_add(row.number(3));
        look.started = row.text(4);
    }
    for row in rows.iter().map(Row).filter(|row| row.text(0) == "W") {
        let (places, version) = (row.number(1), row.number(2));
        look.walsender_places =
            Some(if version < APART_SINCE { Places::Among } else { Places::Apart(places) });
    }
    let alive: Vec<u32> =
        rows.iter().map(Row).filter(|row| row.text(0) == "P").map(|row| row.number(1)).collect();
    look.alive = (!alive.is_empty()).then_some(alive);
    match look.max_connections {
        0 => Err("its answer says nothing of max_connections".to_string()),
        _ => Ok(look),
    }
}

/// Our own processes at a server.
pub(super) struct Ours<'a> {
    /// The one that has given the answer.
    pub(super) control: u32,
    /// All of them.
    pub(super) all: &'a [u32],
    /// How many of them are connected to a database.
    pub(super) in_databases: usize,
}

/// Understands the answer to [`SESSIONS`].
///
/// # Errors
/// As for [`limits`].
pub(super) fn whole(rows: &[Values], ours: &Ours<'_>, at: Moment) -> Result<Look, String> {
    let mut look = limits(rows, at)?;
    let mut by_user: BTreeMap<(String, String), u32> = BTreeMap::new();
    for row in rows.iter().map(Row).filter(|row| row.text(0) == "B") {
        let pid = row.number(1);
        look.pids.push(pid);
        if pid != ours.control && !ours.all.contains(&pid) {
            *by_user.entry((row.text(2), row.text(3))).or_default() += 1;
        }
    }
    let walsenders: Vec<u32> =
        rows.iter().map(Row).filter(|row| row.text(0) == "V").map(|row| row.number(1)).collect();
    look.limited = limited(rows);
    let sees_all = rows.iter().map(Row).any(|row| row.text(0) == "S" && row.text(5) == "t");
    if sees_all {
        look.counted = Counted::Exactly;
        look.walsenders = u32::try_from(walsenders.len()).ok();
        let foreign = walsenders.iter().filter(|pid| !ours.all.contains(pid)).count();
        look.foreign_walsenders = u32::try_from(foreign).unwrap_or(u32::MAX);
        look.pids.extend(walsenders);
        look.foreign = by_user.values().sum();
    } else {
        let all = rows.iter().map(Row).find(|row| row.text(0) == "S").map_or(0, |row| row.number(6));
        look.counted = Counted::Roughly;
        look.foreign = all.saturating_sub(u32::try_from(ours.in_databases).unwrap_or(u32::MAX));
        look.pids.clear();
        by_user.clear();
    }
    look.by_user = by_user
        .into_iter()
        .map(|((user, application), count)| Foreign { user, application, count })
        .collect();
    look.by_user.sort_by_key(|foreign| std::cmp::Reverse(foreign.count));
    Ok(look)
}

/// Roles and databases with a CONNECTION LIMIT, and who has how many sessions there. Superusers have none.
fn limited(rows: &[Values]) -> Limited {
    let of_kind = |kind: &'static str| rows.iter().map(Row).filter(move |row| row.text(0) == kind);
    let limits = |kind| of_kind(kind).map(|row| (row.text(1), row.number(2))).collect();
    let session = |row: Row<'_>| Session { pid: row.number(1), role: row.text(2), database: row.text(4) };
    let mut limited = Limited {
        roles: limits("R"),
        databases: limits("D"),
        superusers: of_kind("U").map(|row| row.text(1)).collect(),
        sessions: Vec::new(),
    };
    if !limited.roles.is_empty() || !limited.databases.is_empty() {
        limited.sessions = of_kind("B").map(session).collect();
    }
    limited
}

/// A row of an answer.
struct Row<'a>(&'a Values);

impl Row<'_> {
    fn text(&self, at: usize) -> String {
        let value = self.0.get(at).and_then(|value| value.as_deref()).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }

    fn number(&self, at: usize) -> u32 {
        self.text(at).parse().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> Values {
        values.iter().map(|value| Some(value.as_bytes().into())).collect()
    }

    #[test]
    fn sessions_of_others_are_counted_by_role_and_application() {
        let rows = [
            row(&["S", "100", "3", "2", "17.5", "t", "9"]),
            row(&["W", "10", "150018"]),
            row(&["V", "20"]),
            row(&["V", "21"]),
            row(&["P", "10"]),
            row(&["B", "10", "app", "web", "shop"]),
            row(&["B", "11", "control", "", "shop"]),
            row(&["B", "12", "batch", "night", "shop"]),
            row(&["B", "13", "batch", "night", "shop"]),
            row(&["B", "14", "ops", "psql", "shop"]),
            row(&["R", "batch", "5"]),
            row(&["U", "postgres"]),
        ];
        let look = whole(&rows, &Ours { control: 11, all: &[10, 11, 21], in_databases: 3 }, Moment(5))
            .expect("an answer");
        assert_eq!((look.walsender_places, look.foreign_walsenders), (Some(Places::Apart(10)), 1));
        assert_eq!((look.max_connections, look.reserved, look.foreign), (100, 5, 3));
        let batch = Foreign { user: "batch".into(), application: "night".into(), count: 2 };
        assert_eq!((look.by_user.len(), &look.by_user[0]), (2, &batch));
        assert_eq!((look.counted, look.pids.len()), (Counted::Exactly, 7));
        assert_eq!((look.walsenders, &*look.started, look.alive), (Some(2), "17.5", Some(vec![10])));
        assert_eq!((look.limited.roles["batch"], look.limited.sessions.len()), (5, 5));
        assert!(look.limited.databases.is_empty() && look.limited.superusers.contains("postgres"));
    }

    #[test]
    fn walsenders_have_places_of_their_own_since_version_12() {
        let server = row(&["S", "100", "3", "0", "17.5"]);
        let places = |version: &str| {
            let rows = [server.clone(), row(&["W", "10", version])];
            limits(&rows, Moment(5)).expect("an answer").walsender_places
        };
        assert_eq!(places("110022"), Some(Places::Among));
        assert_eq!(places("120000"), Some(Places::Apart(10)));
    }

    #[test]
    fn a_role_that_may_not_see_them_counts_by_database() {
        let rows = [row(&["S", "100", "3", "0", "17.5", "f", "9"]), row(&["B", "11", "control", ""])];
        // One of ours is a walsender without a database, and not among the nine.
        let ours = Ours { control: 11, all: &[10, 11, 12], in_databases: 2 };
        let look = whole(&rows, &ours, Moment(5)).expect("an answer");
        assert_eq!((look.foreign, look.counted, look.pids.len()), (7, Counted::Roughly, 0));
        assert_eq!((look.walsenders, look.walsender_places), (None, None));
        assert!(whole(&[], &ours, Moment(5)).is_err());
    }
}
