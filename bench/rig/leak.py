"""A leak, as it looks from outside: who waits is told who holds, and the doctor names the code."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from .pooler import Pooler
from .process import HERE, Failed
from .wire import Connection, WireError

# What the leaking route says. It begins a transaction and never ends it.
ROUTE = "/*action='export',controller='orders',route='/orders/export'*/"
WAIT_S = 3
# The pooler looks at its holds once a second.
IDLE_S = 3


def show(pooler: Pooler, program: Path, password: str) -> list[str]:
    """Leaks every connection of the pool, lets one more client ask, and shows what everybody is told. Problems."""
    console = pooler.console()
    console.query(f"SET query_wait_timeout = {WAIT_S}")
    problems = []
    with contextlib.ExitStack() as held:
        for number in range(pooler.door.pool_size):
            client = _client(pooler, password, "orders-api")
            held.callback(client.close)
            client.query(f"BEGIN {ROUTE}")
            client.query(f"SELECT {number} {ROUTE}")
        time.sleep(IDLE_S)
        print(f"      {pooler.door.pool_size} transactions of orders-api are open and forgotten; one more client asks:")
        victim = _client(pooler, password, "checkout")
        try:
            victim.query("SELECT 1")
            problems.append("the client beyond the pool was served")
        except WireError as error:
            for line in str(error).replace(" (An administrator", "\n(An administrator").splitlines():
                print(f"        {line}")
            if "orders-api" not in str(error):
                problems.append("the victim was not told who holds the connections")
        finally:
            victim.close()
        doctor = _doctor(pooler, program, password)
        print("\n  $ plimsoll doctor\n" + "".join(f"  {line}\n" for line in doctor.splitlines()))
        if "orders-api" not in doctor:
            problems.append("the doctor does not name the leak")
    console.query("SET query_wait_timeout = 120")
    console.close()
    return problems


def _client(pooler: Pooler, password: str, application: str) -> Connection:
    return Connection(HERE, pooler.door.port, "app", "app", password, application=application)


def _doctor(pooler: Pooler, program: Path, password: str) -> str:
    url = f"postgres://app@{HERE}:{pooler.door.port}/pgbouncer"
    done = subprocess.run(
        [str(program), "doctor", "--url", url],
        env={**os.environ, "PGPASSWORD": password, "NO_COLOR": "1", "COLUMNS": "118"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    if done.returncode:
        raise Failed(f"plimsoll doctor failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout
