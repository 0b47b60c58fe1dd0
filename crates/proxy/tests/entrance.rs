//! How clients come in: first packets, passwords, limits, the welcome.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{SOON, house, house_before};
use plimsoll_testkit::{Batch, Gate, Packet, error_response, eventually, tags};

#[test]
fn the_welcome_is_the_servers_with_the_clients_values() {
    let house = house("track_extra_parameters = intervalstyle\nlogin_notify_message = hello");
    let login = house.login("ann", "shop").parameter("timezone", "CET").parameter("application_name", "app");
    let mut client = login.client();
    assert_eq!(tags(&client.welcome), "RSSSSSSSSSSSKN");
    let names: Vec<String> =
        client.welcome.iter().filter(|m| m.tag == b'S').map(|m| m.strings().join("=")).collect();
    let expected = [
        "integer_datetimes=on",
        "is_superuser=off",
        "server_encoding=UTF8",
        "server_version=15.0 (fake)",
        "session_authorization=ann",
        "DateStyle=ISO, MDY",
        "client_encoding=UTF8",
        "TimeZone=CET",
        "standard_conforming_strings=on",
        "application_name=app",
        "intervalstyle=postgres",
    ];
    assert_eq!(names, expected);
    let key = client.cancel_key().key;
    assert_eq!(key.len(), 8);
    assert!(key[0] < 0x80, "the process id is positive");
    assert_eq!(client.value("SELECT 1"), "1");
    let mut second = house.login("ann", "shop").client();
    assert_eq!(second.parameter("TimeZone"), "UTC", "a client that says nothing gets the pool's value");
    assert_ne!(second.cancel_key().key, key);
    assert_eq!(second.value("SELECT 1"), "1");
    assert_eq!(house.server.accepted(), 1, "the second client needed no server to be welcomed");
    assert_eq!(house.server.failures(), Vec::<String>::new());
}

#[test]
fn every_kind_of_secret_lets_in_with_the_right_password_only() {
    let methods = [
        ("plain", ["ann", "bob", "cid"].as_slice()),
        ("md5", &["ann", "bob", "cid"]),
        ("scram-sha-256", &["ann", "cid"]),
    ];
    for (method, users) in methods {
        let house = house(&format!("auth_type = {method}"));
        for user in users {
            let right = if *user == "cid" { String::from("plain secret") } else { format!("{user}'s") };
            let mut client = house.login(user, "shop").password(&right).client();
            assert_eq!(client.value("SELECT 1"), "1", "{method} {user}");
            let wrong = house.login(user, "shop").password("wrong").refusal();
            let missing = house.login(user, "nowhere").password("wrong").refusal();
            assert_eq!(missing, wrong, "{method} {user}: a missing database is not revealed");
            assert_eq!(wrong.sqlstate, "28P01");
            let known = house.login(user, "nowhere").password(&right).refusal();
            assert_eq!((known.message.as_str(), &*known.sqlstate), ("no such database: nowhere", "3D000"));
        }
        let stranger = house.login("eve", "shop").password("x").refusal();
        let expected = if method == "scram-sha-256" { "SASL" } else { "password" };
        assert_eq!(stranger.message, format!("{expected} authentication failed"), "{method}");
        house.wait_until_empty();
    }
}

#[test]
fn trust_is_for_those_who_are_listed() {
    let house = house("auth_type = trust\n[plimsoll]\ncompat = pgbouncer");
    let refusal = house.login("eve", "shop").refusal();
    assert_eq!(refusal.message, "\"trust\" authentication failed");
    assert_eq!((refusal.sqlstate.as_str(), refusal.letters.as_str()), ("08P01", "SCM"));
    assert_eq!(house.login("ann", "nowhere").refusal().message, "no such database: nowhere");
}

#[test]
fn with_any_a_name_must_not_choose_the_role() {
    let house = house(
        "auth_type = any\n[databases]\nforced = host=127.0.0.1 port=1 user=ann\nfree = host=127.0.0.1 port=1",
    );
    assert_eq!(house.login("whoever", "free").refusal().sqlstate, "28000");
    let mut client = house.login("whoever", "forced").knock().unwrap();
    client.send(&house.login("whoever", "forced").startup_packet()).unwrap();
    eventually("it waits for a server", SOON, || {
        house.control.pools().iter().any(|pool| &*pool.user == "ann" && pool.clients_waiting == 1)
    });
}

