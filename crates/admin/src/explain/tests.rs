use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::Compat;
use plimsoll_pool::{Admission, BudgetSource, CapOf, CapView, Obstacle, PoolCounts};
use plimsoll_proxy::{
    AdmissionView, HoldView, KeyView, Level, NeedView, PartView, QueuePart, SaidView, Sharer, TargetView,
    VerdictView, Visitor, WhoView,
};
use plimsoll_types::{Cause, Pins, PoolMode, SqlState, TargetId};

use super::{answer, parts};
use crate::failure::Failure;
use crate::tests::Still;

const INI: &str = "[databases]
shop = host=10.0.0.1 port=5433 max_db_client_connections=4 max_db_connections=6 dbname=shop_live
till = host=10.0.0.1 port=5433
app = host=10.0.0.1 port=5433 user=forced pool_size=2
[pgbouncer]
max_db_connections = 50
max_db_client_connections = 77
max_user_connections = 60
[users]
bob = max_user_client_connections=1 pool_size=2 reserve_pool_size=1
ada = max_user_connections=3
[plimsoll]
target_budget = 20
target_headroom = 4
";
const TARGETS: &str = "[targets]\n10.0.0.1:5433 = budget=3 headroom=9\n";

fn still(ini: &str) -> Still {
    let plan = plimsoll_config::load(Path::new("a.ini"), &mut |_| Ok(ini.to_string())).expect("a good file");
    Still { plan: RefCell::new(Arc::new(plan)), ..Still::new(Compat::Plimsoll) }
}

const ADDRESS: &str = "10.0.0.1:5433";

fn waits(obstacles: Vec<Obstacle>) -> AdmissionView {
    AdmissionView {
        role: None,
        exists: true,
        at_the_door: None,
        pool: Some(Admission::Waits(obstacles)),
        before: 12,
        parts: Vec::new(),
        size: 20,
        targets: vec![(TargetId(0), ADDRESS.to_string())],
    }
}

fn part(database: &str, role: &str, has: u32) -> PartView {
    PartView {
        database: database.into(),
        role: role.into(),
        purpose: "clients",
        has,
        waiting: 0,
        size: 20,
        weight: 1,
        floor: 0,
    }
}

/// What [`INI`] says of the one target, with or without [`TARGETS`].
fn target(still: &Still, source: BudgetSource) -> TargetView {
    TargetView {
        address: ADDRESS.to_string(),
        budget: Some(6),
        source,
        configured: Some(20),
        learned: None,
        counts: PoolCounts::default(),
        used: 6,
        walsenders: 0,
        walsenders_max: None,
        said: Some(SaidView {
            ago: Duration::ZERO,
            max_connections: 30,
            reserved: 3,
            walsenders: Some(0),
            foreign: Some(2),
            by_user: Vec::new(),
        }),
        trouble: None,
        refused: None,
        unseen: Vec::new(),
        differences: 0,
        line: still.plan.borrow().targets.first().cloned(),
        pools: vec![part("shop", "ada", 1), part("app", "forced", 5)],
    }
}

const ADMIN: Visitor<'_> = Visitor { level: Level::Admin, user: "root", from: "127.0.0.1:1" };
const STATS: Visitor<'_> = Visitor { level: Level::Stats, user: "ada", from: "127.0.0.1:1" };

fn told_to(still: &Still, visitor: Visitor<'_>, database: Option<&str>, user: Option<&str>) -> String {
    answer(still, visitor, database, user).expect("an answer").join("\n")
}

fn told(still: &Still, database: &str, user: &str) -> String {
    told_to(still, ADMIN, Some(database), Some(user))
}

fn database_limit(database: &str) -> String {
    let found = Obstacle::Database { max: 6, used: 6 };
    told(&Still { admission: waits(vec![found]), ..still(INI) }, database, "ada")
}

fn door(cause: Cause, database: &str, user: &str) -> String {
    let admission = AdmissionView { at_the_door: Some(cause), ..waits(Vec::new()) };
    let told = told(&Still { admission, ..still(INI) }, database, user);
    told.lines().nth(1).unwrap_or_default().to_string()
}

