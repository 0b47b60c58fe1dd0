//! Asks a server what it has: as one of the roles that the pools have, over the same words a pool would use.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use plimsoll_auth::Stored;
use plimsoll_cli::{
    ClearText, NoAnswer, ServerAt, ServerKnock, ServerLink, ServerRow, ServerTls, TryNext, Visit, harmless,
};
use plimsoll_config::{CredentialSource, Database, Plan, SslMode};
use plimsoll_types::Secret;

use super::demand::{all, targets_of};
use super::facts::{
    Answer, Full, Looks, Origin, Rank, Role, Said, Sessions, Silent, Target, Watching, socket,
};

/// Most logins that are tried at one server: a refused one is a line in its log.
const LOGINS_MAX: usize = 3;
/// What we say we are.
const APPLICATION: &str = "plimsoll check";
/// The database that is tried for a `*` line.
const ANY_DATABASE: &str = "postgres";

/// Version, limits, when it started, where it sees us, and when it ends a silent session (ms; new in PostgreSQL 14).
/// `reserved_connections` is new in PostgreSQL 16.
const LIMITS: &str = "SELECT current_setting('server_version'), current_setting('max_connections'), \
    current_setting('superuser_reserved_connections'), coalesce(current_setting('reserved_connections', true), '0'), \
    pg_postmaster_start_time()::text || ' ' || current_setting('port'), coalesce(host(inet_client_addr()), ''), \
    coalesce((SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'), '')";
/// Sessions, grouped. What is not a client has no database or no role. Of other roles' sessions only pg_read_all_stats
/// may see more than that they are there.
const SESSIONS: &str = "SELECT usename, coalesce(host(client_addr), ''), \
    CASE WHEN query = '<insufficient privilege>' THEN 'hidden' \
    WHEN application_name ~* 'plimsoll|pgbouncer' OR (state = 'idle' AND query ~* '^\\s*DISCARD ALL') THEN 'pooled' \
    ELSE 'plain' END, count(*) FROM pg_stat_activity \
    WHERE datid IS NOT NULL AND usename IS NOT NULL AND pid <> pg_backend_pid() \
    GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT 1000";
/// Roles with something special about them.
const ROLES: &str = "SELECT rolname, rolconnlimit, rolsuper FROM pg_roles \
    WHERE rolcanlogin AND (rolconnlimit >= 0 OR rolsuper) ORDER BY 1 LIMIT 10000";
/// Whether the sessions of others are seen.
const SEES: &str = "SELECT pg_has_role('pg_read_all_stats', 'USAGE')";
/// Wrong password.
const INVALID_PASSWORD: &str = "28P01";
/// Databases with a limit.
const DATABASES: &str =
    "SELECT datname, datconnlimit FROM pg_database WHERE datconnlimit >= 0 ORDER BY 1 LIMIT 10000";

/// One way in.
#[derive(Debug)]
struct Login<'a> {
    database: &'a str,
    user: &'a str,
    secret: Option<&'a Secret>,
}

/// Asks a target: with the first login that is let in, over TLS where that is what the configuration wants.
pub(super) fn ask(
    plan: &Plan,
    target: &Target,
    names: &BTreeMap<String, Vec<IpAddr>>,
    tls: Result<Option<ServerTls>, String>,
) -> Answer {
    let silent = |why: String| Err(Silent { why, full: Full::No });
    let at = match target {
        Target::Tcp(ip, port) => ServerAt::Tcp(ip.to_string(), *port),
        Target::Unix(dir, port) => ServerAt::Unix(socket(dir, *port)),
        Target::Name(name, _) => return silent(format!("the name {name} has no address")),
    };
    let tls = match tls {
        Ok(tls) => tls,
        Err(why) => return silent(why),
    };
    let clear_text = match (target.is_local(), plan.general.server_tls.mode) {
        (true, _) | (false, SslMode::Disable) => ClearText::Sent,
        // Whoever is on the way could switch TLS off and ask for it.
        (false, _) => ClearText::Withheld,
    };
    let mut last = Silent { why: "no user is known that could ask".to_string(), full: Full::No };
    for login in logins(plan, target, names) {
        let visit = |login: &Login<'_>| Visit {
            database: login.database.to_string(),
            application: APPLICATION.to_string(),
            clear_text,
            tls: tls.clone(),
        };
        let open = |login: &Login<'_>| {
            let knock = ServerKnock { user: login.user.to_string(), secret: login.secret.cloned() };
            ServerLink::open(&at, &knock, &visit(login))
        };
        match open(&login).and_then(|mut link| questions(&mut link)) {
            Ok(said) => return Ok(Said { watching: watching(plan, target, names, open), ..said }),
            Err(failure) => {
                let next = failure.next;
                last = silence(&login, failure);
                if next == TryNext::No {
                    break;
                }
            }
        }
    }
    Err(last)
}

