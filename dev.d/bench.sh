# ./dev bench [quick] [--rounds N] [--write]. Sourced by ./dev.

# PgBouncer without its service: the package is unpacked into .dev/, and only the libraries it needs are installed.
# Exports PLIMSOLL_PGBOUNCER.
need_pgbouncer() {
  local found folder=$ROOT/.dev/pgbouncer
  for found in "$(command -v pgbouncer || true)" /usr/sbin/pgbouncer "$folder/usr/sbin/pgbouncer"; do
    if [ -n "$found" ] && [ -x "$found" ]; then
      export PLIMSOLL_PGBOUNCER=$found
      return 0
    fi
  done
  command -v apt-get >/dev/null || die "the bench needs PgBouncer, and there is no apt-get to fetch it with"
  say "Unpacking the package pgbouncer into .dev/pgbouncer (nothing is started)"
  mkdir -p "$folder"
  quietly as_root apt-get update -q || say "  apt-get update failed; going on with the package lists that are there"
  (cd "$folder" && quietly apt-get download -q pgbouncer)
  dpkg-deb -x "$folder"/pgbouncer_*.deb "$folder"
  local needs
  needs=$(dpkg-deb -f "$folder"/pgbouncer_*.deb Depends)
  say "Installing the libraries it needs, with apt-get: $needs"
  quietly as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get satisfy -y -q --no-install-recommends "$needs" </dev/null || die "apt-get could not install them"
  export PLIMSOLL_PGBOUNCER=$folder/usr/sbin/pgbouncer
}

need_postgres "the bench"
command -v strace >/dev/null || install_packages "the bench (counting system calls)" strace
need_pgbouncer
need_rust
build_release
exec python3 bench/compare.py --binary "$PLIMSOLL_BINARY" --pgbouncer "$PLIMSOLL_PGBOUNCER" "$@"
