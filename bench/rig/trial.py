"""A trial: many clients over a small pool, in each protocol, watched by PostgreSQL itself."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from . import pgbench, watch
from .pooler import Pooler
from .postgres import Postgres
from .process import Rig
from .report import number, table

PROTOCOLS = ("simple", "extended", "prepared")
# Short reads with a share of real transactions (BEGIN, UPDATE, SELECT, INSERT, END).
MIXED = ("-b", "select-only@4", "-b", "simple-update@1")


@dataclass
class Trial:
    """What one protocol gave."""

    protocol: str
    outcome: pgbench.Outcome
    sessions_most: int
    wait_longest_ms: float
    unwatched: str | None

    def problems(self, cap: int) -> list[str]:
        """What went wrong, if anything."""
        found = []
        if self.outcome.failed:
            reason = self.outcome.complaint or "no reason was given"
            found.append(f"{self.outcome.failed} transactions failed: {reason}")
        elif not self.outcome.transactions:
            found.append("no transaction was done: the time was over before all clients were logged in")
        if self.sessions_most > cap:
            found.append(f"PostgreSQL counted {self.sessions_most} sessions, the cap is {cap}")
        if self.unwatched:
            found.append(f"nobody watched to the end: {self.unwatched}")
        return [f"{self.protocol}: {text}" for text in found]


def run(rig: Rig, postgres: Postgres, pooler: Pooler, clients: int, seconds: int) -> list[Trial]:
    """One trial for each protocol, with progress on the screen."""
    return [_one(rig, postgres, pooler, _load(protocol, clients, seconds)) for protocol in PROTOCOLS]


def show(trials: list[Trial], cap: int) -> str:
    """The table."""
    head = ["", "transactions/s", "failed", "latency avg", "p99", "most server connections", "longest wait"]
    rows = [
        [
            trial.protocol,
            number(trial.outcome.tps),
            number(trial.outcome.failed),
            number(trial.outcome.latency_avg_ms, 1, " ms"),
            number(trial.outcome.latency_p99_ms, 1, " ms"),
            f"{trial.sessions_most} of {cap}",
            number(trial.wait_longest_ms, 1, " ms"),
        ]
        for trial in trials
    ]
    return table(head, rows)


def _load(protocol: str, clients: int, seconds: int) -> pgbench.Load:
    # pgbench waits for the answer to its first PREPARE without looking at the other clients of its thread. In a queue
    # for connections that just those clients hold, in their transactions, it would wait for itself: a thread each.
    threads = clients if protocol == "prepared" else 2
    return pgbench.Load(protocol, clients, seconds, threads=threads, script=MIXED)


def _one(rig: Rig, postgres: Postgres, pooler: Pooler, load: pgbench.Load) -> Trial:
    direct, console = postgres.connect(), pooler.console()
    screen = Screen(load)
    with watch.sessions(direct) as sessions, watch.longest_wait(console) as wait:
        outcome = pgbench.run(rig, pooler.door.port, load, pooler.door.passwords.get("app", ""), screen.progress)
    direct.close()
    console.close()
    screen.done(outcome)
    postgres.process.check()
    pooler.process.check()
    unwatched = sessions.broken or wait.broken
    return Trial(load.protocol, outcome, int(sessions.most), wait.most, unwatched)


class Screen:
    """Progress: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, load: pgbench.Load):
        self.load = load
        self.live = sys.stdout.isatty()

    def progress(self, seconds: float, tps: float, latency_ms: float) -> None:
        """A second has passed."""
        if self.live or int(seconds) % 10 == 0:
            self._line(f"{seconds:3.0f} of {self.load.seconds} s  {tps:9,.0f} transactions/s  {latency_ms:7.1f} ms",
                       "\r" if self.live else "\n")

    def done(self, outcome: pgbench.Outcome) -> None:
        """The load has ended."""
        verdict = f"{outcome.failed} failed" if outcome.failed else "none failed"
        self._line(f"{outcome.transactions:,} transactions, {verdict}".ljust(60), "\n")

    def _line(self, text: str, end: str) -> None:
        print(f"      {self.load.protocol:<9} {text}", end=end, flush=True)
