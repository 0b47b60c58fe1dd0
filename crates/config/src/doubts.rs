//! What a configuration says that cannot be meant: it is taken, and the safe value counts.

mod issuers;
mod peers;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use plimsoll_types::Secret;

use crate::own::SPILL_PER_CLIENT_MIN;
use crate::place::Place;
use crate::plan::{Database, Host, Plan, Spill};
use crate::target::{Budget, TargetLine};

/// Something doubtful. No secret is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The rule: kebab-case, stable, explained in `docs/check.md`.
    pub id: &'static str,
    /// Where; `None` for a plan that came from no file.
    pub place: Option<Place>,
    /// What is doubtful.
    pub message: String,
    /// What to do.
    pub todo: &'static str,
}

impl fmt::Display for Doubt {
    /// `FILE:LINE: message`, as the log has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything doubtful about budgets, guaranteed places, spills, issuers, peers and who watches the servers, as far as the text alone tells:
/// each is worth a WARNING at start and at every reload.
pub fn doubts(plan: &Plan) -> Vec<Doubt> {
    let mut found = Vec::new();
    found.extend(control_user(plan));
    found.extend(floors_over_budget(plan));
    found.extend(floors_over_pools(plan));
    found.extend(unused_targets(plan));
    found.extend(targets_named_twice(plan));
    found.extend(spills(plan));
    found.extend(peers::peers(plan));
    found.extend(issuers::doubts(plan));
    found
}

impl Plan {
    /// The guaranteed places of all pools that a database can have with the users of auth_file.
    pub fn guaranteed_places(&self, database: &Database) -> u64 {
        if let Some(role) = &database.user {
            return self.guaranteed_pool_size(database, role).into();
        }
        // The control user watches; it has no pools.
        let is_client = |user: &&String| {
            self.logins.contains_key(user.as_str()) && self.own.control_user.as_ref() != Some(user)
        };
        let own = self.users.iter().filter(|(user, _)| is_client(user));
        let own = own.filter_map(|(_, settings)| settings.guaranteed_pool_size);
        let (mut count, mut places) = (0_u64, 0_u64);
        for floor in own {
            count += 1;
            places += u64::from(floor);
        }
        let watches = self.own.control_user.as_ref().is_some_and(|user| self.logins.contains_key(user));
        let logins = u64::try_from(self.logins.len()).unwrap_or(u64::MAX) - u64::from(watches);
        let others = logins.saturating_sub(count);
        places.saturating_add(others.saturating_mul(database.guaranteed_pool_size.unwrap_or(0).into()))
    }

    /// The budget of a host of a database, as far as its words tell: its line of `[targets]`, or `target_budget`.
    pub fn budget_of(&self, host: &Host) -> Budget {
        self.target_line(host).and_then(|line| line.budget).unwrap_or(self.own.target_budget)
    }

    fn all_databases(&self) -> impl Iterator<Item = &Database> {
        self.databases.iter().chain(&self.auto_database)
    }

