# ./dev bench [quick] [--rounds N] [--write]. Sourced by ./dev.

need_postgres "the bench"
command -v strace >/dev/null || install_packages "the bench (counting system calls)" strace
need_pgbouncer
need_rust
build_release
exec python3 bench/compare.py --binary "$PLIMSOLL_BINARY" --pgbouncer "$PLIMSOLL_PGBOUNCER" "$@"
