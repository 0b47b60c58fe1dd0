//! Incident 5, with the kernel: a network load balancer forgets silent flows, and nobody tells the pooler.
//!
//! Three network namespaces (see `common/net.rs`), real PostgreSQL, which counts the sessions, and for comparison real
//! PgBouncer. Where namespaces are not allowed every test here says so and passes.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use common::BINARY;
use common::net::{Machine, Net, say};
use plimsoll_testkit::{
    Client, Ini, Login, Outcome, Plimsoll, Postgres, PostgresOptions, binary_of, eventually_ok,
};

/// How large the incident is.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// After how much silence the balancer forgets a flow.
    forgets: Duration,
    /// How long the application stays silent: longer than that, with the kernel's clock of whole seconds in mind.
    silence: Duration,
    rounds: usize,
    /// Keys of keepalive; none leaves the file untouched.
    keepalive: &'static [(&'static str, &'static str)],
}

/// The defaults, 60 s before a balancer's 350 s, scaled down to 2 s before its 4 s.
const SMALL: Size = Size {
    forgets: Duration::from_secs(4),
    silence: Duration::from_millis(6_500),
    rounds: 4,
    keepalive: &[("tcp_keepidle", "2"), ("tcp_keepintvl", "1"), ("tcp_keepcnt", "3")],
};

/// With the defaults themselves: `./dev soak --balancer` sets `PLIMSOLL_SOAK`.
const TRUE: Size =
    Size { forgets: Duration::from_secs(90), silence: Duration::from_secs(100), rounds: 11, keepalive: &[] };

fn size() -> Size {
    if std::env::var_os("PLIMSOLL_SOAK").is_some() { TRUE } else { SMALL }
}

/// Clients of the application.
const CLIENTS: usize = 20;

/// Session pooling, and a pool in which there is room for many leaks.
fn incident(postgres: &Postgres) -> Ini {
    Ini::new(postgres)
        .set("pool_mode", "session")
        .set("listen_addr", &Net::listen_addr())
        .set("default_pool_size", "200")
        .set("max_client_conn", "1000")
}

/// PostgreSQL and a pooler on the database's machine, behind a balancer that forgets.
fn behind_a_balancer(
    net: &Net,
    size: Size,
    program: &str,
    change: impl FnOnce(Ini) -> Ini,
) -> (Postgres, Plimsoll) {
    net.forget_after(size.forgets);
    net.enter(Machine::Database);
    let postgres =
        Postgres::start_with(PostgresOptions { max_connections: 90, ..PostgresOptions::default() });
    let pooler = Plimsoll::start(program, &change(incident(&postgres)));
    (postgres, pooler)
}

/// The application: each of its clients asks; one whose connection is dead comes back with a new one.
struct Application {
    login: Login,
    clients: Vec<Option<Client>>,
}

/// What became of a round.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    /// Connections that were dead.
    dead: usize,
    /// Clients that were not let in again.
    refused: usize,
}

impl Application {
    fn new(port: u16) -> Application {
        let login = Login::new(Net::at_database(port), "app", "p0").patience(Duration::from_secs(1));
        Application { login, clients: (0..CLIENTS).map(|_| None).collect() }
    }

    fn round(&mut self) -> Round {
        let mut round = Round::default();
        for place in &mut self.clients {
            if place.as_mut().is_some_and(|client| ask(client).is_err()) {
                round.dead += 1;
                *place = None;
            }
            if place.is_none() {
                *place = match self.login.try_client() {
                    Ok(client) => Some(client),
                    Err(failure) => {
                        say(&format!("refused: {failure}"));
                        None
                    }
                };
            }
            if place.as_mut().is_none_or(|client| ask(client).is_err()) {
                round.refused += 1;
                *place = None;
            }
        }
        round
    }
}

fn ask(client: &mut Client) -> Outcome<()> {
    client.try_query("SELECT 1").map(drop)
}