#[test]
fn encryption_is_declined_and_the_login_goes_on() {
    let house = house("");
    let login = house.login("ann", "shop");
    let mut client = login.knock().unwrap();
    for code in [80_877_104, 80_877_103] {
        client.send(&Packet::untyped(code).bytes()).unwrap();
        assert_eq!(client.read_byte().unwrap(), b'N');
    }
    client.send(&login.startup_packet()).unwrap();
    login.finish(&mut client).unwrap();
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn first_packets_that_are_none_are_answered_at_once() {
    let ssl = Packet::untyped(80_877_103).bytes();
    let gss = Packet::untyped(80_877_104).bytes();
    let cases: [(Vec<u8>, &str); 8] = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "bad packet header: '474554202f204854'"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), "bad packet header: '1603010200010001'"),
        (Packet::untyped(0x0002_0000).bytes(), "old V2 protocol not supported"),
        (Packet::untyped(0x0004_0000).bytes(), "bad packet header: '0000000800040000'"),
        ([ssl, b"x".to_vec()].concat(), "received unencrypted data after SSL request"),
        ([gss, b"x".to_vec()].concat(), "received unencrypted data after GSSAPI encryption request"),
        (
            Packet::untyped(0x0003_0000).raw(b"user\0ann").bytes(),
            "invalid startup packet layout: expected terminator as last byte",
        ),
        (Packet::typed(b'p').text("secret").bytes(), "client password pkt before startup packet"),
    ];
    let house = house("");
    for (bytes, expected) in cases {
        let mut client = house.login("ann", "shop").knock().unwrap();
        client.send(&bytes).unwrap();
        let error = client.expect_closed().expect("an answer");
        assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", expected));
    }
}

#[test]
fn what_comes_instead_of_a_password_is_refused() {
    let house = house("auth_type = md5");
    let login = house.login("bob", "shop");
    let cases = [
        (login.startup_packet(), "client re-sent startup pkt"),
        (Batch::new().query("SELECT 1").bytes().to_vec(), "bad packet"),
        (vec![b'p', 0x7f, 0xff, 0xff, 0xff], "bad packet"),
        (vec![b'p', 0, 0, 0, 3], "bad packet"),
    ];
    for (bytes, expected) in cases {
        let mut client = login.knock().unwrap();
        client.send(&login.startup_packet()).unwrap();
        assert_eq!(client.read().unwrap().tag, b'R');
        client.send(&bytes).unwrap();
        assert_eq!(client.expect_closed().expect("an answer").message, expected);
    }
    house.wait_until_empty();
}

#[test]
fn a_newer_protocol_is_negotiated_once() {
    let house = house("auth_type = md5");
    let login = house.login("bob", "shop").password("bob's").minor(2).parameter("_pq_.new", "x");
    let client = login.client();
    assert_eq!(tags(&client.welcome).matches('v').count(), 1);
    let answer = client.welcome.iter().find(|message| message.tag == b'v').unwrap();
    assert_eq!(answer.body, b"\0\x03\0\0\0\0\0\x01_pq_.new\0");
    let plain = house.login("bob", "shop").password("bob's").client();
    assert!(!tags(&plain.welcome).contains('v'));
}

#[test]
fn limits_are_told_before_any_password_and_places_come_free_again() {
    let house = house(
        "auth_type = md5\nmax_client_conn = 3\nmax_user_client_connections = 2\n\
         [databases]\nsmall = host=127.0.0.1 port=1 max_db_client_connections=1",
    );
    let ann = || house.login("ann", "shop").password("ann's");
    let one = ann().client();
    let two = ann().client();
    let refusal = ann().refusal();
    assert_eq!(refusal.message, "client connections exceeded (max_user_client_connections)");
    assert_eq!(refusal.sqlstate, "53300");
    let three = house.login("bob", "shop").password("bob's").client();
    assert_eq!(house.login("cid", "shop").refusal().message, "no more connections allowed (max_client_conn)");
    let mut console = house.login("root", "pgbouncer").password("admin").client();
    assert_eq!(console.value("SHOW WHO"), "admin", "the console is not limited");
    for client in [one, two, three, console] {
        client.leave();
    }
    house.wait_until_empty();
    let login = house.login("bob", "small").password("bob's");
    let mut waiting = login.knock().unwrap();
    waiting.send(&login.startup_packet()).unwrap();
    assert_eq!(waiting.read().unwrap().tag, b'R');
    let refusal = house.login("ann", "small").refusal();
    assert_eq!(refusal.message, "client connections exceeded (max_db_client_connections)");
    drop(waiting);
    house.wait_until_empty();
    assert!(ann().try_client().is_ok());
}

