# ./dev bench [quick | doors | cap | spill | instructions] [--rounds N] [--write]. Sourced by ./dev.

need_postgres "the bench"
command -v strace >/dev/null || install_packages "the bench (counting system calls)" strace
need_pgbouncer
need_rust
build_release
script=compare
case ${1:-} in
  doors | cap | spill | instructions) script=$1; shift ;;
esac
[ $script != doors ] || command -v openssl >/dev/null || install_packages "the bench (a certificate)" openssl
[ $script != instructions ] || command -v valgrind >/dev/null || install_packages "the bench (counting instructions)" valgrind
exec python3 "bench/$script.py" --binary "$PLIMSOLL_BINARY" --pgbouncer "$PLIMSOLL_PGBOUNCER" "$@"
