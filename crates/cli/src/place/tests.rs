use std::collections::BTreeMap;
use std::io;

use super::*;

/// An outside made of texts.
#[derive(Default)]
struct Made {
    vars: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
    owned: Option<&'static str>,
    open_to_all: bool,
}

impl World for Made {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(ToString::to_string)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let text = path.to_str().and_then(|path| self.files.get(path));
        text.map(ToString::to_string).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.files.contains_key(path))
    }

    fn owns(&self, path: &Path) -> bool {
        self.owned.is_some_and(|owned| path == Path::new(owned))
    }

    fn is_private(&self, _: &Path) -> bool {
        !self.open_to_all
    }
}

const INI: &str = "[pgbouncer]\nlisten_addr = *\nlisten_port = 6500\nunix_socket_dir = /run/p\n\
                   auth_file = /etc/users\nadmin_users = boss, ops\nstats_users = eye\n";
const USERS: &str = "\"boss\" \"SCRAM-SHA-256$4096:c2FsdA==$q+yJAxjZFV4U4v8FIvxUOxOe5FrBlRbVFAZWqlL9QfY=:q+yJAxjZFV4U4v8FIvxUOxOe5FrBlRbVFAZWqlL9QfY=\"\n\
                     \"ops\" \"open\"\n\"eye\" \"\"\n";

fn made() -> Made {
    let files = BTreeMap::from([("plimsoll.ini", INI), ("/etc/users", USERS)]);
    Made { files, ..Made::default() }
}

fn shown(place: &Place) -> Vec<String> {
    let one = |door: &Door| {
        let password = match &door.knock.password {
            Password::None => "none",
            Password::AuthFile(_) => "file",
            Password::Environment(_) => "environment",
            Password::Pgpass(_) => "pgpass",
        };
        format!("{}@{} {password}", door.knock.user, door.address)
    };
    place.doors.iter().map(one).collect()
}

