mod identity;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use super::super::demand::{self, servers};
use super::super::facts::{
    FileFact, Full, Looks, Origin, Rank, Reach, Rights, Role, Rules, Running, Said, Sessions, Silent, Target,
    TlsFault, Weak, Weakness, Who,
};
use super::super::load::Loaded;
use super::super::load::tests::loaded;
use super::super::suggest::suggestions;
use super::*;

/// Users of every kind.
const USERS: &str = "\"app\" \"secret\"\n\"old\" \"md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n";
/// A file that no rule minds, but for the lines that are added.
const CALM: &str = "[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_file = users.txt\npool_mode = transaction\n\
                    max_client_conn = 50\nidle_transaction_timeout = 60\ntcp_keepidle = 60\n";
const LOCAL: &str = "[databases]\nshop = host=127.0.0.1\n[plimsoll]\ntarget_budget = 20\n";
const REMOTE: &str = "server_tls_sslmode = verify-full\nserver_tls_ca_file = ca\n[databases]\nshop = host=10.0.0.1\n\
                      [plimsoll]\ntarget_budget = 20\n";

fn load(ini: &str) -> Loaded {
    let loaded = loaded(&[("a.ini", ini), ("users.txt", USERS)]);
    let mistakes: Vec<&Finding> =
        loaded.findings.iter().filter(|found| found.level == Level::Mistake).collect();
    assert!(mistakes.is_empty(), "{mistakes:?}");
    loaded
}

/// What is found in a file, by rule and line; notes left out.
fn found(ini: &str, facts: &Facts) -> Vec<(&'static str, u32)> {
    findings(ini, facts)
        .iter()
        .filter(|found| found.level != Level::Note)
        .map(|found| (found.id, found.place.line))
        .collect()
}

fn findings(ini: &str, facts: &Facts) -> Vec<Finding> {
    let loaded = load(ini);
    let plan = loaded.plan.as_ref().expect("no mistakes");
    let servers = servers(plan, facts);
    judge(&Case { plan, places: &loaded.places, facts, servers: &servers })
}

fn calm(line: &str) -> String {
    format!("{CALM}{line}\n{LOCAL}")
}

fn remote(line: &str) -> String {
    format!("{CALM}{line}\n{REMOTE}")
}

fn target(text: &str) -> Target {
    Target::Tcp(text.parse().expect("an address"), 5432)
}

fn said() -> Said {
    Said {
        identity: "one".to_string(),
        version: "15.20".to_string(),
        max_connections: 60,
        kept: 3,
        reported: vec!["TimeZone".to_string(), "intervalstyle".to_string()],
        ..Said::default()
    }
}

fn answered(said: Said) -> Facts {
    let mut facts = Facts { reach: Reach::Online, ..Facts::default() };
    facts.answers.insert(target("127.0.0.1"), Ok(said));
    facts
}

fn file(mode: u32) -> FileFact {
    FileFact::There(Rights { mode, uid: 10, gid: 20 })
}

#[test]
fn a_calm_file_has_nothing_but_notes() {
    assert_eq!(found(&calm(""), &Facts::default()), []);
    assert_eq!(found(&remote(""), &Facts::default()), []);
    assert_eq!(found(&calm(""), &answered(said())), []);
}

