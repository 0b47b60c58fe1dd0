#!/usr/bin/env python3
"""The bench of spills: how fast a result that nobody reads comes off its server, into memory and to disk.

Beside it, what the server can do: the same COPY by psql, thrown away. Then twenty lazy readers over a pool of two, and
what others have of it, with PgBouncer beside it. `./dev bench spill` calls this.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

from rig import lazy, pgbench, report
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import HERE, Failed, Rig, free_port
from rig.wire import Connection

MIB = 1 << 20
ROW_BYTES = 8000
PATIENCE_S = 120
LOOK_S = 0.005
READERS = 20
POOL = 2
SHORT_CLIENTS = 50


@dataclass(frozen=True)
class Scene:
    """Where a spill goes, and how fast it is to be, MB/s."""

    name: str
    memory: str
    aim: int


SCENES = (Scene("into memory", "4GiB", 500), Scene("to disk", "8MiB", 200))


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev bench spill")
    arguments.add_argument("--rounds", type=at_least(1), default=5, help="how many (default: 5)")
    arguments.add_argument("--megabytes", type=at_least(1), default=512, help="of each result (default: 512)")
    arguments.add_argument("--dir", default="/var/tmp", help="spill_dir (default: /var/tmp)")
    arguments.add_argument("--seconds", type=at_least(1), default=10, help="of the load beside lazy readers (default: 10)")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--pgbouncer", default="", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()

    def work(rig: Rig) -> int:
        postgres = Postgres(rig, 20, "trust", {}, {"shared_buffers": "128MB"})
        missed = bench(rig, postgres, chosen)
        return 1 if beside_readers(rig, postgres, chosen) + missed else 0

    return in_rig("spill", work)


def bench(rig: Rig, postgres: Postgres, chosen: argparse.Namespace) -> int:
    """Measures and prints; how many aims were missed, where the server's own speed is not less."""
    psql = shutil.which("psql")
    if not psql:
        raise Failed("psql is not installed")
    rows = chosen.megabytes * 1_000_000 // ROW_BYTES
    sql = f"COPY (SELECT repeat('x', {ROW_BYTES - 1}) FROM generate_series(1, {rows})) TO STDOUT"
    direct = [by_psql(psql, postgres.port, sql) for _ in range(chosen.rounds)]
    own = statistics.median(chosen.megabytes / seconds for seconds in direct)
    table, missed = [["psql, past the pooler", report.number(own), "-", "-", "-"]], 0
    for scene in SCENES:
        pooler = open_pooler(rig, postgres, chosen, scene)
        off, back = [], []
        for _ in range(chosen.rounds):
            filled_s, read_s = one(pooler, sql)
            off.append(chosen.megabytes / filled_s)
            back.append(chosen.megabytes / read_s)
            print(f"  {scene.name}: {off[-1]:,.0f} MB/s off the server, {back[-1]:,.0f} MB/s to the reader", flush=True)
        pooler.stop()
        speed = statistics.median(off)
        reached = speed >= min(scene.aim, own)
        missed += not reached
        verdict = "yes" if reached else "no"
        table.append([scene.name, report.number(speed), report.number(statistics.median(back)), str(scene.aim), verdict])
    head = ["MB/s", "off the server", "then to the reader", "aim", "reached"]
    print(f"\nMedian of {chosen.rounds} rounds of {chosen.megabytes} MB; the aim is this, or the server's own speed.\n\n"
          f"{report.markdown(head, table)}")
    return missed


