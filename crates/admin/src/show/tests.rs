use super::*;
use crate::tests::{ADMIN, Still, console, messages};
use plimsoll_proxy::{Level, Reply, Visitor};

/// Columns with their types, as PgBouncer 1.25 sends them.
const GOLDEN: &[(&str, &str)] = &[
    ("version", "version:25"),
    (
        "clients",
        "type:25,user:25,database:25,replication:25,state:25,addr:25,port:23,local_addr:25,local_port:23,\
         connect_time:25,request_time:25,wait:23,wait_us:23,close_needed:23,ptr:25,link:25,remote_pid:23,tls:25,\
         application_name:25,prepared_statements:23,id:23",
    ),
    (
        "servers",
        "type:25,user:25,database:25,replication:25,state:25,addr:25,port:23,local_addr:25,local_port:23,\
         connect_time:25,request_time:25,wait:23,wait_us:23,close_needed:23,ptr:25,link:25,remote_pid:23,tls:25,\
         application_name:25,prepared_statements:23,id:23",
    ),
    (
        "pools",
        "database:25,user:25,cl_active:23,cl_waiting:23,cl_active_cancel_req:23,cl_waiting_cancel_req:23,\
         sv_active:23,sv_active_cancel:23,sv_being_canceled:23,sv_idle:23,sv_used:23,sv_tested:23,sv_login:23,\
         maxwait:23,maxwait_us:23,pool_mode:25,load_balance_hosts:25",
    ),
    (
        "databases",
        "name:25,host:25,port:23,database:25,force_user:25,pool_size:23,min_pool_size:23,reserve_pool_size:23,\
         server_lifetime:23,pool_mode:25,load_balance_hosts:25,max_connections:23,current_connections:23,\
         max_client_connections:23,current_client_connections:23,paused:23,disabled:23",
    ),
    (
        "users",
        "name:25,pool_size:25,reserve_pool_size:25,pool_mode:25,max_user_connections:23,current_connections:23,\
         max_user_client_connections:23,current_client_connections:23",
    ),
    (
        "stats",
        "database:25,total_server_assignment_count:1700,total_xact_count:1700,total_query_count:1700,\
         total_received:1700,total_sent:1700,total_xact_time:1700,total_query_time:1700,total_wait_time:1700,\
         total_client_parse_count:1700,total_server_parse_count:1700,total_bind_count:1700,\
         total_client_login_count:1700,avg_server_assignment_count:1700,avg_xact_count:1700,avg_query_count:1700,\
         avg_recv:1700,avg_sent:1700,avg_xact_time:1700,avg_query_time:1700,avg_wait_time:1700,\
         avg_client_parse_count:1700,avg_server_parse_count:1700,avg_bind_count:1700,avg_client_login_count:1700",
    ),
    (
        "stats_totals",
        "database:25,server_assignment_count:1700,xact_count:1700,query_count:1700,bytes_received:1700,\
         bytes_sent:1700,xact_time:1700,query_time:1700,wait_time:1700,client_parse_count:1700,\
         server_parse_count:1700,bind_count:1700,client_login_count:1700",
    ),
    (
        "stats_averages",
        "database:25,server_assignment_count:1700,xact_count:1700,query_count:1700,bytes_received:1700,\
         bytes_sent:1700,xact_time:1700,query_time:1700,wait_time:1700,avg_client_parse_count:1700,\
         avg_server_parse_count:1700,avg_bind_count:1700,avg_client_login_count:1700",
    ),
    ("totals", "name:25,value:1700"),
    ("config", "key:25,value:25,default:25,changeable:25"),
    ("lists", "list:25,items:23"),
    ("state", "key:25,value:25"),
    (
        "sockets",
        "type:25,user:25,database:25,replication:25,state:25,addr:25,port:23,local_addr:25,local_port:23,\
         connect_time:25,request_time:25,wait:23,wait_us:23,close_needed:23,ptr:25,link:25,remote_pid:23,tls:25,\
         application_name:25,prepared_statements:23,id:23,recv_pos:23,pkt_pos:23,pkt_remain:23,send_pos:23,\
         send_remain:23,pkt_avail:23,send_avail:23",
    ),
    (
        "active_sockets",
        "type:25,user:25,database:25,replication:25,state:25,addr:25,port:23,local_addr:25,local_port:23,\
         connect_time:25,request_time:25,wait:23,wait_us:23,close_needed:23,ptr:25,link:25,remote_pid:23,tls:25,\
         application_name:25,prepared_statements:23,id:23,recv_pos:23,pkt_pos:23,pkt_remain:23,send_pos:23,\
         send_remain:23,pkt_avail:23,send_avail:23",
    ),
    ("peers", "peer_id:23,host:25,port:23,pool_size:23"),
    (
        "peer_pools",
        "peer_id:23,cl_active_cancel_req:23,cl_waiting_cancel_req:23,sv_active_cancel:23,sv_login:23",
    ),
    ("mem", "name:25,size:23,used:23,free:23,memtotal:23"),
    ("dns_hosts", "hostname:25,ttl:20,addrs:25"),
    ("dns_zones", "zonename:25,serial:20,count:23"),
    (
        "fds",
        "fd:23,task:25,user:25,database:25,addr:25,port:23,cancel:20,link:23,client_encoding:25,std_strings:25,\
         datestyle:25,timezone:25,password:25,scram_client_key:17,scram_server_key:17",
    ),
];

