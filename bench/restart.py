#!/usr/bin/env python3
"""Online restarts under load: 500 clients over TCP and a Unix socket, transactions, prepared statements and COPY, through
20 restarts in a row.

It passes if no client lost its connection or a query, and neither memory nor descriptors grow from one process to the
next. `./dev soak --restart` calls this.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from rig import pgbench
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres, bin_folder
from rig.process import HERE, Failed, Process, Rig, free_port

POOL_SIZE = 20
SCALE = 10
# What runs all the time: name, over the Unix socket, pgbench's words. 480 clients, and 20 that copy.
LOADS = (
    ("tcp-simple", False, ("-M", "simple", "-c", "120", "-j", "2", "-b", "select-only@4", "-b", "simple-update@1")),
    ("unix-simple", True, ("-M", "simple", "-c", "120", "-j", "2", "-b", "tpcb-like@1")),
    ("tcp-prepared", False, ("-M", "prepared", "-c", "120", "-j", "120", "-b", "select-only@4", "-b", "simple-update@1")),
    ("unix-extended", True, ("-M", "extended", "-c", "120", "-j", "2", "-b", "select-only@4", "-b", "simple-update@1")),
)
COPIERS = 20
CLIENTS = 500
COPY_ROWS = 500
RESTART_PATIENCE_S = 60
COME_AGAIN_S = 10
# Between two restarts everybody gets to do something.
PAUSE_S = 1.0
# What one process may have more than another after the same number of clients: memory is touched by chance.
RSS_GROWTH_MAX = 1.25
FILES_GROWTH_MAX = 16


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak --restart")
    arguments.add_argument("--rounds", type=at_least(1), default=20, help="how many restarts (default: 20)")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    return in_rig("restart", lambda rig: soak(rig, chosen))


def soak(rig: Rig, chosen: argparse.Namespace) -> int:
    """The exit status."""
    postgres = Postgres(rig, POOL_SIZE + 10, "trust", {}, {})
    pgbench.fill(postgres, SCALE)
    program = str(rig.program(chosen.binary))
    more = {"unix_socket_dir": str(rig.folder), "pidfile": str(rig.folder / "pid")}
    door = Door(free_port(), postgres.port, POOL_SIZE, 600, more=more, own={"target_budget": str(POOL_SIZE), "http_listen": "off"})
    pooler = Pooler(rig, "plimsoll", [program], door)
    clients = loads(rig, door) + copiers(rig, door)
    wait_for_clients(pooler, clients)
    process, figures, problems = pooler.process, [], []
    for round_ in range(1, chosen.rounds + 1):
        time.sleep(PAUSE_S)
        process, millis = restart(rig, program, process, round_)
        figures.append((rss_kib(process.pid), len(list(Path(f"/proc/{process.pid}/fd").iterdir())), millis))
        print(f"restart {round_}: {millis:.0f} ms, {figures[-1][0]} KiB, {figures[-1][1]} descriptors", flush=True)
        problems += ended(clients) or missing(pooler, round_)
        if problems:
            break
    time.sleep(PAUSE_S)
    problems += ended(clients)
    done = postgres_transactions(postgres)
    problems += growth(figures)
    for problem in problems:
        print(f"  PROBLEM  {problem}")
    print(f"{chosen.rounds} restarts, {done} transactions: " + ("FAILED" if problems else "no client lost anything, nothing grew"))
    return 1 if problems else 0


def loads(rig: Rig, door: Door) -> list[Process]:
    """Those that run until they are ended."""
    started = []
    for name, unix, words in LOADS:
        host = str(rig.folder) if unix else HERE
        where = ["-h", host, "-p", str(door.port), "-U", "app", "-d", "app"]
        argv = [str(bin_folder() / "pgbench"), "-n", "-T", "3600", *words, *where]
        started.append(rig.start(name, argv, signal.SIGKILL))
    return started


def copiers(rig: Rig, door: Door) -> list[Process]:
    """psql, which copies in and out and keeps transactions open."""
    rows = "\n".join(str(n) for n in range(COPY_ROWS))
    one = f"BEGIN;\nCREATE TEMP TABLE copied (n int) ON COMMIT DROP;\nCOPY copied FROM STDIN;\n{rows}\n\\.\nSELECT count(*) FROM copied;\nROLLBACK;\nCOPY (SELECT generate_series(1, 5000)) TO STDOUT;\n"
    script = rig.write("copy.sql", one * 400)
    started = []
    for number in range(COPIERS):
        host = HERE if number % 2 else str(rig.folder)
        psql = f"{bin_folder()}/psql -X -q -h {host} -p {door.port} -U app -d app -v ON_ERROR_STOP=1"
        argv = ["sh", "-c", f"while {psql} -f {script} >/dev/null; do :; done"]
        started.append(rig.start(f"copy-{number}", argv, signal.SIGKILL))
    return started


def wait_for_clients(pooler: Pooler, clients: list[Process]) -> None:
    """Waits until all are in."""
    there = count_up_to(pooler, RESTART_PATIENCE_S)
    if there < CLIENTS:
        raise Failed("\n".join([f"only {there} of {CLIENTS} clients got in", *ended(clients)[:3]]))


def missing(pooler: Pooler, number: int) -> list[str]:
    """Whether somebody is not there any more. pgbench never comes again; a psql at the end of its script does, soon."""
    there = count_up_to(pooler, COME_AGAIN_S)
    return [] if there >= CLIENTS else [f"restart {number}: only {there} of {CLIENTS} clients are left"]


def count_up_to(pooler: Pooler, patience_s: float) -> int:
    """How many clients there are, the console's own not counted: as soon as all are there, or after so long."""
    deadline = time.monotonic() + patience_s
    while True:
        console = pooler.console()
        there = sum(row["database"] == "app" for row in console.query("SHOW CLIENTS"))
        console.close()
        if there >= CLIENTS or time.monotonic() > deadline:
            return there
        time.sleep(0.2)


