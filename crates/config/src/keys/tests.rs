use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_types::PoolMode;

use super::{KEYS, assign, find, set, shown_defaults};
use crate::plan::{AuthType, General, Plan};
use crate::table::When;

fn loaded() -> Plan {
    Plan { shown: shown_defaults(), ..Plan::default() }
}

fn shown(plan: &Plan, key: &str) -> Option<String> {
    plan.shown.iter().find(|line| line.key == key).expect("a key of the table").value.clone()
}

#[test]
fn the_defaults_of_the_table_are_the_defaults_of_general() {
    let mut plan = loaded();
    // Other values first, so that a default that is not taken shows.
    plan.general.listen_addr = vec!["x".to_string()];
    for key in KEYS {
        if let Some(text) = key.default {
            let taken = assign(&mut plan, key, text);
            assert!(taken.is_ok(), "{}: {taken:?}", key.name);
        }
    }
    assert_eq!(plan.general, General::default());
}

#[test]
fn the_table_has_every_key_once_in_the_order_of_show_config() {
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names.len(), 100);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 100);
    assert_eq!((names[0], names[99]), ("admin_users", "verbose"));
    let fixed: Vec<&str> = KEYS.iter().filter(|key| key.when == When::Restart).map(|key| key.name).collect();
    let expected = "disable_pqexec job_name listen_addr listen_backlog listen_port pidfile pkt_buf resolv_conf \
                    so_reuseport track_extra_parameters unix_socket_dir unix_socket_group unix_socket_mode user";
    assert_eq!(fixed.join(" "), expected);
    let without: Vec<&str> = KEYS.iter().filter(|key| key.default.is_none()).map(|key| key.name).collect();
    let expected = "auth_dbname auth_file auth_ident_file auth_ldap_options auth_user client_tls13_ciphers conffile \
                    server_tls13_ciphers user verbose";
    assert_eq!(without.join(" "), expected);
}

#[test]
fn values_are_shown_as_pgbouncer_shows_them() {
    let mut plan = loaded();
    assert_eq!(shown(&plan, "verbose").as_deref(), Some("0"));
    assert_eq!(shown(&plan, "auth_file"), None);
    assert_eq!(shown(&plan, "unix_socket_mode").as_deref(), Some("511"));
    assert_eq!(shown(&plan, "listen_addr").as_deref(), Some(""));
    let values = [
        ("auth_type", "TRUST", "trust"),
        ("pool_mode", "Transaction", "transaction"),
        ("default_pool_size", "0x10", "16"),
        ("server_lifetime", "0.250", "0.25"),
        ("query_timeout", "12345678.5", "1.23457e+07"),
        ("admin_users", "me,   you", "me,   you"),
        ("log_stats", "2", "2"),
        ("server_check_query", "", ""),
    ];
    for (key, text, text_shown) in values {
        assert_eq!(set(&mut plan, key, text), Ok(()), "{key}");
        assert_eq!(shown(&plan, key).as_deref(), Some(text_shown), "{key}");
    }
    assert_eq!(plan.general.auth_type, AuthType::Trust);
    assert_eq!(plan.general.pool_mode, PoolMode::Transaction);
    assert_eq!(plan.general.default_pool_size, 16);
    assert_eq!(plan.general.server_lifetime, Duration::from_millis(250));
    assert_eq!(plan.general.admin_users, ["me", "you"]);
    assert_eq!(plan.general.server_check_query.as_deref(), Some(""));
    assert_eq!(set(&mut plan, "server_check_query", "<empty>"), Ok(()));
    assert_eq!(plan.general.server_check_query, None);
}

#[test]
fn set_refuses_what_a_file_may_not_say() {
    let mut plan = loaded();
    let messages = [
        ("nope", "1", "unknown parameter: pgbouncer/nope"),
        ("pool_mod", "x", "unknown parameter: pgbouncer/pool_mod (did you mean \"pool_mode\"?)"),
        (
            "max_client_conn",
            "many",
            "invalid value \"many\" for parameter max_client_conn: expected a whole number, 0 or more",
        ),
        (
            "auth_type",
            "kerberos",
            "invalid value \"kerberos\" for parameter auth_type: \
             expected any, trust, plain, md5, scram-sha-256, cert, hba, key, jwt, oauth, ldap or pam",
        ),
        (
            "client_tls_sslmode",
            "on",
            "invalid value \"on\" for parameter client_tls_sslmode: \
             expected disable, allow, prefer, require, verify-ca or verify-full",
        ),
        ("auth_dbname", "pgbouncer", "cannot use the reserved \"pgbouncer\" database as an auth_dbname"),
        (
            "stats_period",
            "0",
            "invalid value \"0\" for parameter stats_period: expected a whole number of seconds, 1 or more",
        ),
    ];
    for (key, text, message) in messages {
        assert_eq!(set(&mut plan, key, text), Err(message.to_string()));
    }
    assert_eq!(plan.general, General::default());
    assert_eq!(plan.shown, shown_defaults());
}

#[test]
fn set_ignores_keys_that_only_a_restart_changes() {
    let mut plan = loaded();
    assert_eq!(set(&mut plan, "listen_port", "7000"), Ok(()));
    assert_eq!(set(&mut plan, "listen_port", "nonsense"), Ok(()));
    assert_eq!(plan.general.listen_port, 6432);
    assert_eq!(shown(&plan, "listen_port").as_deref(), Some("6432"));
}

#[test]
fn set_works_on_a_plan_made_by_hand() {
    let mut plan = Plan::default();
    assert_eq!(set(&mut plan, "verbose", "2"), Ok(()));
    assert_eq!(plan.shown.len(), 100);
    assert_eq!(shown(&plan, "verbose").as_deref(), Some("2"));
}

#[test]
fn every_key_takes_its_default_and_some_take_nothing_else() {
    let assign_to_fresh = |name: &str, text: &str| {
        let key = find(name).expect("a key of the table");
        assign(&mut loaded(), key, text).map(|taken| taken.warning.is_some()).ok()
    };
    assert_eq!(assign_to_fresh("server_tls_sslmode", "PREFER"), Some(false));
    assert_eq!(assign_to_fresh("server_tls_sslmode", "verify-full"), Some(false));
    assert_eq!(assign_to_fresh("auth_type", "hba"), Some(false));
    assert_eq!(assign_to_fresh("auth_type", "ldap"), Some(false));
    assert_eq!(assign_to_fresh("auth_type", "pam"), Some(false));
    assert_eq!(assign_to_fresh("auth_ldap_options", "ldapserver=x ldapprefix=uid="), Some(false));
    assert_eq!(assign_to_fresh("disable_pqexec", "0"), Some(false));
    assert_eq!(assign_to_fresh("disable_pqexec", "1"), Some(true));
    assert_eq!(assign_to_fresh("auth_user", ""), Some(false));
    assert_eq!(assign_to_fresh("auth_query", "SELECT 1"), Some(false));
    assert_eq!(assign_to_fresh("pkt_buf", "04096"), None);
    assert_eq!(assign_to_fresh("pkt_buf", "4096"), Some(false));
}
