//! Logins by LDAP: OpenLDAP's server as it is, stopped and away, and servers that lie.

#![allow(clippy::unwrap_used)]

mod common;
mod ldap_house;
mod vault;
mod vouched;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::Ordering;

use common::SOON;
use common::certificates::Maker;
use ldap_house::dns::Dns;
use ldap_house::{BASE, Liar, SEARCHER, SEARCHER_PASSWORD, Slapd, for_ever, is_there};
use plimsoll_testkit::{
    Client, Ini, Plimsoll, Postgres, PostgresOptions, ServerAuth, ServerError, Signal, eventually, free_port,
};
use vault::Vault;
use vouched::{comes_in, login, wrong_ones_stay_out};

const FAILED: &str = "LDAP authentication failed";

/// A PostgreSQL that asks for passwords, a slapd, and what signs its certificate.
struct House {
    postgres: Postgres,
    slapd: Slapd,
    maker: Maker,
}

fn house() -> Option<House> {
    if !is_there() {
        return None;
    }
    let maker = Maker::new();
    maker.root("ca");
    maker.signed("ca", "server", "localhost");
    maker.root("other");
    let postgres = Postgres::start_with(PostgresOptions { auth: ServerAuth::Scram, ..Default::default() });
    let slapd = Slapd::start(&maker, "server");
    Some(House { postgres, slapd, maker })
}

impl House {
    /// The pooler knows no password of `app`: the one that is given has to do for the server, too.
    fn ini(&self, options: &str) -> Ini {
        let ini = Ini::new(&self.postgres).without_login("app").set("auth_type", "ldap");
        ini.set("auth_ldap_options", options)
    }

    fn search(&self, more: &str) -> String {
        format!(
            "ldapserver=127.0.0.1 ldapport={} ldapbasedn=\"{BASE}\" ldapbinddn=\"{SEARCHER}\" \
             ldapbindpasswd={SEARCHER_PASSWORD} {more}",
            self.slapd.port
        )
    }
}

#[track_caller]
fn refused(error: &ServerError, sqlstate: &str) {
    vouched::refused(error, sqlstate, FAILED);
}

fn tells_nothing(plimsoll: &Plimsoll) {
    let log = plimsoll.log();
    for secret in ["app-secret", "wrong-one", SEARCHER_PASSWORD, "odd-secret", "panicked"] {
        assert!(!log.contains(secret), "the log has {secret}:\n{log}");
    }
}

/// By somebody who is in already: the way in may be closed by what was loaded before.
fn reload(plimsoll: &Plimsoll, console: &mut Client, ini: &Ini) {
    plimsoll.rewrite(ini);
    console.query("RELOAD");
}

#[test]
fn a_simple_bind() {
    let Some(house) = house() else { return };
    let options = format!(
        "ldapserver=127.0.0.1 ldapport={} ldapprefix=\"uid=\" ldapsuffix=\",ou=people,{BASE}\"",
        house.slapd.port
    );
    let plimsoll = common::pooler(house.ini(&options));
    comes_in(&plimsoll);
    wrong_ones_stay_out(&plimsoll, FAILED);
    for user in ["app,ou=people", "app,ou=people,dc=example,dc=net", "*", "app+cn=app", "app\\"] {
        refused(&login(&plimsoll, user, "app-secret").refusal(), "28000");
    }
    // A comma is one letter of a name.
    let odd = login(&plimsoll, "o(br,ien)*", "odd-secret").refusal();
    assert!(odd.message.contains("o(br,ien)*"), "the server knows no such role: {odd:?}");
    assert!(!plimsoll.console().value("SHOW VERSION").is_empty());
    tells_nothing(&plimsoll);
}

#[test]
fn without_a_server_those_of_the_domain_are_asked_in_their_order() {
    let Some(house) = house() else { return };
    // The first one does not answer: nobody listens there.
    let places = vec![(20, house.slapd.port), (10, free_port())];
    let Some(dns) = Dns::start("_ldap._tcp.example.net", places) else { return };
    let resolv_conf = Dns::resolv_conf(house.postgres.socket_dir()).display().to_string();
    let options =
        format!("ldapbasedn=\"{BASE}\" ldapbinddn=\"{SEARCHER}\" ldapbindpasswd={SEARCHER_PASSWORD}");
    let plimsoll = common::pooler(house.ini(&options).set("resolv_conf", &resolv_conf));
    comes_in(&plimsoll);
    assert!(dns.asked.load(Ordering::SeqCst) > 0);
    refused(&login(&plimsoll, "app", "wrong-one").refusal(), "28000");
    // A domain that has none.
    let options = options.replace("dc=example", "dc=elsewhere");
    let mut console = plimsoll.console();
    reload(&plimsoll, &mut console, &house.ini(&options).set("resolv_conf", &resolv_conf));
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "57P03");
    let why = "LDAP authentication could not find DNS SRV records for \"elsewhere.net\"";
    plimsoll.wait_for_log(why, SOON);
    tells_nothing(&plimsoll);
}

