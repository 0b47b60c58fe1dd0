#!/usr/bin/env python3
"""The bench of the doors: TLS, a new connection for each transaction, and many clients of which few are active.
`./dev bench doors` calls this. Plimsoll with one worker beside PgBouncer in one run, in turns, on one PostgreSQL.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import os
import ssl
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rig import figures, pgbench, report
from rig.command import at_least, in_rig
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import Rig, free_port

SIDES = ("PgBouncer", "Plimsoll")
POOL_SIZE = 20
SCALE = 10
PASSWORD = "bench-secret"
IDLE_CLIENTS = 4936
IDLE_TLS_CLIENTS = 1000

README = Path("README.md")
BEGIN = "<!-- doors begin: written by ./dev bench doors --write -->"
END = "<!-- doors end -->"


@dataclass(frozen=True)
class Scene:
    """One way in and one load. `most` is the CPU per transaction that is aimed at, as a share of PgBouncer's."""

    name: str
    clients: int
    most: float
    reconnect: bool = False
    tls: bool = False
    scram: bool = False
    idle: int = 0


SCENES = (
    Scene("TLS, simple, 64 clients", 64, 1.00, tls=True),
    Scene("reconnect, plain", 16, 1.00, reconnect=True),
    Scene("reconnect, TLS", 16, 0.90, reconnect=True, tls=True),
    Scene("reconnect, SCRAM", 16, 0.90, reconnect=True, scram=True),
    Scene("5,000 clients, 64 active", 64, 1.00, idle=IDLE_CLIENTS),
)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev bench doors")
    arguments.add_argument("--rounds", type=at_least(1), default=3, help="how many (default: 3)")
    arguments.add_argument("--seconds", type=at_least(1), default=5, help="of each run (default: 5)")
    arguments.add_argument("--only", default="", help="scenes whose name has this in it")
    arguments.add_argument("--write", action="store_true", help="put the table into README.md")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--pgbouncer", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if not any(chosen.only in scene.name for scene in SCENES):
        arguments.error(f"no scene has {chosen.only!r} in its name; there are: {'; '.join(scene.name for scene in SCENES)}")
    return in_rig("doors", lambda rig: bench(rig, chosen))


def bench(rig: Rig, chosen: argparse.Namespace) -> int:
    """Measures and prints; the exit status says whether the figures mean something, not whether they are good."""
    postgres = Postgres(rig, 120, "trust", {}, {"shared_buffers": "256MB"})
    pgbench.fill(postgres, SCALE)
    figures.raise_descriptor_limit(3 * IDLE_CLIENTS)
    certificate = make_certificate(rig)
    rows, failed = [], 0
    for scene in (scene for scene in SCENES if chosen.only in scene.name):
        cpu: dict[str, list[float]] = {side: [] for side in SIDES}
        tps: dict[str, list[float]] = {side: [] for side in SIDES}
        with contextlib.ExitStack() as stack:
            poolers = {side: open_side(rig, postgres, chosen, scene, side, certificate) for side in SIDES}
            for pooler in poolers.values():
                stack.callback(pooler.stop)
                crowd(stack, pooler, scene.idle)
            for number in range(chosen.rounds):
                for turn in range(len(SIDES)):
                    side = SIDES[(turn + number) % len(SIDES)]
                    outcome, cpu_us = measure(rig, poolers[side], scene, chosen.seconds)
                    failed += outcome.failed
                    cpu[side].append(cpu_us)
                    tps[side].append(outcome.tps)
                    print(f"  {scene.name}, {side}: {outcome.tps:,.0f}/s, {cpu_us:.1f} us", flush=True)
        rows.append(row(scene, cpu, tps))
    rows_memory = memory(rig, postgres, chosen, certificate)
    text = tables(rows, rows_memory, chosen)
    print(text)
    if chosen.write and not failed:
        page = README.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 1 if failed else 0