#[test]
fn a_limit_of_clients_is_the_one_that_counts_and_where_it_is_set() {
    let cases = [
        (Cause::MaxDbClients, "shop", "bob", "max_db_client_connections = 4 of database shop, a.ini:2"),
        (Cause::MaxDbClients, "till", "bob", "max_db_client_connections = 77, a.ini:7"),
        (Cause::MaxUserClients, "shop", "bob", "max_user_client_connections = 1 of user bob, a.ini:10"),
        (Cause::MaxUserClients, "shop", "ada", "max_user_client_connections = 0, the default"),
        (Cause::MaxClientConn, "shop", "ada", "max_client_conn = 100, the default"),
    ];
    for (cause, database, user, expected) in cases {
        assert_eq!(door(cause, database, user), expected);
    }
}

#[test]
fn limits_of_databases_users_and_pools_have_their_line() {
    assert!(
        database_limit("shop")
            .contains("6 of 6 connections (max_db_connections = 6 of database shop, a.ini:2)")
    );
    assert!(database_limit("till").contains("(max_db_connections = 50, a.ini:6)"));
    let with = |obstacle| Still { admission: waits(vec![obstacle]), ..still(INI) };
    let user = with(Obstacle::User { max: 3, used: 3 });
    assert!(told(&user, "shop", "ada").contains("(max_user_connections = 3 of user ada, a.ini:11)"));
    assert!(told(&user, "shop", "bob").contains("(max_user_connections = 60, a.ini:8)"));
    let pool = with(Obstacle::PoolSize { max: 2, used: 2 });
    assert!(
        told(&pool, "app", "ada")
            .contains("2 of 2 server connections (pool_size = 2 of database app, a.ini:4)")
    );
    assert!(told(&pool, "till", "ada").contains("(default_pool_size = 20, the default)"));
    let of_bob = "(pool_size = 2 of user bob, a.ini:10; reserve_pool_size = 1 of user bob, a.ini:10)";
    assert!(told(&pool, "shop", "bob").contains(of_bob));
    let role = told(&with(Obstacle::RoleLimit { max: 2 }), "shop", "ada");
    assert!(
        role.contains("leaves this pool 2 connections; ALTER ROLE ada or ALTER DATABASE shop_live raises it"),
        "{role}"
    );
}

#[test]
fn a_budget_is_told_with_the_line_that_sets_it() {
    let budget = || waits(vec![Obstacle::Budget { target: TargetId(0), max: 6, used: 6, reserved: 0 }]);
    let say = |ini: &str, source| {
        let still = Still { admission: budget(), ..still(ini) };
        let targets = vec![target(&still, source)];
        told(&Still { targets, ..still }, "shop", "ada")
    };
    let with_line = format!("{INI}{TARGETS}");
    let file = say(&with_line, BudgetSource::Configured);
    assert!(file.contains("(budget=3 of target 10.0.0.1:5433, a.ini:16)"), "{file}");
    assert!(say(INI, BudgetSource::Configured).contains("(target_budget = 20, a.ini:13)"));
    let server = "(by what the server says: max_connections 30, 3 reserved, 2 sessions of others; less ";
    let asked = say(&with_line, BudgetSource::Asked);
    assert!(asked.contains(&format!("{server}headroom=9 of target 10.0.0.1:5433, a.ini:16)")), "{asked}");
    assert!(say(INI, BudgetSource::Asked).contains(&format!("{server}target_headroom = 4, a.ini:14)")));
}

#[test]
fn what_holds_up_connecting_has_its_keys() {
    let say =
        |ini: &str, obstacle| told(&Still { admission: waits(vec![obstacle]), ..still(ini) }, "shop", "ada");
    let busy = say(INI, Obstacle::Concurrency { target: TargetId(0), opening: 4 });
    assert!(busy.contains("4 logins are in flight at 10.0.0.1:5433, as many as may be (connect_concurrency = 4, the default)"), "{busy}");
    let seconds = Duration::from_secs(2);
    let blocked = |cause| Obstacle::Blocked { again_in: seconds, cause: Some(cause) };
    let gone = || blocked(Cause::ServerEof);
    let own = say(INI, gone());
    assert!(
        own.contains(
            "in 2 s (connect_backoff_min = 100ms, the default; connect_backoff_max = 2s, the default)"
        ),
        "{own}"
    );
    let ini = format!("{INI}connect_backoff_max = 3s\n");
    assert!(say(&ini, gone()).contains("connect_backoff_max = 3s, a.ini:15)"));
    let theirs = INI.replace("[users]", "server_login_retry = 1.5\n[users]");
    assert!(say(&theirs, gone()).contains("in 2 s (server_login_retry = 1.5, a.ini:9)"));
    let refused = Cause::Server { sqlstate: SqlState(*b"28P01"), message: "no".into() };
    assert!(say(INI, blocked(refused)).contains("(server_login_retry = 15, the default)"));
    assert!(say(INI, Obstacle::NoTarget).contains("10.0.0.1 cannot be resolved, a.ini:2."));
    assert!(say(INI, Obstacle::Paused).contains("RESUME shop lets it go on"));
    let all = Still { paused: true, admission: waits(vec![Obstacle::Paused]), ..still(INI) };
    assert!(told(&all, "shop", "ada").contains("Everything is paused: RESUME lets it go on."));
}

