//! The contract of a drop-in for what the console shows of the configuration, and what SHOW shows (reference 2): see
//! `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use common::SOON;
use common::contract::{against_others, house, line, listed, start, value};
use plimsoll_testkit::{Batch, Ini, Postgres, Table, eventually, tags};

/// SHOW CONFIG as it is in 1.25: key, whether it can be changed, default; what 1.18 has instead of the default, or that
/// it does not have the key.
const CONFIG: &str = "\
admin_users | yes | 
application_name_add_host | yes | 0
auth_dbname | yes | NULL | newer
auth_file | yes | NULL
auth_hba_file | yes | 
auth_ident_file | yes | NULL | newer
auth_ldap_options | yes | NULL | newer
auth_query | yes | SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin
auth_type | yes | md5
auth_user | yes | NULL
autodb_idle_timeout | yes | 3600
cancel_wait_timeout | yes | 10 | newer
client_idle_timeout | yes | 0
client_login_timeout | yes | 60
client_tls13_ciphers | yes | NULL | newer
client_tls_ca_file | yes | 
client_tls_cert_file | yes | 
client_tls_ciphers | yes | default | was fast
client_tls_dheparams | yes | auto
client_tls_ecdhcurve | yes | auto
client_tls_key_file | yes | 
client_tls_protocols | yes | secure
client_tls_sslmode | yes | disable
conffile | yes | NULL
default_pool_size | yes | 20
disable_pqexec | no | 0
dns_max_ttl | yes | 15
dns_nxdomain_ttl | yes | 15
dns_zone_check_period | yes | 0
idle_transaction_timeout | yes | 0
ignore_startup_parameters | yes | 
job_name | no | pgbouncer
listen_addr | no | 
listen_backlog | no | 128
listen_port | no | 6432
log_connections | yes | 1
log_disconnections | yes | 1
log_pooler_errors | yes | 1
log_stats | yes | 1
logfile | yes | 
login_notify_message | yes | | newer
max_client_conn | yes | 100
max_db_client_connections | yes | 0 | newer
max_db_connections | yes | 0
max_packet_size | yes | 2147483647
max_prepared_statements | yes | 200 | newer
max_user_client_connections | yes | 0 | newer
max_user_connections | yes | 0
min_pool_size | yes | 0
peer_id | yes | 0 | newer
pidfile | no | 
pkt_buf | no | 4096
pool_mode | yes | session
pool_idle_timeout | yes | 0 | newer
query_timeout | yes | 0
query_wait_notify | yes | 5 | newer
query_wait_timeout | yes | 120
reserve_pool_size | yes | 0
reserve_pool_timeout | yes | 5
resolv_conf | no | 
sbuf_loopcnt | yes | 5
scram_iterations | yes | 4096 | newer
server_check_delay | yes | 30
server_check_query | yes | <empty> | was select 1
server_connect_timeout | yes | 15
server_fast_close | yes | 0
server_idle_timeout | yes | 600
server_lifetime | yes | 3600
server_login_retry | yes | 15
server_reset_query | yes | DISCARD ALL
server_reset_query_always | yes | 0
server_round_robin | yes | 0
server_tls13_ciphers | yes | NULL | newer
server_tls_ca_file | yes | 
server_tls_cert_file | yes | 
server_tls_ciphers | yes | default | was fast
server_tls_key_file | yes | 
server_tls_protocols | yes | secure
server_tls_sslmode | yes | prefer | was disable
so_reuseport | no | 0
stats_period | yes | 60
stats_users | yes | 
suspend_timeout | yes | 10
syslog | yes | 0
syslog_facility | yes | daemon
syslog_ident | yes | pgbouncer
tcp_defer_accept | yes | 1
tcp_keepalive | yes | 1
tcp_keepcnt | yes | 0
tcp_keepidle | yes | 0
tcp_keepintvl | yes | 0
tcp_socket_buffer | yes | 0
tcp_user_timeout | yes | 0
track_extra_parameters | no | IntervalStyle | newer
transaction_timeout | yes | 0 | newer
unix_socket_dir | no | /tmp
unix_socket_group | no | 
unix_socket_mode | no | 0777
user | no | NULL
verbose | yes | NULL";

/// The columns of each SHOW as name and type OID. `+` begins what 1.18 does not have, `-` what only 1.18 has.
const CLIENTS: &str = "type:25 user:25 database:25 +replication:25 state:25 addr:25 port:23 local_addr:25 \
    local_port:23 connect_time:25 request_time:25 wait:23 wait_us:23 close_needed:23 ptr:25 link:25 remote_pid:23 \
    tls:25 application_name:25 +prepared_statements:23 +id:23";