fn found(world: &Made) -> Place {
    find(Named::default(), world).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_configuration_says_where_and_who() {
    let place = found(&made());
    assert_eq!(place.found.as_deref(), Some(Path::new("plimsoll.ini")));
    // The one whose password can be read comes before the first.
    assert_eq!(shown(&place), ["ops@/run/p/.s.PGSQL.6500 file", "ops@127.0.0.1:6500 file"]);
    let mut world = made();
    world.owned = Some("/run/p/.s.PGSQL.6500");
    let place = found(&world);
    assert_eq!(shown(&place)[0], "pgbouncer@/run/p/.s.PGSQL.6500 none");
    assert_eq!(place.doors[0].when_refused, WhenRefused::TryNext);
    world.vars.insert("PGUSER", "boss");
    world.vars.insert("PGPASSWORD", "x");
    assert_eq!(shown(&found(&world))[1], "boss@/run/p/.s.PGSQL.6500 environment");
    // Somebody who may not is not asked for.
    world.vars.insert("PGUSER", "me");
    assert_eq!(shown(&found(&world))[1], "ops@/run/p/.s.PGSQL.6500 file");
}

#[test]
fn the_first_file_that_is_there_counts() {
    let mut world = made();
    world.files.remove("plimsoll.ini");
    world.files.insert("/etc/pgbouncer/pgbouncer.ini", INI);
    world.files.insert("/etc/plimsoll/plimsoll.ini", INI);
    assert_eq!(found(&world).found.as_deref(), Some(Path::new("/etc/plimsoll/plimsoll.ini")));
    let named = Named { config: Some(Path::new("other.ini")), url: None };
    let failure = find(named, &world).expect_err("it is not there");
    assert!(failure.to_string().contains("other.ini"), "{failure}");
    let named = Named { config: Some(Path::new("/etc/pgbouncer/pgbouncer.ini")), url: None };
    assert_eq!(find(named, &world).expect("it is there").found, None);
}

#[test]
fn nobody_may_is_told() {
    let mut world = made();
    world.files.insert("plimsoll.ini", "[pgbouncer]\nlisten_addr = ::\n");
    let failure = find(Named::default(), &world).expect_err("no admin");
    assert!(matches!(failure, Failure::NoAdmin(_)), "{failure}");
    world.files.insert("plimsoll.ini", "[pgbouncer]\nlisten_addr = ::\nlisten_prt = 1\n");
    let failure = find(Named::default(), &world).expect_err("a mistake");
    assert!(failure.to_string().contains("listen_prt"), "{failure}");
}

#[test]
fn the_environment_is_the_last_resort() {
    let mut world = Made::default();
    assert!(matches!(find(Named::default(), &world), Err(Failure::NoPlace { .. })));
    world.vars.insert("PGPORT", "7000");
    assert_eq!(shown(&found(&world)), ["pgbouncer@/tmp/.s.PGSQL.7000 none"]);
    world.vars.insert("PGHOST", "db");
    world.vars.insert("PGUSER", "ops");
    world.vars.insert("PGPASSWORD", "x");
    assert_eq!(shown(&found(&world)), ["ops@db:7000 environment"]);
}

fn url(text: &str, world: &Made) -> Result<String, String> {
    let place =
        find(Named { config: None, url: Some(text) }, world).map_err(|failure| failure.to_string())?;
    Ok(shown(&place).remove(0))
}

#[test]
fn urls_are_postgresqls() {
    let world = Made::default();
    let good = [
        ("postgres://ops@h:7000/pgbouncer", "ops@h:7000 none"),
        ("postgresql://h", "pgbouncer@h:6432 none"),
        ("postgres://a%40b@[::1]:7/", "a@b@[::1]:7 none"),
        ("postgres://%2Frun%2Fp:7/pgbouncer?sslmode=prefer", "pgbouncer@/run/p/.s.PGSQL.7 none"),
        ("postgres://ops@/pgbouncer?host=/run&port=8", "ops@/run/.s.PGSQL.8 none"),
        ("postgres:///pgbouncer", "pgbouncer@/tmp/.s.PGSQL.6432 none"),
    ];
    for (text, wanted) in good {
        assert_eq!(url(text, &world).as_deref(), Ok(wanted), "{text}");
    }
    let bad = [
        ("http://h", "looks like"),
        ("postgres://ops:hidden@h/pgbouncer", "PGPASSWORD"),
        ("postgres://ops@h/pgbouncer?password=hidden", "PGPASSWORD"),
        ("postgres://ops@h/shop", "the database pgbouncer"),
        ("postgres://ops@h:0/pgbouncer", "port"),
        ("postgres://ops@h:x/pgbouncer", "port"),
        ("postgres://[::1/pgbouncer", "not closed"),
        ("postgres://h/pgbouncer?sslmode=require", "TLS"),
        ("postgres://h/pgbouncer?what=1", "parameters"),
    ];
    for (text, part) in bad {
        let words = url(text, &world).expect_err(text);
        assert!(words.contains(part) && !words.contains("hidden"), "{text}: {words}");
    }
}

#[test]
fn pgpass_is_read_as_libpq_does() {
    let mut world = Made::default();
    world.vars.insert("HOME", "/h");
    world
        .files
        .insert("/h/.pgpass", "# h:7:pgbouncer:ops:no\nh:8:*:ops:eight\n*:*:pgbouncer:o\\:ps:a\\\\b:c\n");
    let secret = |text: &str, world: &Made| {
        let place = find(Named { config: None, url: Some(text) }, world).expect("a good URL");
        match &place.doors[0].knock.password {
            Password::Pgpass(secret) => secret.expose_text().map(ToString::to_string),
            Password::None | Password::AuthFile(_) | Password::Environment(_) => None,
        }
    };
    assert_eq!(secret("postgres://ops@h:8", &world).as_deref(), Some("eight"));
    assert_eq!(secret("postgres://ops@h:7", &world), None);
    assert_eq!(secret("postgres://o%3Aps@/?host=/run", &world).as_deref(), Some("a\\b:c"));
    world.open_to_all = true;
    assert_eq!(secret("postgres://ops@h:8", &world), None);
    world.open_to_all = false;
    world.vars.insert("PGPASSFILE", "/other");
    assert_eq!(secret("postgres://ops@h:8", &world), None);
}
