//! Where the pooler is, and as whom to come: from its own configuration, a URL, or the environment.

mod pgpass;
#[cfg(test)]
mod tests;
mod url;
mod world;

use std::path::{Path, PathBuf};

use plimsoll_auth::Stored;
use plimsoll_config::Plan;
use plimsoll_types::Secret;

use crate::failure::Failure;
use crate::link::{Address, Knock, Link, Password};
pub(crate) use world::{System, World};

/// Where a configuration is looked for when none is named.
const FILES: [&str; 4] =
    ["plimsoll.ini", "pgbouncer.ini", "/etc/plimsoll/plimsoll.ini", "/etc/pgbouncer/pgbouncer.ini"];
/// The user that the pooler's own system user may be without a password (PgBouncer's manual, "Admin console").
const KIN: &str = "pgbouncer";
/// Default of `listen_port`.
const PORT: u16 = 6432;
/// Folder of the Unix socket where nothing is said (default of `unix_socket_dir`).
const SOCKET_DIR: &str = "/tmp";

/// What the command line says about it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Named<'a> {
    /// `--config`.
    pub(crate) config: Option<&'a Path>,
    /// `--url`.
    pub(crate) url: Option<&'a str>,
}

/// One way in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) address: Address,
    pub(crate) knock: Knock,
    pub(crate) when_refused: WhenRefused,
}

/// What it means when a door stays shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenRefused {
    /// It was worth a try.
    TryNext,
    /// The next one would say the same.
    Fail,
}

/// All ways in, the best first, and from where they are known.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// At least one.
    pub(crate) doors: Vec<Door>,
    /// The file that was found without being named.
    pub(crate) found: Option<PathBuf>,
}

impl Place {
    /// Opens the first door that lets in.
    ///
    /// # Errors
    /// Why the last one did not.
    pub(crate) fn open(&self) -> Result<Link, Failure> {
        let mut failure = None;
        for door in &self.doors {
            match (Link::open(&door.address, &door.knock), door.when_refused) {
                (Ok(link), _) => return Ok(link),
                (Err(why @ Failure::Unreachable { .. }), _) | (Err(why), WhenRefused::TryNext) => {
                    failure = Some(why);
                }
                (Err(why), WhenRefused::Fail) => return Err(why),
            }
        }
        Err(failure.unwrap_or_else(no_place))
    }

    /// The ways into another pooler that knows the same users: at this host (a folder, if it begins with `/`) and port.
    pub(crate) fn moved(&self, host: &str, port: u16, world: &dyn World) -> Place {
        let address = address(host, port);
        let mut doors: Vec<Door> = Vec::new();
        if let Address::Unix(socket) = &address
            && world.owns(socket)
        {
            let knock = Knock { user: KIN.to_string(), password: Password::None };
            doors.push(Door { address: address.clone(), knock, when_refused: WhenRefused::TryNext });
        }
        for door in &self.doors {
            let is_same = |known: &Door| known.knock.user == door.knock.user;
            if !doors.iter().any(is_same) {
                doors.push(Door { address: address.clone(), ..door.clone() });
            }
        }
        Place { doors, found: None }
    }

    /// Whether both lead to the same addresses.
    pub(crate) fn is_at(&self, other: &Place) -> bool {
        let addresses =
            |place: &Place| place.doors.iter().map(|door| door.address.clone()).collect::<Vec<_>>();
        addresses(self) == addresses(other)
    }
}

fn no_place() -> Failure {
    Failure::NoPlace { searched: FILES.join(", ") }
}

/// Finds out.
///
/// # Errors
/// Nothing is known, or what is known cannot be read.
pub(crate) fn find(named: Named<'_>, world: &dyn World) -> Result<Place, Failure> {
    if let Some(url) = named.url {
        return url::parse(url, world).map(|door| only(vec![door]));
    }
    if let Some(path) = named.config {
        return of_file(path, world).map(only);
    }
    if let Some(path) = FILES.iter().map(Path::new).find(|path| world.exists(path)) {
        return Ok(Place { doors: of_file(path, world)?, found: Some(path.to_path_buf()) });
    }
    of_environment(world).map(|door| only(vec![door])).ok_or_else(no_place)
}

fn only(doors: Vec<Door>) -> Place {
    Place { doors, found: None }
}