const BUFFERS: &str =
    "recv_pos:23 pkt_pos:23 pkt_remain:23 send_pos:23 send_remain:23 pkt_avail:23 send_avail:23";
const POOLS: &str = "database:25 user:25 cl_active:23 cl_waiting:23 cl_active_cancel_req:23 \
    cl_waiting_cancel_req:23 sv_active:23 sv_active_cancel:23 sv_being_canceled:23 sv_idle:23 sv_used:23 sv_tested:23 \
    sv_login:23 maxwait:23 maxwait_us:23 pool_mode:25 +load_balance_hosts:25";
const DATABASES: &str = "name:25 host:25 port:23 database:25 force_user:25 pool_size:23 min_pool_size:23 \
    -reserve_pool:23 +reserve_pool_size:23 +server_lifetime:23 pool_mode:25 +load_balance_hosts:25 max_connections:23 \
    current_connections:23 +max_client_connections:23 +current_client_connections:23 paused:23 disabled:23";
const USERS: &str = "name:25 +pool_size:25 +reserve_pool_size:25 pool_mode:25 +max_user_connections:23 \
    +current_connections:23 +max_user_client_connections:23 +current_client_connections:23";
const STATS: &str = "database:25 +total_server_assignment_count:1700 total_xact_count:1700 total_query_count:1700 \
    total_received:1700 total_sent:1700 total_xact_time:1700 total_query_time:1700 total_wait_time:1700 \
    +total_client_parse_count:1700 +total_server_parse_count:1700 +total_bind_count:1700 \
    +total_client_login_count:1700 +avg_server_assignment_count:1700 avg_xact_count:1700 avg_query_count:1700 \
    avg_recv:1700 avg_sent:1700 avg_xact_time:1700 avg_query_time:1700 avg_wait_time:1700 \
    +avg_client_parse_count:1700 +avg_server_parse_count:1700 +avg_bind_count:1700 +avg_client_login_count:1700";
const TOTALS: &str = "database:25 +server_assignment_count:1700 xact_count:1700 query_count:1700 \
    bytes_received:1700 bytes_sent:1700 xact_time:1700 query_time:1700 wait_time:1700 +client_parse_count:1700 \
    +server_parse_count:1700 +bind_count:1700 +client_login_count:1700";
const AVERAGES: &str = "database:25 +server_assignment_count:1700 xact_count:1700 query_count:1700 \
    bytes_received:1700 bytes_sent:1700 xact_time:1700 query_time:1700 wait_time:1700 +avg_client_parse_count:1700 \
    +avg_server_parse_count:1700 +avg_bind_count:1700 +avg_client_login_count:1700";
const FDS: &str = "fd:23 task:25 user:25 database:25 addr:25 port:23 cancel:20 link:23 client_encoding:25 \
    std_strings:25 datestyle:25 timezone:25 password:25 scram_client_key:17 scram_server_key:17";

/// A list of the version under test.
fn of_version(list: &str) -> Vec<&str> {
    let (mine, others) = if against_others() { ('-', '+') } else { ('+', '-') };
    list.split_whitespace()
        .filter(|word| !word.starts_with(others))
        .map(|word| word.strip_prefix(mine).unwrap_or(word))
        .collect()
}

fn spelled(table: &Table) -> Vec<String> {
    table.columns.iter().map(|(name, oid)| format!("{name}:{oid}")).collect()
}

#[test]
fn columns_have_their_names_types_and_order() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let sockets = format!("{CLIENTS} {BUFFERS}");
    let mut console = plimsoll.console();
    for (what, columns) in [
        ("VERSION", "version:25"),
        ("CLIENTS", CLIENTS),
        ("SERVERS", CLIENTS),
        ("SOCKETS", &sockets),
        ("ACTIVE_SOCKETS", &sockets),
        ("POOLS", POOLS),
        ("DATABASES", DATABASES),
        ("USERS", USERS),
        ("STATS", STATS),
        ("STATS_TOTALS", TOTALS),
        ("STATS_AVERAGES", AVERAGES),
        ("TOTALS", "name:25 value:1700"),
        ("CONFIG", "key:25 value:25 default:25 changeable:25"),
        ("LISTS", "list:25 items:23"),
        ("MEM", "name:25 size:23 used:23 free:23 memtotal:23"),
        ("DNS_HOSTS", "hostname:25 ttl:20 addrs:25"),
        ("DNS_ZONES", "zonename:25 serial:20 count:23"),
        ("FDS", FDS),
    ] {
        let table = console.query(&format!("SHOW {what}"));
        assert_eq!(spelled(&table), of_version(columns), "SHOW {what}");
        assert_eq!(table.command, "SHOW", "SHOW {what}");
        let synonym = console.query(&format!("select {};", what.to_lowercase()));
        assert_eq!(synonym.columns, table.columns, "SELECT {what}");
    }
}

