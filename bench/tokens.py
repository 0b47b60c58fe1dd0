#!/usr/bin/env python3
"""The soak of the third incident: clients that keep a pool for each connection string, with a fresh JWT in each string.
`./dev soak --tokens` calls this.

First the naive pool straight at a server with a limit: it fails as in the write-up. Then 600 connections, each with a
token of its own and a new one every few seconds, through Plimsoll: one pool, and never more server connections than its
size.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections import Counter

from rig import figures, report, watch
from rig.command import at_least, in_rig
from rig.identity import DATABASE, ROLE, Api, House, Key
from rig.pooler import Door
from rig.postgres import Postgres
from rig.process import HERE, Failed, Rig, free_port
from rig.wire import Connection, WireError

CONNECTIONS = 600
POOL_SIZE = 20
# The naive scene: sessions that the server takes, and requests a second. The write-up had 600 at 10 a second; a tenth of
# the places at five times the rate shows the same in seconds.
LIMIT = 60
RATE_S = 50
# How many connections one client pool may have: what everybody believed to be the limit.
CLIENT_POOL_MAX = 100
REFUSED = "53300"
ROTATE_S = 5.0
THREADS = 24


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak --tokens")
    arguments.add_argument("--seconds", type=at_least(10), default=60, help="how long tokens rotate (default: 60)")
    arguments.add_argument("--connections", type=at_least(THREADS), default=CONNECTIONS,
                           help=f"clients with a token each (default: {CONNECTIONS})")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    figures.raise_descriptor_limit(2 * chosen.connections + figures.DESCRIPTORS_SPARE)
    return in_rig("soak-tokens", lambda rig: soak(rig, chosen))


def soak(rig: Rig, chosen: argparse.Namespace) -> int:
    """The exit status."""
    # Whoever watches needs a place that applications cannot take.
    postgres = Postgres(rig, LIMIT + 5, "trust", {}, {"superuser_reserved_connections": "5", "log_error_verbosity": "verbose"})
    door = Door(free_port(), postgres.port, POOL_SIZE, 2 * chosen.connections + 10 * LIMIT, "jwt", passwords={"app": "console"})
    house = House(rig, chosen.binary, door, f"sqlite:{rig.folder / 'identity.db'}")
    with contextlib.closing(house.api()) as api:
        _, key = house.application(api, "web")
    problems = naive_is_refused(postgres, house, key) + naive_through_us(postgres, house, key) + crowd(postgres, house, key, chosen)
    house.pooler.process.check()
    for problem in problems:
        print(f"  PROBLEM  {problem}")
    print("soak --tokens: " + ("FAILED" if problems else "one pool, never more server connections than its size"))
    return 1 if problems else 0


class NaivePools:
    """A driver's pools as many have them: one for each connection string, the secret being part of it."""

    def __init__(self, port: int):
        self.port = port
        self.idle: dict[str, list[Connection]] = {}
        self.count = 0

    def query(self, token: str, sql: str) -> None:
        """Takes a connection of the token's pool, or opens one, and gives it back."""
        pool = self.idle.setdefault(f"host={HERE} port={self.port} password={token}", [])
        if not pool and self.count < CLIENT_POOL_MAX * len(self.idle):
            pool.append(Connection(HERE, self.port, ROLE, DATABASE, token))
            self.count += 1
        connection = pool.pop()
        connection.query(sql)
        pool.append(connection)

    def close(self) -> None:
        """Ends them all."""
        for connection in (connection for pool in self.idle.values() for connection in pool):
            connection.close()


def naive(house: House, key: Key, port: int, requests: int) -> tuple[int, int, str]:
    """Requests, each with a fresh token; how many were served, pools, and what the last one was told."""
    pools, served, told = NaivePools(port), 0, ""
    with contextlib.closing(pools), contextlib.closing(house.api()) as api:
        for _ in range(requests):
            try:
                pools.query(api.token(key), "select 1")
            except WireError as error:
                told = str(error)
                break
            served += 1
            time.sleep(1 / RATE_S)
        return served, len(pools.idle), told


def naive_is_refused(postgres: Postgres, house: House, key: Key) -> list[str]:
    """Straight at the server. The token is no password it looks at, but it is part of the connection string."""
    served, pools, told = naive(house, key, postgres.port, 10 * LIMIT)
    print(f"\nA pool for each token, straight at a server of {LIMIT} sessions: {served} requests of one client at a time, {pools} "
          f"pools of at most {CLIENT_POOL_MAX} connections, and then:\n    {told}", flush=True)
    problems = [] if REFUSED in told else ["the server did not refuse: the incident does not happen"]
    return problems + ([] if served == LIMIT else [f"{served} were served before, not {LIMIT}"])


