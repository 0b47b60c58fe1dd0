"""What one process costs: CPU time, memory, system calls. Linux only (/proc, strace)."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from .pooler import Pooler
from .process import Failed

# Calls on sockets. `read` and `write` are not among them: eventfds and the log use those. A pooler that used them on
# its sockets would show too few of these, which is no way to reach the target either.
RECEIVES = ("recvfrom", "recvmsg")
SENDS = ("sendto", "sendmsg")
ATTACH_PATIENCE_S = 10
# What a process needs beside one descriptor for each connection.
DESCRIPTORS_SPARE = 200


def cpu_s(pid: int) -> tuple[float, float]:
    """Seconds of CPU so far, in user space and in the kernel, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def pss_bytes(pid: int) -> int:
    """Resident memory; pages that processes share are split among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"the kernel does not say how much memory process {pid} has")


def raise_descriptor_limit(wanted: int) -> int:
    """Lets us, and what we start, open that many files if the system allows it; how many it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    for limits in ((wanted, max(wanted, hard)), (hard, hard)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return limits[0]
    return soft


def bytes_per_idle_client(pooler: Pooler, count: int) -> float:
    """Connects that many clients, lets each do one query, and looks how much the pooler grew."""
    with contextlib.ExitStack() as open_clients:
        _open(pooler, 10, open_clients)
        time.sleep(1)
        before = pss_bytes(pooler.pid)
        _open(pooler, count, open_clients)
        time.sleep(2)
        return (pss_bytes(pooler.pid) - before) / count


def _open(pooler: Pooler, count: int, clients: contextlib.ExitStack) -> None:
    for _ in range(count):
        client = pooler.connect()
        clients.callback(client.close)
        client.query("select 1")


@contextlib.contextmanager
def system_calls(pid: int, report: Path):
    """Counts the system calls of a process while the block runs: gives a `Counter` that is filled at its end."""
    counted: Counter[str] = Counter()
    argv = ["strace", "-f", "-c", "-o", str(report), "-p", str(pid)]
    tracer = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        _wait_until_attached(tracer, pid)
        yield counted
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.communicate()
    counted.update(parse_strace(report.read_text()))


def parse_strace(report: str) -> dict[str, int]:
    """Calls by name, from the table of `strace -c`: per cent, seconds, us per call, calls, errors if any, name."""
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", report, re.MULTILINE)
    return {name: int(calls) for calls, name in rows if name != "total"}


def _wait_until_attached(tracer: subprocess.Popen, pid: int) -> None:
    deadline = time.monotonic() + ATTACH_PATIENCE_S
    while time.monotonic() < deadline:
        if tracer.poll() is not None:
            said = tracer.stderr.read().decode(errors="replace").strip()
            raise Failed(f"strace does not attach to process {pid}: {said}")
        if all(_is_traced(task) for task in Path(f"/proc/{pid}/task").iterdir()):
            return
        time.sleep(0.02)
    raise Failed(f"strace did not attach to process {pid} in {ATTACH_PATIENCE_S} s")


def _is_traced(task: Path) -> bool:
    try:
        return re.search(r"^TracerPid:\s+0$", (task / "status").read_text(), re.MULTILINE) is None
    except FileNotFoundError:
        return True