/// Columns and rows as they go over the wire; `-` is NULL.
fn ask(compat: Compat, what: &str) -> (String, Vec<Vec<String>>) {
    let reply = console(compat).answer(&Still::new(compat), ADMIN, format!("SHOW {what}").as_bytes());
    let Reply::Now(bytes) = reply else { panic!("{what}: {reply:?}") };
    let mut columns = String::new();
    let mut rows = Vec::new();
    for (tag, body) in messages(&bytes) {
        match tag {
            'T' => columns = read_columns(&body),
            'D' => rows.push(read_row(&body)),
            'C' => assert_eq!(body, b"SHOW\0"),
            'Z' => assert_eq!(body, b"I"),
            other => panic!("{what}: message {other}"),
        }
    }
    (columns, rows)
}

/// RowDescription: for each column a name, then table, attribute, type, length, modifier, format.
fn read_columns(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut out = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let (name, tail) = (&rest[..end], &rest[end + 1..]);
        let oid = u32::from_be_bytes(tail[6..10].try_into().expect("four bytes"));
        assert_eq!(tail[16..18], [0, 0], "text format");
        out.push(format!("{}:{oid}", String::from_utf8_lossy(name)));
        rest = &tail[18..];
    }
    out.join(",")
}

fn read_row(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut out = Vec::new();
    while let [a, b, c, d, tail @ ..] = rest {
        match i32::from_be_bytes([*a, *b, *c, *d]) {
            -1 => {
                out.push("-".to_string());
                rest = tail;
            }
            length => {
                let (value, after) = tail.split_at(usize::try_from(length).expect("a length"));
                out.push(String::from_utf8_lossy(value).into_owned());
                rest = after;
            }
        }
    }
    out
}

fn rows(what: &str) -> Vec<Vec<String>> {
    ask(Compat::Pgbouncer, what).1
}

#[test]
fn columns_are_pgbouncers_in_name_order_and_type() {
    let names: Vec<&str> = SHOWS.iter().map(|show| show.name).collect();
    assert_eq!(names.len(), GOLDEN.len(), "each SHOW has its golden line: {names:?}");
    for (what, expected) in GOLDEN {
        assert_eq!(ask(Compat::Pgbouncer, what).0, *expected, "{what}");
    }
}

/// What is behind the columns of the sockets.
const LIFE: &str = ",life:25,retransmits:23,probes:23,unacked_bytes:20,unacked_us:20,unsent_bytes:20,last_ack_us:20,\
                    last_data_us:20,window_closed_us:20";

#[test]
fn our_own_columns_stand_behind_pgbouncers() {
    for (what, expected) in GOLDEN {
        let (columns, rows) = ask(Compat::Plimsoll, what);
        let more = columns.strip_prefix(expected).unwrap_or_else(|| panic!("{what}: {columns}"));
        let ours = match *what {
            "sockets" | "active_sockets" => LIFE,
            "pools" => ",sv_closing:23,sv_lost:23",
            "servers" => ",credential_epoch:20",
            "stats" => {
                ",total_spill_count:1700,total_spill_bytes:1700,total_spill_file_bytes:1700,\
                 total_spill_stop_count:1700"
            }
            "stats_totals" => {
                ",spill_count:1700,spill_bytes:1700,spill_file_bytes:1700,spill_stop_count:1700"
            }
            _ => "",
        };
        assert_eq!(more, ours, "{what}");
        assert!(rows.iter().all(|row| row.len() == columns.split(',').count()), "{what}: {rows:?}");
    }
}

