//! The HTTP listener on bad days: broken requests, slow and many ones, ends and pauses, ports that are taken.

#![allow(clippy::unwrap_used)]

mod common;
mod scrape;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::{BINARY, SOON, house_with, pooler};
use plimsoll_testkit::{Ini, Plimsoll, PostgresOptions, Signal, eventually, free_port};
use scrape::{Answer, ask, house, scrape, send};

#[test]
fn two_pages_two_methods_and_nothing_else() {
    let house = house(|ini| ini);
    let asked = |method: &str, path: &str| ask(house.port, method, path, "").unwrap();
    let page = asked("GET", "/metrics");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", page.head);
    assert!(page.head.contains("connection: close"), "{}", page.head);
    let head = asked("HEAD", "/metrics");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("content-length: "), "{}", head.head);
    assert_eq!(asked("GET", "/metrics?name=x").status, 200);
    let health = asked("GET", "/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    for path in ["/", "/metrics/", "/nothing", "/../metrics", "/metrics%00"] {
        assert_eq!(asked("GET", path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        assert_eq!(asked(method, "/metrics").status, 405, "{method}");
    }
    assert_ne!(asked("CONNECT", "/metrics").status, 200);
    house.plimsoll.still_works(&["p0"]);
}

#[test]
fn what_is_no_request_is_refused_and_does_no_harm() {
    let house = house(|ini| ini);
    let long = "x".repeat(100_000);
    let requests = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f".to_vec(),
        b"SELECT 1;\r\n\r\n".to_vec(),
        vec![0; 4096],
        vec![b'\n'; 4096],
        b"GET /metrics HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /metrics\r\n\r\n".to_vec(),
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n").into_bytes(),
        format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200)).into_bytes(),
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nabc".to_vec(),
    ];
    for request in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]).into_owned();
        // A reset, a close without a word and a status of 400 and more are all right.
        if let Ok(answer) = send(house.port, &request) {
            assert_ne!(answer.status, 200, "{shown}");
        }
        assert_eq!(ask(house.port, "GET", "/healthz", "").unwrap().status, 200, "after {shown}");
    }
    house.plimsoll.still_works(&["p0"]);
}

#[test]
fn whoever_is_slow_is_put_out_and_keeps_nobody_else() {
    let mut house = house(|ini| ini);
    let quiet = house.plimsoll.process().open_files();
    // More than there is room for: half a request line, and no more.
    let slow: Vec<TcpStream> = (0..24)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", house.port)).unwrap();
            stream.write_all(b"GET /metr").unwrap();
            stream
        })
        .collect();
    assert!(house.plimsoll.process().open_files() <= quiet + 16 + 3);
    house.plimsoll.still_works(&["p0", "p1"]);
    let begun = Instant::now();
    assert!(scrape(house.port).contains("plimsoll_client_connections "));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    for mut stream in slow {
        stream.set_read_timeout(Some(SOON)).unwrap();
        // An error's page or nothing, and the end.
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        assert_ne!(Answer::of(&String::from_utf8_lossy(&text)).status, 200);
    }
    // Somebody who does not read his answer goes as well.
    let mut deaf = TcpStream::connect(("127.0.0.1", house.port)).unwrap();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(ask(house.port, "GET", "/healthz", "").unwrap().status, 200);
    drop(deaf);
}

/// Connections that have sent this and nothing else.
fn stuck(port: u16, count: usize, text: &str) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