def naive_through_us(postgres: Postgres, house: House, key: Key) -> list[str]:
    """The same client through the pooler."""
    with watch.sessions(postgres.connect()) as sessions:
        served, pools, told = naive(house, key, house.door.port, 3 * LIMIT)
    print(f"The same client through Plimsoll: {served} requests, {pools} pools on its side; sessions at the server at most: "
          f"{sessions.most:.0f}", flush=True)
    problems = [f"it was refused: {told}"] if told else []
    return problems + ([] if sessions.most <= 1 else [f"one at a time needed {sessions.most:.0f} sessions"])


def crowd(postgres: Postgres, house: House, key: Key, chosen: argparse.Namespace) -> list[str]:
    """Many connections at once, each with a token of its own."""
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    enough = threading.Event()
    share = [chosen.connections // THREADS + (number < chosen.connections % THREADS) for number in range(THREADS)]
    threads = [threading.Thread(target=tenants, args=(house, key, count, done, failed, enough), daemon=True) for count in share]
    with watch.sessions(postgres.connect()) as sessions, contextlib.closing(house.pooler.console()) as console:
        sessions.interval_s = 0.02
        for thread in threads:
            thread.start()
        most_clients, pools = look(console, chosen.seconds, failed)
        enough.set()
        for thread in threads:
            thread.join(60)
    rows = [["connections with a token each, at most", f"{most_clients}"], ["logins, each with a fresh token", f"{done['login']:,}"],
            ["statements", f"{done['statement']:,}"], ["pools of the database", f"{pools}"],
            [f"server connections at most (pool size {POOL_SIZE})", f"{sessions.most:.0f}"],
            ["failed", f"{sum(failed.values())}"]]
    print("\n" + report.table([f"{chosen.connections} clients, {chosen.seconds} s", ""], rows), flush=True)
    problems = [f"{count} x {what}" for what, count in failed.items()]
    if sessions.broken:
        problems.append(f"nobody watched to the end: {sessions.broken}")
    if most_clients < chosen.connections:
        problems.append(f"only {most_clients} were there at once")
    if pools != 1:
        problems.append(f"{pools} pools")
    if sessions.most > POOL_SIZE:
        problems.append(f"{sessions.most:.0f} server connections")
    if not done["login"] > 2 * chosen.connections:
        problems.append("hardly a token was replaced")
    return problems


def look(console: Connection, seconds: int, failed: Counter[str]) -> tuple[int, int]:
    """Looks at the pooler while the load runs: the most clients of the database, and the most pools."""
    clients = pools = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        rows = [row for row in console.query("SHOW POOLS") if row["database"] == DATABASE]
        pools = max(pools, len(rows))
        clients = max(clients, sum(int(row["cl_active"]) + int(row["cl_waiting"]) for row in rows))
        if any("eyJ" in (cell or "") for row in console.query("SHOW POOL_KEYS") for cell in row.values()):
            failed["a token is in a pool's key"] += 1
        time.sleep(0.5)
    return clients, pools


def tenants(house: House, key: Key, count: int, done: Counter[str], failed: Counter[str], enough: threading.Event) -> None:
    """Some connections, each with a token of its own and a new one every few seconds, used one after the other."""
    connections: list[tuple[float, Connection]] = []
    with contextlib.closing(house.api()) as api, contextlib.ExitStack() as closing:
        closing.callback(lambda: [connection.close() for _, connection in connections])
        while not enough.is_set():
            try:
                if len(connections) < count:
                    connections.append((time.monotonic(), enter(house, api, key, done)))
                    continue
                for at, (since, connection) in enumerate(connections):
                    if time.monotonic() - since > ROTATE_S:
                        connection.close()
                        connection = enter(house, api, key, done)
                        connections[at] = (time.monotonic(), connection)
                    connection.query("select 1")
                    done["statement"] += 1
            except (OSError, WireError, Failed) as error:
                failed[str(error)[:200]] += 1
                connections, gone = [], connections
                for _, connection in gone:
                    connection.close()
                enough.wait(1)


def enter(house: House, api: Api, key: Key, done: Counter[str]) -> Connection:
    """A new session with a fresh token."""
    session = Connection(HERE, house.door.port, ROLE, DATABASE, api.token(key), 30.0)
    done["login"] += 1
    return session


if __name__ == "__main__":
    sys.exit(main())