/// What `control_user` gets to see: it logs in as the pooler would, to another database where one does not let it in.
fn watching(
    plan: &Plan,
    target: &Target,
    names: &BTreeMap<String, Vec<IpAddr>>,
    open: impl Fn(&Login<'_>) -> Result<ServerLink, NoAnswer>,
) -> Watching {
    let Some(user) = &plan.own.control_user else { return Watching::Nobody };
    let leads = |database: &&Database| targets_of(database, names).contains(target);
    let mut last = Watching::Nobody;
    for database in all(plan).filter(leads).take(LOGINS_MAX) {
        let login = Login { database: dbname(database), user, secret: plan.logins.get(user) };
        match open(&login).and_then(|mut link| link.ask(SEES)) {
            Ok(rows) => {
                let sees = rows.first().map(texts).is_some_and(|row| row == ["t"]);
                return if sees { Watching::Sees } else { Watching::Blind };
            }
            Err(failure) => {
                let everywhere = failure.sqlstate == INVALID_PASSWORD;
                last = Watching::Refused(silence(&login, failure).why);
                if everywhere {
                    break;
                }
            }
        }
    }
    last
}

fn silence(login: &Login<'_>, failure: NoAnswer) -> Silent {
    let full = if failure.sqlstate == "53300" { Full::Yes } else { Full::No };
    let why = match failure.sqlstate.as_str() {
        "" => failure.why,
        _ => format!("{} (as {}, database {})", failure.why, harmless(login.user), harmless(login.database)),
    };
    Silent { why, full }
}

/// Who could ask, the likeliest first: passwords, MD5 secrets, then whoever needs none.
fn logins<'a>(plan: &'a Plan, target: &Target, names: &BTreeMap<String, Vec<IpAddr>>) -> Vec<Login<'a>> {
    let leads = |database: &&Database| targets_of(database, names).contains(target);
    let mut logins: Vec<Login<'a>> =
        all(plan).filter(leads).flat_map(|database| of_database(plan, database)).collect();
    logins.sort_by_key(|login| match stored(login.secret) {
        Some(Stored::Plain(_)) => 0,
        Some(Stored::Md5(_)) => 1,
        // Nothing to prove oneself with: the server may trust.
        Some(Stored::Scram(_)) | None => 2,
    });
    logins.truncate(LOGINS_MAX);
    logins
}

fn stored(secret: Option<&Secret>) -> Option<Stored> {
    secret.and_then(Secret::expose_text).filter(|text| !text.is_empty()).map(Stored::parse)
}

fn of_database<'a>(plan: &'a Plan, database: &'a Database) -> Vec<Login<'a>> {
    let dbname = dbname(database);
    // What a provider gives is the pooler's to ask for.
    let is_lent = |user: &str| plan.credential(Some(database), user, None) != CredentialSource::Static;
    if let Some(user) = &database.user {
        if is_lent(user) {
            return Vec::new();
        }
        let secret = database.password.as_ref().or_else(|| plan.logins.get(user));
        return vec![Login { database: dbname, user, secret }];
    }
    // Users of the console only have no business at a server: they come last.
    let is_console =
        |user: &String| plan.general.admin_users.contains(user) || plan.general.stats_users.contains(user);
    let (last, first): (Vec<_>, Vec<_>) = plan.logins.iter().partition(|(user, _)| is_console(user));
    let known = first.into_iter().chain(last).filter(|(user, _)| !is_lent(user));
    let logins = known.map(|(user, secret)| {
        // As in the connector: a password of the line is everybody's.
        Login { database: dbname, user, secret: database.password.as_ref().or(Some(secret)) }
    });
    let asker = database.auth_user.as_ref().or(plan.general.auth_user.as_ref());
    let asker = asker.filter(|user| !is_lent(user)).map(|user| Login {
        database: dbname,
        user,
        secret: plan.logins.get(user),
    });
    asker.into_iter().chain(logins).collect()
}

/// The name PostgreSQL has for a database.
fn dbname(database: &Database) -> &str {
    let name = match database.name.as_str() {
        "*" => ANY_DATABASE,
        name => name,
    };
    database.dbname.as_deref().unwrap_or(name)
}

fn questions(link: &mut ServerLink) -> Result<Said, NoAnswer> {
    let strange = || NoAnswer {
        sqlstate: String::new(),
        why: "what answers there does not speak as PostgreSQL 10 and later do".to_string(),
        next: TryNext::No,
    };
    let rows = link.ask(LIMITS)?;
    let limits: Vec<&str> = rows.first().map(texts).unwrap_or_default();
    let &[version, max, superusers, reserved, identity, here, silence] = limits.as_slice() else {
        return Err(strange());
    };
    let number = |text: &str| text.parse::<u32>().map_err(|_| strange());
    let kept = number(superusers)?.saturating_add(number(reserved)?);
    Ok(Said {
        identity: identity.to_string(),
        version: harmless(version).into_owned(),
        max_connections: number(max)?,
        kept,
        sessions: link.ask(SESSIONS)?.iter().filter_map(|row| sessions(row, here)).collect(),
        roles: link.ask(ROLES)?.iter().filter_map(role).collect(),
        databases: link.ask(DATABASES)?.iter().filter_map(database).collect(),
        idle_session_timeout: silence.parse().ok().map(Duration::from_millis),
        reported: link.reported().to_vec(),
        watching: Watching::Nobody,
    })
}

