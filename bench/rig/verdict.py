"""What the bench measured, held against what was aimed at."""

from __future__ import annotations

import enum
import statistics
from collections import Counter
from dataclasses import dataclass, field

from .figures import RECEIVES, SENDS
from .report import markdown, number

BASE, ONE, TWO = "PgBouncer", "Plimsoll, 1 worker", "Plimsoll, 2 workers"
SIDES = (BASE, ONE, TWO)

WORKLOADS = (("simple", 1), ("simple", 64), ("extended", 64), ("prepared", 64), ("simple", 500))
Workload = tuple[str, int]


@dataclass
class Sample:
    """One run of one workload through one pooler. CPU in microseconds per transaction."""

    tps: float
    user_us: float
    system_us: float
    p99_ms: float
    failed: int

    @property
    def cpu_us(self) -> float:
        """User space and kernel together."""
        return self.user_us + self.system_us


@dataclass
class Measured:
    """Everything."""

    samples: dict[str, dict[Workload, list[Sample]]] = field(default_factory=lambda: {side: {} for side in SIDES})
    idle_bytes: dict[str, float] = field(default_factory=dict)
    system_calls: dict[str, Counter] = field(default_factory=dict)
    system_calls_over: int = 1
    moves: dict[Workload, list[float]] = field(default_factory=dict)

    def median(self, side: str, workload: Workload, what: str) -> float | None:
        """The median over the rounds; None where it was not measured."""
        samples = self.samples[side].get(workload, [])
        return statistics.median(getattr(sample, what) for sample in samples) if samples else None

    def failed(self) -> list[str]:
        """Runs in which transactions failed: their figures mean nothing."""
        return [
            f"{side}, {protocol}, {clients} clients: {sample.failed} transactions failed"
            for side, runs in self.samples.items()
            for (protocol, clients), samples in runs.items()
            for sample in samples
            if sample.failed
        ]


class Bound(enum.Enum):
    """Which side of the limit is the good one."""

    AT_MOST = "at most"
    AT_LEAST = "at least"
    EXACTLY = "exactly"


@dataclass
class Target:
    """Something aimed at."""

    what: str
    aim: str
    value: float | None
    limit: float
    bound: Bound = Bound.AT_MOST

    @property
    def met(self) -> bool | None:
        """None where nothing was measured."""
        if self.value is None:
            return None
        if self.bound is Bound.EXACTLY:
            # A hundredth to each side: the login falls into the count too.
            return abs(self.value - self.limit) <= 0.01
        return self.value >= self.limit if self.bound is Bound.AT_LEAST else self.value <= self.limit

    def row(self) -> list[str]:
        """As a line of a table."""
        verdict = {True: "yes", False: "no", None: "not measured"}[self.met]
        return [self.what, self.aim, number(self.value, 2), verdict]


def targets(measured: Measured) -> list[Target]:
    """The list, in the order of the bench's table."""
    found = []
    for workload, limit in (
        (("simple", 1), 1.05),
        (("simple", 64), 0.92),
        (("extended", 64), 0.92),
        (("simple", 500), 0.95),
    ):
        found.append(_ratio(measured, "CPU per transaction", "cpu_us", workload, ONE, limit))
    for side, workload, limit in (
        (ONE, ("simple", 64), 1.0),
        (ONE, ("extended", 64), 1.0),
        (TWO, ("simple", 64), 1.0),
        (TWO, ("extended", 64), 1.3),
    ):
        found.append(_ratio(measured, "transactions/s", "tps", workload, side, limit, Bound.AT_LEAST))
    for side in (ONE, TWO):
        for workload in (("simple", 64), ("extended", 64)):
            found.append(_ratio(measured, "p99 latency", "p99_ms", workload, side, 1.0))
    prepared, extended = (measured.median(ONE, (protocol, 64), "cpu_us") for protocol in ("prepared", "extended"))
    ratio = _quotient(prepared, extended)
    found.append(Target(f"CPU of prepared beside our own extended, 64 clients, {ONE}", "at most 1.10 x", ratio, 1.10))
    found.append(Target(f"bytes per idle client, {ONE}", "at most 2,048", measured.idle_bytes.get(ONE), 2048))
    for name, calls in (("receives", RECEIVES), ("sends", SENDS)):
        count = calls_per_query(measured, ONE, calls)
        found.append(Target(f"{name} per simple query, {ONE}", "2", count, 2.0, Bound.EXACTLY))
    return found


def calls_per_query(measured: Measured, side: str, names: tuple[str, ...]) -> float | None:
    """System calls of these names for one query."""
    counted = measured.system_calls.get(side)
    return sum(counted[name] for name in names) / measured.system_calls_over if counted else None


def tables(measured: Measured) -> str:
    """All of it as Markdown."""
    parts = [_workload_table(measured), _process_table(measured)]
    if measured.moves:
        parts.append(_moves_table(measured))
    rows = [target.row() for target in targets(measured)]
    parts.append(markdown(["target, beside PgBouncer where a ratio (x)", "aim", "measured", "met"], rows))
    return "\n\n".join(parts)


def _workload_table(measured: Measured) -> str:
    head = ["protocol, clients", "pooler", "transactions/s", "CPU us/tx", "user", "kernel", "p99 ms", "CPU x", "tx/s x"]
    rows = []
    for workload in WORKLOADS:
        for side in SIDES:
            tps = measured.median(side, workload, "tps")
            if tps is None:
                continue
            cpu = measured.median(side, workload, "cpu_us")
            rows.append([
                f"{workload[0]}, {workload[1]}",
                side,
                number(tps),
                number(cpu, 1),
                number(measured.median(side, workload, "user_us"), 1),
                number(measured.median(side, workload, "system_us"), 1),
                number(measured.median(side, workload, "p99_ms"), 2),
                number(_quotient(cpu, measured.median(BASE, workload, "cpu_us")), 2),
                number(_quotient(tps, measured.median(BASE, workload, "tps")), 2),
            ])
    return markdown(head, rows)


def _process_table(measured: Measured) -> str:
    rows = []
    for side in SIDES:
        counted = measured.system_calls.get(side, Counter())
        waits = tuple(name for name in counted if name.startswith("epoll_"))
        others = tuple(name for name in counted if name not in (*RECEIVES, *SENDS, *waits))
        rows.append([
            side,
            number(measured.idle_bytes.get(side)),
            number(calls_per_query(measured, side, RECEIVES), 2),
            number(calls_per_query(measured, side, SENDS), 2),
            number(calls_per_query(measured, side, waits), 2),
            number(calls_per_query(measured, side, others), 2),
        ])
    head = ["pooler", "bytes per idle client", "receives per query", "sends", "epoll calls", "other system calls"]
    return markdown(head, rows)


def _moves_table(measured: Measured) -> str:
    rows = [
        [f"{protocol}, {clients}", number(statistics.median(found), 3)]
        for (protocol, clients), found in measured.moves.items()
    ]
    return markdown([f"protocol, clients ({TWO})", "sockets that changed their worker, per transaction"], rows)


def _ratio(
    measured: Measured,
    what: str,
    figure: str,
    workload: Workload,
    side: str,
    limit: float,
    bound: Bound = Bound.AT_MOST,
) -> Target:
    ours, theirs = (measured.median(which, workload, figure) for which in (side, BASE))
    name = f"{what}, {workload[0]}, {_clients(workload)}, {side}"
    return Target(name, f"{bound.value} {limit:.2f} x", _quotient(ours, theirs), limit, bound)


def _clients(workload: Workload) -> str:
    return "1 client" if workload[1] == 1 else f"{workload[1]} clients"


def _quotient(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None
