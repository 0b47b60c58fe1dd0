# ./dev soak [--seconds N]. Sourced by ./dev.

need_postgres "the soak"
need_rust
build_release
exec python3 bench/soak.py --binary "$PLIMSOLL_BINARY" "$@"
