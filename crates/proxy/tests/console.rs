//! The console's clients, and the way out.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, house};
use plimsoll_proxy::{ClientState, Shutdown};
use plimsoll_testkit::{Batch, Client, eventually, tags};

#[test]
fn the_console_welcomes_whom_it_knows() {
    let house = house("auth_type = md5");
    let mut admin = house.login("root", "pgbouncer").password("admin").client();
    assert_eq!(admin.parameter("server_version"), "1.25.2/words");
    assert_eq!(tags(&admin.welcome), "RRSK");
    assert_eq!(admin.value("SHOW WHO"), "admin");
    let mut stats = house.login("watcher", "pgbouncer").password("eyes").client();
    assert_eq!(stats.value("SHOW WHO"), "stats");
    let clients = house.control.clients();
    assert_eq!(clients.len(), 2);
    assert!(
        clients.iter().all(|client| &*client.database == "pgbouncer" && client.state == ClientState::Active)
    );
    // Before any password is asked for.
    assert_eq!(house.login("ann", "pgbouncer").refusal().message, "not allowed");
    assert_eq!(house.login("root", "pgbouncer").password("x").refusal().sqlstate, "28P01");
    admin.leave();
    stats.reset();
    house.wait_until_empty();
}

#[test]
fn the_extended_protocol_works_in_our_own_shape_and_is_refused_in_pgbouncers() {
    let batch =
        || Batch::new().parse("", "SHOW WHO").bind("", "", &[]).describe_portal("").execute("", 0).sync();
    let own = house("");
    let mut client = own.login("root", "pgbouncer").client();
    assert_eq!(tags(&client.run(&batch())), "12TDCZ");
    assert_eq!(client.value_extended("SHOW WHO", &[]), "admin");
    assert_eq!(client.value("SHOW WHO"), "admin");
    let compat = house("[plimsoll]\ncompat = pgbouncer");
    let mut client = compat.login("root", "pgbouncer").client();
    client.send(batch().bytes()).unwrap();
    let error = client.read().unwrap();
    assert!(
        error.strings().iter().any(|s| s.ends_with("extended query protocol not supported by admin console"))
    );
    assert_eq!(client.expect_closed().expect("an answer").message, "bad packet");
}

#[test]
fn messages_of_the_console_are_bounded() {
    let house = house("");
    let mut client = house.login("root", "pgbouncer").client();
    client.send(&[b'Q', 0, 1, 0, 0]).unwrap();
    assert_eq!(client.expect_closed().expect("an answer").message, "packet too large");
    let mut client = house.login("root", "pgbouncer").client();
    client.send(&[b'Q', 0, 0, 0, 2]).unwrap();
    assert_eq!(client.expect_closed().expect("an answer").message, "bad packet");
}

/// A client that holds its server connection, and a console that waits for it in PAUSE.
fn paused(house: &common::House) -> (Client, Client) {
    let mut holder = house.login("ann", "shop").client();
    assert_eq!(holder.value("SELECT 1"), "1");
    let mut console = house.login("root", "pgbouncer").client();
    console.send(Batch::new().query("PAUSE").bytes()).unwrap();
    eventually("it is paused", SOON, || house.control.is_paused());
    (holder, console)
}

#[test]
fn pause_answers_when_nothing_is_in_use_any_more() {
    let house = house("pool_mode = session");
    let (holder, mut console) = paused(&house);
    assert_eq!(house.control.pools()[0].counts.held, 1);
    holder.leave();
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    assert_eq!(house.control.servers().len(), 0);
    console.query("RESUME");
    assert!(!house.control.is_paused());
}

#[test]
fn a_cancel_request_undoes_a_pause() {
    let house = house("pool_mode = session");
    let (mut holder, mut console) = paused(&house);
    console.cancel_key().cancel().unwrap();
    assert_eq!(tags(&console.cycle().unwrap()), "EZ");
    assert!(!house.control.is_paused());
    assert_eq!(console.value("SHOW WHO"), "admin");
    assert_eq!(holder.value("SELECT 1"), "1");
}

#[test]
fn a_console_that_is_lost_undoes_its_pause() {
    let house = house("pool_mode = session");
    let (mut holder, console) = paused(&house);
    console.reset();
    eventually("it goes on", SOON, || !house.control.is_paused());
    assert_eq!(holder.value("SELECT 1"), "1");
}

#[test]
fn console_clients_can_be_killed() {
    let house = house("");
    let mut client = house.login("root", "pgbouncer").client();
    let id = house.control.clients()[0].id;
    house.control.kill_client(id).unwrap();
    assert_eq!(client.expect_closed().expect("an answer").message, "admin forced disconnect");
    house.wait_until_empty();
}

#[test]
fn on_the_way_out_tcp_is_closed_and_the_last_client_ends_it() {
    let house = house("");
    let mut client = house.login("ann", "shop").client();
    let mut console = house.login("root", "pgbouncer").client();
    console.query("SHUTDOWN WAIT_FOR_CLIENTS");
    assert!(house.login("ann", "shop").knock().is_err(), "refused when the answer is there");
    assert_eq!(client.value("SELECT 1"), "1", "who is in goes on");
    let refusal = house.login("ann", "shop").at(house.unix()).refusal();
    assert_eq!((refusal.message.as_str(), refusal.sqlstate.as_str()), ("pooler is shutting down", "57P01"));
    let mut other = house.login("root", "pgbouncer").at(house.unix()).client();
    assert_eq!(other.value("SHOW WHO"), "admin");
    assert!(house.socket().exists());
    for client in [client, console, other] {
        client.leave();
    }
    eventually("the socket is removed at the end", SOON, || !house.socket().exists());
    finished(&house);
}

#[test]
fn waiting_for_servers_ends_when_none_is_in_use() {
    let house = house("pool_mode = session");
    let mut client = house.login("ann", "shop").client();
    assert_eq!(client.value("SELECT 1"), "1");
    let mut other = house.login("bob", "shop").client();
    house.control.shutdown(Shutdown::WaitForServers);
    assert_eq!(other.fail("SELECT 1").message, "server shutting down");
    assert_eq!(client.value("SELECT 1"), "1", "who has a server connection goes on");
    assert!(house.socket().exists());
    client.leave();
    finished(&house);
    assert!(!house.socket().exists());
}

#[test]
fn an_immediate_end_waits_for_nobody() {
    let house = house("");
    let _client = house.login("ann", "shop").client();
    house.control.shutdown(Shutdown::Immediate);
    finished(&house);
    assert!(!house.socket().exists());
}

/// Waits until the pooler says that it may end.
fn finished(house: &common::House) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(SOON, house.control.finished()).await.expect("it says that it may end");
    });
}

#[test]
fn our_own_system_user_needs_no_password_on_the_unix_socket() {
    let house = house("auth_type = scram-sha-256");
    let mut kin = house.login("pgbouncer", "pgbouncer").at(house.unix()).client();
    assert_eq!(kin.value("SHOW WHO"), "admin");
    assert_eq!(house.login("pgbouncer", "pgbouncer").refusal().message, "not allowed");
    assert_eq!(kin.welcome.iter().filter(|message| message.tag == b'R').count(), 1);
}