def make_certificate(rig: Rig) -> dict[str, str]:
    """RSA of 2,048 bits, signed by itself: what the PostgreSQL manual's command makes."""
    key, cert = rig.write("door.key", ""), rig.write("door.crt", "")
    argv = ["openssl", "req", "-new", "-x509", "-days", "30", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost"]
    rig.run([*argv, "-keyout", str(key), "-out", str(cert)])
    for file in (key, cert):
        os.chmod(file, 0o644)
    return {"client_tls_sslmode": "require", "client_tls_key_file": str(key), "client_tls_cert_file": str(cert)}


def open_side(rig, postgres, chosen, scene: Scene, side: str, certificate: dict[str, str]) -> Pooler:
    """A pooler for one scene."""
    door = Door(free_port(), postgres.port, POOL_SIZE, scene.idle + 1000)
    if scene.tls:
        door.more.update(certificate)
        door.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        door.tls.check_hostname = False
        door.tls.verify_mode = ssl.CERT_NONE
    if scene.scram:
        door.auth_type, door.plain = "scram-sha-256", PASSWORD
        door.passwords = {"app": scram_secret(PASSWORD)}
    if side == "PgBouncer":
        return Pooler(rig, f"pgbouncer-{door.port}", [chosen.pgbouncer, "-q"], door)
    door.own = {"workers": "1"}
    return Pooler(rig, f"plimsoll-{door.port}", [str(rig.program(chosen.binary))], door)


def scram_secret(password: str) -> str:
    """A SCRAM secret as PostgreSQL keeps it (RFC 5802)."""
    salt, iterations = b"sixteen is enough"[:16], 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    parts = (hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))
    stored, server = (base64.b64encode(part).decode() for part in parts)
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${stored}:{server}"


def crowd(stack: contextlib.ExitStack, pooler: Pooler, count: int) -> None:
    """Clients that do nothing."""
    for _ in range(count):
        stack.callback(pooler.connect().close)


def measure(rig: Rig, pooler: Pooler, scene: Scene, seconds: int):
    """One run: what came of it, and the pooler's CPU per transaction in microseconds."""
    script = ("-S", "-C") if scene.reconnect else ("-S",)
    sslmode = "require" if scene.tls else "disable"
    load = pgbench.Load("simple", scene.clients, seconds, script=script, log_share=0.05, sslmode=sslmode)
    before = sum(figures.cpu_s(pooler.pid))
    outcome = pgbench.run(rig, pooler.door.port, load, pooler.door.plain)
    spent = sum(figures.cpu_s(pooler.pid)) - before
    pooler.process.check()
    return outcome, spent * 1e6 / max(outcome.transactions, 1)


def row(scene: Scene, cpu: dict[str, list[float]], tps: dict[str, list[float]]) -> list[str]:
    base, ours = (statistics.median(cpu[side]) for side in SIDES)
    base_tps, ours_tps = (statistics.median(tps[side]) for side in SIDES)
    met = "yes" if ours / base <= scene.most + 0.005 else "NO"
    return [scene.name, f"{base:.1f}", f"{ours:.1f}", f"{ours / base:.2f} x", f"{scene.most:.2f} x", met,
            f"{ours_tps / base_tps:.2f} x"]


def memory(rig, postgres, chosen, certificate: dict[str, str]) -> list[list[str]]:
    """Bytes for each idle TLS client."""
    scene = Scene("", 0, 0, tls=True, idle=IDLE_TLS_CLIENTS)
    rows = []
    for side in SIDES:
        pooler = open_side(rig, postgres, chosen, scene, side, certificate)
        rows.append([side, f"{figures.bytes_per_idle_client(pooler, IDLE_TLS_CLIENTS):,.0f}"])
        pooler.stop()
    return rows


def tables(rows: list[list[str]], rows_memory: list[list[str]], chosen: argparse.Namespace) -> str:
    version = subprocess.run([chosen.pgbouncer, "--version"], capture_output=True, text=True).stdout.split()[1]
    head = ["scene", f"PgBouncer {version}, us", "Plimsoll, us", "ratio", "aim", "met", "tx/s"]
    about = (f"CPU of the pooler per transaction, median of {chosen.rounds} rounds of {chosen.seconds} s in turns; "
             "one worker; certificate RSA 2,048; reconnect is `pgbench -C` with 16 clients.")
    idle = report.markdown([f"bytes for each of {IDLE_TLS_CLIENTS:,} idle TLS clients", ""], rows_memory)
    return f"{about}\n\n{report.markdown(head, rows)}\n\n{idle}"


if __name__ == "__main__":
    sys.exit(main())