/// The silence is what is tried here. (Parking may end early.)
fn stay_silent_until(end: Instant) {
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Rounds with silence between; the sessions PostgreSQL counts after each, and what became of it.
fn rounds(net: &Net, postgres: &Postgres, port: u16, size: Size) -> Vec<(usize, Round)> {
    net.inside(Machine::Application, || {
        let mut application = Application::new(port);
        let mut seen = Vec::new();
        for number in 0..size.rounds {
            if number > 0 {
                stay_silent_until(Instant::now() + size.silence);
            }
            let round = application.round();
            seen.push((postgres.count_sessions("usename = 'app'"), round));
        }
        seen
    })
}

/// PgBouncer, if it is here.
fn pgbouncer() -> Option<PathBuf> {
    let named = std::env::var_os("PLIMSOLL_PGBOUNCER").map(PathBuf::from);
    let found = named.unwrap_or_else(|| PathBuf::from("/usr/sbin/pgbouncer"));
    if found.exists() {
        return Some(found);
    }
    say(&format!("SKIPPED: no PgBouncer at {} (PLIMSOLL_PGBOUNCER)", found.display()));
    None
}

#[test]
fn pgbouncer_leaks_twenty_sessions_a_round_until_there_are_none_left() {
    let (Some(net), Some(program)) = (Net::build(), pgbouncer()) else { return };
    let (postgres, pooler) = behind_a_balancer(&net, SMALL, program.to_str().unwrap(), Ini::usual_http);
    let seen = rounds(&net, &postgres, pooler.port(), Size { rounds: 5, ..SMALL });
    let sessions: Vec<usize> = seen.iter().map(|(sessions, _)| *sessions).collect();
    assert_eq!(sessions[..4], [20, 40, 60, 80], "{seen:?}");
    // 90 less 3 for superusers.
    assert!(sessions[4] >= 86 && seen[4].1.refused >= 13, "{seen:?}");
}

#[test]
fn keepalive_carries_flows_past_the_balancer() {
    let Some(net) = Net::build() else { return };
    let size = size();
    let (postgres, pooler) = behind_a_balancer(&net, size, &program(), |ini| {
        size.keepalive.iter().fold(ini, |ini, (key, value)| ini.set(key, value))
    });
    let seen = rounds(&net, &postgres, pooler.port(), size);
    for (sessions, round) in &seen {
        assert_eq!((*sessions, round), (CLIENTS, &Round::default()), "{seen:?}");
    }
}

#[test]
fn the_heartbeat_meets_the_balancers_reset_and_finds_every_dead_client() {
    let Some(net) = Net::build() else { return };
    let (postgres, pooler) = behind_a_balancer(&net, SMALL, &program(), |ini| {
        ini.set("tcp_keepalive", "0").own("client_heartbeat", "6s")
    });
    let began = Instant::now();
    let mut application = Application::new(pooler.port());
    net.inside(Machine::Application, || assert_eq!(application.round(), Round::default()));
    // The application forgets its clients, as the balancer has, and comes back with new ones.
    stay_silent_until(began + Duration::from_millis(5_500));
    net.inside(Machine::Application, || assert_eq!(application.round(), Round { dead: CLIENTS, refused: 0 }));
    eventually_ok("every dead client to be found", Duration::from_secs(8), || {
        let sessions = postgres.count_sessions("usename = 'app' AND backend_start < now() - interval '4 s'");
        let found = found_dead(&pooler, "reset");
        if found >= CLIENTS as u64 { Ok(()) } else { Err(format!("{found} found, {sessions} old sessions")) }
    });
    // Within the bound: the heartbeat, and a round of the sweep.
    assert!(began.elapsed() < Duration::from_secs(14), "{:?}", began.elapsed());
    // What the dead held is clean and back, or serves the new ones.
    eventually_ok("their server connections to be free", Duration::from_secs(5), || {
        let pools = show(&pooler, "POOLS");
        let row = pools.find(&[("database", "p0"), ("user", "app")]).ok_or("no pool")?;
        let (active, idle) = (pools.number(row, "sv_active"), pools.number(row, "sv_idle"));
        if active <= CLIENTS as u64 { Ok(()) } else { Err(format!("{active} active, {idle} idle")) }
    });
}

/// Without a heartbeat it is keepalive's probe that meets the balancer's reset, if it comes too late to keep the flow.
#[test]
fn keepalive_that_comes_too_late_meets_the_balancers_reset() {
    let Some(net) = Net::build() else { return };
    let (_postgres, pooler) = behind_a_balancer(&net, SMALL, &program(), |ini| {
        ini.set("tcp_keepidle", "6").set("tcp_keepintvl", "2").set("tcp_keepcnt", "3")
    });
    let mut application = Application::new(pooler.port());
    net.inside(Machine::Application, || assert_eq!(application.round(), Round::default()));
    eventually_ok("every dead client to be found", Duration::from_secs(12), || {
        let found = found_dead(&pooler, "reset");
        if found == CLIENTS as u64 { Ok(()) } else { Err(format!("{found} found")) }
    });
}

/// What was built, or what `PLIMSOLL_TEST_BINARY` names.
fn program() -> String {
    binary_of(BINARY).to_str().unwrap().to_string()
}

/// A SHOW over the Unix socket: that one is in no network.
fn show(pooler: &Plimsoll, what: &str) -> plimsoll_testkit::Table {
    let login = Login::new(pooler.unix_address(), "admin", "pgbouncer").password("admin-secret");
    let mut console = login.client();
    let table = console.query(&format!("SHOW {what}"));
    console.leave();
    table
}

fn found_dead(pooler: &Plimsoll, by: &str) -> u64 {
    let table = show(pooler, "LIVENESS");
    let row = table.find(&[("what", "clients_found_dead"), ("by", by)]).expect("a row for each evidence");
    table.number(row, "count")
}
