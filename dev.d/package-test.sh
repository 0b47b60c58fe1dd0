# ./dev package --test. Sourced by dev.d/package.sh, with the packages made.
#
# A clean Debian (debootstrap) with PostgreSQL and PgBouncer in it is booted with systemd as its first process, in a container
# without a network (systemd-nspawn), and dev.d/package/proof.sh runs in there. The clean system is kept as .dev/package/root.tar.

ROOTFS=$PACKAGE_DIR/root
# How long the booted system may take, seconds.
PROOF_SECONDS=600

[ "$(id -u)" = 0 ] || die "package --test makes a system of its own and boots it: run it as root"
install_packages "the clean system" debootstrap systemd-container

# in_root COMMAND...: in the clean system, which does not run.
in_root() {
  LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$ROOTFS" "$@"
}

# What an administrator has done to it before Plimsoll comes: a database, a user, a console.
configure_pgbouncer() {
  sed -i '/^\[databases\]/a shop = host=127.0.0.1 port=5432 dbname=shop' "$ROOTFS/etc/pgbouncer/pgbouncer.ini"
  sed -i '/^\[pgbouncer\]/a admin_users = app' "$ROOTFS/etc/pgbouncer/pgbouncer.ini"
  printf '"app" "secret"\n' >"$ROOTFS/etc/pgbouncer/userlist.txt"
}

# The packages come from where this machine has its own from.
make_root() {
  local suite mirror
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  mirror=$(apt-get indextargets --format '$(SITE)' "Created-By: Packages" "Codename: $suite" "Component: main" | head -n 1)
  say "Making a clean $suite in .dev/package/root (some minutes, once)"
  rm -rf "$ROOTFS"
  mkdir -p "$ROOTFS"
  quietly debootstrap --variant=minbase --include=ca-certificates "$suite" "$ROOTFS" "$mirror"
  # Nothing is started while it is only a folder.
  printf '#!/bin/sh\nexit 101\n' >"$ROOTFS/usr/sbin/policy-rc.d"
  chmod +x "$ROOTFS/usr/sbin/policy-rc.d"
  quietly in_root apt-get install -y -q --no-install-recommends systemd systemd-sysv dbus adduser logrotate postgresql \
    pgbouncer man-db bash-completion zsh fish procps
  # The packages of PgBouncer stay where apt finds them: in there is no network.
  quietly in_root apt-get install -y -q --download-only --reinstall pgbouncer
  rm "$ROOTFS/usr/sbin/policy-rc.d"
  configure_pgbouncer
  tar -C "$ROOTFS" -cf "$PACKAGE_DIR/root.tar.part" .
  mv "$PACKAGE_DIR/root.tar.part" "$PACKAGE_DIR/root.tar"
}

# Remakes the root from what was kept, and puts the packages and the proof in it.
lay_root() {
  if [ ! -e "$PACKAGE_DIR/root.tar" ]; then
    make_root
  else
    rm -rf "$ROOTFS"
    mkdir -p "$ROOTFS"
    tar -C "$ROOTFS" -xf "$PACKAGE_DIR/root.tar"
  fi
  mkdir -p "$ROOTFS/proof"
  cp "$PACKAGE_DIR"/plimsoll_*.deb "$ROOTFS/proof/plimsoll.deb"
  cp "$PACKAGE_DIR"/plimsoll-pgbouncer_*.deb "$ROOTFS/proof/plimsoll-pgbouncer.deb"
  cp dev.d/package/proof.sh "$ROOTFS/proof/proof.sh"
  cat >"$ROOTFS/etc/systemd/system/proof.service" <<'UNIT'
[Unit]
Description=what has to be shown of the packages
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'bash /proof/proof.sh >>/proof/log 2>&1; echo $? >/proof/status'
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=infinity
UNIT
  mkdir -p "$ROOTFS/etc/systemd/system/default.target.wants"
  ln -sf ../proof.service "$ROOTFS/etc/systemd/system/default.target.wants/proof.service"
}

lay_root
say "Booting it"
status=0
timeout --kill-after=10 "$PROOF_SECONDS" systemd-nspawn --quiet --directory="$ROOTFS" --boot --private-network \
  --register=no --keep-unit --machine=plimsoll-proof --console=pipe \
  </dev/null >"$PACKAGE_DIR/boot.log" 2>&1 || status=$?
if [ ! -e "$ROOTFS/proof/status" ]; then
  tail -n 40 "$PACKAGE_DIR/boot.log" >&2
  cat "$ROOTFS/proof/log" >&2 || true
  die "the clean system did not come to its end (systemd-nspawn: $status); what it said is above"
fi
cat "$ROOTFS/proof/log"
status=$(cat "$ROOTFS/proof/status")
cp "$ROOTFS/proof/log" "$PACKAGE_DIR/proof.log"
rm -rf "$ROOTFS"
[ "$status" = 0 ] || die "package --test: FAILED (status $status)"
say "package --test: all of it passed"