/// Line 8 is the line that is added.
#[test]
fn timers_have_an_order() {
    let cases = [
        (
            "query_timeout = 9\ntransaction_timeout = 5",
            vec![("query-over-transaction", 8), ("idle-transaction-over-transaction", 6)],
        ),
        ("query_timeout = 5\ntransaction_timeout = 90", vec![]),
        ("client_idle_timeout = 30", vec![("idle-transaction-over-client-idle", 6)]),
        ("server_lifetime = 300", vec![("server-idle-over-lifetime", 8)]),
        ("server_lifetime = 0", vec![]),
        ("server_connect_timeout = 61", vec![("connect-over-login", 8)]),
        ("server_login_retry = 121", vec![("login-retry-over-wait", 8)]),
        ("reserve_pool_size = 1\nreserve_pool_timeout = 121", vec![("reserve-never-used", 9)]),
        ("reserve_pool_timeout = 121", vec![]),
        ("query_wait_timeout = 0", vec![("query-wait-off", 8)]),
        ("client_login_timeout = 0", vec![("client-login-off", 8)]),
        ("server_connect_timeout = 0", vec![("server-connect-off", 8)]),
        ("idle_transaction_timeout = 0", vec![("idle-transaction-off", 8)]),
        ("idle_transaction_timeout = 0\ntransaction_timeout = 10", vec![]),
        ("idle_transaction_timeout = 0\npool_mode = session", vec![]),
        ("min_pool_size = 21", vec![("min-over-pool-size", 8)]),
        ("default_pool_size = 0", vec![("pool-size-zero", 8)]),
        ("[users]\napp = query_timeout=9 transaction_timeout=5", vec![("query-over-transaction", 9)]),
        ("[users]\napp = transaction_timeout=5", vec![]),
        ("[databases]\nx = host=127.0.0.1 query_wait_timeout=0", vec![("query-wait-off", 9)]),
        ("[databases]\nx = host=127.0.0.1 pool_size=2 min_pool_size=3", vec![("min-over-pool-size", 9)]),
    ];
    for (lines, expected) in cases {
        assert_eq!(found(&calm(lines), &Facts::default()), expected, "{lines}");
    }
}

#[test]
fn logins_are_as_strong_as_they_look() {
    let cases = [
        ("auth_type = trust", vec![]),
        ("auth_type = trust\nlisten_addr = *", vec![("auth-open", 8)]),
        ("auth_type = trust\nlisten_addr = 127.0.0.1, localhost, ::1", vec![]),
        ("auth_type = any\nlisten_addr = 10.0.0.2", vec![("auth-open", 8), ("any-without-user", 11)]),
        ("auth_type = plain\nlisten_addr = *", vec![("auth-plain", 8)]),
        ("auth_type = plain", vec![]),
        ("listen_addr = *", vec![("auth-md5", 8)]),
        ("auth_type = scram-sha-256\nlisten_addr = *", vec![("md5-under-scram", 8)]),
        ("auth_file =", vec![("no-users", 8)]),
        ("auth_file =\nauth_user = x", vec![]),
        ("auth_type = hba", vec![("hba-without-file", 8)]),
        ("auth_type = hba\nauth_hba_file = hba", vec![]),
        ("[databases]\nx = host=127.0.0.1 user=nobody", vec![("forced-user-without-password", 9)]),
        ("[databases]\nx = host=127.0.0.1 user=app", vec![]),
        ("[databases]\nx = host=127.0.0.1 user=nobody password=p", vec![]),
    ];
    for (lines, expected) in cases {
        assert_eq!(found(&calm(lines), &Facts::default()), expected, "{lines}");
    }
    let tls = "auth_type = plain\nlisten_addr = *\nclient_tls_sslmode = require\nclient_tls_key_file = k\nclient_tls_cert_file = c";
    assert_eq!(found(&calm(tls), &Facts::default()), []);
}

#[test]
fn tls_is_verified_towards_other_machines() {
    let modes = [
        ("disable", Some("server-without-tls")),
        ("allow", Some("server-tls-not-verified")),
        ("prefer", Some("server-tls-not-verified")),
        ("require", Some("server-tls-not-verified")),
        ("verify-ca", None),
    ];
    for (mode, id) in modes {
        let line = format!("server_tls_sslmode = {mode}\nserver_tls_ca_file = ca");
        let remote =
            format!("{CALM}{line}\n[databases]\nx = host=10.0.0.1\n[plimsoll]\ntarget_budget = 20\n");
        assert_eq!(
            found(&remote, &Facts::default()),
            id.map(|id| (id, 8)).into_iter().collect::<Vec<_>>(),
            "{mode}"
        );
        assert_eq!(found(&calm(&line), &Facts::default()), [], "{mode}");
    }
    let client = "client_tls_sslmode = verify-full";
    let cases = [
        ("server_tls_sslmode = verify-ca", vec![("tls-any-authority", 8)]),
        ("server_tls_sslmode = verify-full", vec![]),
        (client, vec![("tls-any-authority", 8)]),
        ("client_tls_sslmode = verify-ca\nclient_tls_ca_file = ca", vec![]),
        ("auth_type = cert", vec![("cert-without-verify", 8)]),
    ];
    for (lines, expected) in cases {
        assert_eq!(found(&calm(lines), &Facts::default()), expected, "{lines}");
    }
    let fault = TlsFault { key: "client_tls_sslmode".to_string(), message: "no".to_string() };
    let facts = Facts { tls_faults: vec![fault], ..Facts::default() };
    assert_eq!(found(&calm("client_tls_sslmode = allow"), &facts), [("tls-settings", 8)]);
}