#[test]
fn a_search_and_a_bind() {
    let Some(house) = house() else { return };
    let plimsoll = common::pooler(house.ini(&house.search("")));
    let mut console = plimsoll.console();
    comes_in(&plimsoll);
    refused(&login(&plimsoll, "app", "wrong-one").refusal(), "28000");
    for user in ["nobody", "*", "app)(uid=*", "a*p", "app)(|(uid=*", "\\61pp"] {
        refused(&login(&plimsoll, user, "app-secret").refusal(), "28000");
    }
    let odd = login(&plimsoll, "o(br,ien)*", "odd-secret").refusal();
    assert!(odd.message.contains("o(br,ien)*"), "the server knows no such role: {odd:?}");
    refused(&login(&plimsoll, "twin", "twin-secret").refusal(), "28000");
    plimsoll.wait_for_log("the user is not unique", SOON);
    tells_nothing(&plimsoll);
    let shown = plimsoll.show("CONFIG");
    let row = shown.find(&[("key", "auth_ldap_options")]).unwrap();
    assert_eq!(shown.cell(row, "value"), "***");
    // Whoever searches has a wrong password: that is nobody's who logs in.
    let options = house.search("").replace(SEARCHER_PASSWORD, "wrong-one");
    reload(&plimsoll, &mut console, &house.ini(&options));
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "57P03");
    plimsoll.wait_for_log("the bind as ldapbinddn failed: result 49", SOON);
    let filter = "ldapsearchfilter=\"(&(objectClass=inetOrgPerson)(|(uid=$username)(mail=$username)))\"";
    reload(&plimsoll, &mut console, &house.ini(&house.search(filter)));
    comes_in(&plimsoll);
    let url = format!(
        "ldapurl=\"ldap://127.0.0.1:{}/ou=people,{BASE}?uid?sub\" ldapbinddn=\"{SEARCHER}\" \
         ldapbindpasswd={SEARCHER_PASSWORD}",
        house.slapd.port
    );
    reload(&plimsoll, &mut console, &house.ini(&url));
    comes_in(&plimsoll);
    reload(&plimsoll, &mut console, &house.ini("ldapserver=127.0.0.1"));
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "F0000");
    plimsoll.wait_for_log("auth_ldap_options: authentication method \"ldap\" requires argument", SOON);
    tells_nothing(&plimsoll);
}

#[test]
fn over_tls_and_not_otherwise() {
    let Some(house) = house() else { return };
    let (port, tls_port) = (house.slapd.port, house.slapd.tls_port);
    let bind = format!("ldapprefix=\"uid=\" ldapsuffix=\",ou=people,{BASE}\"");
    let start_tls = format!("ldapserver=localhost ldapport={port} ldaptls=1 {bind}");
    let ldaps = format!("ldapserver=localhost ldapport={tls_port} ldapscheme=ldaps {bind}");
    let with_ca = |options: &str, ca: &str| house.ini(options).own("ldap_ca_file", &house.maker.text(ca));
    let plimsoll = common::pooler(with_ca(&start_tls, "ca.crt"));
    let mut console = plimsoll.console();
    comes_in(&plimsoll);
    reload(&plimsoll, &mut console, &with_ca(&ldaps, "ca.crt"));
    comes_in(&plimsoll);
    refused(&login(&plimsoll, "app", "wrong-one").refusal(), "28000");
    for options in [&start_tls, &ldaps] {
        // Another authority, and the system's.
        for ini in [with_ca(options, "other.crt"), house.ini(options)] {
            reload(&plimsoll, &mut console, &ini);
            let mark = plimsoll.log_mark();
            refused(&login(&plimsoll, "app", "app-secret").refusal(), "57P03");
            plimsoll.wait_for_log_since(mark, "TLS handshake failed", SOON);
        }
        // The certificate is not this address's.
        reload(&plimsoll, &mut console, &with_ca(&options.replace("=localhost", "=127.0.0.1"), "ca.crt"));
        let mark = plimsoll.log_mark();
        refused(&login(&plimsoll, "app", "app-secret").refusal(), "57P03");
        plimsoll.wait_for_log_since(mark, "TLS handshake failed", SOON);
    }
    // Plain where TLS is spoken, TLS where it is not.
    reload(
        &plimsoll,
        &mut console,
        &with_ca(&format!("ldapserver=localhost ldapport={tls_port} {bind}"), "ca.crt")
            .own("ldap_timeout", "1s"),
    );
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "57P03");
    reload(
        &plimsoll,
        &mut console,
        &with_ca(&format!("ldapserver=localhost ldapport={port} ldapscheme=ldaps {bind}"), "ca.crt")
            .own("ldap_timeout", "1s"),
    );
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "57P03");
    tells_nothing(&plimsoll);
}

