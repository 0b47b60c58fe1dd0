#!/usr/bin/env python3
"""A thousand clients that are no use to anybody: silent from the start, one byte a second, answers never read.

Each crowd beside one client that works: its latency before, with the crowd there and after it, and how much the pooler
grew. It passes if the worker's latency beside them is not twice what it is alone, nothing of his failed, and the memory
is bounded.
`./dev soak --crowd` calls this.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Callable

from rig import figures, pgbench, report
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import HERE, Failed, Rig, free_port
from rig.wire import PROTOCOL_3_0, Connection

CLIENTS = 1_000
SECONDS = 20
POOL_SIZE = 10
RATIO_MAX = 2.0
# What an answer takes that nobody reads: all of them are well within `spill_disk`. The kernel would take a whole one into its own
# buffers, so these are kept small.
UNREAD_BYTES = 500_000
SMALL_BUFFERS = {"tcp_socket_buffer": "16384"}
UNREAD = f"select repeat('x', 10000) from generate_series(1, {UNREAD_BYTES // 10_000})"
SETTLE_S = 2
PATIENCE_S = 180
MIB = 1 << 20


@dataclass(frozen=True)
class Crowd:
    """A kind of client, and what all of them together may cost in the pooler's memory."""

    name: str
    come: Callable[[Pooler, int, contextlib.ExitStack], None]
    bytes_max: int
    more: dict[str, str] = field(default_factory=dict)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak --crowd")
    arguments.add_argument("--seconds", type=at_least(1), default=SECONDS, help=f"of each load (default: {SECONDS})")
    arguments.add_argument("--clients", type=at_least(1), default=CLIENTS, help=f"of each crowd (default: {CLIENTS})")
    arguments.add_argument("--only", default="", help="crowds whose name has this in it")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if not any(chosen.only in crowd.name for crowd in CROWDS):
        arguments.error(f"no crowd has {chosen.only!r} in its name; there are: {'; '.join(crowd.name for crowd in CROWDS)}")
    figures.raise_descriptor_limit(2 * chosen.clients + figures.DESCRIPTORS_SPARE)
    return in_rig("soak-crowd", lambda rig: soak(rig, chosen))


def soak(rig: Rig, chosen: argparse.Namespace) -> int:
    """The exit status."""
    postgres = Postgres(rig, POOL_SIZE + 10, "trust", {}, {})
    pgbench.fill(postgres, 1)
    rows, problems = [], []
    for crowd in (crowd for crowd in CROWDS if chosen.only in crowd.name):
        try:
            row, found = beside(rig, postgres, chosen, crowd)
            rows.append(row)
        except Failed as failed:
            found = [str(failed)]
        problems += [f"{crowd.name}: {problem}" for problem in found]
    head = [f"{chosen.clients:,} clients", "before: mean, p99 (ms)", "beside them", "after", "ratio of the means",
            "the pooler grew by (MiB)", "at most (MiB)"]
    print("\n" + report.table(head, rows))
    for problem in problems:
        print(f"  PROBLEM  {problem}")
    print("soak --crowd: " + ("FAILED" if problems else "passed"))
    return 1 if problems else 0


def beside(rig: Rig, postgres: Postgres, chosen: argparse.Namespace, crowd: Crowd) -> tuple[list[str], list[str]]:
    """One crowd; its row, and the problems."""
    # Silent clients are there for as long as the load takes, and no longer than a login may.
    more = {"client_login_timeout": str(10 * chosen.seconds + PATIENCE_S), **crowd.more}
    door = Door(free_port(), postgres.port, POOL_SIZE, chosen.clients + 100, more=more)
    pooler = Pooler(rig, "plimsoll", [str(rig.program(chosen.binary))], door)
    worker = pgbench.Load("simple", 1, chosen.seconds)
    # Whoever comes first pays for the pool's connections.
    pgbench.run(rig, door.port, pgbench.Load("simple", 1, 1))
    before = pgbench.run(rig, door.port, worker)
    small = figures.pss_bytes(pooler.pid)
    with contextlib.ExitStack() as there:
        crowd.come(pooler, chosen.clients, there)
        time.sleep(SETTLE_S)
        with_them = pgbench.run(rig, door.port, worker)
        grown = figures.pss_bytes(pooler.pid) - small
    time.sleep(SETTLE_S)
    after = pgbench.run(rig, door.port, worker)
    pooler.process.check()
    pooler.stop()
    # Whatever else the machine does, it did half of it before and half of it after.
    alone_ms = (before.latency_avg_ms + after.latency_avg_ms) / 2
    ratio = with_them.latency_avg_ms / alone_ms
    print(f"  {crowd.name}: {with_them.transactions:,} transactions beside them, {before.transactions:,} before, "
          f"{after.transactions:,} after", flush=True)
    problems = [f"{one.failed} failed: {one.complaint}" for one in (before, with_them, after) if one.failed]
    if ratio > RATIO_MAX:
        problems.append(f"the worker's mean latency is {ratio:.2f} x what it was alone")
    if grown > crowd.bytes_max:
        problems.append(f"the pooler grew by {grown / MIB:,.0f} MiB")
    times = [f"{one.latency_avg_ms:.3f}, {one.latency_p99_ms:.3f}" for one in (before, with_them, after)]
    row = [crowd.name, *times, f"{ratio:.2f}", f"{grown / MIB:,.1f}", f"{crowd.bytes_max / MIB:,.0f}"]
    return row, problems


