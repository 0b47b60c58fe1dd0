//! The words and the decisions touch no socket, clock, file, thread or environment. Time comes in as an argument. The
//! same goes for the simulator: the same seed is the same run everywhere.

use super::layers::{Layer, place};
use crate::rust::{find_word, line_of, mask, without_tests};
use crate::tree::{File, Problem, Tree};

/// What L0 and L1 do not say. Addresses (`std::net::IpAddr`) are words and allowed; sockets are not.
const FORBIDDEN: [&str; 19] = [
    "Instant::now",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "std::env",
    "env::",
    "std::fs",
    "fs::",
    "std::process",
    "std::thread",
    "thread::",
    "thread_local!",
    "println!",
    "eprintln!",
    "Mutex",
];

/// The simulator, and the only file of it that may speak to the world.
const SIMULATOR: (&str, &str) = ("sim", "crates/sim/src/main.rs");

/// Looks at every source file of L0, L1 and the simulator that is not a test.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    tree.files.iter().filter(|file| decides(file)).flat_map(check_file).collect()
}

fn decides(file: &File) -> bool {
    let layer = file.crate_name().and_then(place).map(|place| place.layer);
    let simulates = file.crate_name() == Some(SIMULATOR.0) && file.path != SIMULATOR.1;
    let decides = matches!(layer, Some(Layer::L0 | Layer::L1)) || simulates;
    decides && file.is_rust() && !file.is_test()
}

fn check_file(file: &File) -> Vec<Problem> {
    let code = without_tests(&mask(&file.text));
    let mut places: Vec<(usize, &str)> =
        FORBIDDEN.iter().flat_map(|word| find_word(&code, word).map(|at| (at, *word))).collect();
    places.sort_unstable();
    let mut problems: Vec<Problem> = Vec::new();
    for (at, word) in places {
        let message = format!("{word} in a layer that only decides");
        problems.push(Problem::at(&file.path, line_of(&file.text, at), message));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tree_of;

    #[test]
    fn effects_below_the_line_are_found() {
        let text = "use std::time::Instant;\nfn now() -> Instant { Instant::now() }\n";
        let found = check(&tree_of(&[("crates/pool/src/lib.rs", text), ("crates/proxy/src/lib.rs", text)]));
        assert_eq!(
            found,
            [Problem::at("crates/pool/src/lib.rs", 2, "Instant::now in a layer that only decides")]
        );
    }

    #[test]
    fn the_simulator_has_no_clock_and_its_program_has_arguments() {
        let clock = "fn now() -> u64 { SystemTime::now() }\n";
        let found = check(&tree_of(&[("crates/sim/src/world.rs", clock), ("crates/sim/src/main.rs", clock)]));
        assert_eq!(
            found,
            [Problem::at("crates/sim/src/world.rs", 1, "SystemTime in a layer that only decides")]
        );
    }

    #[test]
    fn words_in_comments_strings_and_tests_are_not() {
        let text = "// SystemTime\nconst A: &str = \"std::fs\";\n#[cfg(test)]\nmod t { use std::fs; }\n";
        let tree = tree_of(&[("crates/wire/src/a.rs", text), ("crates/wire/src/a/tests.rs", "use std::fs;")]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn addresses_are_words() {
        assert_eq!(check(&tree_of(&[("crates/pool/src/lib.rs", "use std::net::{IpAddr, SocketAddr};")])), []);
    }
}
