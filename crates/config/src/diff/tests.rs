use std::path::Path;

use crate::own;
use crate::plan::{Change, Plan};
use crate::table::When;
use crate::{carry, diff, load, set};

const USERS: &str = "\"joe\" \"one\"";

fn plan(ini: &str) -> Plan {
    plan_with(ini, USERS)
}

fn plan_with(ini: &str, users: &str) -> Plan {
    let mut read = |path: &Path| {
        Ok(if path == Path::new("users.txt") { users.to_string() } else { format!("[pgbouncer]\n{ini}") })
    };
    load(Path::new("p.ini"), &mut read).expect("a good file")
}

fn name(name: &str) -> String {
    name.to_string()
}

#[test]
fn nothing_changed_is_no_change() {
    let ini =
        "auth_file = users.txt\n[databases]\na = host=h password=x\n* = host=h\n[users]\njoe = pool_size=1";
    assert_eq!(diff(&plan(ini), &plan(ini)), []);
    assert_eq!(diff(&Plan::default(), &Plan::default()), []);
}

#[test]
fn databases_come_go_reconnect_and_change_limits() {
    let old = plan("[databases]\na = host=h\nb = host=h pool_size=1\nc = host=h\nd = host=h\n");
    let new = plan("[databases]\n* = host=h\nd = host=h\nb = host=h pool_size=2\nc = host=h port=1\n");
    let mut changes = diff(&old, &new);
    changes.sort_by_key(|change| format!("{change:?}"));
    let expected = [
        Change::DatabaseAdded(name("*")),
        Change::DatabaseLimits(name("b")),
        Change::DatabaseReconnect(name("c")),
        Change::DatabaseRemoved(name("a")),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn whatever_a_server_connection_was_made_with_reconnects() {
    let old = plan("[databases]\na = host=h password=x");
    for line in [
        "host=h",
        "host=h password=y",
        "host=i password=x",
        "host=h,i password=x",
        "host=h password=x user=u",
        "host=h password=x dbname=d",
        "host=h password=x connect_query='select 1'",
        "host=h password=x timezone=UTC",
    ] {
        let new = plan(&format!("[databases]\na = {line}"));
        assert_eq!(diff(&old, &new), [Change::DatabaseReconnect(name("a"))], "{line}");
    }
    for line in
        ["pool_mode=session", "query_wait_timeout=1", "max_db_connections=1", "load_balance_hosts=disable"]
    {
        let new = plan(&format!("[databases]\na = host=h password=x {line}"));
        assert_eq!(diff(&old, &new), [Change::DatabaseLimits(name("a"))], "{line}");
    }
}

#[test]
fn settings_users_and_secrets_are_settings() {
    let old = plan("auth_file = users.txt\n");
    for ini in [
        "auth_file = users.txt\nserver_lifetime = 1",
        "auth_file = users.txt\nsyslog_ident = x",
        "auth_file = users.txt\n[users]\njoe = pool_size=1",
        "auth_file = users.txt\n[plimsoll]\ntarget_budget = 5",
    ] {
        assert_eq!(diff(&old, &plan(ini)), [Change::Settings], "{ini}");
    }
    for users in ["\"joe\" \"two\"", "\"jane\" \"one\"", "", "\"joe\" \"one\"\n\"jane\" \"x\""] {
        assert_eq!(diff(&old, &plan_with("auth_file = users.txt\n", users)), [Change::Settings], "{users}");
    }
}

#[test]
fn fixed_keys_need_a_restart_and_keep_their_value() {
    let old = plan("listen_port = 7000\nunix_socket_dir = /run/a\n[databases]\na =\n");
    let mut new = plan("listen_port = 7001\nunix_socket_dir = /run/b\nuser = me\n[databases]\na =\n");
    let restart = ["listen_port", "unix_socket_dir", "user"].map(Change::NeedsRestart);
    assert_eq!(diff(&old, &new), restart);
    carry(&old, &mut new);
    assert_eq!(new.general, old.general);
    assert_eq!(new.shown, old.shown);
    assert_eq!(new.databases[0].hosts, old.databases[0].hosts);
}

#[test]
fn fixed_keys_of_our_own_need_a_restart() {
    let values = [
        ("workers", "3"),
        ("compat", "pgbouncer"),
        ("identity_store", "sqlite:/var/lib/plimsoll/identity.db"),
        ("identity_issuer", "https://id.example.com"),
        ("identity_audience", "us"),
        ("http_listen", "7000"),
        ("http_tls_cert_file", "/etc/plimsoll/http.crt"),
        ("http_tls_key_file", "/etc/plimsoll/http.key"),
    ];
    let fixed: Vec<&str> =
        own::KEYS.iter().filter(|key| key.when == When::Restart).map(|key| key.name).collect();
    assert_eq!(fixed, values.map(|(key, _)| key));
    for (key, value) in values {
        let mut new = plan("");
        let row = own::find(key).expect("a row");
        row.assign(&mut new.own, value).expect("a good value");
        assert_eq!(diff(&plan(""), &new), [Change::NeedsRestart(key)]);
    }
}

#[test]
fn a_value_that_was_set_outlives_a_reload_only_where_there_is_no_default() {
    let mut old = plan("");
    set(&mut old, "verbose", "2").expect("it can be set");
    set(&mut old, "auth_file", "other.txt").expect("it can be set");
    set(&mut old, "server_lifetime", "1").expect("it can be set");
    let mut new = plan("auth_file = users.txt");
    carry(&old, &mut new);
    assert_eq!(new.general.log.verbose, 2);
    assert_eq!(new.general.auth_file.as_deref(), Some(Path::new("users.txt")));
    assert_eq!(new.general.server_lifetime.as_secs(), 3600);
    assert_eq!(
        new.shown.iter().find(|line| line.key == "verbose").and_then(|line| line.value.as_deref()),
        Some("2")
    );
}

#[test]
fn weights_and_promises_are_limits_and_a_moved_line_is_no_change() {
    let old = plan("[databases]\na = host=h\n");
    for line in ["weight=2", "guaranteed_pool_size=1", "spill=off"] {
        let new = plan(&format!("[databases]\na = host=h {line}\n"));
        assert_eq!(diff(&old, &new), [Change::DatabaseLimits(name("a"))], "{line}");
        assert_eq!(diff(&plan(""), &plan(&format!("[users]\njoe = {line}"))), [Change::Settings], "{line}");
    }
    let moved = plan("; new\n\n[databases]\n; new\na = host=h\n");
    assert_eq!(diff(&old, &moved), []);
    let line = |plan: &Plan| plan.place_of_database("a").map(|place| place.line);
    assert_eq!((line(&old), line(&moved)), (Some(3), Some(6)));
}
