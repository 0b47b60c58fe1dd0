# Runs in the clean system that ./dev package --test boots, as root. Shows that the packages do what they should, and ends with a
# status other than 0 at the first thing that is otherwise.
set -euo pipefail
export LC_ALL=C.UTF-8 PGPASSWORD=secret PGCONNECT_TIMEOUT=5 DEBIAN_FRONTEND=noninteractive

INI=/etc/pgbouncer/pgbouncer.ini

step() { printf '\n== %s\n' "$*"; }
ok() { printf 'ok  %s\n' "$*"; }
fail() {
  printf 'NOT %s\n' "$*"
  journalctl --no-pager -n 40 -u pgbouncer -u plimsoll || true
  exit 1
}

# expect WHAT WANTED GOT
expect() {
  [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"
  ok "$1: $3"
}

# eventually WHAT COMMAND...: for at most 20 s.
eventually() {
  local what=$1 _
  shift
  for _ in $(seq 100); do
    if "$@" >/dev/null 2>&1; then
      ok "$what"
      return 0
    fi
    sleep 0.2
  done
  "$@" || true
  fail "$what"
}

# query DATABASE SQL: over TCP, through whoever pools there.
query() { psql -h 127.0.0.1 -p 6432 -U app -d "$1" -XAtc "$2"; }
console() { query pgbouncer "$1"; }
pooled() { [ "$(query shop 'SELECT current_user')" = app ]; }
active() { systemctl is-active "$1" 2>/dev/null || true; }
pid() { systemctl show -p MainPID --value "$1"; }
# told_ready UNIT: the program tells systemd when it serves: who restarts it need not wait.
told_ready() {
  expect "the type of $1" notify "$(systemctl show -p Type --value "$1")"
  systemctl restart "$1"
  pooled || fail "restart of $1 is said to be done, and nobody serves"
  ok "restart is done when it serves"
}
program() { readlink "/proc/$(pid "$1")/exe"; }
user_of() { stat -c %U "/proc/$(pid "$1")"; }
installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true; }