#[test]
fn ldap_and_pam_are_judged_with_their_lines() {
    let ldap = "auth_type = ldap\nauth_ldap_options = ";
    let cases = [
        ("auth_type = ldap".to_string(), vec![("ldap-options", 8)]),
        (format!("{ldap}ldapserver=h ldapbindpasswd=\"hidden"), vec![("ldap-options", 9)]),
        (format!("{ldap}ldapserver=127.0.0.1 ldapprefix=uid="), vec![]),
        (format!("{ldap}ldapserver=h ldapprefix=uid= ldaptls=1"), vec![]),
        (format!("{ldap}ldapserver=h ldapprefix=uid="), vec![("ldap-in-the-clear", 9)]),
        (
            format!("{ldap}ldapserver=::1 ldapbasedn=dc=x ldapbinddn=cn=me ldapsearchfilter=(uid=app)"),
            vec![("ldap-same-for-all", 9), ("ldap-unproved", 9)],
        ),
        ("auth_ldap_options = ldapserver=h ldapprefix=uid=".to_string(), vec![("ldap-options-unused", 8)]),
        ("auth_type = pam".to_string(), vec![]),
    ];
    for (lines, expected) in cases {
        let findings = findings(&calm(&lines), &Facts::default());
        assert!(!format!("{findings:?}").contains("hidden"), "{findings:?}");
        let told = findings.iter().filter(|found| found.level != Level::Note);
        let told: Vec<_> = told.map(|found| (found.id, found.place.line)).collect();
        assert_eq!(told, expected, "{lines}");
    }
    let mut facts = Facts::default();
    facts.files.insert("/etc/pam.d/pgbouncer".into(), FileFact::Missing);
    assert_eq!(found(&calm("auth_type = pam"), &facts), [("pam-no-service", 8)]);
    // Where clients come from other machines they give their passwords in the open.
    let open = "[pgbouncer]\nlisten_addr = *\nauth_type = pam\n";
    let told = found(&format!("{open}{LOCAL}"), &Facts::default());
    assert!(told.contains(&("auth-plain", 3)), "{told:?}");
    let told = found(&format!("{open}client_tls_sslmode = require\n{LOCAL}"), &Facts::default());
    assert!(!told.iter().any(|(id, _)| *id == "auth-plain"), "{told:?}");
}

#[test]
fn lines_of_the_hba_file_are_told_where_they_stand() {
    let at = |line| Place { file: "hba".into(), line };
    let weak = [Weakness::Trust, Weakness::ClearText, Weakness::LdapInTheClear];
    let weak = (1..).zip(weak).map(|(line, weakness)| Weak { place: at(line), weakness }).collect();
    let rules = Rules {
        weak,
        broken: vec![(at(9), "hba line 9".to_string())],
        unread: vec![("auth_ident_file", "no".to_string())],
    };
    let facts = Facts { rules, ..Facts::default() };
    assert_eq!(
        found(&calm("auth_type = hba\nauth_hba_file = hba\nauth_ident_file = i"), &facts),
        [
            ("hba-unreadable", 10),
            ("hba-line-broken", 9),
            ("auth-open", 1),
            ("auth-plain", 2),
            ("ldap-in-the-clear", 3)
        ]
    );
}

