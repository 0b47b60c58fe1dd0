#!/usr/bin/env python3
"""The identity API under requests that its own description makes possible and impossible (schemathesis): every operation,
with what fits the description and what does not, one after the other and in chains.

It passes if nothing was answered with 5xx, the administrator still gets in and the process did not grow. `./dev soak
--api` calls this.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys

from rig import figures
from rig.command import at_least, in_rig
from rig.identity import House
from rig.pooler import Door
from rig.postgres import Postgres
from rig.process import HERE, Rig, free_port

MIB = 1 << 20
# What the process may grow by: caches fill.
GROWTH_MAX = 32 * MIB
# They may take the asker's own right away, and then nothing else is asked: each on a store of its own.
CUTTING = ("replaceKey", "revokeKey", "rotateKey", "replaceApp", "removeApp", "replaceOrg", "removeOrg")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak --api")
    arguments.add_argument("--examples", type=at_least(1), default=100, help="of each operation and phase (default: 100)")
    arguments.add_argument("--seed", type=at_least(0), default=1, help="of the examples (default: 1)")
    arguments.add_argument("--schemathesis", default="schemathesis", help=argparse.SUPPRESS)
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    return in_rig("soak-api", lambda rig: soak(rig, chosen))


def soak(rig: Rig, chosen: argparse.Namespace) -> int:
    """The exit status."""
    postgres = Postgres(rig, 30, "trust", {}, {})
    others = [word for operation in CUTTING for word in ("--exclude-operation-id", operation)]
    problems = asked(rig, postgres, chosen, "the others", others)
    for operation in CUTTING:
        problems += asked(rig, postgres, chosen, operation, ["--include-operation-id", operation])
    for problem in problems:
        print(f"  PROBLEM  {problem}")
    print("soak --api: " + ("FAILED" if problems else "no operation was answered with 5xx"))
    return 1 if problems else 0


def asked(rig: Rig, postgres: Postgres, chosen: argparse.Namespace, name: str, which: list[str]) -> list[str]:
    """What went wrong with these operations, on a store of their own."""
    door = Door(free_port(), postgres.port, 5, 100, "key", passwords={"app": "console"})
    house = House(rig, chosen.binary, door, f"sqlite:{rig.folder}/{name.replace(' ', '-')}.db", name=f"plimsoll-{name.replace(' ', '-')}")
    begin_bytes = figures.pss_bytes(house.pooler.pid)
    status = subprocess.run([
        chosen.schemathesis, "run", f"http://{HERE}:{house.http_port}/openapi.json", *which,
        "--header", f"Authorization: {house.admin.bearer['Authorization']}",
        "--checks", "not_a_server_error", "--max-examples", str(chosen.examples), "--seed", str(chosen.seed),
        # Wrong keys would only meet the limit of wrong keys: see tests/http_rights.rs.
        "--generation-with-security-parameters", "false", "--continue-on-failure", "--no-color",
        "--suppress-health-check", "all", "--request-timeout", "30",
    ], cwd=rig.folder, check=False).returncode
    house.pooler.process.check()
    problems = [f"{name}: schemathesis found something (above)"] if status else []
    if name not in CUTTING:
        with contextlib.closing(house.api()) as api:
            api.ask("GET", "/v1/audit?limit=1")
    grown = figures.pss_bytes(house.pooler.pid) - begin_bytes
    print(f"{name}: the process grew by {grown / MIB:+.1f} MiB", flush=True)
    if grown > GROWTH_MAX:
        problems.append(f"{name}: memory grew")
    house.pooler.stop()
    return problems


if __name__ == "__main__":
    sys.exit(main())