#[test]
fn what_the_console_set_is_in_no_file() {
    let still = Still { admission: waits(vec![Obstacle::PoolSize { max: 5, used: 5 }]), ..still(INI) };
    let mut plan = plimsoll_config::Plan::clone(&still.plan.borrow());
    plimsoll_config::set(&mut plan, "default_pool_size", "5").expect("a good value");
    let still = Still { plan: RefCell::new(Arc::new(plan)), ..still };
    assert!(told(&still, "till", "ada").contains("(default_pool_size = 5, SET on the console)"));
}

fn hold(application: &str, database: &str, role: &str, server: u64) -> HoldView {
    HoldView {
        hold: 1,
        who: WhoView {
            client: 1,
            ptr: 1,
            user: role.into(),
            database: database.into(),
            host: "unix".to_string(),
            port: 0,
            application: application.to_string(),
            remote_pid: 0,
            tls_subject: None,
            identified: None,
        },
        role: role.into(),
        server,
        pid: 1,
        target: ADDRESS.to_string(),
        server_age: Duration::ZERO,
        state: "idle in transaction",
        age: Duration::from_secs(7),
        waited: Duration::ZERO,
        idle: Duration::ZERO,
        transaction: None,
        client_took: Duration::ZERO,
        unread_for: None,
        unread_bytes: 0,
        pins: Pins::default(),
        unknown_by: None,
        statements: 0,
        rows: 0,
        to_server: 0,
        to_client: 0,
        first: None,
        last: None,
        site: 0,
        verdict: VerdictView::default(),
        client_life: None,
        ended: None,
        ended_ago: Duration::ZERO,
    }
}