#[test]
fn every_row_has_as_many_values_as_there_are_columns() {
    for (what, expected) in GOLDEN {
        let rows = rows(what);
        let nothing_there = *what == "fds";
        assert_eq!(rows.is_empty(), nothing_there, "{what}");
        assert!(rows.iter().all(|row| row.len() == expected.split(',').count()), "{what}: {rows:?}");
    }
}

#[test]
fn peers_are_shown_with_what_is_on_its_way_to_them() {
    assert_eq!(rows("peers"), [["1", "/run/p1", "6432", "20"], ["2", "/run/p2", "6432", "20"]]);
    assert_eq!(rows("peer_pools"), [["2", "3", "4", "3", "0"]], "as soon as something was passed on");
}

#[test]
fn the_version_is_that_of_whose_shape_it_is() {
    assert_eq!(rows("version"), [[format!("PgBouncer 1.25.2 (Plimsoll {})", env!("CARGO_PKG_VERSION"))]]);
    assert_eq!(ask(Compat::Plimsoll, "version").1, [[format!("plimsoll {}", env!("CARGO_PKG_VERSION"))]]);
}

#[test]
fn pools_are_in_order_and_the_console_is_among_them() {
    let [app, console, zeta] = &rows("pools")[..] else { panic!("{:?}", rows("pools")) };
    let figures = "1 2 3 4 13 18 14 11 12 15 10 3 4 transaction round-robin";
    assert_eq!(app.join(" "), format!("app forced {figures}"));
    assert_eq!(zeta.join(" "), format!("zeta forced {figures}"));
    assert_eq!(console.join(" "), "pgbouncer pgbouncer 1 0 0 0 0 0 0 0 0 0 0 0 0 statement -");
    let own = ask(Compat::Plimsoll, "pools").1;
    assert!(own[0].ends_with(&["16".to_string(), "17".to_string()]), "{own:?}");
}

#[test]
fn databases_show_what_is_written_and_what_is_in_force() {
    let [app, console] = &rows("databases")[..] else { panic!("{:?}", rows("databases")) };
    assert_eq!(
        app.join(" "),
        "app 10.0.0.1,10.0.0.2 5433 app_production forced 20 1 2 3600 - round-robin 50 5 100 3 1 0"
    );
    assert_eq!(console.join(" "), "pgbouncer - 6432 pgbouncer pgbouncer 2 0 0 3600 statement - 0 0 0 1 0 0");
}

#[test]
fn clients_that_are_logged_in_are_shown_with_what_they_do() {
    let states: Vec<Vec<String>> = rows("clients")
        .into_iter()
        .map(|row| vec![row[20].clone(), row[2].clone(), row[4].clone()])
        .collect();
    assert_eq!(states, [["1", "app", "active"], ["2", "app", "waiting"], ["3", "pgbouncer", "idle"]]);
    let first = &rows("clients")[0];
    assert_eq!(first[..4].join(" "), "C ada app none");
    assert_eq!(first[5..9].join(" "), "127.0.0.1 40000 127.0.0.2 6432");
    assert_eq!(first[11..].join("|"), "2|345|0|0xabc|0xdef|0||psql|4|1");
    assert_eq!(rows("clients")[1][15], "", "no link");
}

#[test]
fn times_are_local_with_their_zone() {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
    let now = jiff::civil::date(2026, 11, 20).at(16, 1, 45, 240_000_000).to_zoned(zone).expect("a time");
    let (still, plan) = (Still::new(Compat::Plimsoll), Arc::default());
    let scene = Scene { pooler: &still, plan, figures: Figures::default(), now, level: Level::Admin };
    assert_eq!(scene.time(Duration::from_millis(1_240)), "2026-11-20 16:01:44 +02");
    assert_eq!(scene.time(Duration::from_secs(16 * 3600 + 120)), "2026-11-19 23:59:45 +02");
    assert_eq!(scene.time(Duration::MAX), "2026-11-20 16:01:45 +02", "a time that cannot be is now");
}