#[test]
fn secrets_are_for_few_and_folders_are_there() {
    let ini = calm(
        "logfile = /log/p.log\npidfile = /run/p.pid\n[databases]\nx = host=127.0.0.1 user=app password=p",
    );
    let mut facts =
        Facts { who: Who { name: "pg".to_string(), uid: 11, gids: vec![20] }, ..Facts::default() };
    let mut now = |path: &str, fact: FileFact| {
        facts.files.insert(path.into(), fact);
        found(&ini, &facts)
    };
    assert_eq!(now("a.ini", file(0o640)), []);
    assert_eq!(now("a.ini", file(0o644)), [("secret-readable", 11)]);
    now("a.ini", file(0o640));
    assert_eq!(now("users.txt", file(0o602)), [("secret-readable", 3), ("not-readable", 3)]);
    assert_eq!(now("users.txt", file(0o400)), [("not-readable", 3)]);
    assert_eq!(now("users.txt", file(0o440)), []);
    assert_eq!(now("/log", FileFact::Missing), [("folder-missing", 8)]);
    assert_eq!(now("/log", file(0o755)), [("not-writable", 8)]);
    // A log that is there is what counts.
    assert_eq!(now("/log/p.log", file(0o660)), []);
    assert_eq!(now("/run", file(0o770)), []);
    assert_eq!(now("/tmp", FileFact::Missing), [("folder-missing", 0)]);
    assert_eq!(now("/tmp", FileFact::Hidden("no".to_string())), []);
}

#[test]
fn limits_of_the_system_count() {
    let facts = |files_max| Facts { files_max: Some(files_max), ..Facts::default() };
    assert_eq!(found(&calm(""), &facts(50 + 20 + 26)), []);
    assert_eq!(found(&calm(""), &facts(50 + 20 + 25)), [("file-limit", 5)]);
    // Keepalive is short without a word, and as it is said otherwise.
    let open = "auth_type = scram-sha-256\nauth_file = none.txt\nauth_user = x\nlisten_addr = *\n";
    assert_eq!(found(&calm(&format!("{open}tcp_keepidle = 0")), &facts(1000)), []);
}

#[test]
fn a_server_that_ends_idle_connections_first_is_said() {
    let with = |seconds| Said { idle_session_timeout: Some(Duration::from_secs(seconds)), ..said() };
    assert_eq!(found(&calm(""), &answered(with(300))), [("server-ends-idle", 0)]);
    assert_eq!(found(&calm("server_idle_timeout = 299"), &answered(with(300))), []);
    assert_eq!(found(&calm("server_idle_timeout = 0"), &answered(with(86_400))), [("server-ends-idle", 8)]);
    assert_eq!(found(&calm(""), &answered(with(0))), []);
    assert_eq!(found(&calm(""), &answered(said())), []);
}

#[test]
fn names_that_look_like_a_balancers_are_noted() {
    let noted = |host: &str, facts: &Facts| {
        let ini = format!("{CALM}\n[databases]\nshop = host={host}\n");
        findings(&ini, facts).iter().any(|found| found.id == "server-behind-balancer")
    };
    let none = Facts::default();
    assert!(noted("shop-1234.elb.eu-north-1.amazonaws.com", &none));
    assert!(noted("shop.elb.amazonaws.com.", &none) && noted("db.prod.svc.cluster.local", &none));
    assert!(!noted("db.example.com", &none) && !noted("10.0.0.1", &none));
    let several = |addresses: &[&str], identities: [&str; 2]| {
        let mut facts = Facts { reach: Reach::Online, ..Facts::default() };
        let ips = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        facts.names.insert("db.example.com".to_string(), ips);
        for (address, identity) in addresses.iter().zip(identities) {
            facts.answers.insert(target(address), Ok(Said { identity: identity.to_string(), ..said() }));
        }
        facts
    };
    assert!(noted("db.example.com", &several(&["10.0.0.1", "10.0.0.2"], ["one", "one"])));
    assert!(!noted("db.example.com", &several(&["10.0.0.1", "10.0.0.2"], ["one", "two"])));
    assert!(!noted("db.example.com", &several(&["10.0.0.1", "fd00::1"], ["one", "one"])));
}