def silent(pooler: Pooler, count: int, there: contextlib.ExitStack) -> None:
    """They connect, and that is all that is ever heard of them."""
    for _ in range(count):
        there.enter_context(socket.create_connection((HERE, pooler.door.port)))


def dripping(pooler: Pooler, count: int, there: contextlib.ExitStack) -> None:
    """One byte a second: half of them of their login, half of them, logged in, of a query."""
    parts = ["user", "app", "database", "app", "application_name", "x" * 1000]
    body = struct.pack("!i", PROTOCOL_3_0) + "\0".join(parts).encode() + b"\0\0"
    login = struct.pack("!i", len(body) + 4) + body
    text = b"select '" + b"x" * 1000 + b"'\0"
    query = b"Q" + struct.pack("!i", len(text) + 4) + text
    sockets = []
    for number in range(count):
        if number % 2:
            sockets.append((there.enter_context(socket.create_connection((HERE, pooler.door.port))), login))
        else:
            client = pooler.connect()
            there.callback(client.close)
            sockets.append((client.socket, query))
    enough = threading.Event()
    thread = threading.Thread(target=_drip, args=(sockets, enough), daemon=True)
    thread.start()
    there.callback(thread.join)
    there.callback(enough.set)


def _drip(sockets: list[tuple[socket.socket, bytes]], enough: threading.Event) -> None:
    for at in range(900):
        began = time.monotonic()
        for number, (one, text) in enumerate(sockets):
            one.sendall(text[at : at + 1])
            # Evenly over the second, so that what is measured is not a burst.
            if number % 50 == 49 and enough.wait(max(0.0, began + number / len(sockets) - time.monotonic())):
                return
        if enough.wait(max(0.0, began + 1 - time.monotonic())):
            return


def unread(pooler: Pooler, count: int, there: contextlib.ExitStack) -> None:
    """They ask for more than fits the kernel's buffers and never read a byte of it."""
    text = UNREAD.encode() + b"\0"
    query = b"Q" + struct.pack("!i", len(text) + 4) + text
    sockets = []
    for _ in range(count):
        client = Connection(HERE, pooler.door.port, "app", "app", patience_s=PATIENCE_S)
        there.callback(client.close)
        client.socket.sendall(query)
        sockets.append(client.socket)
    _wait_until_answered(pooler, sockets)


def _wait_until_answered(pooler: Pooler, sockets: list[socket.socket]) -> None:
    """All of them have the beginning of their answer, and no server connection is busy with one."""
    until = time.monotonic() + PATIENCE_S
    poll = select.poll()
    for one in sockets:
        poll.register(one, select.POLLIN)
    with contextlib.closing(pooler.console()) as console:
        while True:
            answered = len(poll.poll(0))
            pool = next(row for row in console.query("SHOW POOLS") if row["database"] == "app")
            busy = {name: int(pool[name]) for name in ("cl_waiting", "sv_active")}
            if answered == len(sockets) and not any(busy.values()):
                break
            if time.monotonic() > until:
                raise Failed(f"{answered} of {len(sockets)} have the beginning of their answer, {busy}")
            time.sleep(0.1)
    # The head of the rows, and no error.
    refused = sum(one.recv(1, socket.MSG_PEEK) != b"T" for one in sockets)
    if refused:
        raise Failed(f"{refused} of {len(sockets)} were told an error")


CROWDS = (
    Crowd("silent", silent, 32 * MIB),
    Crowd("one byte a second", dripping, 32 * MIB),
    # `spill_memory`, and as much as the others for what goes with a thousand spills.
    Crowd("never reading", unread, (64 + 32) * MIB, SMALL_BUFFERS),
)


if __name__ == "__main__":
    sys.exit(main())