#[test]
fn a_full_pool_tells_how_many_of_it_replicate() {
    let still = still(INI);
    let counts = PoolCounts { held: 2, ..PoolCounts::default() };
    let key = plimsoll_proxy::KeyView {
        database: "shop".into(),
        role: "ada".into(),
        purpose: "replication",
        why: String::new(),
        clients: 0,
        counts,
        options: Vec::new(),
        weight: 1,
        floor: 0,
    };
    let admission = waits(vec![Obstacle::PoolSize { max: 5, used: 5 }]);
    let still = Still { admission, keys: vec![key], ..still };
    let told = told(&still, "shop", "ada");
    let expected = "The pool is full: 5 of 5 server connections, 2 of them for replication (";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn whoever_uses_a_limit_up_is_named_whatever_pool_it_is_of() {
    // All five connections of the pooler that stands still are of app/forced, at this target.
    let budget = Obstacle::Budget { target: TargetId(0), max: 6, used: 6, reserved: 0 };
    let still = still(INI);
    let targets = vec![TargetView {
        counts: PoolCounts { opening: 1, ..PoolCounts::default() },
        ..target(&still, BudgetSource::Configured)
    }];
    // The hold is of the server whose ptr all of them have.
    let holds = vec![hold("batch", "app", "forced", 0xdef)];
    let still = Still { admission: waits(vec![budget]), targets, holds, ..still };
    let told = told(&still, "shop", "ada");
    assert!(
        told.contains("Held: 5 by batch (app/forced), idle in transaction, the oldest for 7 s."),
        "{told}"
    );
    assert!(told.contains("Not held: 1 that are logging in."), "{told}");
    // Without the ledger nobody knows who, but what they are.
    let still = Still { holds: Vec::new(), ..still };
    let told = self::told(&still, "shop", "ada");
    for line in [
        "Held: 1 by clients of app/forced, the oldest for 1 s.",
        "Not held: 2 of app/forced, idle, the longest for 1 s.",
        "Not held: 1 of app/forced, being checked, the longest for 1 s.",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    // None of them is under a limit of another database.
    let other = Still { admission: waits(vec![Obstacle::Database { max: 6, used: 6 }]), ..still };
    let told = self::told(&other, "shop", "ada");
    assert!(!told.contains("eld: ") || !told.contains("app/forced"), "{told}");
}

fn need(database: &str, role: &str, held: u32) -> NeedView {
    NeedView {
        database: database.into(),
        role: role.into(),
        target: ADDRESS.to_string(),
        mode: PoolMode::Transaction,
        size: 20,
        held,
        idle: 0,
        other: 0,
        waiting: 12,
        oldest_wait: Duration::ZERO,
        clients: 12,
        holds_per_second: 1.0,
        hold_mean: Duration::from_secs(1),
        needed: 1.0,
        sleeping: 0,
        why: String::new(),
    }
}

#[test]
fn the_wait_is_by_what_the_tightest_limit_leaves() {
    let say = |obstacle| {
        let still = still(INI);
        let targets = vec![target(&still, BudgetSource::Configured)];
        let needs = vec![need("shop", "ada", 1)];
        told(&Still { admission: waits(vec![obstacle]), targets, needs, ..still }, "shop", "ada")
    };
    let about = |obstacle, time: &str| {
        let told = say(obstacle);
        assert!(told.contains(&format!("(1 s on average) it would take about {time}.")), "{told}");
    };
    // Twelve are before it.
    about(Obstacle::PoolSize { max: 20, used: 20 }, "1 s");
    about(Obstacle::Database { max: 6, used: 6 }, "13 s");
    about(Obstacle::User { max: 3, used: 3 }, "13 s");
    about(Obstacle::RoleLimit { max: 4 }, "4 s");
    // Half of six are its share.
    about(Obstacle::Budget { target: TargetId(0), max: 6, used: 6, reserved: 0 }, "5 s");
    about(Obstacle::Opening, "1 s");
}

#[test]
fn a_pool_without_a_past_waits_for_the_holds_of_others() {
    let budget = Obstacle::Budget { target: TargetId(0), max: 6, used: 6, reserved: 0 };
    let still = Still { admission: waits(vec![budget]), ..still(INI) };
    let targets = vec![target(&still, BudgetSource::Configured)];
    let still = Still { targets, needs: vec![need("app", "forced", 5)], ..still };
    assert!(told(&still, "shop", "ada").contains("(1 s on average) it would take about 5 s."));
    let nobody = Still { needs: Vec::new(), ..still };
    assert!(!told(&nobody, "shop", "ada").contains("on average"));
}

fn key(database: &str, role: &str, purpose: &'static str) -> KeyView {
    KeyView {
        database: database.into(),
        role: role.into(),
        purpose,
        why: String::new(),
        clients: 1,
        counts: PoolCounts::default(),
        options: Vec::new(),
        weight: 1,
        floor: 0,
    }
}

#[test]
fn who_asks_for_less_is_told_of_more() {
    let keys =
        vec![key("shop", "ada", "clients"), key("shop", "bob", "clients"), key("shop", "eve", "auth_query")];
    let still = Still { keys, ..still(INI) };
    let lines = |database, user| answer(&still, ADMIN, database, user).expect("an answer");
    let all = lines(None, None);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].starts_with(
        "A new client of database shop as user ada would wait behind 45 others. The pool is full:"
    ));
    assert!(
        all[0].contains("the default") && all[1].contains("user bob") && all[1].contains("a.ini:10"),
        "{all:?}"
    );
    let shop = lines(Some("shop"), None).join("\n");
    assert!(shop.contains("as user ada") && shop.contains("as user bob") && !shop.contains("eve"), "{shop}");
    // A word alone is a database: nobody is the user of that name.
    assert!(lines(Some("app"), None)[0].contains("of database app as user forced would"));
    let till = lines(Some("till"), None);
    assert!(
        till[0].starts_with("Nobody has a pool of database till yet: EXPLAIN ADMISSION till USER"),
        "{till:?}"
    );
    let nowhere = lines(Some("nowhere"), None);
    assert_eq!(nowhere, ["A new client of database nowhere would be refused: no such database: nowhere"]);
    let refused = AdmissionView { at_the_door: Some(Cause::MaxUserClients), ..waits(Vec::new()) };
    let still = Still { admission: refused, ..still };
    let of_bob = answer(&still, ADMIN, None, None).expect("an answer").remove(1);
    assert!(of_bob.ends_with(" (max_user_client_connections = 1 of user bob, a.ini:10)"), "{of_bob}");
    let none = Still { keys: Vec::new(), ..still };
    assert!(answer(&none, ADMIN, None, None).expect("an answer")[0].starts_with("There is no pool yet"));
}

