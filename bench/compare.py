#!/usr/bin/env python3
"""The bench: Plimsoll beside PgBouncer in one run, in turns, on one PostgreSQL. `./dev bench` calls this.

CPU time per transaction is the figure that means most on a small machine: throughput there is shared with pgbench and
PostgreSQL. Single rounds differ by 15 %, so there are several and the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from rig import figures, pgbench, verdict
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import Failed, Rig, free_port
from rig.verdict import BASE, ONE, SIDES, TWO, WORKLOADS, Measured, Sample, Workload
from rig.wire import WireError

POOL_SIZE = 20
SCALE = 10
# Share of transactions whose latency is logged: enough for a p99, too few to be felt.
LOG_SHARE = 0.05

README = Path("README.md")
BEGIN = "<!-- bench begins: written by ./dev bench --write -->"
END = "<!-- bench ends -->"


@dataclass
class Effort:
    """How long to measure."""

    rounds: int
    seconds: int
    idle_clients: int
    traced_queries: int


FULL = Effort(rounds=3, seconds=6, idle_clients=5000, traced_queries=10000)
QUICK = Effort(rounds=1, seconds=2, idle_clients=1000, traced_queries=2000)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev bench")
    arguments.add_argument("mode", nargs="?", choices=["quick"], help="one short round")
    arguments.add_argument("--write", action="store_true", help="put the tables into README.md")
    arguments.add_argument("--rounds", type=at_least(1), help=f"how many (default: {FULL.rounds})")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--pgbouncer", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    effort = QUICK if chosen.mode else FULL
    if chosen.rounds is not None:
        effort.rounds = chosen.rounds
    return in_rig("bench", lambda rig: bench(rig, chosen, effort))


def bench(rig: Rig, chosen: argparse.Namespace, effort: Effort) -> int:
    """Measures and prints; the exit status says whether the figures mean something, not whether they are good."""
    postgres = Postgres(rig, 120, "trust", {}, {"shared_buffers": "256MB"})
    pgbench.fill(postgres, SCALE)
    limit = figures.raise_descriptor_limit(effort.idle_clients + figures.DESCRIPTORS_SPARE)
    idle_clients = min(effort.idle_clients, limit - figures.DESCRIPTORS_SPARE)
    if idle_clients < effort.idle_clients:
        note(f"only {limit} files may be open here: {idle_clients} idle clients instead of {effort.idle_clients}")
    if os.getloadavg()[0] > 0.5:
        note(f"this machine is busy with something else (load {os.getloadavg()[0]:.1f}): the figures will suffer")
    sides = open_sides(rig, postgres, chosen, idle_clients + 1000)
    measured = Measured(system_calls_over=effort.traced_queries)
    for number in range(effort.rounds):
        play_round(rig, sides, effort, number, measured)
    for name, side in sides.items():
        trace(rig, name, side, measured)
    for name, side in sides.items():
        measured.idle_bytes[name] = figures.bytes_per_idle_client(side, idle_clients)
        note(f"{name}: {measured.idle_bytes[name]:,.0f} bytes for each of {idle_clients} idle clients")
    text = describe(postgres, chosen, effort, idle_clients) + "\n\n" + verdict.tables(measured)
    print(text)
    keep(measured)
    if chosen.write and not measured.failed():
        README.write_text(with_tables(README.read_text(encoding="utf-8"), text), encoding="utf-8")
    for problem in measured.failed():
        print(f"PROBLEM: {problem}")
    return 1 if measured.failed() else 0


def open_sides(rig: Rig, postgres: Postgres, chosen: argparse.Namespace, client_max: int) -> dict[str, Pooler]:
    """All poolers, each on a port and with a pool of its own. They run all the time and work in turns."""
    program = str(rig.program(chosen.binary))
    argv = {BASE: [chosen.pgbouncer, "-q"], ONE: [program], TWO: [program]}
    own = {BASE: {}, ONE: {"workers": "1"}, TWO: {"workers": "2"}}
    files = {BASE: "pgbouncer", ONE: "plimsoll-1", TWO: "plimsoll-2"}
    sides = {}
    for side in SIDES:
        door = Door(free_port(), postgres.port, POOL_SIZE, client_max, own=own[side])
        sides[side] = Pooler(rig, files[side], argv[side], door)
    return sides


def play_round(rig: Rig, sides: dict[str, Pooler], effort: Effort, number: int, measured: Measured) -> None:
    """Every workload through every side; who begins changes from round to round."""
    for workload in WORKLOADS:
        for turn in range(len(SIDES)):
            side = SIDES[(turn + number) % len(SIDES)]
            # PgBouncer 1.18 knows no prepared statements in transaction mode.
            if side == BASE and workload[0] == "prepared":
                continue
            sample, moves = measure(rig, sides[side], workload, effort.seconds)
            measured.samples[side].setdefault(workload, []).append(sample)
            if side == TWO and moves is not None:
                measured.moves.setdefault(workload, []).append(moves)
            note(f"round {number + 1} of {effort.rounds}: {workload[0]}, {workload[1]} clients, {side}:"
                 f" {sample.tps:,.0f}/s, {sample.cpu_us:.1f} us, p99 {sample.p99_ms:.2f} ms")


def measure(rig: Rig, side: Pooler, workload: Workload, seconds: int) -> tuple[Sample, float | None]:
    """One run; the sample, and moves per transaction where the pooler counts them."""
    protocol, clients = workload
    load = pgbench.Load(protocol, clients, seconds, log_share=LOG_SHARE)
    moves_before, (user_before, system_before) = moves_of(side), figures.cpu_s(side.pid)
    outcome = pgbench.run(rig, side.door.port, load)
    (user, system), moves = figures.cpu_s(side.pid), moves_of(side)
    side.process.check()
    count = max(outcome.transactions, 1)
    sample = Sample(
        tps=outcome.tps,
        user_us=(user - user_before) * 1e6 / count,
        system_us=(system - system_before) * 1e6 / count,
        p99_ms=outcome.latency_p99_ms,
        failed=outcome.failed,
    )
    known = moves is not None and moves_before is not None
    return sample, (moves - moves_before) / count if known else None


def moves_of(side: Pooler) -> int | None:
    """How many sockets have gone from one worker to another; None where the pooler does not count that."""
    console = side.console()
    try:
        return int(console.query("SHOW MOVES")[0]["moves"] or 0)
    except WireError:
        return None
    finally:
        console.close()


def trace(rig: Rig, name: str, side: Pooler, measured: Measured) -> None:
    """Counts the system calls for queries of one client, one after the other."""
    load = pgbench.Load("simple", 1, transactions_each=measured.system_calls_over)
    # A connection to PostgreSQL is there before the count begins.
    pgbench.run(rig, side.door.port, pgbench.Load("simple", 1, transactions_each=10))
    try:
        with figures.system_calls(side.pid, rig.folder / "strace.txt") as counted:
            pgbench.run(rig, side.door.port, load)
    except Failed as error:
        note(str(error))
        return
    measured.system_calls[name] = counted
    note(f"{name}: {dict(counted.most_common(8))} over {measured.system_calls_over} queries")


def describe(postgres: Postgres, chosen: argparse.Namespace, effort: Effort, idle_clients: int) -> str:
    """What was measured, in a sentence that stands above the tables."""
    version = subprocess.run([chosen.pgbouncer, "--version"], capture_output=True, text=True).stdout.split()[1]
    rounds = f"{effort.rounds} rounds" if effort.rounds > 1 else "one round"
    return (
        f"`pgbench -S` over a pool of {POOL_SIZE}, transaction mode; PostgreSQL {postgres.version},"
        f" PgBouncer {version}; {os.cpu_count()} cores that also carry PostgreSQL and pgbench; {rounds} of"
        f" {effort.seconds} s in turns, medians; {idle_clients:,} idle clients; system calls over"
        f" {effort.traced_queries:,} queries of one client."
    )


def keep(measured: Measured) -> None:
    """Every single figure, for whoever wants to look closer."""
    path = Path(".dev/bench.json")
    path.parent.mkdir(exist_ok=True)
    runs = {
        side: {f"{workload[0]}:{workload[1]}": [asdict(one) for one in samples] for workload, samples in found.items()}
        for side, found in measured.samples.items()
    }
    calls: dict[str, Counter] = measured.system_calls
    path.write_text(json.dumps({"runs": runs, "idle_bytes": measured.idle_bytes, "system_calls": calls}, indent=1))
    print(f"\nEvery single figure: {path}")


def with_tables(page: str, text: str) -> str:
    """The page with the text between its two marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise Failed(f"{README} has no place for the tables: `{BEGIN}` and `{END}`")
    return f"{head}{begin}\n{text}\n{end}{tail}"


def note(text: str) -> None:
    """Progress; the tables alone go to standard output."""
    print(f"# {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
