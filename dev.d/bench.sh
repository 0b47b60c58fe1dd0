# ./dev bench [quick | doors | cap | spill | instructions | identity] [--rounds N] [--write]. Sourced by ./dev.

need_postgres "the bench"
command -v strace >/dev/null || install_packages "the bench (counting system calls)" strace
need_pgbouncer "the bench"
need_rust
build_release
script=compare
case ${1:-} in
  doors | cap | spill | instructions) script=$1; shift ;;
  identity)
    script=logins
    shift
    cargo build --release --locked -p plimsoll-identity --example store_size
    set -- --store-size "${CARGO_TARGET_DIR:-$ROOT/target}/release/examples/store_size" "$@"
    ;;
esac
[[ $script != doors && $script != logins ]] || command -v openssl >/dev/null || install_packages "the bench (a certificate)" openssl
[[ $script != instructions && $script != logins ]] || command -v valgrind >/dev/null || install_packages "the bench (counting instructions)" valgrind
exec python3 "bench/$script.py" --binary "$PLIMSOLL_BINARY" --pgbouncer "$PLIMSOLL_PGBOUNCER" "$@"