#[test]
fn a_login_that_takes_too_long_says_what_it_waited_for() {
    let house = house(
        "client_login_timeout = 0.3\nserver_login_retry = 0.1\n[databases]\ndown = host=127.0.0.1 port=1",
    );
    let mut silent = house.login("ann", "shop").knock().unwrap();
    let error = silent.expect_closed().expect("an answer");
    assert_eq!((error.message.as_str(), error.sqlstate.as_str()), ("client_login_timeout", "08P01"));
    let refusal = house.login("ann", "down").refusal();
    assert_eq!(refusal.message, "client_login_timeout (server down)");
    house.wait_until_empty();
    assert_eq!(house.control.pools().iter().map(|pool| pool.clients_waiting).sum::<u32>(), 0);
}

#[test]
fn what_the_server_says_at_its_door_is_told_to_who_waits() {
    let house = house_before("[plimsoll]\ncompat = pgbouncer", |_, peer| {
        peer.startup()?;
        peer.send(&error_response("FATAL", "3D000", "database \"shop\" does not exist"))
    });
    let refusal = house.login("ann", "shop").refusal();
    assert_eq!((refusal.severity.as_str(), refusal.sqlstate.as_str()), ("FATAL", "3D000"));
    assert_eq!(refusal.message, "database \"shop\" does not exist");
    house.wait_until_empty();
}

#[test]
fn a_client_that_leaves_while_it_waits_for_a_server_is_forgotten() {
    let (gate, keeper) = Gate::new();
    let house = house_before("", move |_, peer| {
        gate.wait()?;
        peer.welcome()?;
        peer.serve()
    });
    let login = house.login("ann", "shop");
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    let waiting = || house.control.pools().iter().map(|pool| pool.clients_waiting).sum::<u32>();
    eventually("it waits", SOON, || waiting() == 1);
    drop(client);
    house.wait_until_empty();
    assert_eq!(waiting(), 0);
    drop(keeper);
    assert_eq!(house.login("ann", "shop").client().value("SELECT 1"), "1");
}

#[test]
fn a_client_that_waits_for_a_server_can_be_killed() {
    let (gate, _keeper) = Gate::new();
    let house = house_before("", move |_, _| gate.wait());
    let login = house.login("ann", "shop");
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    eventually("it is seen", SOON, || house.control.clients().len() == 1);
    let id = house.control.clients()[0].id;
    house.control.kill_client(id).unwrap();
    assert_eq!(client.expect_closed().expect("an answer").message, "admin forced disconnect");
}

#[test]
fn the_star_makes_databases_only_for_those_who_may_come_in() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    let house = house_before("auth_type = md5", move |_, peer| {
        let parameters = peer.welcome()?;
        if parameters.iter().any(|(name, value)| name == "database" && value == "anything") {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        peer.serve()
    });
    let plan = {
        let mut plan = (*house.control.plan()).clone();
        plan.auto_database = plan.databases.iter().find(|database| database.name == "shop").cloned();
        plan
    };
    house.control.reload(plan);
    let names = || house.control.databases().len();
    assert_eq!(house.login("bob", "anything").password("wrong").refusal().sqlstate, "28P01");
    assert_eq!(names(), 1);
    let mut client = house.login("bob", "anything").password("bob's").client();
    assert_eq!(client.value("SELECT 1"), "1");
    assert_eq!(names(), 2);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    client.leave();
    house.wait_until_empty();
}

#[test]
fn a_startup_packet_in_pieces_is_put_together() {
    let house = house("");
    let login = house.login("ann", "shop").parameter("application_name", &"x".repeat(6000));
    let mut client = login.knock().unwrap();
    let packet = login.startup_packet();
    for piece in packet.chunks(97) {
        client.send(piece).unwrap();
    }
    login.finish(&mut client).unwrap();
    assert_eq!(client.parameter("application_name").len(), 6000);
    client.set_patience(Duration::from_secs(20));
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_host_name_that_comes_with_a_reload_is_soon_known() {
    let house = house("server_login_retry = 60");
    let named = |name: &str| {
        let mut plan = (*house.control.plan()).clone();
        let mut database = plan.databases[0].clone();
        database.name = name.to_string();
        let [plimsoll_config::Host::Tcp { host, .. }] = &mut database.hosts[..] else { panic!("one host") };
        *host = String::from("localhost");
        plan.databases.push(database);
        plan
    };
    house.control.reload(named("late"));
    let mut client = house.login("ann", "late").client();
    assert_eq!(client.value("SELECT 1"), "1");
}