    fn own_place(&self, key: &str) -> Option<Place> {
        self.place_of("plimsoll", key).cloned()
    }
}

/// Whoever watches needs a secret that opens a server.
fn control_user(plan: &Plan) -> Option<Doubt> {
    let user = plan.own.control_user.as_ref()?;
    let why = match (plan.logins.get(user).map(Secret::expose_text), &plan.general.auth_file) {
        (None, None) => "there is no auth_file",
        (None, Some(_)) => "it is not in auth_file",
        (Some(None | Some("")), _) => "its secret in auth_file is empty, or no text",
        (Some(Some(secret)), _) if secret.starts_with("SCRAM-SHA-256$") => {
            "auth_file has only its SCRAM secret, which opens no server"
        }
        (Some(Some(_)), _) => return None,
    };
    Some(Doubt {
        id: "control-user-unusable",
        place: plan.own_place("control_user"),
        message: format!(
            "control_user {user} cannot log in where a password is asked for: {why}; sessions of other programs are \
             not seen, and the budget follows refusals only"
        ),
        todo: "put it into auth_file with its password",
    })
}

/// Places that are guaranteed to more pools than there are places.
fn floors_over_budget(plan: &Plan) -> Vec<Doubt> {
    let mut by_target: BTreeMap<String, (u64, &Host)> = BTreeMap::new();
    for database in plan.all_databases() {
        let floors = plan.guaranteed_places(database);
        let hosts: BTreeMap<String, &Host> =
            database.hosts.iter().map(|host| (written(host), host)).collect();
        for (name, host) in hosts {
            let (sum, _) = by_target.entry(name).or_insert((0, host));
            *sum = sum.saturating_add(floors);
        }
    }
    let over = |(name, (sum, host)): (String, (u64, &Host))| {
        let budget = plan.budget_of(host).fixed()?;
        (sum > budget.into()).then(|| Doubt {
            id: "floors-exceed-budget",
            place: match plan.target_line(host).filter(|line| line.budget.is_some()) {
                Some(line) => plan.place_of_target(line).cloned(),
                None => plan.own_place("target_budget"),
            },
            message: format!(
                "guaranteed_pool_size of the pools on {name} adds up to {sum}, and the budget there is {budget}: not \
                 every pool can have what is promised"
            ),
            todo: "lower guaranteed_pool_size, or raise the budget",
        })
    };
    by_target.into_iter().filter_map(over).collect()
}

/// `HOST:PORT` as text; the names of this machine are one.
fn written(host: &Host) -> String {
    match host {
        Host::Unix { dir, port } => format!("{}:{port}", dir.display()),
        Host::Tcp { host, port } if is_loopback(host) => format!("localhost:{port}"),
        Host::Tcp { host, port } => {
            TargetLine { host: host.to_ascii_lowercase(), port: *port, ..TargetLine::default() }.to_string()
        }
    }
}

/// A pool that is promised more places than it may ever have.
fn floors_over_pools(plan: &Plan) -> Vec<Doubt> {
    let default = plan.general.default_pool_size;
    let doubt = |place: Option<&Place>, floor: u32, size: u32, whose: String| {
        (floor > size).then(|| Doubt {
            id: "floor-over-pool-size",
            place: place.cloned(),
            message: format!(
                "guaranteed_pool_size ({floor}) {whose} is more than the pool's size ({size}), which counts"
            ),
            todo: "lower guaranteed_pool_size, or raise pool_size",
        })
    };
    let of_database = |database: &Database| {
        let size = database.pool_size.unwrap_or(default);
        let whose = format!("of database {}", database.name);
        doubt(plan.place_of_database(&database.name), database.guaranteed_pool_size?, size, whose)
    };
    // Without a word of its own a user has the size that each database gives; only what none of them gives is doubtful.
    let largest = plan.all_databases().map(|database| database.pool_size.unwrap_or(default)).max();
    let of_users = plan.users.iter().filter_map(|(user, settings)| {
        let size = settings.pool_size.or(largest)?;
        doubt(plan.place_of_user(user), settings.guaranteed_pool_size?, size, format!("of user {user}"))
    });
    plan.all_databases().filter_map(of_database).chain(of_users).collect()
}

/// Lines for servers that nobody is sent to. What a look-up could join is left alone.
fn unused_targets(plan: &Plan) -> Vec<Doubt> {
    let leads = |line: &&TargetLine| {
        !plan.all_databases().flat_map(|database| &database.hosts).any(|host| may_lead(line, host))
    };
    let doubt = |line: &TargetLine| Doubt {
        id: "target-unused",
        place: plan.place_of_target(line).cloned(),
        message: format!("no database leads to the target {line}"),
        todo: "correct host and port, or remove the line",
    };
    plan.targets.iter().filter(leads).map(doubt).collect()
}

/// Whether a host of a database can be the one of this line, for all that the text tells.
fn may_lead(line: &TargetLine, host: &Host) -> bool {
    match host {
        Host::Unix { .. } => line.names(host),
        Host::Tcp { port, .. } if *port != line.port || line.is_unix() => false,
        Host::Tcp { host: name, .. } => {
            let are_addresses = name.parse::<IpAddr>().is_ok() && line.host.parse::<IpAddr>().is_ok();
            !are_addresses || line.names(host)
        }
    }
}

/// One server in two words.
fn targets_named_twice(plan: &Plan) -> Vec<Doubt> {
    let mut first: BTreeMap<u16, &TargetLine> = BTreeMap::new();
    let mut found = Vec::new();
    let mut lines: Vec<&TargetLine> = plan.targets.iter().filter(|line| is_loopback(&line.host)).collect();
    lines.sort_by_key(|line| plan.place_of_target(line));
    for line in lines {
        let Some(before) = first.get(&line.port) else {
            first.insert(line.port, line);
            continue;
        };
        found.push(Doubt {
            id: "target-named-twice",
            place: plan.place_of_target(line).cloned(),
            message: format!("{line} and {before} are one server: each of the two lines gives it a budget"),
            todo: "keep one of the two lines, and write its host the same way everywhere",
        });
    }
    found
}

/// Budgets of spills that leave no room for one.
fn spills(plan: &Plan) -> Vec<Doubt> {
    let own = &plan.own;
    let words = plan.all_databases().filter_map(|database| database.spill);
    let mut words = words.chain(plan.users.values().filter_map(|user| user.spill)).chain([own.spill]);
    let (to_memory, to_disk) = (words.any(|word| word != Spill::Off), plan.spills_to_disk());
    let memory = own.spill_memory();
    let disk = if to_disk { own.spill_disk() } else { 0 };
    let one = own.spill_per_client();
    let mut found = Vec::new();
    if to_memory && memory < SPILL_PER_CLIENT_MIN {
        found.push(Doubt {
            id: "spill-without-memory",
            place: plan.own_place("spill_memory"),
            message: format!(
                "spill_memory ({memory} bytes) is less than what the smallest spill takes \
                 ({SPILL_PER_CLIENT_MIN} bytes): no result is spilled, to a file neither"
            ),
            todo: "raise spill_memory, or set spill = off",
        });
    } else if to_memory && own.spill_per_client.is_some() && one > memory.saturating_add(disk) {
        found.push(Doubt {
            id: "spill-per-client-over-budget",
            place: plan.own_place("spill_per_client"),
            message: format!(
                "spill_per_client ({one} bytes) is more than all spills may have together ({} bytes): one reader can \
                 use everything up",
                memory.saturating_add(disk)
            ),
            todo: "lower spill_per_client, or raise spill_memory or spill_disk",
        });
    }
    if to_disk && disk < SPILL_PER_CLIENT_MIN {
        found.push(Doubt {
            id: "spill-without-disk",
            place: plan.own_place("spill_disk"),
            message: format!("spill = disk, and spill_disk ({disk} bytes) has no room for a file"),
            todo: "raise spill_disk, or set spill = memory",
        });
    }
    found
}

/// The names that this machine has for itself everywhere.
fn is_loopback(host: &str) -> bool {
    const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
    NAMES.iter().any(|name| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
