# ./dev demo [--once] [--seconds N]. Sourced by ./dev.

say "[1/6] packages   PostgreSQL's server and client, Python"
need_postgres "the demo"
say "      all there: ${PLIMSOLL_PG_BIN}"
say "[2/6] build      cargo build --release --locked -p plimsoll"
need_rust
build_release
exec python3 bench/demo.py --binary "$PLIMSOLL_BINARY" "$@"
