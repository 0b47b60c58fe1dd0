#!/usr/bin/env python3
"""The bench of the cap: what a transaction costs while hundreds wait, beside what it costs while nobody does.

The same pooler, the same server connections, in turns. `./dev bench cap` calls this.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

from rig import figures, pgbench, report
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import Failed, Rig, free_port
from rig.wire import Connection

BUDGET = 20
SCALE = 10
AIM = 1.05
WAITING = 500
LOGINS_S = 4


@dataclass(frozen=True)
class Scene:
    """A pooler with pools that share the budget. A pool is a database of its own."""

    name: str
    pools: int
    pgbouncer: bool = False


SCENES = (
    Scene("one pool at its size", 1),
    Scene("five pools that fill the target's budget", 5),
    Scene("PgBouncer, one pool", 1, pgbouncer=True),
)


@dataclass(frozen=True)
class Crowd:
    """How many clients there are altogether, and how fast they ask (0: as fast as they can)."""

    clients: int
    rate: int = 0


# Twenty clients of twenty servers never wait; nor do 520 that leave half of the servers' time unused.
CROWDS = {"few": Crowd(BUDGET), "calm": Crowd(BUDGET + WAITING, 8000), "cap": Crowd(BUDGET + WAITING)}


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev bench cap")
    arguments.add_argument("--rounds", type=at_least(1), default=5, help="how many (default: 5)")
    arguments.add_argument("--seconds", type=at_least(1), default=5, help="of each run (default: 5)")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--pgbouncer", default="", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    return in_rig("cap", lambda rig: bench(rig, chosen))


def bench(rig: Rig, chosen: argparse.Namespace) -> int:
    """Measures and prints; the exit status says whether the figures mean something, not whether they are good."""
    postgres = Postgres(rig, BUDGET + 30, "trust", {}, {"shared_buffers": "128MB"})
    pgbench.fill(postgres, SCALE)
    names = tuple(f"app{number}" for number in range(max(scene.pools for scene in SCENES)))
    session = postgres.connect()
    for name in names:
        session.query(f"create database {name} template app owner app")
    session.close()
    rows, failed = [], 0
    for scene in SCENES:
        if scene.pgbouncer and not chosen.pgbouncer:
            continue
        pooler = open_pooler(rig, postgres, chosen, scene, names)
        cpu: dict[str, list[float]] = {crowd: [] for crowd in CROWDS}
        for number in range(chosen.rounds):
            for turn in range(len(CROWDS)):
                name = list(CROWDS)[(turn + number) % len(CROWDS)]
                done, bad, cpu_us = measure(rig, pooler, scene, CROWDS[name], chosen.seconds)
                failed += bad
                cpu[name].append(cpu_us)
                print(f"  {scene.name}, {name}: {done:,} transactions, {cpu_us:.1f} us", flush=True)
        pooler.stop()
        rows.append(row(scene, cpu))
    head = ["CPU per transaction, us", "20 clients", "520 calm", "520, 500 wait", "to 20", "to calm", "aim"]
    print(f"\nMedian of {chosen.rounds} rounds of {chosen.seconds} s in turns; one worker, {BUDGET} server connections. "
          f"Calm: {CROWDS['calm'].rate:,} transactions/s, nobody waits.\n\n{report.markdown(head, rows)}")
    return 1 if failed else 0


def open_pooler(rig: Rig, postgres: Postgres, chosen: argparse.Namespace, scene: Scene, names: tuple[str, ...]) -> Pooler:
    door = Door(free_port(), postgres.port, BUDGET, 1000, databases=names[: scene.pools])
    if scene.pgbouncer:
        return Pooler(rig, f"pgbouncer-{door.port}", [chosen.pgbouncer, "-q"], door)
    door.own = {"workers": "1", "target_budget": str(BUDGET)}
    return Pooler(rig, f"plimsoll-{door.port}", [str(rig.program(chosen.binary))], door)


def measure(rig: Rig, pooler: Pooler, scene: Scene, crowd: Crowd, seconds: int) -> tuple[int, int, float]:
    """One run: transactions, failed ones, and the pooler's CPU for each in microseconds.

    Only the middle counts: what hundreds of logins cost is another bench's figure.
    """
    console = pooler.console()
    script = ("-S", "-R", str(crowd.rate // scene.pools)) if crowd.rate else ("-S",)
    loads = []
    for name in pooler.door.databases:
        clients = crowd.clients // scene.pools
        load = pgbench.Load("simple", clients, seconds + LOGINS_S + 1, script=script, database=name, log_share=0.01)
        loads.append(pgbench.Running(rig, name, pooler.door.port, load))
    deadline = time.monotonic() + LOGINS_S
    while clients_of(console, pooler) < crowd.clients:
        if time.monotonic() > deadline:
            raise Failed(f"not all of {crowd.clients} clients were let in within {LOGINS_S} s")
        time.sleep(0.1)
    done, spent = transactions(console, pooler), sum(figures.cpu_s(pooler.pid))
    time.sleep(seconds)
    done, spent = transactions(console, pooler) - done, sum(figures.cpu_s(pooler.pid)) - spent
    console.close()
    outcomes = [load.outcome() for load in loads]
    pooler.process.check()
    for outcome in outcomes:
        if outcome.failed:
            print(f"  {outcome.failed} failed: {outcome.complaint}")
    return done, sum(outcome.failed for outcome in outcomes), spent * 1e6 / max(done, 1)


def clients_of(console: Connection, pooler: Pooler) -> int:
    rows = console.query("SHOW POOLS")
    return sum(int(row["cl_active"]) + int(row["cl_waiting"]) for row in rows if row["database"] in pooler.door.databases)


def transactions(console: Connection, pooler: Pooler) -> int:
    rows = console.query("SHOW STATS_TOTALS")
    return sum(int(row["xact_count"]) for row in rows if row["database"] in pooler.door.databases)


def row(scene: Scene, cpu: dict[str, list[float]]) -> list[str]:
    middle = {name: statistics.median(cpu[name]) for name in CROWDS}
    ratios = [statistics.median(at / below for below, at in zip(cpu[name], cpu["cap"])) for name in ("few", "calm")]
    aim = "" if scene.pgbouncer else f"{AIM:.2f} x"
    return [scene.name, *(f"{middle[name]:.1f}" for name in CROWDS), *(f"{ratio:.2f} x" for ratio in ratios), aim]


if __name__ == "__main__":
    sys.exit(main())
