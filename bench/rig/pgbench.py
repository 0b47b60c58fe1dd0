"""Load: runs pgbench and reads what it says."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from .postgres import Postgres, bin_folder
from .process import HERE, Failed, Rig

# Longer than any load: only a pgbench that hangs is ended by this.
OVERTIME_S = 60

Progress = Callable[[float, float, float], None]


@dataclass
class Load:
    """What to run. `script` is pgbench's own choice of statements, such as `-S`."""

    protocol: str
    clients: int
    seconds: int = 0
    transactions_each: int = 0
    threads: int = 1
    script: tuple[str, ...] = ("-S",)
    log_share: float = 1.0
    sslmode: str = "disable"
    user: str = "app"
    database: str = "app"
    application: str = "pgbench"


@dataclass
class Outcome:
    """What came of it. Latencies in milliseconds, over the transactions that the log has."""

    transactions: int
    failed: int
    tps: float
    latency_avg_ms: float
    latency_p99_ms: float
    latency_max_ms: float
    complaint: str = ""


def fill(postgres: Postgres, scale: int) -> None:
    """Makes pgbench's tables, straight at PostgreSQL."""
    argv = [str(bin_folder() / "pgbench"), "-i", "-q", "-s", str(scale), *_where(postgres.port, "app", "app")]
    env = _env(postgres.passwords.get("app", ""), Load("simple", 1))
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
    if done.returncode:
        raise Failed(f"pgbench -i failed:\n{done.stderr.strip()}")


def run(rig: Rig, port: int, load: Load, password: str = "", progress: Progress | None = None) -> Outcome:
    """Puts the load through whoever listens on `port`. Ends early only if pgbench does."""
    prefix = _prefix(rig, str(port))
    with _begin(port, load, prefix, password) as child:
        previous = signal.signal(signal.SIGALRM, lambda *_: child.kill())
        signal.alarm(load.seconds + OVERTIME_S if load.seconds else 10 * OVERTIME_S)
        try:
            said = [line for line in child.stderr if not _is_progress(line, progress)]
            report = child.stdout.read()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
            # Ctrl-C in the middle of the load: it ends with us. After its end this does nothing.
            child.kill()
        status = child.wait()
    return _outcome(status, report, said, _latencies(rig.folder, prefix.name))


class Running:
    """A load that runs beside others. `name` keeps its latencies apart from theirs."""

    def __init__(self, rig: Rig, name: str, port: int, load: Load, password: str = ""):
        self.folder, self.prefix = rig.folder, _prefix(rig, name)
        self.patience_s = load.seconds + OVERTIME_S
        self.child = _begin(port, load, self.prefix, password)
        rig.closing.callback(self.child.kill)

    def outcome(self) -> Outcome:
        """Waits for its end; a pgbench that hangs is ended."""
        try:
            report, said = self.child.communicate(timeout=self.patience_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            report, said = self.child.communicate()
        latencies = _latencies(self.folder, self.prefix.name)
        return _outcome(self.child.returncode, report, said.splitlines(), latencies)


def parse_report(report: str) -> tuple[int, int, float, float]:
    """Transactions, failed ones, transactions per second and average latency (ms), from pgbench's report.

    The last two are not numbers where no transaction was done: pgbench leaves their lines out then.
    """
    transactions = re.search(r"transactions actually processed: (\d+)", report)
    if not transactions:
        raise ValueError("not a pgbench report")
    # Said since version 15; older ones abort the client instead.
    failed = re.search(r"number of failed transactions: (\d+)", report)
    tps = re.search(r"tps = ([\d.]+)", report)
    latency = re.search(r"latency average = ([\d.]+) ms", report)
    return (
        int(transactions[1]),
        int(failed[1]) if failed else 0,
        float(tps[1]) if tps else math.nan,
        float(latency[1]) if latency else math.nan,
    )


def parse_progress(line: str) -> tuple[float, float, float] | None:
    """Seconds since the start, transactions per second, latency (ms), from a line of `pgbench -P`."""
    match = re.match(r"progress: ([\d.]+) s, ([\d.]+) tps, lat ([\d.]+) ms", line)
    return (float(match[1]), float(match[2]), float(match[3])) if match else None


def percentile(ordered: list[int], share: float) -> float:
    """The value below or at which `share` of the values are (nearest rank); not a number without values."""
    if not ordered:
        return math.nan
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


def _prefix(rig: Rig, name: str) -> Path:
    """Where the latencies of a load go; those of an earlier one of this name are gone."""
    prefix = rig.folder / f"latency-{name}"
    for old in rig.folder.glob(f"{prefix.name}.*"):
        old.unlink()
    return prefix


def _begin(port: int, load: Load, prefix: Path, password: str) -> subprocess.Popen:
    return subprocess.Popen(
        _argv(port, load, prefix),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_env(password, load),
        start_new_session=True,
    )


def _argv(port: int, load: Load, prefix: Path) -> list[str]:
    argv = [str(bin_folder() / "pgbench"), "-n", "-M", load.protocol, "-c", str(load.clients), "-j", str(load.threads)]
    argv += ["-T", str(load.seconds), "-P", "1"] if load.seconds else ["-t", str(load.transactions_each)]
    argv += [*load.script, "-l", f"--log-prefix={prefix}"]
    if load.log_share < 1.0:
        argv.append(f"--sampling-rate={load.log_share}")
    return argv + _where(port, load.user, load.database)


def _where(port: int, user: str, database: str) -> list[str]:
    return ["-h", HERE, "-p", str(port), "-U", user, database]


def _env(password: str, load: Load) -> dict[str, str]:
    # No setting of whoever runs this (PGOPTIONS, PGSERVICE, ...) may reach the load.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    own = {"PGSSLMODE": load.sslmode, "PGGSSENCMODE": "disable", "PGPASSWORD": password, "PGAPPNAME": load.application}
    return {**kept, **own}


def _is_progress(line: str, progress: Progress | None) -> bool:
    figures = parse_progress(line)
    if figures and progress:
        progress(*figures)
    return figures is not None


def _latencies(folder: Path, prefix: str) -> list[int]:
    """Microseconds, sorted. A line is: client, transaction, latency, script, seconds, microseconds."""
    found = []
    for log in folder.glob(f"{prefix}.*"):
        with open(log, encoding="ascii") as lines:
            found += [int(value) for value in (line.split()[2] for line in lines) if value.isdigit()]
    return sorted(found)


def _outcome(status: int, report: str, said: list[str], latencies_us: list[int]) -> Outcome:
    complaints = [line.strip() for line in said if "error:" in line or "aborted" in line or "FATAL" in line]
    try:
        transactions, failed, tps, average = parse_report(report)
    except ValueError:
        last = complaints or [line.strip() for line in said if line.strip()] or [f"pgbench ended with status {status}"]
        return Outcome(0, 1, 0.0, math.nan, math.nan, math.nan, last[0])
    # A client that pgbench gave up on had a transaction that failed.
    failed += sum("aborted" in line for line in complaints)
    if status and not failed:
        failed = 1
    return Outcome(
        transactions,
        failed,
        tps,
        average,
        percentile(latencies_us, 0.99) / 1000,
        latencies_us[-1] / 1000 if latencies_us else math.nan,
        complaints[0] if complaints else "",
    )
