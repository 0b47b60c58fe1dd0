use super::super::facts::{Looks, Sessions, Silent};
use super::super::load::tests::loaded;
use super::*;

/// The plan of an ini file with users `a`, `b` and `c`.
pub(in super::super) fn plan(ini: &str) -> Plan {
    let users = "\"a\" \"1\"\n\"b\" \"2\"\n\"c\" \"3\"\n";
    let ini = format!("[pgbouncer]\nauth_file = users.txt\nlisten_addr = 127.0.0.1\n{ini}");
    loaded(&[("a.ini", &ini), ("users.txt", users)]).plan.expect("no mistakes")
}

fn most(ini: &str) -> u64 {
    let plan = plan(ini);
    let facts = Facts::default();
    let servers = servers(&plan, &facts);
    assert_eq!(servers.len(), 1);
    servers[0].demand.most
}

#[test]
fn every_pair_of_database_and_user_is_a_pool() {
    // Two databases of three users each, and one of a forced user.
    let databases = "[databases]\nx = host=h\ny = host=h pool_size=5\nz = host=h user=a\n";
    assert_eq!(most(databases), 60 + 15 + 20);
    assert_eq!(most(&format!("reserve_pool_size = 2\n{databases}")), 66 + 21 + 22);
    assert_eq!(most(&format!("reserve_pool_size = 2\nreserve_pool_timeout = 0\n{databases}")), 95);
    assert_eq!(most(&format!("{databases}[users]\nb = pool_size=1 reserve_pool_size=3\n")), 44 + 14 + 20);
}

#[test]
fn limits_of_databases_and_users_count() {
    let databases = "[databases]\nx = host=h\ny = host=h\n";
    assert_eq!(most(&format!("max_db_connections = 30\n{databases}")), 60);
    assert_eq!(most(&format!("max_user_connections = 10\n{databases}")), 30);
    // The smaller of both.
    assert_eq!(most(&format!("max_db_connections = 12\nmax_user_connections = 10\n{databases}")), 24);
    assert_eq!(
        most(&format!("max_user_connections = 10\n{databases}[users]\na = max_user_connections=0\n")),
        60
    );
    assert_eq!(most("max_db_connections = 12\n[databases]\nx = host=h max_db_connections=0\n"), 60);
}

#[test]
fn a_server_is_an_address_and_a_port() {
    let plan = plan(
        "[databases]\nx = host=h\ny = host=10.0.0.1,10.0.0.2\nz = host=10.0.0.1 port=5433\nw = host=/run\n",
    );
    let mut facts = Facts::default();
    facts.names.insert("h".to_string(), vec!["10.0.0.2".parse().expect("an address")]);
    let servers = servers(&plan, &facts);
    let found: Vec<(String, Vec<&str>)> = servers
        .iter()
        .map(|server| (server.name(), server.databases.iter().map(|d| d.name.as_str()).collect()))
        .collect();
    let expected = [
        ("10.0.0.1:5432", vec!["y"]),
        ("10.0.0.1:5433", vec!["z"]),
        ("10.0.0.2:5432", vec!["x", "y"]),
        ("/run/.s.PGSQL.5432", vec!["w"]),
    ];
    assert_eq!(found, expected.map(|(name, databases)| (name.to_string(), databases)));
}

#[test]
fn targets_that_are_one_server_are_counted_once() {
    let plan =
        plan("[databases]\nx = host=10.0.0.1,10.0.0.2\ny = host=10.0.0.3\n[plimsoll]\ntarget_budget = 25\n");
    let mut facts = Facts::default();
    for target in targets(&plan, &facts.names) {
        let answer = match &target {
            Target::Tcp(ip, _) if ip.to_string() == "10.0.0.3" => {
                Err(Silent { why: "no".to_string(), full: super::super::facts::Full::No })
            }
            _ => Ok(Said { identity: "same".to_string(), ..Said::default() }),
        };
        facts.answers.insert(target, answer);
    }
    let servers = servers(&plan, &facts);
    assert_eq!(servers.len(), 2);
    assert_eq!(servers[0].name(), "10.0.0.1:5432 = 10.0.0.2:5432");
    assert_eq!((servers[0].demand.most, servers[0].bound, servers[0].cap()), (60, Bound::Set(50), 50));
    assert_eq!((servers[1].demand.most, servers[1].bound, servers[1].cap()), (60, Bound::Set(25), 25));
}

#[test]
fn what_has_no_end_is_said() {
    let reasons = |ini: &str| {
        let plan = plan(ini);
        let facts = Facts::default();
        servers(&plan, &facts)[0].demand.open_ended.len()
    };
    assert_eq!(reasons("[databases]\nx = host=h\n"), 0);
    assert_eq!(reasons("[databases]\n* = host=h\n"), 1);
    assert_eq!(reasons("auth_user = a\n[databases]\nx = host=h\n* = host=h\n"), 2);
    assert_eq!(reasons("auth_user = a\n[databases]\nx = host=h user=a\n"), 0);
    assert_eq!(reasons("auth_file =\n[databases]\nx = host=h\n"), 1);
}

#[test]
fn sessions_of_a_running_pooler_are_not_others() {
    let plan = plan("[databases]\nx = host=10.0.0.1\n");
    let sessions = |role: &str, from: Origin, count| Sessions {
        role: role.to_string(),
        from,
        looks: Looks::Plain,
        count,
    };
    let said = Said {
        sessions: vec![
            sessions("a", Origin::Here, 10),
            sessions("a", Origin::Elsewhere("10.0.0.9".to_string()), 3),
            sessions("stranger", Origin::Here, 2),
            sessions("b", Origin::Hidden, 1),
        ],
        ..Said::default()
    };
    let mut facts = Facts::default();
    facts.answers.insert(Target::Tcp("10.0.0.1".parse().expect("an address"), 5432), Ok(said));
    assert_eq!(servers(&plan, &facts)[0].others(&facts), 16);
    facts.running = Running::Yes;
    assert_eq!(servers(&plan, &facts)[0].others(&facts), 6);
}
