//! Who may depend on whom: arrows point down only, and neighbours in a layer do not know each other.

#[cfg(test)]
mod tests;

use crate::manifest::{Dependency, Use, dependencies};
use crate::tree::{Problem, Tree};

/// A crate's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Words.
    L0,
    /// Decisions: no I/O, no clock, no lock.
    L1,
    /// Effects.
    L2,
    /// Control.
    L3,
    /// The program.
    L4,
    /// For developers: never part of the program.
    Dev,
}

/// One line of the table.
pub(crate) struct Place {
    /// The folder below `crates/`.
    pub(crate) name: &'static str,
    /// Its layer.
    pub(crate) layer: Layer,
    /// Which of our crates it may use in the program.
    may_use: &'static [&'static str],
}

/// The house. A crate that is not listed here has no place in it yet.
pub(crate) const HOUSE: [Place; 19] = [
    Place { name: "types", layer: Layer::L0, may_use: &[] },
    Place { name: "wire", layer: Layer::L0, may_use: &["types"] },
    Place { name: "auth", layer: Layer::L1, may_use: &["types", "wire"] },
    Place { name: "config", layer: Layer::L1, may_use: &["types"] },
    Place { name: "pool", layer: Layer::L1, may_use: &["types"] },
    Place { name: "ledger", layer: Layer::L1, may_use: &["types"] },
    Place { name: "session", layer: Layer::L1, may_use: &["types", "wire"] },
    Place { name: "tls", layer: Layer::L1, may_use: &["types"] },
    Place {
        name: "proxy",
        layer: Layer::L2,
        may_use: &["types", "wire", "auth", "config", "pool", "ledger", "session", "tls"],
    },
    // Fetches what we log in at servers with. It does not know who uses it: the program joins them.
    Place { name: "providers", layer: Layer::L2, may_use: &["types"] },
    // Asks LDAP servers and PAM about passwords of clients. It does not know who uses it: the program joins them.
    Place { name: "vouch", layer: Layer::L2, may_use: &["types", "auth", "tls"] },
    // Its rules are pure; its store and its HTTP are not. It does not know the data plane: the program joins them.
    Place { name: "identity", layer: Layer::L2, may_use: &["types"] },
    Place {
        name: "admin",
        layer: Layer::L3,
        may_use: &["types", "wire", "config", "pool", "ledger", "proxy", "identity", "tls"],
    },
    // Speaks to a pooler from outside: knows its words, not its insides. It compares snapshots.
    Place { name: "cli", layer: Layer::L3, may_use: &["types", "wire", "auth", "config", "ledger"] },
    // An independent witness shares no code with the accused.
    Place { name: "lab", layer: Layer::L3, may_use: &["types", "wire"] },
    Place {
        name: "plimsoll",
        layer: Layer::L4,
        may_use: &[
            "types",
            "wire",
            "auth",
            "config",
            "pool",
            "ledger",
            "session",
            "tls",
            "proxy",
            "identity",
            "providers",
            "vouch",
            "admin",
            "cli",
            "lab",
        ],
    },
    Place { name: "testkit", layer: Layer::Dev, may_use: &["types", "wire"] },
    Place {
        name: "sim",
        layer: Layer::Dev,
        may_use: &["types", "wire", "auth", "config", "pool", "ledger", "session"],
    },
    Place { name: "xtask", layer: Layer::Dev, may_use: &[] },
];

/// Packages that mean sockets, clocks, threads, chance or a log: not for L0 and L1.
const EFFECTS: [&str; 13] = [
    "async-std",
    "chrono",
    "getrandom",
    "jiff",
    "libc",
    "log",
    "mio",
    "parking_lot",
    "rand",
    "rustls",
    "socket2",
    "tokio",
    "tracing",
];

/// Effects that a crate may use all the same: who, what. `rustls` opens no socket by itself; `tls` makes its
/// configurations and verifies certificates for it.
const EXCEPTIONS: [(&str, &str); 1] = [("tls", "rustls")];

/// What carries queries.
const DATA_PLANE: [&str; 1] = ["proxy"];

/// Packages that the data plane has no business with.
const CONTROL: [&str; 4] = ["axum", "clap", "hyper", "serde_json"];

/// The place of a crate.
pub(crate) fn place(name: &str) -> Option<&'static Place> {
    HOUSE.iter().find(|place| place.name == name)
}

/// Looks at every manifest.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for manifest in tree.manifests() {
        let name = manifest.crate_name().unwrap_or_default();
        let Some(place) = place(name) else {
            let message =
                format!("the crate {name} has no place in the house: give it one in checks/layers.rs");
            problems.push(Problem::of(&manifest.path, message));
            continue;
        };
        for dependency in dependencies(&manifest.text) {
            if let Some(message) = objection(place, &dependency) {
                problems.push(Problem::at(&manifest.path, dependency.line, message));
            }
        }
    }
    problems
}

/// Why this dependency may not be.
fn objection(place: &Place, dependency: &Dependency) -> Option<String> {
    match dependency.name.strip_prefix("plimsoll-") {
        Some(own) => objection_to_own(place, own, dependency.used),
        None => objection_to_other(place, &dependency.name, dependency.used),
    }
}

fn objection_to_own(from: &Place, to: &str, used: Use) -> Option<String> {
    let Some(target) = place(to) else { return Some(format!("{to} is no crate of the house")) };
    match used {
        // Tests may stand on dev crates and on whatever is below; a test that reaches up is in the wrong crate.
        Use::Dev if target.layer == Layer::Dev || from.may_use.contains(&to) => None,
        Use::Dev => Some(format!("tests of {} may not use {to}: the arrow points up or aside", from.name)),
        Use::Normal if from.may_use.contains(&to) => None,
        Use::Normal if target.layer == Layer::Dev => {
            Some(format!("{to} is for tests: never a normal dependency"))
        }
        Use::Normal => Some(format!("{} may not use {to}: arrows point down only", from.name)),
    }
}

fn objection_to_other(from: &Place, to: &str, used: Use) -> Option<String> {
    // The simulator has a clock and chance of its own.
    let decides = matches!(from.layer, Layer::L0 | Layer::L1) || from.name == "sim";
    match used {
        Use::Normal if EXCEPTIONS.contains(&(from.name, to)) => None,
        Use::Normal if decides && EFFECTS.contains(&to) => {
            Some(format!("{} decides and does nothing else: {to} belongs to proxy or above", from.name))
        }
        Use::Normal if DATA_PLANE.contains(&from.name) && CONTROL.contains(&to) => {
            Some(format!("{to} belongs to the control plane, not to {}", from.name))
        }
        Use::Normal if from.name == "xtask" => {
            Some("xtask has no dependencies: it is built before each check".into())
        }
        Use::Normal | Use::Dev => None,
    }
}