/// A pooler at which `app` comes by LDAP, and `other` by SCRAM, from a file of rules.
fn by_rules(house: &House, options: &str, change: impl FnOnce(Ini) -> Ini) -> (Plimsoll, Vault) {
    let vault = Vault::new();
    let rules = format!("host all app all ldap {options}\nhost all other,admin all scram-sha-256\n");
    vault.put("hba", &rules);
    let line =
        format!("host=127.0.0.1 port={} dbname=p0 user=app password=app-secret", house.postgres.port());
    let ini = Ini::new(&house.postgres)
        .without_login("app")
        .login("other", "other-secret")
        .database("forced", &line);
    let ini = ini.set("auth_type", "hba").set("auth_hba_file", &vault.path("hba").display().to_string());
    (common::pooler(change(ini)), vault)
}

/// Somebody who comes by SCRAM is not disturbed.
#[track_caller]
fn others_come_in(plimsoll: &Plimsoll) {
    let mut client = plimsoll.login("other", "forced").password("other-secret").client();
    assert_eq!(client.value("SELECT current_user"), "app");
}

#[test]
fn by_a_line_of_an_hba_file() {
    let Some(house) = house() else { return };
    let (plimsoll, vault) = by_rules(&house, &format!("{} # ours", house.search("")), |ini| ini);
    comes_in(&plimsoll);
    others_come_in(&plimsoll);
    refused(&login(&plimsoll, "app", "wrong-one").refusal(), "28000");
    let mut console = plimsoll.console();
    // A line that cannot be understood is no line that is not there.
    vault.put(
        "hba",
        "host all app all ldap ldapserver=h ldapbindpasswd=\"wrong-one\nhost all all all trust\n",
    );
    let mark = plimsoll.log_mark();
    console.query("RELOAD");
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "F0000");
    plimsoll.wait_for_log_since(mark, "hba line 1 lets nobody in", SOON);
    let log = plimsoll.log_since(mark);
    assert!(log.contains("hba line 1: option 2: quote is not closed"), "{log}");
    tells_nothing(&plimsoll);
}

#[test]
fn a_server_that_stands_still_holds_up_nobody_else() {
    let Some(mut house) = house() else { return };
    let options = house.search("");
    let (plimsoll, _vault) = by_rules(&house, &options, |ini| ini.own("ldap_timeout", "1s"));
    comes_in(&plimsoll);
    house.slapd.signal(Signal::Stop);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| login(&plimsoll, "app", "app-secret").refusal());
        others_come_in(&plimsoll);
        let error = waiting.join().unwrap();
        refused(&error, "57P03");
        assert_eq!(error.detail.as_deref(), Some("no answer within 1 s"));
    });
    house.slapd.signal(Signal::Continue);
    comes_in(&plimsoll);
    house.slapd.stop();
    let error = login(&plimsoll, "app", "app-secret").refusal();
    refused(&error, "57P03");
    plimsoll.wait_for_log("cannot connect", SOON);
    others_come_in(&plimsoll);
    tells_nothing(&plimsoll);
}

#[test]
fn of_several_servers_the_first_that_answers_counts() {
    let Some(house) = house() else { return };
    // Nobody listens on 127.0.0.3; whoever connects to 127.0.0.4 hears nothing.
    let silent = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 4), house.slapd.port)).unwrap();
    let servers = "ldapserver=\"127.0.0.3 127.0.0.4 127.0.0.2\"";
    let options = house.search("").replace("ldapserver=127.0.0.1", servers);
    let plimsoll = common::pooler(house.ini(&options).own("ldap_timeout", "4s"));
    comes_in(&plimsoll);
    refused(&login(&plimsoll, "app", "wrong-one").refusal(), "28000");
    drop(silent);
}