/// The values; a NULL is an empty text.
fn texts(row: &ServerRow) -> Vec<&str> {
    row.iter().map(|value| value.as_deref().unwrap_or_default()).collect()
}

fn sessions(row: &ServerRow, here: &str) -> Option<Sessions> {
    let &[role, address, looks, count] = texts(row).as_slice() else { return None };
    let from = match looks {
        "hidden" => Origin::Hidden,
        _ if is_same(address, here) => Origin::Here,
        // A Unix socket of a server on another machine.
        _ if address.is_empty() => Origin::Elsewhere("its own machine".to_string()),
        _ => Origin::Elsewhere(harmless(address).into_owned()),
    };
    let looks = if looks == "pooled" { Looks::Pooled } else { Looks::Plain };
    Some(Sessions { role: role.to_string(), from, looks, count: count.parse().ok()? })
}

/// Whether two addresses are the same machine as the server sees it; a Unix socket and loopback are its own.
fn is_same(a: &str, b: &str) -> bool {
    let is_own = |text: &str| text.is_empty() || text.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    a == b || is_own(a) && is_own(b)
}

fn role(row: &ServerRow) -> Option<(String, Role)> {
    let &[name, limit, superuser] = texts(row).as_slice() else { return None };
    let rank = if superuser == "t" { Rank::Superuser } else { Rank::Plain };
    // -1 is no limit; a superuser has none.
    let limit = limit.parse::<u32>().ok().filter(|_| rank == Rank::Plain);
    Some((name.to_string(), Role { limit, rank }))
}

fn database(row: &ServerRow) -> Option<(String, u32)> {
    let &[name, limit] = texts(row).as_slice() else { return None };
    Some((name.to_string(), limit.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::demand::tests::plan;
    use super::*;

    fn row(values: &[&str]) -> ServerRow {
        values.iter().map(|value| Some(value.to_string())).collect()
    }

    fn users(ini: &str) -> Vec<(String, String)> {
        let plan = plan(ini);
        let target = Target::Tcp("10.0.0.1".parse().expect("an address"), 5432);
        let logins = logins(&plan, &target, &BTreeMap::new());
        logins.iter().map(|login| (login.user.to_string(), login.database.to_string())).collect()
    }

    #[test]
    fn who_asks_is_one_of_the_pools_roles() {
        let pair = |user: &str, database: &str| (user.to_string(), database.to_string());
        assert_eq!(
            users("admin_users = a\n[databases]\nx = host=10.0.0.1 dbname=y\nz = host=10.0.0.2\n"),
            [pair("b", "y"), pair("c", "y"), pair("a", "y")]
        );
        assert_eq!(users("[databases]\nx = host=10.0.0.1 user=forced password=p\n"), [pair("forced", "x")]);
        assert_eq!(users("[databases]\n* = host=10.0.0.1\n")[0], pair("a", "postgres"));
        // Whoever has no password comes behind those who have.
        let found = users("[databases]\nx = host=10.0.0.1 user=nobody\ny = host=10.0.0.1 user=a\n");
        assert_eq!(found, [pair("a", "y"), pair("nobody", "x")]);
    }

    #[test]
    fn a_server_on_another_machine_has_sessions_of_its_own() {
        let from = |address: &str, looks: &str, here: &str| {
            sessions(&row(&["app", address, looks, "3"]), here).map(|sessions| sessions.from)
        };
        assert_eq!(from("10.0.0.5", "plain", "10.0.0.5"), Some(Origin::Here));
        assert_eq!(from("", "plain", "127.0.0.1"), Some(Origin::Here));
        assert_eq!(from("::1", "pooled", ""), Some(Origin::Here));
        assert_eq!(from("", "plain", "10.0.0.5"), Some(Origin::Elsewhere("its own machine".to_string())));
        assert_eq!(from("10.0.0.6", "plain", "10.0.0.5"), Some(Origin::Elsewhere("10.0.0.6".to_string())));
        assert_eq!(from("", "hidden", ""), Some(Origin::Hidden));
        assert_eq!(sessions(&row(&["app", "", "plain", "many"]), ""), None);
        assert_eq!(sessions(&row(&["app"]), ""), None);
    }

    #[test]
    fn a_superuser_has_no_limit() {
        assert_eq!(
            role(&row(&["a", "5", "f"])),
            Some(("a".to_string(), Role { limit: Some(5), rank: Rank::Plain }))
        );
        let boss = Role { limit: None, rank: Rank::Superuser };
        assert_eq!(role(&row(&["b", "5", "t"])), Some(("b".to_string(), boss)));
        assert_eq!(role(&row(&["c", "-1", "f"])), Some(("c".to_string(), Role::default())));
    }
}
