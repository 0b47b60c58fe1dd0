# ./dev bench [quick | doors | cap | spill] [--rounds N] [--write]. Sourced by ./dev.

need_postgres "the bench"
command -v strace >/dev/null || install_packages "the bench (counting system calls)" strace
need_pgbouncer
need_rust
build_release
if [ "${1:-}" = doors ]; then
  shift
  command -v openssl >/dev/null || install_packages "the bench (a certificate)" openssl
  exec python3 bench/doors.py --binary "$PLIMSOLL_BINARY" --pgbouncer "$PLIMSOLL_PGBOUNCER" "$@"
fi
if [ "${1:-}" = cap ]; then
  shift
  exec python3 bench/cap.py --binary "$PLIMSOLL_BINARY" --pgbouncer "$PLIMSOLL_PGBOUNCER" "$@"
fi
if [ "${1:-}" = spill ]; then
  shift
  exec python3 bench/spill.py --binary "$PLIMSOLL_BINARY" --pgbouncer "$PLIMSOLL_PGBOUNCER" "$@"
fi
exec python3 bench/compare.py --binary "$PLIMSOLL_BINARY" --pgbouncer "$PLIMSOLL_PGBOUNCER" "$@"
