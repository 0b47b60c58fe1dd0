#!/usr/bin/env python3
"""Instructions in user space for each transaction, as valgrind counts them: repeatable where times are not.

What logins and new server connections cost is taken out: each figure is the difference between a long run and a short
one. `./dev bench instructions` calls this.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
from dataclasses import dataclass, field

from rig import pgbench, report
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import Failed, Rig, free_port

CLIENTS = 64
POOL_SIZE = 20
SCALE = 10
PROTOCOLS = ("simple", "extended", "prepared")
# Transactions of each client in the two runs that are compared: the pool is full in both.
SHORT, LONG = 150, 650


@dataclass(frozen=True)
class Build:
    """What is measured: a program, and what its file says beyond the usual."""

    name: str
    program: str
    own: dict[str, str] = field(default_factory=dict)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev bench instructions")
    arguments.add_argument("--rounds", type=at_least(1), default=3, help="how many (default: 3)")
    arguments.add_argument("--beside", metavar="PROGRAM", help="another build, measured in turns with this one")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--pgbouncer", default="", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    return in_rig("instructions", lambda rig: bench(rig, chosen))


def bench(rig: Rig, chosen: argparse.Namespace) -> int:
    """Measures and prints."""
    if not shutil.which("valgrind"):
        raise Failed("valgrind is not there")
    postgres = Postgres(rig, POOL_SIZE + 30, "trust", {}, {"shared_buffers": "128MB"})
    pgbench.fill(postgres, SCALE)
    builds = [Build("as it is", chosen.binary), Build("spill = off", chosen.binary, {"spill": "off"}),
              Build("ledger = off", chosen.binary, {"ledger": "off"})]
    if chosen.beside:
        builds.append(Build("beside", chosen.beside))
    found: dict[str, list[tuple[float, ...]]] = {build.name: [] for build in builds}
    for number in range(chosen.rounds):
        for build in builds:
            figures = measure(rig, postgres, build, f"{number}-{builds.index(build)}")
            found[build.name].append(figures)
            print(f"  {build.name}: {', '.join(f'{figure:,.0f}' for figure in figures)}", flush=True)
    middle = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in found.items()}
    usual = middle[builds[0].name]
    rows = [[name, *(f"{figure:,.0f} ({figure / base:.3f} x)" for figure, base in zip(figures, usual))]
            for name, figures in middle.items()]
    print(f"\nInstructions for each transaction in user space, median of {chosen.rounds} rounds; one worker, {CLIENTS} "
          f"clients over {POOL_SIZE} server connections.\n\n{report.markdown(['', *PROTOCOLS], rows)}")
    return 0


def measure(rig: Rig, postgres: Postgres, build: Build, name: str) -> tuple[float, ...]:
    """Of each protocol."""
    figures = []
    for protocol in PROTOCOLS:
        short, long = (count(rig, postgres, build, protocol, each, f"{name}-{protocol}-{each}") for each in (SHORT, LONG))
        figures.append((long - short) / (CLIENTS * (LONG - SHORT)))
    return tuple(figures)


def count(rig: Rig, postgres: Postgres, build: Build, protocol: str, each: int, name: str) -> int:
    """Instructions of a pooler from its start to its end, with so many transactions of each client between them."""
    door = Door(free_port(), postgres.port, POOL_SIZE, 1000, own={"workers": "1", **build.own})
    door.more["max_prepared_statements"] = "100"
    counts = rig.folder / f"callgrind-{name}"
    argv = ["valgrind", "--tool=callgrind", "--vgdb=no", f"--callgrind-out-file={counts}", str(rig.program(build.program))]
    pooler = Pooler(rig, f"plimsoll-{name}", [*argv, "--quiet"], door)
    load = pgbench.Load(protocol, CLIENTS, transactions_each=each, log_share=0.01)
    done = pgbench.run(rig, door.port, load)
    pooler.process.check()
    pooler.stop()
    if done.failed:
        raise Failed(f"{done.failed} transactions failed: {done.complaint}")
    total = re.search(r"^totals: (\d+)$", counts.read_text(errors="replace"), re.MULTILINE)
    if not total:
        raise Failed(f"{counts.name} has no totals")
    return int(total[1])


if __name__ == "__main__":
    sys.exit(main())