#[test]
fn state_stays_with_its_client() {
    assert_eq!(
        found(&calm("max_prepared_statements = 0"), &Facts::default()),
        [("prepared-statements-off", 8)]
    );
    assert_eq!(found(&calm("max_prepared_statements = 0\npool_mode = session"), &Facts::default()), []);
    assert_eq!(
        found(&calm("server_reset_query =\npool_mode = session"), &Facts::default()),
        [("reset-query-empty", 8)]
    );
    let line = "track_extra_parameters = IntervalStyle, search_path";
    assert_eq!(found(&calm(line), &answered(said())), [("parameter-not-reported", 8)]);
    assert_eq!(found(&calm("track_extra_parameters = timezone"), &answered(said())), []);
}

/// Two users on one database: 40 connections at most.
#[test]
fn pools_fit_the_places_of_the_server() {
    let ini = |budget: &str| {
        format!("{CALM}[databases]\nshop = host=127.0.0.1\n[plimsoll]\ntarget_budget = {budget}\n")
    };
    let with = |max_connections, sessions| Said { max_connections, sessions, ..said() };
    let others =
        |count| vec![Sessions { role: "x".to_string(), from: Origin::Here, looks: Looks::Plain, count }];
    assert_eq!(found(&ini("off"), &answered(with(43, vec![]))), []);
    assert_eq!(found(&ini("off"), &answered(with(42, vec![]))), [("pools-exceed-server", 0)]);
    assert_eq!(found(&ini("39"), &answered(with(42, vec![]))), []);
    assert_eq!(found(&ini("40"), &answered(with(42, vec![]))), [("budget-exceeds-server", 11)]);
    // More than the pools need can do no harm.
    assert_eq!(found(&ini("90"), &answered(with(43, vec![]))), []);
    assert_eq!(found(&ini("30"), &answered(with(53, others(20)))), []);
    assert_eq!(found(&ini("30"), &answered(with(52, others(20)))), [("no-room-for-others", 11)]);
    // 100 - 3, less 20 of others and 4 to spare.
    let suggested = suggestions(&findings(&ini("off"), &answered(with(100, others(70)))));
    assert_eq!((suggested[0].key, suggested[0].value.as_str()), ("target_budget", "23"));
}

/// Two users on one database: 40 connections at most. What the server has is learned.
#[test]
fn an_automatic_budget_is_as_good_as_what_teaches_it() {
    let ini = |lines: &str| format!("{CALM}[databases]\nshop = host=127.0.0.1\n[plimsoll]\n{lines}\n");
    let with = |max_connections, count| {
        let other = Sessions { role: "x".to_string(), from: Origin::Here, looks: Looks::Plain, count };
        answered(Said { max_connections, sessions: vec![other], ..said() })
    };
    // 20 - 3 - 3 are 14 for us, and 3 for others.
    assert_eq!(found(&ini(""), &with(20, 3)), []);
    assert_eq!(found(&ini(""), &with(20, 4)), [("no-room-for-others", 0)]);
    assert_eq!(found(&ini("target_headroom = 4"), &with(20, 4)), []);
    assert_eq!(found(&ini("control_user = app"), &with(20, 10)), []);
    // Nobody asks: the server fills up to its last place.
    assert_eq!(found(&ini("compat = pgbouncer"), &with(20, 0)), [("pools-exceed-server", 0)]);
    assert_eq!(found(&ini("compat = pgbouncer\ncontrol_user = app"), &with(20, 0)), []);
    assert_eq!(found(&ini("compat = pgbouncer"), &with(43, 0)), []);
    let lines = "[targets]\n127.0.0.1:5432 = budget=18 headroom=1";
    assert_eq!(found(&ini(lines), &with(20, 0)), [("budget-exceeds-server", 12)]);
    // The file is as good for a name of the server.
    let mut named = with(20, 0);
    named.names.insert("db".to_string(), vec!["127.0.0.1".parse().expect("an address")]);
    assert_eq!(found(&ini("[targets]\ndb:5432 = budget=18"), &named), [("budget-exceeds-server", 12)]);
}