#[test]
fn who_is_no_administrator_hears_of_itself_and_of_no_file() {
    let still = Still { keys: vec![key("shop", "bob", "clients")], ..still(INI) };
    for (database, user) in [(None, None), (Some("shop"), None), (Some("shop"), Some("ada"))] {
        let told = told_to(&still, STATS, database, user);
        assert!(told.contains("database shop as user ada would") && !told.contains("bob"), "{told}");
        assert!(!told.contains("a.ini"), "{told}");
    }
    assert_eq!(answer(&still, STATS, Some("shop"), Some("bob")), Err(Failure::AdminNeeded));
    assert_eq!(told_to(&still, STATS, None, None).lines().count(), 3, "a line for each database");
}

#[test]
fn temporary_caps_are_told_with_who_they_are_for_and_what_would_become_of_him() {
    let cap = |of: CapOf, max: u32, used: u32, waiting: u32, left: Option<u64>| {
        let by = "CAP by root (unix)".to_string();
        (CapView { of, max, used, waiting, until: None, by }, left.map(Duration::from_secs))
    };
    let app = |name: &str| CapOf::Application(name.to_string());
    let caps = vec![
        cap(app("web\n"), 9, 3, 0, None),
        cap(app("report"), 1, 2, 3, Some(1800)),
        cap(CapOf::Host("10.0.0.9".to_string()), 0, 0, 0, None),
    ];
    let still = Still { caps, ..still(INI) };
    let told = answer(&still, ADMIN, Some("shop"), Some("ada")).expect("an answer");
    assert_eq!(
        told[told.len() - 3..],
        [
            "A client that calls itself \"report\" comes to a temporary cap before it comes to the queue: it would wait \
             there, behind 3 others; 2 of 1 places are taken (CAP by root (unix), ends in 30 min).",
            "A client from host 10.0.0.9 comes to a temporary cap before it comes to the queue: it would wait there; 0 of 0 \
             places are taken (CAP by root (unix)).",
            "A client that calls itself \"web\\n\" comes to a temporary cap before it comes to the queue: it would be let \
             through; 3 of 9 places are taken (CAP by root (unix)).",
        ]
    );
    let all = told_to(&still, ADMIN, None, None);
    assert_eq!(all.matches("temporary cap").count(), 3, "once for all pools: {all}");
    let own = told_to(&still, STATS, Some("shop"), None);
    assert!(own.contains("Caps are in force (3)") && !own.contains("report"), "{own}");
    let many = (0..15).map(|number| cap(app(&number.to_string()), 1, 1, 0, None)).collect();
    let told = told_to(&Still { caps: many, ..still }, ADMIN, None, None);
    assert!(told.ends_with("And 5 more caps: CAP."), "{told}");
}

#[test]
fn a_queue_that_grants_share_says_who_has_how_much() {
    let full = || waits(vec![Obstacle::PoolSize { max: 20, used: 20 }]);
    let part = |who, weight, waiting| QueuePart { who, weight, waiting };
    let gold = || Sharer::Grant("gra_1".into());
    let parts = vec![part(gold(), 3, 8), part(Sharer::Everybody, 1, 4)];
    let still = Still { admission: AdmissionView { parts, ..full() }, ..still(INI) };
    let told = |still: &Still| answer(still, ADMIN, Some("shop"), Some("ada")).expect("an answer");
    let lines = told(&still);
    assert!(lines[0].ends_with("would wait with 12 others, who are served by weight."), "{lines:?}");
    let line = "Grants share the queue by their weights (limits of a grant; without one it is 1): grant gra_1, weight 3, \
                8 waiting; clients without a grant, weight 1, 4 waiting.";
    assert!(lines.iter().any(|told| told == line), "{lines:?}");
    let stats = answer(&still, STATS, Some("shop"), None).expect("an answer");
    assert!(stats.iter().any(|told| told.ends_with("without one it is 1).")), "{stats:?}");
    // Twelve are there, and each of the grant's eight comes before the fifth without one.
    assert_eq!(parts::before(&still.admission), 12);
    let parts = vec![part(gold(), 3, 100), part(Sharer::Everybody, 1, 4)];
    let many = AdmissionView { parts, before: 104, ..full() };
    assert_eq!(parts::before(&many), 4 + 3 * 5);
    // Where applications take turns and nobody has a weight it is told as ever.
    let parts = vec![part(Sharer::Application, 1, 6), part(gold(), 1, 6)];
    let still = Still { admission: AdmissionView { parts, ..full() }, ..still };
    assert!(told(&still)[0].ends_with("would wait behind 12 others."));
}
