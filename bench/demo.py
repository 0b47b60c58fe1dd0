#!/usr/bin/env python3
"""The demo: a throw-away PostgreSQL, Plimsoll in front of it, real load, a table, and a database to play with.

`./dev demo` calls this when everything is installed and built.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from rig import leak, pgbench, trial
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import HERE, Rig, next_free_port

PORT = 6432
CLIENTS = 100
POOL_SIZE = 10
# What the smallest managed PostgreSQL gives: so few that a pooler which leaks one is found out.
MAX_CONNECTIONS = 26
SCALE = 5


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev demo")
    arguments.add_argument("--once", action="store_true", help="exit after the load instead of waiting for Ctrl-C")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--seconds", type=at_least(1), default=8, help="how long each load runs (default: 8)")
    chosen = arguments.parse_args()

    def work(rig: Rig) -> int:
        status = demonstrate(rig, chosen)
        print("\nStopping what was started; its folder goes too.", flush=True)
        return status

    return in_rig("demo", work)


def demonstrate(rig: Rig, chosen: argparse.Namespace) -> int:
    """The whole show; the exit status."""
    passwords = {"postgres": secrets.token_hex(16), "app": secrets.token_hex(6)}
    postgres = Postgres(rig, MAX_CONNECTIONS, "scram-sha-256", passwords, {"shared_buffers": "64MB"})
    print(f"[3/6] PostgreSQL {postgres.version} on {HERE}:{postgres.port}, max_connections = {MAX_CONNECTIONS},"
          f" in {rig.folder}", flush=True)
    pgbench.fill(postgres, SCALE)
    program = rig.program(chosen.binary)
    pooler = open_pooler(rig, postgres, program)
    print(f"[5/6] load       {CLIENTS} clients of pgbench, {chosen.seconds} s for each protocol", flush=True)
    trials = trial.run(rig, postgres, pooler, CLIENTS, chosen.seconds)
    problems = [problem for one in trials for problem in one.problems(POOL_SIZE)]
    print("\n" + trial.show(trials, POOL_SIZE))
    print("\n  most server connections: as PostgreSQL counted them (pg_stat_activity)"
          "\n  longest wait: of a client for a server connection (SHOW POOLS), looked at every 20 ms")
    print("\n[6/6] a leak     what everybody is told when an application never gives back what it took", flush=True)
    problems += leak.show(pooler, program, passwords["app"])
    for problem in problems:
        print(f"  PROBLEM  {problem}")
    if not chosen.once:
        stay(postgres, pooler, passwords["app"])
    return 1 if problems else 0


def open_pooler(rig: Rig, postgres: Postgres, program) -> Pooler:
    """Plimsoll on its port, or the next free one."""
    port = next_free_port(PORT)
    door = Door(
        port=port,
        server_port=postgres.port,
        pool_size=POOL_SIZE,
        client_max=CLIENTS + 100,
        auth_type="scram-sha-256",
        passwords={"app": postgres.passwords["app"]},
        own={"target_budget": str(POOL_SIZE), "leak_idle_threshold": "2s"},
    )
    pooler = Pooler(rig, "plimsoll", [str(program)], door)
    taken = f" ({PORT} is taken)" if port != PORT else ""
    print(f"[4/6] Plimsoll   on {HERE}:{port}{taken}: up to {door.client_max} clients share {POOL_SIZE}"
          " server connections", flush=True)
    return pooler


def stay(postgres: Postgres, pooler: Pooler, password: str) -> None:
    """Waits for Ctrl-C, and notices if something dies."""
    url = f"postgres://app:{password}@{HERE}:{pooler.door.port}"
    print(f"\nTry it from another terminal:\n"
          f"  psql {url}/app\n"
          f"  psql {url}/pgbouncer -c 'SHOW POOLS'      (the console)\n"
          f"  PGPASSWORD={password} target/release/plimsoll holds --watch --url postgres://app@{HERE}:{pooler.door.port}/pgbouncer\n"
          f"\nCtrl-C stops everything and removes it.", flush=True)
    try:
        while True:
            time.sleep(0.5)
            postgres.process.check()
            pooler.process.check()
    except KeyboardInterrupt:
        print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