def restart(rig: Rig, program: str, old: Process, number: int) -> tuple[Process, float]:
    """Another process takes over, and the old one ends. How long that took, milliseconds."""
    begun = time.monotonic()
    new = rig.start(f"plimsoll-{number}", [program, "-R", str(rig.folder / "plimsoll.ini")], signal.SIGQUIT)
    while old.child.poll() is None:
        new.check()
        if time.monotonic() - begun > RESTART_PATIENCE_S:
            raise Failed(f"restart {number}: the old process does not end\n{old.tail()}\n{new.tail()}")
        time.sleep(0.005)
    if old.child.returncode:
        raise Failed(f"restart {number}: the old process ended with {old.child.returncode}\n{old.tail()}")
    return new, (time.monotonic() - begun) * 1000


def ended(clients: list[Process]) -> list[str]:
    """Those of the loads that have lost something: then psql ends, and so does pgbench when all its clients have; when only
    some have, it says so and goes on with the others."""
    return [f"{client.name} has lost something: {client.tail(5)}" for client in clients if client.child.poll() is not None or gave_up(client)]


def gave_up(client: Process) -> bool:
    """Whether pgbench has told of a client that it gave up on."""
    return "aborted" in client.log.read_text(encoding="utf-8", errors="replace")


def rss_kib(pid: int) -> int:
    """Memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def growth(figures: list[tuple[int, int, float]]) -> list[str]:
    """Whether the last process has more than the second had."""
    if len(figures) < 3:
        return []
    (rss_first, files_first, _), (rss_last, files_last, _) = figures[1], figures[-1]
    found = []
    if rss_last > rss_first * RSS_GROWTH_MAX:
        found.append(f"memory grew from {rss_first} to {rss_last} KiB")
    if files_last > files_first + FILES_GROWTH_MAX:
        found.append(f"descriptors grew from {files_first} to {files_last}")
    return found


def postgres_transactions(postgres: Postgres) -> int:
    """How many PostgreSQL has committed."""
    direct = postgres.connect()
    rows = direct.query("SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = 'app'")
    direct.close()
    return int(rows[0]["sum"] or 0)


if __name__ == "__main__":
    sys.exit(main())