/// The doors of a configuration: as its system user, as an admin over the Unix socket, then over TCP.
fn of_file(path: &Path, world: &dyn World) -> Result<Vec<Door>, Failure> {
    let plan = plimsoll_config::load(path, &mut |path: &Path| world.read(path)).map_err(|mistakes| {
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        Failure::Ini { path: path.to_path_buf(), first, mistakes: mistakes.len() }
    })?;
    let addresses = addresses(&plan);
    let mut doors = Vec::new();
    for address in &addresses {
        if let Address::Unix(socket) = address
            && world.owns(socket)
        {
            let knock = Knock { user: KIN.to_string(), password: Password::None };
            doors.push(Door { address: address.clone(), knock, when_refused: WhenRefused::TryNext });
        }
    }
    if let Some(user) = admin(&plan, world) {
        for address in addresses {
            let password = password(&user, &address, plan.logins.get(&user), world);
            let knock = Knock { user: user.clone(), password };
            doors.push(Door { address, knock, when_refused: WhenRefused::Fail });
        }
    }
    if doors.is_empty() { Err(Failure::NoAdmin(path.to_path_buf())) } else { Ok(doors) }
}

fn addresses(plan: &Plan) -> Vec<Address> {
    let general = &plan.general;
    let unix = general.unix_socket_dir.as_deref().map(|dir| unix(dir, general.listen_port));
    let tcp = general.listen_addr.first().map(|host| {
        let host = match host.as_str() {
            "*" | "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        Address::Tcp(host.to_string(), general.listen_port)
    });
    unix.into_iter().chain(tcp).collect()
}

/// The socket of a port in a folder, as PostgreSQL names it.
fn unix(dir: &Path, port: u16) -> Address {
    Address::Unix(dir.join(format!(".s.PGSQL.{port}")))
}

/// Who of those who may: PGUSER, else one whose password can be read, else the first.
fn admin(plan: &Plan, world: &dyn World) -> Option<String> {
    let general = &plan.general;
    let wanted = world.var("PGUSER");
    let may = |user: &String| general.admin_users.contains(user) || general.stats_users.contains(user);
    let is_plain = |user: &&String| plan.logins.get(*user).is_some_and(|secret| plain(secret).is_some());
    wanted.filter(may).or_else(|| {
        let admins = &general.admin_users;
        admins.iter().find(is_plain).or(admins.first()).or(general.stats_users.first()).cloned()
    })
}

fn stored(secret: &Secret) -> Option<Stored> {
    secret.expose_text().filter(|text| !text.is_empty()).map(Stored::parse)
}

fn plain(secret: &Secret) -> Option<Stored> {
    stored(secret).filter(|stored| matches!(stored, Stored::Plain(_)))
}

/// The password of a user: a plain one of auth_file, PGPASSWORD, the pgpass file, and as a last resort the MD5 of one.
fn password(user: &str, address: &Address, in_file: Option<&Secret>, world: &dyn World) -> Password {
    if let Some(stored) = in_file.and_then(plain) {
        return Password::AuthFile(stored);
    }
    if let Some(text) = world.var("PGPASSWORD") {
        return Password::Environment(Secret::from_text(&text));
    }
    if let Some(secret) = pgpass::find(user, address, world) {
        return Password::Pgpass(secret);
    }
    match in_file.and_then(stored) {
        Some(stored @ Stored::Md5(_)) => Password::AuthFile(stored),
        Some(Stored::Plain(_) | Stored::Scram(_)) | None => Password::None,
    }
}

/// PGHOST, PGPORT and PGUSER; `None` when neither host nor port is said: port 6432 of somebody is a guess.
fn of_environment(world: &dyn World) -> Option<Door> {
    let (host, port) = (world.var("PGHOST"), world.var("PGPORT"));
    if host.is_none() && port.is_none() {
        return None;
    }
    let port = port.map_or(Some(PORT), |port| port.parse().ok())?;
    let host = host.unwrap_or_else(|| SOCKET_DIR.to_string());
    Some(door(&host, port, world.var("PGUSER"), world))
}

/// Of a host (a folder, if it begins with `/`).
fn address(host: &str, port: u16) -> Address {
    match host.starts_with('/') {
        true => unix(Path::new(host), port),
        false => Address::Tcp(host.to_string(), port),
    }
}

fn door(host: &str, port: u16, user: Option<String>, world: &dyn World) -> Door {
    let address = address(host, port);
    let user = user.or_else(|| world.var("PGUSER")).unwrap_or_else(|| KIN.to_string());
    let password = password(&user, &address, None, world);
    Door { address, knock: Knock { user, password }, when_refused: WhenRefused::Fail }
}
