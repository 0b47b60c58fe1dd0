#!/usr/bin/env python3
"""Ten thousand idle clients, for ten minutes, with keepalive and the sweep as they are without any setting.

It passes if the pooler took less than one hundredth of a core, and everybody is still served. `./dev soak --idle` calls
this.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time

from rig import figures
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import Rig, free_port

CLIENTS = 10_000
POOL_SIZE = 10
CPU_SHARE_MAX = 0.01

# How long the clients' coming is left to settle.
SETTLE_S = 5


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak --idle")
    arguments.add_argument("--seconds", type=at_least(1), default=600, help="how long they are idle (default: 600)")
    arguments.add_argument("--clients", type=at_least(1), default=CLIENTS, help=f"how many (default: {CLIENTS})")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()

    def work(rig: Rig) -> int:
        with contextlib.ExitStack() as clients:
            return soak(rig, chosen, clients)

    return in_rig("soak-idle", work)


def soak(rig: Rig, chosen: argparse.Namespace, clients: contextlib.ExitStack) -> int:
    """The exit status."""
    limit = figures.raise_descriptor_limit(chosen.clients + figures.DESCRIPTORS_SPARE)
    count = min(chosen.clients, limit - figures.DESCRIPTORS_SPARE)
    if count < chosen.clients:
        print(f"only {limit} files may be open here: {count} idle clients instead of {chosen.clients}")
    postgres = Postgres(rig, POOL_SIZE + 10, "trust", {}, {})
    pooler = Pooler(rig, "plimsoll", [str(rig.program(chosen.binary))], Door(free_port(), postgres.port, POOL_SIZE, count + 100))
    crowd = []
    for _ in range(count):
        client = pooler.connect()
        clients.callback(client.close)
        client.query("select 1")
        crowd.append(client)
    time.sleep(SETTLE_S)
    print(f"{count:,} clients are idle for {chosen.seconds} s", flush=True)
    before, begun = sum(figures.cpu_s(pooler.pid)), time.monotonic()
    time.sleep(chosen.seconds)
    share = (sum(figures.cpu_s(pooler.pid)) - before) / (time.monotonic() - begun)
    for client in crowd[:: max(1, count // 100)]:
        client.query("select 1")
    print(f"soak --idle: {share * 100:.2f} % of a core with {count:,} idle clients; at most {CPU_SHARE_MAX * 100:.0f} % is allowed")
    return 0 if share < CPU_SHARE_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