#[test]
fn promises_and_targets_are_judged_by_what_the_network_says() {
    let ini = |lines: &str| format!("{CALM}[databases]\nshop = host=127.0.0.1 {lines}\n");
    // 20 - 3 - 3 are 14 for two users.
    let small = answered(Said { max_connections: 20, ..said() });
    assert_eq!(found(&ini("guaranteed_pool_size=7"), &small), []);
    assert_eq!(found(&ini("guaranteed_pool_size=8"), &small), [("floors-exceed-budget", 0)]);
    // The loader's doubts are here too.
    assert_eq!(found(&ini("guaranteed_pool_size=21"), &Facts::default()), [("floor-over-pool-size", 9)]);
    let mut facts = small;
    facts.names.insert("db".to_string(), vec!["10.0.0.9".parse().expect("an address")]);
    let other = ini("\n[targets]\ndb:5432 = budget=3");
    assert_eq!(found(&other, &facts), [("target-unused", 11)]);
    assert_eq!(found(&other, &Facts::default()), []);
    facts.names.insert("db".to_string(), vec!["127.0.0.1".parse().expect("an address")]);
    assert_eq!(found(&other, &facts), []);
    let twice = ini("\n[targets]\n127.0.0.1:5432 = budget=3\ndb:5432 = budget=3");
    assert_eq!(found(&twice, &facts), [("target-named-twice", 12)]);
    // One finding for what both the text and the network tell.
    let elsewhere = ini("\n[targets]\n10.0.0.7:5432 = budget=3");
    assert_eq!(found(&elsewhere, &facts), [("target-unused", 11)]);
}

#[test]
fn without_an_answer_a_budget_is_wanted() {
    let silent = |full| {
        let mut facts = Facts { reach: Reach::Online, ..Facts::default() };
        facts.answers.insert(target("127.0.0.1"), Err(Silent { why: "no \"reason\"".to_string(), full }));
        facts
    };
    let auto = format!("{CALM}[databases]\nshop = host=127.0.0.1\n");
    assert_eq!(found(&auto, &Facts::default()), []);
    assert_eq!(found(&auto, &silent(Full::No)), [("server-not-asked", 9)]);
    let off = format!("{auto}[plimsoll]\ntarget_budget = off\n");
    assert_eq!(found(&off, &Facts::default()), [("no-target-budget", 11)]);
    assert_eq!(found(&off, &silent(Full::No)), [("server-not-asked", 9), ("no-target-budget", 11)]);
    let line = format!("{auto}[targets]\n127.0.0.1:5432 = budget=off\n");
    assert_eq!(found(&line, &Facts::default()), [("no-target-budget", 11)]);
    assert_eq!(found(&calm(""), &silent(Full::Yes)), [("server-full", 10)]);
    let any = format!("{CALM}[databases]\n* = host=127.0.0.1\n");
    let many = answered(Said { max_connections: 600, ..said() });
    assert_eq!(found(&any, &many), []);
    let off = format!("{any}[plimsoll]\ntarget_budget = off\n");
    assert_eq!(found(&off, &many), [("no-target-budget", 11)]);
    assert_eq!(found(CALM, &Facts::default()), []);
}

#[test]
fn limits_of_roles_and_databases_count() {
    let role = |limit, rank| Said { roles: [("app".to_string(), Role { limit, rank })].into(), ..said() };
    assert_eq!(found(&calm(""), &answered(role(Some(20), Rank::Plain))), []);
    assert_eq!(found(&calm(""), &answered(role(Some(19), Rank::Plain))), [("role-connection-limit", 0)]);
    let of_database = |limit| Said { databases: [("shop".to_string(), limit)].into(), ..said() };
    assert_eq!(found(&calm(""), &answered(of_database(20))), []);
    assert_eq!(found(&calm(""), &answered(of_database(19))), [("database-connection-limit", 10)]);
    let forced = calm("[databases]\nx = host=127.0.0.1 user=app");
    assert_eq!(found(&forced, &answered(role(None, Rank::Superuser))), [("superuser-pool", 9)]);
    // Only somebody who might log in: a note.
    assert_eq!(found(&calm(""), &answered(role(None, Rank::Superuser))), []);
}