/// 1.18 has neither of them.
#[test]
fn modern_columns_of_peers_and_state() {
    let (_postgres, plimsoll) = house(|ini| ini);
    for (what, columns) in [
        ("PEERS", "peer_id:23 host:25 port:23 pool_size:23"),
        (
            "PEER_POOLS",
            "peer_id:23 cl_active_cancel_req:23 cl_waiting_cancel_req:23 sv_active_cancel:23 sv_login:23",
        ),
        ("STATE", "key:25 value:25"),
    ] {
        assert_eq!(spelled(&plimsoll.show(what)), of_version(columns), "SHOW {what}");
    }
    let mut console = plimsoll.console();
    for (command, seen) in [
        ("SHOW STATE", ["yes", "no", "no"]),
        ("PAUSE", ["no", "yes", "no"]),
        ("RESUME", ["yes", "no", "no"]),
        ("SUSPEND", ["no", "no", "yes"]),
        ("RESUME", ["yes", "no", "no"]),
    ] {
        console.query(command);
        let state = console.query("SHOW STATE");
        assert_eq!(["active", "paused", "suspended"].map(|key| value(&state, key)), seen, "{command}");
    }
}

#[test]
fn every_key_has_its_default() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let shown = plimsoll.show("CONFIG");
    let mut wanted = Vec::new();
    for line in CONFIG.lines() {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let (key, changeable, default) = (parts[0], parts[1], parts[2]);
        let default = match parts.get(3).copied() {
            Some("newer") if against_others() => continue,
            Some(was) if against_others() => was.strip_prefix("was ").unwrap(),
            Some(_) | None => default,
        };
        let default = Some(default).filter(|text| *text != "NULL").map(String::from);
        wanted.push((Some(key.to_string()), default, Some(changeable.to_string())));
    }
    let seen = shown.rows.iter().map(|row| (row[0].clone(), row[2].clone(), row[3].clone()));
    assert_eq!(seen.collect::<Vec<_>>(), wanted);
    for (key, set) in [("auth_type", "trust"), ("pool_mode", "transaction"), ("admin_users", "admin")] {
        assert_eq!(value(&shown, key), set);
    }
}

#[test]
fn help_is_a_notice_and_no_rows() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    assert_eq!(tags(&console.run(&Batch::new().query("SHOW HELP"))), "NCZ");
    let notice = console.take_notices().remove(0);
    let seen = (notice.severity.as_str(), notice.sqlstate.as_str(), notice.message.as_str());
    assert_eq!(seen, ("NOTICE", "00000", "Console usage"));
    let detail = notice.detail.unwrap();
    for command in ["SHOW HELP|CONFIG|DATABASES", "SET key = arg", "RELOAD", "PAUSE [<db>]", "SHUTDOWN"] {
        assert!(detail.contains(command), "{command} in {detail}");
    }
}

#[test]
fn rows_of_lists_and_totals() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let lists = "databases users +peers pools +peer_pools free_clients used_clients login_clients free_servers \
        used_servers dns_names dns_zones dns_queries dns_pending";
    let names = |table: &Table| table.rows.iter().map(|row| row[0].clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(names(&plimsoll.show("LISTS")), of_version(lists));
    let totals = of_version(
        "+server_assignment_count xact_count query_count client_bytes server_bytes xact_time query_time wait_time \
         +ps_client_parse_count +ps_server_parse_count +ps_bind_count +client_login_count",
    );
    let wanted =
        ["total", "avg"].map(|kind| totals.iter().map(|name| format!("{kind}_{name}")).collect::<Vec<_>>());
    assert_eq!(names(&plimsoll.show("TOTALS")), wanted.concat());
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let _console = plimsoll.console();
    eventually("all that left to be counted out", SOON, || listed(&plimsoll, "used_clients") == 3);
    for (what, count) in [("databases", 4), ("pools", 2), ("login_clients", 0), ("used_servers", 1)] {
        assert_eq!(listed(&plimsoll, what), count, "{what}");
    }
}