/// What a pooler says to `app` before a server that lies.
fn before(liar: &Liar, more: &str, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll, ServerError) {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres).without_login("app").set("auth_type", "ldap").own("ldap_timeout", "2s");
    let options = format!("ldapserver=127.0.0.1 ldapport={} ldapprefix=uid= {more}", liar.port);
    let plimsoll = common::pooler(change(ini.set("auth_ldap_options", &options)));
    let error = login(&plimsoll, "app", "app-secret").refusal();
    (postgres, plimsoll, error)
}

#[test]
fn servers_that_lie_are_found_out() {
    const NOTICE: &[u8] = b"\x30\x11\x02\x01\x00\x78\x0c\x0a\x01\x00\x04\x00\x04\x00\x8a\x031.2";
    type Lie = fn(&mut std::net::TcpStream);
    let lies: [(Lie, &str); 7] = [
        (|stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "no LDAP message"),
        (|stream| drop(stream.write_all(b"\x30\x84\xff\xff\xff\xff")), "too long"),
        (|stream| for_ever(stream, NOTICE), "more than answers to what it was asked"),
        (|stream| for_ever(stream, &[0x30, 0x82, 0x80, 0x00, 0x30, 0x80, 0x30, 0x80]), "no LDAP message"),
        (|stream| drop(stream.shutdown(std::net::Shutdown::Both)), "closed the connection"),
        // Half a message, and nothing more.
        (|stream| drop(stream.write_all(b"\x30\x0c\x02\x01\x01\x61")), "no answer within 2 s"),
        // Deep in each other, as far as a message reaches.
        (
            |stream| {
                let mut bytes = vec![0x30, 0x82, 0x20, 0x00];
                for left in (1..0x800_u16).rev() {
                    let [high, low] = (left * 4).to_be_bytes();
                    bytes.extend_from_slice(&[0x30, 0x82, high, low]);
                }
                bytes.extend_from_slice(&[0; 16]);
                drop(stream.write_all(&bytes));
            },
            "no LDAP message",
        ),
    ];
    for (lie, expected) in lies {
        let liar = Liar::start(lie);
        let (_postgres, plimsoll, error) = before(&liar, "", |ini| ini);
        refused(&error, "57P03");
        plimsoll.wait_for_log(expected, SOON);
        // The connection has gone with the answer.
        liar.closed.lock().unwrap().recv_timeout(SOON).expect("it is closed");
        tells_nothing(&plimsoll);
    }
    // What is said before TLS could be anybody's; and who has no TLS gets no password.
    let liar = Liar::start(|stream| {
        let mut bytes = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00".to_vec();
        bytes.extend_from_slice(b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00");
        drop(stream.write_all(&bytes));
    });
    let (_postgres, plimsoll, error) = before(&liar, "ldaptls=1", |ini| ini);
    refused(&error, "57P03");
    plimsoll.wait_for_log("it said more before TLS than it was asked", SOON);
}

#[test]
fn who_leaves_is_forgotten_and_who_waits_is_told() {
    let liar = Liar::start(|_stream| {});
    let (_postgres, plimsoll, error) = before(&liar, "", |ini| ini.own("ldap_connections", "1"));
    refused(&error, "57P03");
    liar.closed.lock().unwrap().recv_timeout(SOON).expect("it is closed");
    std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..6).map(|_| scope.spawn(|| login(&plimsoll, "app", "app-secret").refusal())).collect();
        for one in all {
            refused(&one.join().unwrap(), "57P03");
        }
    });
    // One at a time; the server may not have seen the end of one when the next one comes.
    assert!(liar.most.load(Ordering::SeqCst) <= 2, "one connection at a time");
    let there = |count: usize| liar.now.load(Ordering::SeqCst) == count;
    eventually("all of them to be closed", SOON, || there(0));
    // A client that goes away in the middle takes its connection to the LDAP server with it.
    let mark = plimsoll.log_mark();
    let login = login(&plimsoll, "app", "app-secret");
    let mut leaving = login.knock().unwrap();
    leaving.send(&login.startup_packet()).unwrap();
    assert_eq!(leaving.read().unwrap().tag, b'R');
    leaving.send(&plimsoll_testkit::Packet::typed(b'p').text("app-secret").bytes()).unwrap();
    eventually("the LDAP server to be asked", SOON, || there(1));
    drop(leaving);
    plimsoll.wait_for_log_since(mark, "client unexpected eof", SOON);
    eventually("the connection to be closed", SOON, || there(0));
    assert!(!plimsoll.log_since(mark).contains("no answer within"), "{}", plimsoll.log_since(mark));
}
