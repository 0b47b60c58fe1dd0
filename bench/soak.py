#!/usr/bin/env python3
"""The soak: 200 clients over a pool of 10, a minute in each protocol.

It passes if no transaction failed and PostgreSQL never counted more than 10 sessions. `./dev soak` calls this.
"""

from __future__ import annotations

import argparse
import sys

from rig import pgbench, trial
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import Rig, free_port

CLIENTS = 200
POOL_SIZE = 10
SCALE = 10


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak")
    arguments.add_argument("--seconds", type=at_least(1), default=60, help="how long each load runs (default: 60)")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    return in_rig("soak", lambda rig: soak(rig, chosen))


def soak(rig: Rig, chosen: argparse.Namespace) -> int:
    """The exit status."""
    # Room for the cap, for the one who watches, and for nobody else but superusers: a session too many is refused as
    # well as counted.
    reserved = 3
    more = {"superuser_reserved_connections": str(reserved)}
    postgres = Postgres(rig, POOL_SIZE + 1 + reserved, "trust", {}, more)
    pgbench.fill(postgres, SCALE)
    door = Door(free_port(), postgres.port, POOL_SIZE, CLIENTS + 20, own={"target_budget": str(POOL_SIZE)})
    pooler = Pooler(rig, "plimsoll", [str(rig.program(chosen.binary))], door)
    print(f"{CLIENTS} clients over {POOL_SIZE} server connections, {chosen.seconds} s for each protocol", flush=True)
    trials = trial.run(rig, postgres, pooler, CLIENTS, chosen.seconds)
    print("\n" + trial.show(trials, POOL_SIZE))
    problems = [problem for one in trials for problem in one.problems(POOL_SIZE)]
    for problem in problems:
        print(f"  PROBLEM  {problem}")
    print("soak: " + ("FAILED" if problems else "no transaction failed and the cap was never passed"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
