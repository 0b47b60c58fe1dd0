"""What the Python scripts share: the target from the command line, and a list of cases run one after the other."""

import asyncio
import faulthandler
import inspect
import sys
import time
import traceback
from dataclasses import dataclass

# What a pool mode can do contains what the ones before it can do.
MODES = ("statement", "transaction", "session")

# A case that hangs ends the script with a stack trace after so many seconds.
CASE_SECONDS_MAX = 60

# How many clients the crowd has; the pool has far fewer servers.
CROWD = 20


@dataclass(frozen=True)
class Target:
    """Where to connect, and the pool mode there."""

    host: str
    port: int
    dbname: str
    user: str
    password: str
    mode: str

    def can(self, needed: str) -> bool:
        """Whether the pool mode can do what needs at least this one."""
        return MODES.index(self.mode) >= MODES.index(needed)


class Cases:
    """The cases of one script, in the order they are written."""

    def __init__(self, driver: str):
        self.driver = driver
        self.cases = []

    def case(self, needs: str = "statement"):
        """Adds a function as a case for the pool modes that can do what `needs` can."""

        def add(function):
            self.cases.append((needs, function))
            return function

        return add

    def main(self):
        """Runs them against the target of the command line; a seventh argument picks the case of that name."""
        if len(sys.argv) not in (7, 8):
            sys.exit(f"usage: {sys.argv[0]} HOST PORT DBNAME USER PASSWORD statement|transaction|session [CASE]")
        host, port, dbname, user, password, mode = sys.argv[1:7]
        target = Target(host, int(port), dbname, user, password, mode)
        only = sys.argv[7] if len(sys.argv) == 8 else None
        print(f"# {self.driver} in {mode} mode", flush=True)
        for needs, function in self.cases:
            if target.can(needs) and only in (None, function.__name__):
                run(function, target)


def run(function, target: Target):
    """Runs one case; at a failure says which and ends the script."""
    name = function.__name__
    faulthandler.dump_traceback_later(CASE_SECONDS_MAX, exit=True)
    begin = time.monotonic()
    try:
        if inspect.iscoroutinefunction(function):
            asyncio.run(function(target))
        else:
            function(target)
    except BaseException:  # a KeyboardInterrupt or SystemExit from inside a driver is a failure too
        print(f"FAILED {name} after {time.monotonic() - begin:.1f} s", flush=True)
        traceback.print_exc()
        sys.stderr.flush()
        sys.exit(1)
    finally:
        faulthandler.cancel_dump_traceback_later()
    print(f"ok {name}", flush=True)


def equal(seen, wanted, what: str = ""):
    """Says both values where they differ; `assert` alone would not."""
    if seen != wanted:
        raise AssertionError(f"{what or 'value'}: saw {seen!r}, wanted {wanted!r}")


def until(condition, what: str, seconds_max: float = 20):
    """Waits until the condition holds."""
    end = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds_max} s")
        time.sleep(0.01)


async def until_async(condition, what: str, seconds_max: float = 20):
    """Waits until the coroutine function gives true."""
    end = time.monotonic() + seconds_max
    while not await condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds_max} s")
        await asyncio.sleep(0.01)


# Counts running queries with a mark in their text. It does not find itself.
RUNNING_SQL = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE state = 'active' AND pid <> pg_backend_pid() AND position({mark} IN query) > 0"
)
