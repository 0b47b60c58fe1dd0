//! The PROXY protocol: a load balancer says for whom it connects, and nobody else may.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::net::{Machine, Net, say};
use common::{SOON, house};
use plimsoll_testkit::{
    Address, Client, Failure, Ini, Login, Plimsoll, Postgres, Process, ServerError, TempDir, binary_of,
    eventually, eventually_ok,
};

/// A header of version 2 with a command, for a client at this address and port 40000.
fn v2(command: u8, client: Ipv4Addr) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    out.extend([0x20 | command, 0x11, 0, 12]);
    out.extend(client.octets());
    out.extend([192, 0, 2, 1]);
    out.extend(40_000_u16.to_be_bytes());
    out.extend(6432_u16.to_be_bytes());
    out
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// Comes in behind a header.
fn enter(login: &Login, header: &[u8]) -> Result<Client, Failure> {
    let mut client = login.knock()?;
    client.send(header)?;
    client.send(&login.startup_packet())?;
    login.finish(&mut client)?;
    Ok(client)
}

#[track_caller]
fn refused(login: &Login, header: &[u8]) -> ServerError {
    match enter(login, header) {
        Ok(_) => panic!("let in with {header:?}"),
        Err(failure) => failure.server(),
    }
}

/// Headers are required on 127.0.0.1 and refused on ::1; HBA lets in clients of 203.0.113.0/24, and of this machine.
fn doors(versions: &str) -> (Postgres, Plimsoll, TempDir) {
    doors_for("127.0.0.1, 192.0.2.0/24", versions)
}

/// The same with others who must send headers.
fn doors_for(balancers: &str, versions: &str) -> (Postgres, Plimsoll, TempDir) {
    doors_within(balancers, versions, "2")
}

/// The same with another client_login_timeout.
fn doors_within(balancers: &str, versions: &str, login_s: &str) -> (Postgres, Plimsoll, TempDir) {
    let files = TempDir::new("proxy");
    let hba = files.path().join("hba");
    let rules = "host all all 203.0.113.0/24 trust\nhost all all ::1/128 trust\nlocal all all trust\n";
    std::fs::write(&hba, rules).unwrap();
    let path = hba.display().to_string();
    let (postgres, plimsoll) = house(|ini| {
        ini.set("auth_type", "hba")
            .set("auth_hba_file", &path)
            .set("client_login_timeout", login_s)
            .own("proxy_protocol", versions)
            .own("proxy_protocol_from", balancers)
    });
    (postgres, plimsoll, files)
}

/// The console's row of the client of p0, over the Unix socket.
#[track_caller]
fn address_of_client(plimsoll: &Plimsoll) -> (String, u64) {
    let login = Login::new(plimsoll.unix_address(), "admin", "pgbouncer").password("admin-secret");
    let mut console = login.client();
    let clients = console.query("SHOW CLIENTS");
    console.leave();
    let row = clients.find(&[("database", "p0")]).expect("a client");
    (clients.cell(row, "addr").to_string(), clients.number(row, "port"))
}

#[test]
fn the_clients_own_address_counts_everywhere() {
    let (_postgres, plimsoll, _files) = doors("any");
    let login = plimsoll.login("app", "p0");
    let line = b"PROXY TCP4 203.0.113.77 192.0.2.1 40001 6432\r\n".to_vec();
    for (header, address) in [(v2(1, CLIENT), ("203.0.113.9", 40_000)), (line, ("203.0.113.77", 40_001))] {
        let mut client = enter(&login, &header).unwrap();
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(address_of_client(&plimsoll), (address.0.to_string(), address.1));
        plimsoll.wait_for_log(&format!("p0/app@{}:{}", address.0, address.1), SOON);
        client.leave();
        eventually("it to be gone", SOON, || plimsoll_clients(&plimsoll) == 0);
    }
    // By its own address HBA knows it not.
    let error = refused(&login, &v2(1, Ipv4Addr::new(198, 51, 100, 1)));
    assert_eq!(error.message, "no authentication method is found");
}

fn plimsoll_clients(plimsoll: &Plimsoll) -> usize {
    let login = Login::new(plimsoll.unix_address(), "admin", "pgbouncer").password("admin-secret");
    let mut console = login.client();
    let count = console.query("SHOW CLIENTS").count(&[("database", "p0")]);
    console.leave();
    count
}

#[test]
fn a_header_that_must_be_there_and_is_not_or_must_not_and_is() {
    let (_postgres, plimsoll, _files) = doors("any");
    let login = plimsoll.login("app", "p0");
    let error = refused(&login, b"");
    assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("08P01", "PROXY header expected"));
    // A stranger comes in as himself, and for nobody else.
    let stranger = login.clone().at(Address::v6(plimsoll.port()));
    assert_eq!(enter(&stranger, b"").unwrap().value("SELECT 1"), "1");
    for header in [v2(1, CLIENT), b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n".to_vec()] {
        let error = refused(&stranger, &header);
        assert_eq!(error.message, "PROXY header from an address that may not send one");
    }
    // Nor does a Unix socket take one.
    let near = login.clone().at(plimsoll.unix_address());
    assert_eq!(enter(&near, b"").unwrap().value("SELECT 1"), "1");
    assert_eq!(refused(&near, &v2(1, CLIENT)).message, "PROXY header from an address that may not send one");
}

