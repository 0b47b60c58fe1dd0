//! Prints the tables of `docs/configuration.md`: `cargo run -p plimsoll-config --example reference`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(plimsoll_config::reference().as_bytes())
}
