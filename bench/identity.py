#!/usr/bin/env python3
"""The soak of the first incident, with its protagonist: the identity service with its store on a PostgreSQL that takes
26 connections, 500 HTTP clients at once for two minutes, then a lower rate for half an hour; programs that enter by
their keys all the time. `./dev soak --identity` calls this.

It passes if no request and no statement failed, if PostgreSQL refused nobody, and if sessions and memory stayed flat.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from rig import figures, http, report, watch
from rig.command import at_least, in_rig
from rig.identity import DATABASE, ROLE, House, Key
from rig.pooler import Door
from rig.postgres import Postgres
from rig.process import HERE, Rig, free_port
from rig.wire import Connection, WireError

# The server of the incident.
LIMIT = 26
REFUSED = "53300"
CLIENTS = 500
# The lower rate: so many requests a second of all clients together.
CALM_S = 50
# Programs that use the database, on a pool of so many.
PROGRAMS = 20
POOL_SIZE = 8
APPLICATIONS = 25
MIB = 1 << 20
# What the process may grow by in the calm half hour.
GROWTH_MAX = 16 * MIB


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak --identity")
    arguments.add_argument("--seconds", type=at_least(10), default=1800, help="of the lower rate (default: 1800)")
    arguments.add_argument("--rush", type=at_least(5), default=120, help="seconds of the rush before it (default: 120)")
    arguments.add_argument("--clients", type=at_least(1), default=CLIENTS, help=f"HTTP clients (default: {CLIENTS})")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    figures.raise_descriptor_limit(2 * chosen.clients + figures.DESCRIPTORS_SPARE)
    return in_rig("soak-identity", lambda rig: soak(rig, chosen))


@dataclass
class Outcome:
    """What came of a load."""

    name: str
    seconds: float = 0.0
    done: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    statements: int = 0
    sessions: float = 0.0
    begin_bytes: int = 0
    end_bytes: int = 0

    def row(self) -> list[str]:
        """Of the table."""
        times = sorted(self.times_ms)
        at = lambda part: f"{times[min(len(times) - 1, int(len(times) * part))]:.1f}" if times else "-"
        total = sum(self.done.values())
        return [self.name, f"{total:,}", f"{total / max(self.seconds, 0.001):,.0f}", str(sum(self.failed.values())), at(0.5),
                at(0.99), f"{self.statements:,}", f"{self.sessions:.0f}", f"{self.end_bytes / MIB:.1f}"]


def soak(rig: Rig, chosen: argparse.Namespace) -> int:
    """The exit status."""
    postgres = Postgres(rig, LIMIT, "trust", {}, {"log_error_verbosity": "verbose"})
    session = postgres.connect()
    session.query("create database identity")
    session.close()
    door = Door(free_port(), postgres.port, POOL_SIZE, 2000, "key", passwords={"app": "console"})
    house = House(rig, chosen.binary, door, f"postgres://postgres@{HERE}:{postgres.port}/identity")
    with contextlib.closing(house.api()) as api:
        applications = [house.application(api, f"app{number}", ["authorize"]) for number in range(APPLICATIONS)]
    print(f"{chosen.clients} HTTP clients and {PROGRAMS} programs; max_connections {LIMIT}; the store and a pool of "
          f"{POOL_SIZE} are on it", flush=True)
    scene = Scene(house, postgres, applications, chosen)
    rush = scene.run("rush", chosen.rush, None)
    # What the rush needed and gave back is not what is measured.
    time.sleep(2)
    calm = scene.run("lower rate", chosen.seconds, CALM_S)
    house.pooler.process.check()
    refused = sum(f"FATAL:  {REFUSED}" in line for line in postgres.process.log.read_text(errors="replace").splitlines())
    head = ["", "requests", "a second", "failed", "median (ms)", "p99 (ms)", "statements", "sessions at most", "PSS at the end (MiB)"]
    print("\n" + report.table(head, [rush.row(), calm.row()]))
    print(f"\nlogins that PostgreSQL refused: {refused}; grew by {(calm.end_bytes - calm.begin_bytes) / MIB:+.1f} MiB at the lower rate")
    problems = [f"{one.name}: {count} x {what}" for one in (rush, calm) for what, count in one.failed.items()]
    problems += scene.problems
    if refused:
        problems.append(f"PostgreSQL refused {refused} logins")
    if calm.sessions > rush.sessions:
        problems.append(f"sessions grew: {rush.sessions:.0f} in the rush, {calm.sessions:.0f} after it")
    if calm.end_bytes > calm.begin_bytes + GROWTH_MAX:
        problems.append("memory grew")
    for problem in problems:
        print(f"  PROBLEM  {problem}")
    print("soak --identity: " + ("FAILED" if problems else "no request failed, PostgreSQL refused nobody, nothing grew"))
    return 1 if problems else 0


class Scene:
    """The load."""

    def __init__(self, house: House, postgres: Postgres, applications: list[tuple[str, Key]], chosen: argparse.Namespace):
        self.house, self.postgres, self.applications, self.chosen = house, postgres, applications, chosen
        self.problems: list[str] = []

    def run(self, name: str, seconds: int, rate: int | None) -> Outcome:
        """So many seconds, at that rate or as fast as they can."""
        outcome = Outcome(name, begin_bytes=figures.pss_bytes(self.house.pooler.pid))
        print(f"  {name}, {seconds} s", flush=True)
        enough = threading.Event()
        programs = [threading.Thread(target=self._program, args=(number, outcome, enough), daemon=True)
                    for number in range(PROGRAMS)]
        with watch.sessions(self.postgres.connect()) as sessions:
            sessions.interval_s = 0.05
            for program in programs:
                program.start()
            begin = time.monotonic()
            asyncio.run(self._crowd(outcome, begin + seconds, rate))
            outcome.seconds = time.monotonic() - begin
            enough.set()
            for program in programs:
                program.join(30)
        if sessions.broken:
            self.problems.append(f"nobody watched to the end: {sessions.broken}")
        outcome.sessions, outcome.end_bytes = sessions.most, figures.pss_bytes(self.house.pooler.pid)
        return outcome

    async def _crowd(self, outcome: Outcome, until: float, rate: int | None) -> None:
        every_s = self.chosen.clients / rate if rate else None
        await asyncio.gather(*(self._client(number, outcome, until, every_s) for number in range(self.chosen.clients)))

    async def _client(self, number: int, outcome: Outcome, until: float, every_s: float | None) -> None:
        dice, client = random.Random(number), http.Client(self.house.http_port)
        if every_s:
            await asyncio.sleep(dice.uniform(0, every_s))
        while time.monotonic() < until:
            what, begin = self._draw(dice), time.monotonic()
            try:
                status, body = await client.ask(*what[1:])
            except http.HttpError as error:
                status, body = 0, str(error).encode()
            if status in (200, 201):
                outcome.done[what[0]] += 1
                outcome.times_ms.append((time.monotonic() - begin) * 1e3)
            else:
                outcome.failed[f"{what[0]}: {status} {body.decode(errors='replace')[:200]}"] += 1
            # Some leave, as clients of a load balancer do.
            if dice.random() < 0.05:
                await client.leave()
            if every_s:
                await asyncio.sleep(min(dice.uniform(0.5, 1.5) * every_s, max(0.0, until - time.monotonic())))
        await client.leave()

    def _draw(self, dice: random.Random) -> tuple[str, str, str, dict[str, str], str]:
        """What somebody asks: a name for it, and the request."""
        app, key = dice.choice(self.applications)
        json_of = {"Content-Type": "application/json"}
        kind = dice.random()
        if kind < 0.5:
            question = {"application": app, "dataset": self.house.dataset, "action": "connect"}
            return "authorize", "POST", "/v1/authorize", {**key.bearer, **json_of}, json.dumps(question)
        if kind < 0.8:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            return "token", "POST", "/oauth/token", {**key.basic, **form}, "grant_type=client_credentials"
        admin = self.house.admin.bearer
        if kind < 0.95:
            return "keys", "GET", f"/v1/keys?app={app}&limit=20", admin, ""
        made = {"app": app, "kind": "key", "env": "soak", "name": f"of {dice.random()}"}
        return "new key", "POST", "/v1/keys", {**admin, **json_of}, json.dumps(made)

    def _program(self, number: int, outcome: Outcome, enough: threading.Event) -> None:
        """Enters by a key, asks something, leaves, comes again."""
        _, key = self.applications[number % len(self.applications)]
        while not enough.is_set():
            try:
                with contextlib.closing(Connection(HERE, self.house.door.port, ROLE, DATABASE, key.text, 30.0)) as session:
                    for _ in range(10):
                        session.query("select 1")
                        outcome.statements += 1
                        if enough.wait(0.2):
                            return
            except (OSError, WireError) as error:
                outcome.failed[f"program: {error}"] += 1
                enough.wait(1)


if __name__ == "__main__":
    sys.exit(main())