#[test]
fn a_probe_is_answered_in_time_however_many_are_stuck() {
    let house = house(|ini| ini);
    let mut all = Vec::new();
    for round in 0..5 {
        // A kernel that lets nobody else in makes a probe wait for its second try: sixteen may stand before the door.
        all.extend(stuck(house.port, 16, if round % 2 == 0 { "GET /healthz HTTP/1.1\r\nHo" } else { "" }));
        let begun = Instant::now();
        assert_eq!(ask(house.port, "GET", "/healthz", "").unwrap().status, 200);
        let took = begun.elapsed();
        common::net::say(&format!("a probe behind {} stuck ones took {took:?}", all.len()));
        assert!(took < Duration::from_millis(900), "{took:?}");
    }
    // Who was there last has a place until its time is over, or until another one comes.
    let mut last = all.pop().unwrap();
    last.write_all(b"st: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    last.read_to_string(&mut text).unwrap();
    assert_eq!(Answer::of(&text).status, 200);
}

#[test]
fn only_requests_that_are_for_this_machine_are_answered() {
    let mut ini = Ini::new(&plimsoll_testkit::Postgres::start());
    let port = free_port();
    ini = ini.own("http_listen", &port.to_string());
    let plimsoll = pooler(ini.clone());
    plimsoll.wait_for_log(&format!("listening on http://127.0.0.1:{port}/metrics"), SOON);
    let status = |page: &str, version: &str, host: &str| {
        send(port, format!("GET {page} HTTP/{version}\r\n{host}\r\n").as_bytes()).unwrap()
    };
    for page in ["/metrics", "/healthz"] {
        for host in ["127.0.0.1", "[::1]:6433", "localhost:1", "10.0.0.9"] {
            assert_eq!(status(page, "1.1", &format!("Host: {host}\r\n")).status, 200, "{host}");
        }
        let foreign = status(page, "1.1", "Host: evil.example.com\r\n");
        assert_eq!(foreign.status, 421);
        assert!(
            foreign.body.contains("http_hosts") && !foreign.body.contains("plimsoll_"),
            "{}",
            foreign.body
        );
        assert_eq!(status(page, "1.1", "").status, 400);
        assert_eq!(status(page, "1.0", "").status, 200);
        assert_eq!(status(page, "1.1", "Host: localhost\r\nHost: localhost\r\n").status, 400);
    }
    // Nor is it told what there is.
    assert_eq!(status("/nothing", "1.1", "Host: evil.example.com\r\n").status, 421);
    plimsoll.rewrite(&ini.clone().own("http_hosts", "db1.example.com, evil.example.com"));
    plimsoll.console().query("RELOAD");
    assert_eq!(status("/metrics", "1.1", "Host: Evil.Example.com:80\r\n").status, 200);
    assert_eq!(status("/metrics", "1.1", "Host: other.example.com\r\n").status, 421);
    plimsoll.console().query("SET http_hosts = '*'");
    assert_eq!(status("/metrics", "1.1", "Host: other.example.com\r\n").status, 200);
    let config = plimsoll.show("CONFIG");
    let row = config.find(&[("key", "http_hosts")]).unwrap();
    assert_eq!((config.cell(row, "value"), config.cell(row, "changeable")), ("*", "yes"));
    plimsoll.rewrite(&ini.own("http_hosts", "http://db1"));
    assert!(plimsoll.console().try_query("RELOAD").is_err());
}

#[test]
fn a_thousand_connections_at_once_do_no_harm() {
    let mut house = house(|ini| ini);
    let quiet = house.plimsoll.process().open_files();
    let address = SocketAddr::from(([127, 0, 0, 1], house.port));
    let crowd: Vec<TcpStream> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
                scope.spawn(move || (0..50).filter_map(|_| knock()).collect::<Vec<_>>())
            })
            .collect();
        house.plimsoll.still_works(&["p0"; 20]);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(!crowd.is_empty());
    assert!(house.plimsoll.process().open_files() <= quiet + 16 + 4);
    drop(crowd);
    eventually("a scrape after the crowd", SOON, || {
        ask(house.port, "GET", "/metrics", "").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn scrapes_go_on_through_pauses_suspensions_and_the_end() {
    let mut house = house(|ini| ini);
    let mut client = house.plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let mut console = house.plimsoll.console();
    console.query("PAUSE");
    eventually("the pause", SOON, || scrape(house.port).contains("\nplimsoll_paused 1\n"));
    console.query("RESUME");
    console.query("SUSPEND");
    assert!(scrape(house.port).contains("plimsoll_pool_size"));
    assert_eq!(ask(house.port, "GET", "/healthz", "").unwrap().status, 200);
    console.query("RESUME");
    console.leave();
    house.plimsoll.signal(Signal::Terminate);
    house.plimsoll.wait_for_log("shutting down, waiting for all clients", SOON);
    eventually("the end to be near", SOON, || ask(house.port, "GET", "/healthz", "").unwrap().status == 503);
    eventually("the last client", SOON, || scrape(house.port).contains("\nplimsoll_client_connections 1\n"));
    client.leave();
    assert!(house.plimsoll.wait_exit(SOON).success());
    assert!(TcpStream::connect(("127.0.0.1", house.port)).is_err());
}

/// Ports this process listens on.
fn listens(plimsoll: &mut Plimsoll) -> Vec<u16> {
    let pid = plimsoll.process().pid();
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let sockets: Vec<String> = links
        .filter_map(|link| {
            std::fs::read_link(link.path()).ok()?.to_str()?.strip_prefix("socket:[").map(String::from)
        })
        .map(|inode| inode.trim_end_matches(']').to_string())
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        for line in std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]) {
                ports.push(u16::from_str_radix(fields[1].rsplit(':').next().unwrap(), 16).unwrap());
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[test]
fn in_pgbouncers_shape_there_is_no_port_unless_it_is_asked_for() {
    let (_postgres, mut plimsoll) =
        house_with(PostgresOptions::default(), |ini| ini.usual_http().own("compat", "pgbouncer"));
    plimsoll.still_works(&["p0"]);
    assert_eq!(listens(&mut plimsoll), [plimsoll.port()]);
    assert!(!plimsoll.log().contains("/metrics"));
    let mut house = house(|ini| ini.own("compat", "pgbouncer"));
    let mut wanted = vec![house.plimsoll.port(), house.port];
    wanted.sort_unstable();
    assert_eq!(listens(&mut house.plimsoll), wanted);
    assert!(scrape(house.port).contains("pgbouncer_version_info{version=\"PgBouncer 1.25.2 (Plimsoll "));
}

#[test]
fn a_taken_default_is_a_warning_and_a_taken_choice_the_end() {
    // Held by us, or by somebody else already.
    let _held = TcpListener::bind("127.0.0.1:6433");
    let (_postgres, mut plimsoll) = house_with(PostgresOptions::default(), Ini::usual_http);
    let log = plimsoll.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("/metrics")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("WARNING cannot listen on 127.0.0.1:6433 for /metrics: "), "{log}");
    assert!(warnings[0].contains("http_listen"), "{log}");
    plimsoll.still_works(&["p0"]);
    assert_eq!(listens(&mut plimsoll), [plimsoll.port()]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (status, log) =
        Plimsoll::start_and_fail(BINARY, &Ini::new(&_postgres).own("http_listen", &port.to_string()));
    assert!(!status.success());
    assert!(log.contains(&format!("FATAL cannot listen on 127.0.0.1:{port} for /metrics: ")), "{log}");
    assert!(log.contains("plimsoll.ini:"), "where it was asked for: {log}");
}

#[test]
fn other_machines_are_no_place_to_answer_without_tls() {
    let (postgres, plimsoll) = common::house(|ini| ini);
    for address in ["0.0.0.0:7433", "10.1.2.3:7433", "[::]:7433", "*:7433"] {
        let (status, log) =
            Plimsoll::start_and_fail(BINARY, &Ini::new(&postgres).own("http_listen", address));
        assert!(!status.success(), "{address}");
        let line = log.lines().find(|line| line.contains("http_listen")).unwrap_or_else(|| panic!("{log}"));
        assert!(
            line.contains("plimsoll.ini:") && line.contains("no TLS") && line.contains("127.0.0.1:7433"),
            "{line}"
        );
    }
    drop(plimsoll);
}

#[test]
fn several_addresses_are_answered_and_a_reload_says_what_it_cannot_do() {
    let (one, other) = (free_port(), free_port());
    let postgres = plimsoll_testkit::Postgres::start();
    let ini = Ini::new(&postgres).own("http_listen", &format!("{one}, [::1]:{other}, {one}"));
    let plimsoll = pooler(ini.clone());
    plimsoll.wait_for_log(&format!("listening on http://[::1]:{other}/metrics"), SOON);
    assert!(scrape(one).contains("plimsoll_build_info"));
    let mut stream = TcpStream::connect(("::1", other)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(Answer::of(&text).status, 200);
    plimsoll.rewrite(&ini.own("http_listen", "off"));
    plimsoll.console().query("RELOAD");
    plimsoll.wait_for_log("http_listen", SOON);
    assert!(scrape(one).contains("plimsoll_build_info"));
    let config = plimsoll.show("CONFIG");
    let row = config.find(&[("key", "http_listen")]).unwrap();
    assert_eq!(config.cell(row, "value"), format!("127.0.0.1:{one}, [::1]:{other}"));
}