def beside_readers(rig: Rig, postgres: Postgres, chosen: argparse.Namespace) -> int:
    """Short queries of 50 clients without lazy readers and beside them; how many aims were missed."""
    pgbench.fill(postgres, 1)
    door = Door(free_port(), postgres.port, POOL, 200, more={"query_wait_timeout": "5"})
    door.own = {"spill_dir": chosen.dir}
    pooler = Pooler(rig, f"plimsoll-{door.port}", [str(rig.program(chosen.binary))], door)
    load = pgbench.Load("simple", SHORT_CLIENTS, seconds=chosen.seconds)
    alone = pgbench.run(rig, door.port, load)
    readers = [lazy.Reader(pooler) for _ in range(READERS)]
    console = pooler.console()
    off_s = lazy.wait_until_off(console, READERS)
    beside = pgbench.run(rig, door.port, load)
    store = console.query("SHOW SPILL_STORE")[0]
    for reader in readers:
        reader.finish()
    console.close()
    pooler.stop()
    rows = [line("nobody is lazy", alone), line(f"{READERS} lazy readers, off the server in {off_s:.1f} s", beside)]
    if chosen.pgbouncer:
        rows.append(line(f"PgBouncer, {READERS} lazy readers", by_pgbouncer(rig, postgres, chosen, load)))
    memory = int(store["memory_bytes"]) / MIB
    print(f"\n{SHORT_CLIENTS} clients of short queries over {POOL} servers, {chosen.seconds} s. Each reader asked for "
          f"{lazy.ROWS} rows of 1 MB and got every byte right; {memory:.0f} MiB of them were in memory.\n\n"
          f"{report.markdown(['short queries', 'done', 'failed', 'p99, ms'], rows)}")
    return int(beside.failed > 0 or beside.latency_p99_ms > 2 * alone.latency_p99_ms)


def by_pgbouncer(rig: Rig, postgres: Postgres, chosen: argparse.Namespace, load: pgbench.Load) -> pgbench.Outcome:
    """The same beside readers that nobody relieves: what comes of it."""
    door = Door(free_port(), postgres.port, POOL, 200, more={"query_wait_timeout": "5"})
    pooler = Pooler(rig, f"pgbouncer-{door.port}", [chosen.pgbouncer, "-q"], door)
    readers = [lazy.Reader(pooler) for _ in range(READERS)]
    time.sleep(1)
    outcome = pgbench.run(rig, door.port, load)
    pooler.stop()
    for reader in readers:
        reader.session.close()
    return outcome


def line(name: str, outcome: pgbench.Outcome) -> list[str]:
    """A row of the table."""
    p99 = report.number(outcome.latency_p99_ms, 1)
    return [name, report.number(outcome.transactions), report.number(outcome.failed), p99]


def by_psql(psql: str, port: int, sql: str) -> float:
    """Seconds of a COPY that goes nowhere."""
    began = time.monotonic()
    argv = [psql, "-XAtq", "-h", HERE, "-p", str(port), "-U", "app", "-d", "app", "-c", sql]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def open_pooler(rig: Rig, postgres: Postgres, chosen: argparse.Namespace, scene: Scene) -> Pooler:
    door = Door(free_port(), postgres.port, 4, 50)
    door.own = {
        "spill_after": "0",
        "spill_memory": scene.memory,
        "spill_disk": "16GiB",
        "spill_per_client": "8GiB",
        "spill_dir": chosen.dir,
    }
    return Pooler(rig, f"plimsoll-{door.port}", [str(rig.program(chosen.binary))], door)


def one(pooler: Pooler, sql: str) -> tuple[float, float]:
    """Seconds until the server is free, and then until the reader has everything."""
    console, reader = pooler.console(), pooler.connect()
    reader.socket.settimeout(PATIENCE_S)
    text = sql.encode() + b"\0"
    # That of the last round may not have been seen to end.
    while console.query("SHOW SPILLS"):
        time.sleep(LOOK_S)
    began = time.monotonic()
    reader.socket.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
    while not is_off(console):
        if time.monotonic() - began > PATIENCE_S:
            raise Failed(f"the result was not off the server in {PATIENCE_S} s: {console.query('SHOW SPILLS')}")
        time.sleep(LOOK_S)
    filled = time.monotonic()
    read_all(reader)
    read = time.monotonic()
    for session in (console, reader):
        session.close()
    return filled - began, read - filled


def is_off(console: Connection) -> bool:
    """Whether the only spill there is has no server any more."""
    return any(spill["state"] == "draining" for spill in console.query("SHOW SPILLS"))


def read_all(reader: Connection) -> None:
    """Reads until the server is ready; only the ends of messages matter."""
    while True:
        head = reader.inbox.read(5)
        if len(head) < 5:
            raise Failed("the reader was cut off")
        length = struct.unpack("!i", head[1:])[0] - 4
        if len(reader.inbox.read(length)) < length:
            raise Failed("the reader was cut off in the middle of a message")
        if head[:1] == b"Z":
            return


if __name__ == "__main__":
    sys.exit(main())