#[test]
fn servers_are_shown_by_the_state_of_their_slot() {
    let states =
        |compat| -> Vec<String> { ask(compat, "servers").1.into_iter().map(|row| row[4].clone()).collect() };
    assert_eq!(states(Compat::Pgbouncer), ["active", "used", "idle", "tested"]);
    assert_eq!(states(Compat::Plimsoll), ["active", "used", "idle", "lost", "tested"]);
    let first = &rows("servers")[0];
    assert_eq!(first[..4].join(" "), "S forced app none");
    assert_eq!(first[11..].join("|"), "0|0|1|0xdef|0xabc|4711|||2|1");
}

#[test]
fn sockets_are_clients_and_servers_in_pgbouncers_words() {
    let told = |what, compat| -> Vec<String> {
        ask(compat, what).1.into_iter().map(|row| format!("{}/{}", row[0], row[4])).collect()
    };
    let servers = ["S/sv_active", "S/sv_used", "S/sv_idle", "S/sv_tested"].map(String::from);
    let clients = ["C/cl_active", "C/cl_waiting", "C/cl_active", "C/cl_login"].map(String::from);
    assert_eq!(told("sockets", Compat::Pgbouncer), [&clients[..], &servers[..]].concat());
    assert!(told("sockets", Compat::Plimsoll).contains(&"S/sv_lost".to_string()));
    // Who waits, who asks, who is about to come in.
    assert_eq!(told("active_sockets", Compat::Pgbouncer), ["C/cl_waiting", "C/cl_active", "C/cl_login"]);
    assert_eq!(rows("sockets")[0][21..].join(" "), "0 0 0 0 0 0 0");
    assert_eq!(rows("sockets")[0][..4], rows("clients")[0][..4]);
}

#[test]
fn sockets_tell_what_is_known_of_the_other_side() {
    let rows = ask(Compat::Plimsoll, "sockets").1;
    assert_eq!(rows[0][28..].join(" "), "not reading 2 1 300 5000000 70 4000000 6000000 9000000");
    // Of the others nothing is known.
    let servers = rows.iter().filter(|row| row[0] == "S");
    assert!(servers.into_iter().all(|row| row[28..].iter().all(|cell| cell == "-")), "{rows:?}");
    let (columns, rows) = ask(Compat::Pgbouncer, "liveness");
    assert_eq!(
        (columns.as_str(), rows[0].join(" ").as_str()),
        ("what:25,by:25,count:20", "clients_found_dead keepalive 7")
    );
}

#[test]
fn our_own_keys_stand_behind_pgbouncers() {
    let theirs = rows("config").len();
    let ours = ask(Compat::Plimsoll, "config").1;
    assert_eq!(rows("config"), ours[..theirs]);
    let find = |key: &str| ours[theirs..].iter().find(|row| row[0] == key).expect("a key").join(" ");
    assert_eq!(find("target_budget"), "target_budget auto auto yes");
    assert_eq!(find("compat"), "compat plimsoll plimsoll no");
    assert_eq!(find("cleanup_timeout"), "cleanup_timeout 5s 5s yes");
}

#[test]
fn descriptors_are_for_administrators() {
    let still = Still::new(Compat::Pgbouncer);
    let reply = console(Compat::Pgbouncer).answer(
        &still,
        Visitor { level: Level::Stats, user: "watcher", from: "127.0.0.1:1" },
        b"SHOW FDS",
    );
    let Reply::Now(bytes) = reply else { panic!("{reply:?}") };
    assert_eq!(crate::tests::fields(&messages(&bytes)[0].1), "S=ERROR C=08P01 M=admin access needed");
}

#[test]
fn names_and_memory_are_counted() {
    assert_eq!(rows("dns_hosts"), [["db.example", "14", "10.0.0.1:0,[::1]:0"]]);
    let memory = rows("mem");
    assert_eq!(memory[0], ["client_cache", "600", "3", "0", "1800"]);
    assert_eq!(memory[1][4], i32::MAX.to_string(), "as much as the column takes");
}

