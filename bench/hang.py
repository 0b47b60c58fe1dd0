#!/usr/bin/env python3
"""PostgreSQL stopped under load (SIGSTOP, with all its processes) and continued: a machine that hangs and comes back.

Twice: with an untouched file, where everybody just waits, and with limits of time, where clients are told a cause and
some of them are killed in the middle. It passes if every answer was the answer to its question, if nobody was left
without an answer or a cause, and if afterwards all places of the pool are there and PostgreSQL sees as many sessions as
we count. `./dev soak --hang` calls this.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from rig.command import at_least, status_of
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import HERE, Rig, free_port
from rig.wire import Connection, WireError

SECONDS = 60
POOL_SIZE = 10
CLIENTS = 60
# How long the load runs before and after.
LOAD_S = 8
# Longer than the stop and every limit.
PATIENCE_S = 400
# After it goes on everything is to be well within this.
WELL_S = 20
RST = struct.pack("ii", 1, 0)

LIMITS = {
    "query_timeout": "5",
    "query_wait_timeout": "10",
    "server_connect_timeout": "3",
    "server_login_retry": "1",
}


@dataclass
class Seen:
    """What the clients have seen."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    answers: list[float] = field(default_factory=list)
    causes: collections.Counter = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    mute: collections.Counter = field(default_factory=collections.Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    def rate(self, begin: float, end: float) -> float:
        with self.lock:
            return sum(begin <= at < end for at in self.answers) / (end - begin)

    def first_after(self, moment: float) -> float:
        """Seconds to the first answer that came after it."""
        with self.lock:
            return min((at - moment for at in self.answers if at > moment), default=float("inf"))


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak --hang")
    arguments.add_argument("--seconds", type=at_least(1), default=SECONDS, help=f"how long it hangs (default: {SECONDS})")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()

    def work() -> int:
        problems = []
        for name, limits in (("untouched", {}), ("with limits of time", LIMITS)):
            print(f"\n{name}", flush=True)
            with Rig("soak-hang") as rig:
                problems += [f"{name}: {problem}" for problem in scene(rig, chosen, limits)]
        for problem in problems:
            print(f"  PROBLEM  {problem}")
        print("soak --hang: " + ("FAILED" if problems else "passed"))
        return 1 if problems else 0

    return status_of(work)


def scene(rig: Rig, chosen: argparse.Namespace, limits: dict[str, str]) -> list[str]:
    """Load, stop, continue, load; the problems."""
    postgres = Postgres(rig, 3 * POOL_SIZE, "trust", {}, {})
    door = Door(free_port(), postgres.port, POOL_SIZE, 10 * CLIENTS)
    door.more.update(limits)
    pooler = Pooler(rig, "plimsoll", [str(rig.program(chosen.binary))], door)
    seen = Seen()
    threads = [threading.Thread(target=_ask, args=(door.port, number, seen), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(LOAD_S)
    before = seen.rate(time.monotonic() - LOAD_S / 2, time.monotonic())
    killed = _hang(postgres, door.port, chosen.seconds, lose=bool(limits))
    back = time.monotonic()
    time.sleep(LOAD_S)
    after = seen.rate(time.monotonic() - LOAD_S / 2, time.monotonic())
    seen.ended.set()
    for thread in threads:
        thread.join(WELL_S)
    stuck = sum(thread.is_alive() for thread in threads)
    pooler.process.check()
    causes = "; ".join(f"{count} x {text}" for text, count in seen.causes.most_common()) or "none"
    print(f"  {CLIENTS} clients over {POOL_SIZE} server connections, stopped for {chosen.seconds} s: {before:,.0f} answers/s "
          f"before, the first one {seen.first_after(back) * 1e3:,.0f} ms after it went on, {after:,.0f}/s then; "
          f"{killed} clients killed in the middle meanwhile\n  causes told: {causes}", flush=True)
    problems = [f"a wrong answer: {text}" for text in seen.wrong[:3]]
    problems += [f"{count} were told no cause: {text}" for text, count in seen.mute.items()]
    if stuck:
        problems.append(f"{stuck} clients have neither an answer nor a cause")
    if not limits and seen.causes:
        problems.append("clients were told off although nothing limits how long they wait")
    if limits and not seen.causes and chosen.seconds > float(LIMITS["query_timeout"]):
        problems.append("nobody was told a cause")
    if after < before / 2:
        problems.append(f"{after:,.0f} answers/s after it, {before:,.0f} before")
    return problems + _places(pooler, postgres)


def _ask(port: int, number: int, seen: Seen) -> None:
    """Asks on and on; each answer is held against its question."""
    client, asked = None, 0
    while not seen.ended.is_set():
        try:
            client = client or Connection(HERE, port, "app", "app", patience_s=PATIENCE_S)
            asked += 1
            question = f"{number}.{asked}"
            rows = client.query(f"select '{question}' as it from pg_sleep(0.002)")
            with seen.lock:
                seen.answers.append(time.monotonic())
                if rows != [{"it": question}]:
                    seen.wrong.append(f"{rows} to {question}")
        except (OSError, WireError) as error:
            text = str(error)
            with seen.lock:
                # A cause has a severity and a code; an end of file is none.
                told = seen.causes if text.startswith(("FATAL", "ERROR")) else seen.mute
                told[text.split(" (")[0]] += 1
            with contextlib.suppress(OSError):
                if client:
                    client.close()
            client = None
    if client:
        client.close()


def _hang(postgres: Postgres, port: int, seconds: int, lose: bool) -> int:
    """Stops PostgreSQL with all its processes for so long; how many clients were killed in the middle meanwhile."""
    family = _family(postgres.process.pid)
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    killed = 0
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if lose:
                killed += _lose_one(port)
            time.sleep(min(0.5, max(0.0, until - time.monotonic())))
    finally:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    return killed


def _family(postmaster: int) -> list[int]:
    """The postmaster first: then no new child comes."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
    return [postmaster, *(int(pid) for pid in children.read_text().split())]


def _lose_one(port: int) -> int:
    """A client that asks and is killed before it has an answer."""
    try:
        client = Connection(HERE, port, "app", "app", patience_s=1)
    except (OSError, WireError):
        return 0
    text = b"select 'lost'\0"
    client.socket.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
    time.sleep(0.1)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    client.inbox.close()
    client.socket.close()
    return 1


def _places(pooler: Pooler, postgres: Postgres) -> list[str]:
    """Whether all places of the pool are there, and PostgreSQL sees what we count."""
    problems = []
    with contextlib.ExitStack() as held:
        try:
            for _ in range(POOL_SIZE):
                client = Connection(HERE, pooler.door.port, "app", "app", patience_s=WELL_S)
                held.callback(client.close)
                client.query("begin")
        except (OSError, WireError) as error:
            problems.append(f"not all places of the pool are there: {error}")
        console, session = pooler.console(), postgres.connect()
        until = time.monotonic() + WELL_S
        while True:
            pool = next(row for row in console.query("SHOW POOLS") if row["database"] == "app")
            counted = {name: int(pool[name]) for name in ("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login", "sv_closing", "sv_lost")}
            there = int(session.query("select count(*) as n from pg_stat_activity where usename = 'app'")[0]["n"])
            if there == sum(counted.values()) == counted["sv_active"] == POOL_SIZE:
                print(f"  afterwards: {POOL_SIZE} transactions at once, and PostgreSQL sees {there} sessions of ours", flush=True)
                break
            if time.monotonic() > until:
                problems.append(f"PostgreSQL sees {there} sessions, we count {counted}")
                break
            time.sleep(0.1)
        for watcher in (console, session):
            watcher.close()
    return problems


if __name__ == "__main__":
    sys.exit(main())