#[test]
fn each_listener_has_a_word_of_its_own() {
    let (_postgres, plimsoll, _files) = doors_for("127.0.0.1, ::1", "off, 127.0.0.1=v2");
    let login = plimsoll.login("app", "p0");
    assert_eq!(refused(&login, b"").message, "PROXY header expected");
    assert_eq!(enter(&login, &v2(1, CLIENT)).unwrap().value("SELECT 1"), "1");
    let other = login.clone().at(Address::v6(plimsoll.port()));
    assert_eq!(enter(&other, b"").unwrap().value("SELECT 1"), "1");
    assert_eq!(refused(&other, &v2(1, CLIENT)).message, "PROXY header from an address that may not send one");
}

#[test]
fn no_header_opens_a_door_that_is_for_this_machine() {
    let (_postgres, plimsoll, _files) = doors("any");
    let login = plimsoll.login("app", "p0");
    let error = refused(&login, &v2(1, Ipv4Addr::LOCALHOST));
    assert_eq!(error.message, "bad PROXY header: a loopback address");
    let error = refused(&login, b"PROXY TCP6 ::1 2001:db8::1 1 2\r\n");
    assert_eq!(error.message, "bad PROXY header: a loopback address");
    let mut unix = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8".to_vec();
    unix.extend([b'x'; 216]);
    assert_eq!(refused(&login, &unix).message, "bad PROXY header: a Unix socket's address");
    // A health check has the balancer's own address, for which HBA has no line.
    let error = refused(&login, &v2(0, CLIENT));
    assert_eq!(error.message, "no authentication method is found");
    assert!(!plimsoll.log().contains("p0/app@127.0.0.1:1 "));
}

#[test]
fn what_is_cut_too_long_or_of_another_version_is_refused_and_nobody_else_disturbed() {
    let (_postgres, plimsoll, _files) = doors("v2");
    let login = plimsoll.login("app", "p0");
    let mut other = enter(&login, &v2(1, CLIENT)).unwrap();
    let error = refused(&login, b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n");
    assert_eq!(error.message, "bad PROXY header: version 1, and only version 2 is taken");
    let error = refused(&login, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x80\x00");
    assert_eq!(error.message, "bad PROXY header: too long");
    // Byte by byte it is as good as in one piece, and what follows it in the same packet is not lost.
    let mut slow = login.knock().unwrap();
    for byte in v2(1, CLIENT) {
        slow.send(&[byte]).unwrap();
    }
    slow.send(&login.startup_packet()).unwrap();
    login.finish(&mut slow).unwrap();
    let whole = [v2(1, CLIENT), login.startup_packet()].concat();
    let mut quick = login.knock().unwrap();
    quick.send(&whole).unwrap();
    login.finish(&mut quick).unwrap();
    // Half a header has as much time as a login has.
    let mut half = login.knock().unwrap();
    half.send(&v2(1, CLIENT)[..20]).unwrap();
    let last = half.expect_closed().expect("a last word");
    assert_eq!(last.message, "client_login_timeout");
    assert_eq!(other.value("SELECT 1"), "1");
}

#[test]
fn a_login_that_has_been_told_nothing_begins_again_in_the_process_after_this_one() {
    let (_postgres, mut plimsoll, _files) = doors_within("127.0.0.1", "any", "60");
    let login = plimsoll.login("app", "p0");
    let mut client = login.knock().unwrap();
    client.send(&v2(1, CLIENT)).unwrap();
    plimsoll.wait_for_log("connects for 203.0.113.9:40000 (PROXY protocol)", SOON);
    let mut old = plimsoll.take_over();
    client.send(&login.startup_packet()).unwrap();
    login.finish(&mut client).unwrap();
    assert_eq!(client.value("SELECT 1"), "1");
    assert_eq!(address_of_client(&plimsoll), ("203.0.113.9".to_string(), 40_000));
    assert_eq!(old.wait(SOON).code(), Some(0));
}

#[test]
fn haproxy_tells_for_whom_it_connects() {
    let Some(net) = Net::build() else { return };
    if Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_none(), "haproxy is missing");
        say("SKIPPED: no haproxy");
        return;
    }
    net.enter(Machine::Database);
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres)
        .set("listen_addr", &Net::listen_addr())
        .own("proxy_protocol", "any")
        .own("proxy_protocol_from", "10.77.2.1/32");
    let plimsoll = Plimsoll::start(binary_of(common::BINARY).to_str().unwrap(), &ini);
    let files = TempDir::new("haproxy");
    let path = files.path().join("haproxy.cfg");
    let mut text =
        String::from("defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n");
    for (port, how) in [(7001, "send-proxy"), (7002, "send-proxy-v2")] {
        text += &format!(
            "listen l{port}\n bind 10.77.1.1:{port}\n server s 10.77.2.2:{} {how} check check-send-proxy inter 200ms\n",
            plimsoll.port()
        );
    }
    std::fs::write(&path, text).unwrap();
    net.enter(Machine::Balancer);
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _haproxy = Process::start(&mut command);
    for port in [7001, 7002] {
        let address = Address::Tcp(std::net::SocketAddr::from(([10, 77, 1, 1], port)));
        let login = Login::new(address, "app", "p0").patience(Duration::from_secs(5));
        let mut client = net.inside(Machine::Application, || {
            eventually_ok("HAProxy to let somebody through", SOON, || {
                login.try_client().map_err(|failure| failure.to_string())
            })
        });
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(address_of_client(&plimsoll).0, Net::application());
        drop(client);
        eventually("it to be gone", SOON, || plimsoll_clients(&plimsoll) == 0);
    }
    // Its health checks harm nobody.
    assert!(!plimsoll.log().contains("PROXY header expected"), "{}", plimsoll.log());
}