#[test]
fn stats_have_every_counter_in_its_column() {
    let numbers = |from: u64| (from..from + 12).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    let stats: Vec<String> = rows("stats").iter().map(|row| row.join(" ")).collect();
    let zeros = "0 0 0 0 0 0 0 0 0 0 0 0";
    assert_eq!(
        stats,
        [
            format!("app {} {}", numbers(100), numbers(1000)),
            format!("pgbouncer 0 1 1 0 0 0 0 0 0 0 0 0 {zeros}"),
            format!("zeta {} {}", numbers(200), numbers(2000)),
        ]
    );
    let totals: Vec<String> = rows("stats_totals").iter().map(|row| row.join(" ")).collect();
    assert_eq!(totals[0], format!("app {}", numbers(100)));
    let averages: Vec<String> = rows("stats_averages").iter().map(|row| row.join(" ")).collect();
    assert_eq!(averages[2], format!("zeta {}", numbers(2000)));
}

#[test]
fn totals_add_up_counts_and_weigh_times() {
    let rows = rows("totals");
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let counters = "server_assignment_count xact_count query_count client_bytes server_bytes xact_time query_time \
                    wait_time ps_client_parse_count ps_server_parse_count ps_bind_count client_login_count";
    let named = |prefix: &str| counters.split(' ').map(|name| format!("{prefix}_{name}")).collect::<Vec<_>>();
    assert_eq!(names, [named("total"), named("avg")].concat());
    let value = |name: &str| rows.iter().find(|row| row[0] == name).map(|row| row[1].clone());
    assert_eq!(value("total_xact_count"), Some("303".to_string()), "101 + 201 + this command");
    assert_eq!(value("avg_xact_count"), Some("3002".to_string()));
    // (1005 * 1001 + 2005 * 2001) / 3002
    assert_eq!(value("avg_xact_time"), Some("1671".to_string()));
}

#[test]
fn lists_have_all_lines() {
    let lists: Vec<String> = rows("lists").iter().map(|row| row.join("=")).collect();
    assert_eq!(
        lists.join(" "),
        "databases=2 users=4 peers=2 pools=4 peer_pools=1 free_clients=0 used_clients=5 login_clients=6 \
         free_servers=0 used_servers=8 dns_names=9 dns_zones=0 dns_queries=1 dns_pending=1"
    );
}

#[test]
fn users_are_those_of_the_configuration_and_keep_their_values_apart() {
    let users: Vec<String> = rows("users").iter().map(|row| row.join("|")).collect();
    assert_eq!(
        users,
        [
            "ada|||-|7|0|0|4",
            "bob|        5||statement|3|0|0|0",
            "forced|||-|7|5|0|0",
            "pgbouncer|||-|7|0|0|0",
        ]
    );
}

#[test]
fn config_and_state_say_yes_and_no() {
    assert_eq!(rows("config"), [["auth_file", "-", "-", "yes"], ["listen_port", "6543", "6432", "no"]]);
    assert_eq!(rows("state"), [["active", "yes"], ["paused", "no"], ["suspended", "no"]]);
    let still = Still { suspended: true, ..Still::new(Compat::Pgbouncer) };
    let reply = console(Compat::Pgbouncer).answer(
        &still,
        Visitor { level: Level::Stats, user: "watcher", from: "127.0.0.1:1" },
        b"SHOW STATE",
    );
    let Reply::Now(bytes) = reply else { panic!("{reply:?}") };
    let rows: Vec<_> = messages(&bytes)[1..4].iter().map(|(_, body)| read_row(body)).collect();
    assert_eq!(rows, [["active", "no"], ["paused", "no"], ["suspended", "yes"]]);
}

#[test]
fn moves_are_shown_in_our_own_shape_only() {
    let (columns, rows) = ask(Compat::Plimsoll, "moves");
    assert_eq!((columns.as_str(), rows), ("moves:20", vec![vec!["99".to_string()]]));
}

#[test]
fn budgets_of_spills_are_shown_in_both_shapes() {
    for compat in [Compat::Plimsoll, Compat::Pgbouncer] {
        let (columns, rows) = ask(compat, "spill_store");
        assert!(columns.starts_with("spills:23,full:23,memory_bytes:20,spill_memory:20,disk_bytes:20,"));
        assert_eq!(rows.concat().join(" "), "2 1 3 5 7 11 13 -");
        assert!(ask(compat, "spills").0.ends_with("age_us:20,since:25,statement:25"));
    }
}