#[test]
fn databases_and_users_show_what_was_set() {
    let postgres = Postgres::start();
    let p0 = format!(
        "{} pool_size=7 min_pool_size=0 reserve_pool=3 pool_mode=session max_db_connections=9",
        line(&postgres, "p0")
    );
    let plimsoll = start(
        Ini::new(&postgres)
            .database("p0", &p0)
            .database("forced", &format!("{} user=other", line(&postgres, "p1")))
            .user("app", "pool_mode = statement max_user_connections = 4"),
    );
    let shown = plimsoll.show("DATABASES");
    let port = postgres.port().to_string();
    let reserve = if against_others() { "reserve_pool" } else { "reserve_pool_size" };
    let row = |name: &str, wanted: &[(&str, &str)]| {
        let row = shown.find(&[("name", name)]).unwrap();
        for (column, value) in wanted {
            assert_eq!(shown.cell(row, column), *value, "{name} {column}");
        }
    };
    row(
        "p0",
        &[("host", "127.0.0.1"), ("port", &port), ("database", "p0"), ("force_user", ""), ("pool_size", "7")],
    );
    row(
        "p0",
        &[
            (reserve, "3"),
            ("pool_mode", "session"),
            ("max_connections", "9"),
            ("paused", "0"),
            ("disabled", "0"),
        ],
    );
    row("forced", &[("database", "p1"), ("force_user", "other"), ("pool_size", "20"), ("pool_mode", "")]);
    row(
        "pgbouncer",
        &[("force_user", "pgbouncer"), ("pool_size", "2"), ("pool_mode", "statement"), ("host", "")],
    );
    let users = plimsoll.show("USERS");
    assert_eq!(users.cell(users.find(&[("name", "app")]).unwrap(), "pool_mode"), "statement");
    // No row lends a value to the next.
    assert_eq!(users.count(&[("pool_mode", "statement")]), 1);
    for name in ["admin", "other", "stats", "pgbouncer"] {
        assert_eq!(users.count(&[("name", name)]), 1, "{name}");
    }
    let mut client = plimsoll.client("app", "p0");
    let mut second = plimsoll.client("other", "p0");
    client.query("SELECT 1");
    second.query("SELECT 1");
    let pools = plimsoll.show("POOLS");
    let mode =
        |user: &str| pools.cell(pools.find(&[("database", "p0"), ("user", user)]).unwrap(), "pool_mode");
    // The user's mode beats the database's.
    assert_eq!((mode("app"), mode("other")), ("statement", "session"));
}

#[test]
fn clients_and_servers_point_at_each_other() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let login = plimsoll.login("app", "p0").parameter("application_name", "shop");
    let (mut client, mut waiter) = (login.client(), plimsoll.client("app", "p0"));
    client.query("BEGIN");
    let pid = client.value("SELECT pg_backend_pid()");
    waiter.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    let mut console = plimsoll.console();
    eventually("somebody to wait", SOON, || {
        let pools = console.query("SHOW POOLS");
        pools
            .find(&[("database", "p0"), ("cl_active", "1"), ("cl_waiting", "1"), ("sv_active", "1")])
            .is_some()
    });
    let (clients, servers) = (console.query("SHOW CLIENTS"), console.query("SHOW SERVERS"));
    let sockets = console.query("SHOW SOCKETS");
    let port = |client: &plimsoll_testkit::Client| client.port().to_string();
    let row = clients.find(&[("port", &port(&client))]).unwrap();
    let server = servers.find(&[("remote_pid", &pid)]).unwrap();
    for (column, value) in
        [("type", "C"), ("user", "app"), ("database", "p0"), ("state", "active"), ("addr", "127.0.0.1")]
    {
        assert_eq!(clients.cell(row, column), value, "{column}");
    }
    for (column, value) in
        [("application_name", "shop"), ("tls", ""), ("close_needed", "0"), ("local_addr", "127.0.0.1")]
    {
        assert_eq!(clients.cell(row, column), value, "{column}");
    }
    assert_eq!(clients.number(row, "local_port"), u64::from(plimsoll.port()));
    assert_eq!((servers.cell(server, "type"), servers.cell(server, "state")), ("S", "active"));
    assert_eq!(servers.cell(server, "application_name"), "shop");
    assert_eq!(clients.cell(row, "link"), servers.cell(server, "ptr"));
    assert_eq!(servers.cell(server, "link"), clients.cell(row, "ptr"));
    assert_eq!(clients.cell(clients.find(&[("port", &port(&waiter))]).unwrap(), "state"), "waiting");
    for (port, state) in
        [(port(&client), "cl_active"), (port(&waiter), "cl_waiting"), (port(&console), "cl_active")]
    {
        let row = sockets.find(&[("port", &port)]).unwrap();
        assert_eq!(sockets.cell(row, "state"), state);
    }
    client.query("COMMIT");
    assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
}
