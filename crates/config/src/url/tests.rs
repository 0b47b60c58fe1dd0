use std::path::PathBuf;
use std::time::Duration;

use plimsoll_types::{PoolMode, SslMode};

use super::from_url;
use crate::plan::{AuthType, Host, Plan};

fn plan(url: &str) -> Plan {
    from_url(url).unwrap_or_else(|mistake| panic!("{url}: {mistake}"))
}

fn tcp(host: &str, port: u16) -> Host {
    Host::Tcp { host: host.to_string(), port }
}

#[test]
fn a_url_is_a_whole_plan() {
    let plan =
        plan("postgres://al%40ice:p%20w%2Fd@db.example:6000/app?sslmode=disable&application_name=x%26y");
    assert_eq!(plan.general.listen_addr, ["127.0.0.1"]);
    assert_eq!(plan.general.listen_port, 6432);
    assert_eq!(plan.general.unix_socket_dir, None);
    assert_eq!(plan.general.pool_mode, PoolMode::Transaction);
    assert_eq!(plan.general.auth_type, AuthType::Scram);
    assert_eq!(plan.general.admin_users, ["al@ice"]);
    assert_eq!(plan.general.default_pool_size, 20);
    assert!(plan.logins["al@ice"].matches(b"p w/d"));
    let [database] = &plan.databases[..] else { panic!("one database") };
    assert_eq!(database.name, "app");
    assert_eq!(database.dbname.as_deref(), Some("app"));
    assert_eq!(database.user.as_deref(), Some("al@ice"));
    assert!(database.password.as_ref().is_some_and(|secret| secret.matches(b"p w/d")));
    assert_eq!(database.hosts, [tcp("db.example", 6000)]);
    assert_eq!(database.startup, [("application_name".to_string(), "x&y".to_string())]);
    let shown =
        |key: &str| plan.shown.iter().find(|line| line.key == key).and_then(|line| line.value.clone());
    assert_eq!(shown("pool_mode").as_deref(), Some("transaction"));
    assert_eq!(shown("unix_socket_dir").as_deref(), Some(""));
    assert_eq!(shown("admin_users").as_deref(), Some("al@ice"));
}

#[test]
fn what_is_left_out_has_defaults() {
    let plan = plan("postgresql://bob@localhost");
    assert_eq!(plan.general.auth_type, AuthType::Trust);
    assert!(plan.logins["bob"].is_empty());
    assert_eq!(plan.databases[0].name, "bob");
    assert!(plan.databases[0].password.is_none());
    assert_eq!(plan.databases[0].hosts, [tcp("localhost", 5432)]);
}

#[test]
fn hosts_come_in_all_shapes() {
    let hosts = |url: &str| plan(url).databases.remove(0).hosts;
    assert_eq!(hosts("postgres://u@[::1]:5433/d"), [tcp("::1", 5433)]);
    assert_eq!(hosts("postgres://u@[fe80::1]/d"), [tcp("fe80::1", 5432)]);
    assert_eq!(hosts("postgres://u@a:1,b:2,c/d"), [tcp("a", 1), tcp("b", 2), tcp("c", 5432)]);
    let unix = |port| Host::Unix { dir: PathBuf::from("/run/pg"), port };
    assert_eq!(hosts("postgres://u@%2Frun%2Fpg/d"), [unix(5432)]);
    assert_eq!(hosts("postgres://u@/d?host=/run/pg&port=5433"), [unix(5433)]);
    assert_eq!(hosts("postgres:///d?user=u&host=a,b&port=1,2"), [tcp("a", 1), tcp("b", 2)]);
    assert_eq!(
        plan("postgres://u@h/d?connect_timeout=3").general.server_connect_timeout,
        Duration::from_secs(3)
    );
}

#[test]
fn what_is_wrong_is_said_without_the_secret() {
    let cases = [
        ("mysql://u:hunter2@h/d", "does not begin with"),
        ("postgres://h/d", "names no user"),
        ("postgres://:hunter2@h/d", "names no user"),
        ("postgres://u:hunter2@/d", "names no host"),
        ("postgres://u:hun/ter2@h/d", "port"),
        ("postgres://u:hun?ter2@h/d", "port"),
        ("postgres://u:hunter2@h/d?hunter2", "without ="),
        ("postgres://u@h/d?hunter2=1", "not known here"),
        ("postgres://u:hunter2@h:x/d", "port"),
        ("postgres://u:hunter2@h:0/d", "port"),
        ("postgres://u:hunter2@h:99999/d", "port"),
        ("postgres://u:hunter2@[::1/d", "IPv6"),
        ("postgres://u:hunter2@[::1]x/d", "port"),
        ("postgres://u:hunter2%@h/d", "two hexadecimal digits"),
        ("postgres://u:hunter2%zz@h/d", "two hexadecimal digits"),
        ("postgres://u:hunter2%ff@h/d", "UTF-8"),
        ("postgres://u:hunter2%00@h/d", "zero byte"),
        ("postgres://u:hunter2@h/d?sslmode=hunter2", "sslmode is one of"),
        ("postgres://u:hunter2@h/d?connect_timeout=x", "number of seconds"),
        ("postgres://u:hunter2@h/d?options=-c%20x", "not known here"),
        ("postgres://u:hunter2@a,b,c/d?port=1,2", "several ports"),
        ("postgres://u:hunter2@h/pgbouncer", "reserved"),
        ("", "does not begin with"),
    ];
    for (url, words) in cases {
        let mistake = from_url(url).expect_err(url);
        assert!(mistake.to_string().contains(words), "{url}: {mistake}");
        assert!(
            !mistake.message.contains("hunter2") && !mistake.message.contains("ter2"),
            "{url}: {mistake}"
        );
    }
}

#[test]
fn tls_is_asked_for_as_libpq_does() {
    let plan =
        from_url("postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=c.pem&sslkey=k.pem");
    let tls = plan.expect("a plan").general.server_tls;
    assert_eq!(tls.mode, SslMode::VerifyFull);
    let files = [tls.ca_file, tls.cert_file, tls.key_file].map(|file| file.expect("a file"));
    assert_eq!(files, ["/ca.pem", "c.pem", "k.pem"].map(PathBuf::from));
    assert_eq!(from_url("postgres://u@h/d").expect("a plan").general.server_tls.mode, SslMode::Prefer);
}