#[test]
fn another_pooler_is_seen_unless_all_fit() {
    let seen = |role: &str, from: Origin, looks| Sessions { role: role.to_string(), from, looks, count: 2 };
    let elsewhere = || Origin::Elsewhere("10.0.0.9".to_string());
    let with =
        |sessions: Vec<Sessions>, max_connections| answered(Said { sessions, max_connections, ..said() });
    let pooled = || vec![seen("x", elsewhere(), Looks::Pooled)];
    let shared = || vec![seen("app", elsewhere(), Looks::Plain)];
    for sessions in [pooled(), shared()] {
        assert_eq!(found(&calm(""), &with(sessions.clone(), 42)), [("other-pooler", 12)]);
        assert_eq!(found(&calm(""), &with(sessions, 43)), []);
    }
    let harmless = vec![
        seen("x", elsewhere(), Looks::Plain),
        seen("app", Origin::Here, Looks::Pooled),
        seen("app", Origin::Hidden, Looks::Plain),
    ];
    assert_eq!(found(&calm(""), &with(harmless, 42)), []);
}

#[test]
fn one_server_by_two_ways_has_two_budgets() {
    let ini = format!(
        "{CALM}[databases]\nx = host=127.0.0.1\ny = host=127.0.0.2\n[plimsoll]\ntarget_budget = 20\n"
    );
    let mut facts = answered(said());
    facts.answers.insert(target("127.0.0.2"), Ok(said()));
    facts.running = Running::Yes;
    assert_eq!(found(&ini, &facts), [("one-server-many-targets", 12)]);
    facts.answers.insert(target("127.0.0.2"), Ok(Said { identity: "two".to_string(), ..said() }));
    assert_eq!(found(&ini, &facts), []);
}

#[test]
fn a_folder_that_takes_no_temporary_file_is_told() {
    let facts = Facts { spill_trouble: Some("/x is in memory (tmpfs)".to_string()), ..Facts::default() };
    assert_eq!(found(&calm("[databases]\nx = host=127.0.0.1\n"), &facts), [("spill-dir-unusable", 0)]);
}

fn source(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_rule_is_explained() {
    let page = include_str!("../../../../../docs/check.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![source(&root.join("../config/src/doubts.rs"))];
    let mut folders = vec![root.join("src/check"), root.join("../config/src/doubts")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            match path.file_stem().and_then(OsStr::to_str) {
                Some("tests") => {}
                _ if path.is_dir() => folders.push(path),
                _ => sources.push(source(&path)),
            }
        }
    }
    let is_id = |word: &&str| {
        word.contains('-')
            && word.len() > 6
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '5')
    };
    let no_rules = ["scram-sha-", "verify-full", "verify-ca"];
    let ids: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split('"'))
        .filter(is_id)
        .filter(|word| !no_rules.contains(word))
        .collect();
    assert!(ids.len() > 80, "{ids:?}");
    let missing: Vec<&&str> = ids.iter().filter(|id| !page.contains(&format!("`{id}`"))).collect();
    assert!(missing.is_empty(), "docs/check.md does not explain {missing:?}");
}

#[test]
fn no_finding_has_a_secret() {
    let ini = calm("[databases]\nx = host=127.0.0.1 user=app password=hidden-word");
    let mut facts = Facts::default();
    for path in ["a.ini", "users.txt"] {
        facts.files.insert(path.into(), file(0o666));
    }
    let all = format!("{:?}", findings(&ini, &facts));
    assert!(all.contains("secret-readable"));
    for word in ["hidden-word", "\"secret\"", "md5aaaa"] {
        assert!(!all.contains(word), "{word}");
    }
    assert_eq!(demand::all(load(&ini).plan.as_ref().expect("a plan")).count(), 2);
}
