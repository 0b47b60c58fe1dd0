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
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rig import pgbench, report
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import Failed, Rig, free_port

CLIENTS = 64
POOL_SIZE = 20
SCALE = 10
PROTOCOLS = ("simple", "extended", "prepared")
# Transactions of each client: to fill the pool, and the two runs that are compared.
WARM, SHORT, LONG = 150, 50, 450


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
    for tool in ("valgrind", "callgrind_control"):
        if not shutil.which(tool):
            raise Failed(f"{tool} is not there")
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
    door = Door(free_port(), postgres.port, POOL_SIZE, 1000, own={"workers": "1", **build.own})
    door.more["max_prepared_statements"] = "100"
    counts = rig.folder / f"callgrind-{name}"
    argv = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={counts}",
            str(rig.program(build.program)), "--quiet"]
    pooler = Pooler(rig, f"plimsoll-{name}", argv, door)
    figures = []
    for protocol in PROTOCOLS:
        load(rig, pooler, protocol, WARM)
        short, long = (count(rig, pooler, protocol, each, counts) for each in (SHORT, LONG))
        figures.append((long - short) / (CLIENTS * (LONG - SHORT)))
    pooler.stop()
    return tuple(figures)


def load(rig: Rig, pooler: Pooler, protocol: str, each: int) -> None:
    done = pgbench.run(rig, pooler.door.port, pgbench.Load(protocol, CLIENTS, transactions_each=each, log_share=0.01))
    pooler.process.check()
    if done.failed:
        raise Failed(f"{done.failed} transactions failed: {done.complaint}")


def count(rig: Rig, pooler: Pooler, protocol: str, each: int, counts: Path) -> int:
    """Instructions of one run."""
    control(pooler, "--zero")
    control(pooler, "--instr=on")
    load(rig, pooler, protocol, each)
    control(pooler, "--instr=off")
    control(pooler, "--dump")
    newest = max(rig.folder.glob(f"{counts.name}.*"), key=lambda path: int(path.suffix[1:]))
    total = re.search(r"^totals: (\d+)$", newest.read_text(errors="replace"), re.MULTILINE)
    if not total:
        raise Failed(f"{newest.name} has no totals")
    return int(total[1])


def control(pooler: Pooler, what: str) -> None:
    done = subprocess.run(["callgrind_control", what, str(pooler.pid)], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"callgrind_control {what}: {done.stderr.strip() or done.stdout.strip()}")


if __name__ == "__main__":
    sys.exit(main())