# All that PgBouncer's package and its administrator have, with rights, owners and contents.
pgbouncers_things() {
  {
    find /etc/pgbouncer /etc/default/pgbouncer /etc/init.d/pgbouncer /usr/sbin/pgbouncer* /lib/systemd/system/pgbouncer* \
      /etc/systemd/system/*/pgbouncer* -printf '%p %M %u:%g %l\n'
    find /etc/pgbouncer /etc/default/pgbouncer /etc/init.d/pgbouncer /usr/sbin/pgbouncer* /lib/systemd/system/pgbouncer* \
      -type f -exec sha256sum {} +
    dpkg-divert --list '*pgbouncer*'
    systemctl is-enabled pgbouncer.service
  } | sort
}

# unchanged BEFORE: what differs now ends the proof.
unchanged() {
  local now
  now=$(pgbouncers_things)
  [ "$1" = "$now" ] || fail "PgBouncer has not all that it had: $(diff <(printf '%s\n' "$1") <(printf '%s\n' "$now") || true)"
}

apt() { apt-get -qq -y -o Dpkg::Use-Pty=0 "$@"; }
apt_install() { apt install --no-install-recommends "$@"; }

step "before: PostgreSQL, and PgBouncer with a configuration"
eventually "PostgreSQL is up" runuser -u postgres -- psql -XAtc 'SELECT 1'
runuser -u postgres -- psql -Xqc "CREATE ROLE app LOGIN PASSWORD 'secret'" -c 'CREATE DATABASE shop OWNER app'
systemctl restart pgbouncer
eventually "psql connects through it" pooled
before=$(pgbouncers_things)
expect "the service is" /usr/sbin/pgbouncer "$(program pgbouncer)"
echo "$(console 'SHOW VERSION' 2>&1)"

step "a configuration that Plimsoll does not take: nothing is changed"
apt_install /proof/plimsoll.deb
expect "plimsoll.service is not started by itself" inactive "$(active plimsoll)"
expect "and not enabled" disabled "$(systemctl is-enabled plimsoll || true)"
pgbouncer_pid=$(pid pgbouncer)
cp -p $INI /proof/good.ini
sed -i '/^\[pgbouncer\]/a no_such_key = 1' $INI
apt_install /proof/plimsoll-pgbouncer.deb && fail "it was installed" || ok "the installation ends with an error"
expect "the package is" "" "$(installed plimsoll-pgbouncer | sed 's/not-installed\|half-installed//')"
expect "the service is still the process it was" "$pgbouncer_pid" "$(pid pgbouncer)"
cp -p /proof/good.ini $INI
dpkg --configure -a
unchanged "$before"
ok "PgBouncer has all that it had"

step "in PgBouncer's place"
apt_install /proof/plimsoll-pgbouncer.deb
expect "the service is" /usr/bin/plimsoll "$(program pgbouncer)"
expect "it runs as" postgres "$(user_of pgbouncer)"
eventually "psql connects through it, over TCP" pooled
expect "over the Unix socket, too" app "$(psql -h /var/run/postgresql -p 6432 -U app -d shop -XAtc 'SELECT current_user')"
echo "$(console 'SHOW VERSION' 2>&1)"
expect "PgBouncer's own program is kept" "diversion of /usr/sbin/pgbouncer to /usr/sbin/pgbouncer.distrib by plimsoll-pgbouncer" \
  "$(dpkg-divert --list '*pgbouncer*')"
now=$(pid pgbouncer)
systemctl reload pgbouncer
eventually "reload keeps the process" pooled
expect "the process" "$now" "$(pid pgbouncer)"
told_ready pgbouncer
tail -n 3 /var/log/postgresql/pgbouncer.log

step "an upgrade of the program restarts it"
now=$(pid pgbouncer)
dpkg -i /proof/plimsoll.deb
eventually "psql connects" pooled
[ "$(pid pgbouncer)" != "$now" ] || fail "the old program still runs"
ok "the new program runs"

step "an upgrade of PgBouncer goes beside it"
apt_install --reinstall pgbouncer
expect "the name is still" /usr/bin/plimsoll "$(readlink -f /usr/sbin/pgbouncer)"
eventually "psql connects" pooled
expect "the service is" /usr/bin/plimsoll "$(program pgbouncer)"

step "removal restores"
apt remove plimsoll-pgbouncer
expect "the service is" /usr/sbin/pgbouncer "$(program pgbouncer)"
eventually "psql connects through it" pooled
unchanged "$before"
ok "PgBouncer has all that it had: files, rights, owners, contents, diversions, enabled"
expect "dpkg finds its files as they were, but for the configuration" "" \
  "$(dpkg -V pgbouncer | grep -v '/etc/pgbouncer/' || true)"
apt purge plimsoll-pgbouncer
expect "purged: its state folder" "" "$(ls -d /var/lib/plimsoll-pgbouncer 2>/dev/null || true)"

step "Plimsoll as a service of its own"
systemctl disable --now pgbouncer
expect "nothing is started by the package" inactive "$(active plimsoll)"
runuser -u plimsoll -- plimsoll check --offline /etc/plimsoll/plimsoll.ini >/proof/check || true
expect "plimsoll check of the file as it comes" "/etc/plimsoll/plimsoll.ini: no mistakes, 1 warning" "$(tail -n 1 /proof/check)"
sed -i '/^\[databases\]/a shop = host=127.0.0.1 port=5432 dbname=shop' /etc/plimsoll/plimsoll.ini
sed -i '/^\[pgbouncer\]/a admin_users = app' /etc/plimsoll/plimsoll.ini
printf '"app" "secret"\n' >/etc/plimsoll/userlist.txt
stat -c 'rights: %n %A %U:%G' /etc/plimsoll /etc/plimsoll/*
systemctl enable --now plimsoll
eventually "psql connects through it" pooled
expect "it runs as" plimsoll "$(user_of plimsoll)"
expect "over the Unix socket" app "$(psql -h /run/plimsoll -p 6432 -U app -d shop -XAtc 'SELECT current_user')"
query shop 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS n' >/dev/null
expect "and carries results" 500500 "$(query shop 'SELECT sum(n) FROM t')"
plimsoll doctor | head -n 4
exec 3<>/dev/tcp/127.0.0.1/6433
printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
expect "/metrics" "plimsoll_build_info{version=\"$(plimsoll --version)\"} 1" "$(grep -a ^plimsoll_build_info <&3)"
exec 3<&-
grep -E 'Limit|Max open files' "/proc/$(pid plimsoll)/limits"
ls -ld /run/plimsoll /var/lib/plimsoll /var/log/plimsoll
now=$(pid plimsoll)
systemctl reload plimsoll
eventually "reload keeps the process" pooled
expect "the process" "$now" "$(pid plimsoll)"
told_ready plimsoll
kill -KILL "$(pid plimsoll)"
eventually "killed, it comes back" pooled

step "the unit"
systemd-analyze verify /lib/systemd/system/plimsoll.service 2>&1 | tee /proof/verify
expect "systemd-analyze verify says" "" "$(cat /proof/verify)"
systemd-analyze security --no-pager plimsoll.service | tail -n 1

step "rotated logs"
sed -i '/^\[pgbouncer\]/a logfile = /var/log/plimsoll/plimsoll.log' /etc/plimsoll/plimsoll.ini
systemctl restart plimsoll
eventually "a line in the file" grep -q 'process up' /var/log/plimsoll/plimsoll.log
logrotate -f /etc/logrotate.d/plimsoll
eventually "the file is a new one" grep -q SIGHUP /var/log/plimsoll/plimsoll.log.1
query shop 'SELECT 1' >/dev/null
eventually "and is written to" test -s /var/log/plimsoll/plimsoll.log

step "an upgrade keeps what was configured"
now=$(pid plimsoll)
chown plimsoll:plimsoll /etc/plimsoll/userlist.txt
dpkg -i /proof/plimsoll.deb
eventually "psql connects" pooled
[ "$(pid plimsoll)" != "$now" ] || fail "the old program still runs"
expect "still enabled" enabled "$(systemctl is-enabled plimsoll)"
expect "an owner that was changed" plimsoll "$(stat -c %U /etc/plimsoll/userlist.txt)"

step "manual pages and completions"
for page in plimsoll plimsoll-holds plimsoll-identity-init plimsoll.ini; do
  man "$page" >/proof/page 2>/proof/trouble
  expect "man $page: $(wc -l </proof/page) lines, trouble" "" "$(cat /proof/trouble)"
done
for page in /usr/share/man/man1/plimsoll*.gz /usr/share/man/man5/plimsoll*.gz; do
  man --warnings=all -l "$page" >/dev/null 2>/proof/trouble
  [ ! -s /proof/trouble ] || fail "$page: $(cat /proof/trouble)"
done
ok "$(ls /usr/share/man/man1/plimsoll* /usr/share/man/man5/plimsoll* | wc -l) pages without a warning of groff"
expect "fish completes" holds "$(fish -c "complete -C 'plimsoll hol'" | cut -f1)"
zsh -n /usr/share/zsh/vendor-completions/_plimsoll
expect "zsh has it" _plimsoll "$(zsh -fc 'autoload -Uz compinit && compinit -u && echo $_comps[plimsoll]')"
bash -n /usr/share/bash-completion/completions/plimsoll
ok "bash reads it"

step "removal and purge"
apt remove plimsoll
expect "the service is" inactive "$(active plimsoll)"
[ -e /etc/plimsoll/plimsoll.ini ] || fail "the configuration went with the package"
ok "the configuration stays"
apt purge plimsoll
expect "after purge there is left of it" "" \
  "$(find /etc /usr /lib /var /run -xdev -iname '*plimsoll*' -not -path '/var/cache/man/*' || true)"

step "all at once, where nothing was"
apt purge pgbouncer
apt_install pgbouncer /proof/plimsoll.deb /proof/plimsoll-pgbouncer.deb
expect "PgBouncer's own program is beside it" /usr/sbin/pgbouncer.distrib "$(ls /usr/sbin/pgbouncer.distrib)"
expect "the name is" /usr/bin/plimsoll "$(readlink -f /usr/sbin/pgbouncer)"
apt purge pgbouncer plimsoll-pgbouncer plimsoll
expect "and all gone again" "" "$(ls -d /usr/sbin/pgbouncer* /etc/pgbouncer /etc/plimsoll 2>/dev/null || true)"

printf '\nproof: all of it was shown\n'
