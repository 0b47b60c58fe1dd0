#!/usr/bin/env python3
"""The bench of identities: what a login by a key or a token costs beside one that is trusted, what a session by one costs
on a query's way, how many tokens the endpoint gives out, and what the store's questions take. `./dev bench identity`
calls this.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rig import pgbench, report
from rig.command import at_least, in_rig
from rig.identity import DATABASE, House, Key
from rig.pooler import Door
from rig.postgres import Postgres
from rig.process import HERE, Failed, Rig, free_port
from rig.wire import Connection

POOL_SIZE = 20
# Who is let in how: one role and one line of the HBA file each.
TRUSTED, BY_PASSWORD, BY_KEY, BY_TOKEN = "plain", "worded", "app", "web"
PASSWORD = "bench-secret"
HBA = f"""host all {TRUSTED} {HERE}/32 trust
host all {BY_PASSWORD} {HERE}/32 password
host {DATABASE} {BY_KEY} {HERE}/32 key
host {DATABASE} {BY_TOKEN} {HERE}/32 jwt
host pgbouncer console {HERE}/32 scram-sha-256
"""
THREADS = 2
# The token endpoint: connections, and requests that are under way on each.
WRITERS, DEPTH = 8, 16
# What is aimed at.
KNOWN_MOST, UNSEEN_MOST_US, TOKENS_LEAST_S = 1.3, 300.0, 2000.0
# Logins, and transactions of each client, in the two runs under valgrind that are compared.
SHORT, LONG = 100, 400
CLIENTS, QUERIES_SHORT, QUERIES_LONG = 32, 100, 400
PROTOCOLS = ("simple", "extended", "prepared")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev bench identity")
    arguments.add_argument("--rounds", type=at_least(1), default=5, help="how many (default: 5)")
    arguments.add_argument("--logins", type=at_least(100), default=1500, help="in each run (default: 1500)")
    arguments.add_argument("--seconds", type=at_least(1), default=10, help="of the token endpoint (default: 10)")
    arguments.add_argument("--only", default="", help="of logins, instructions, queries, tokens: those with this in their name")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--pgbouncer", default="", help=argparse.SUPPRESS)
    arguments.add_argument("--store-size", default="", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    return in_rig("identity", lambda rig: bench(rig, chosen))


@dataclass(frozen=True)
class Way:
    """A way in."""

    name: str
    user: str

    def passwords(self, keys: Keys, count: int) -> list[str]:
        """So many, one for each login."""
        if self.user == TRUSTED:
            return [""] * count
        if self.user == BY_PASSWORD:
            return [PASSWORD] * count
        if self.user == BY_KEY:
            return [keys.key.text] * count
        return [keys.token] * count if self.name == "jwt, seen" else keys.fresh(count)


# A password of its own in clear: the same round trip more than trust, and nothing to be known of anybody.
WAYS = (Way("trust", TRUSTED), Way("password", BY_PASSWORD), Way("key", BY_KEY), Way("jwt, seen", BY_TOKEN),
        Way("jwt, unseen", BY_TOKEN))


class Keys:
    """A key, a token, and more of them."""

    def __init__(self, house: House):
        self.house = house
        with contextlib.closing(house.api()) as api:
            _, self.key = house.application(api, BY_TOKEN)
        [self.token] = self.fresh(1)

    def fresh(self, count: int) -> list[str]:
        """Tokens that nobody has seen."""
        with contextlib.closing(self.house.api()) as api:
            return [api.token(self.key) for _ in range(count)]


def open_house(rig: Rig, postgres: Postgres, binary: str, launcher: list[str], name: str) -> House:
    """One worker; TLS for who asks for it."""
    door = Door(free_port(), postgres.port, POOL_SIZE, 1000, "hba", passwords={"console": "console", BY_KEY: "", TRUSTED: "", BY_PASSWORD: PASSWORD}, admin="console")
    door.more = {"auth_hba_file": str(rig.write(f"{name}.hba", HBA)), **certificate(rig), "max_prepared_statements": "100"}
    door.own = {"workers": "1"}
    return House(rig, binary, door, f"sqlite:{rig.folder / name}.db", launcher, name)


def certificate(rig: Rig) -> dict[str, str]:
    """ECDSA, signed by itself."""
    key, cert = rig.folder / "door.key", rig.folder / "door.crt"
    if not cert.exists():
        argv = ["openssl", "req", "-new", "-x509", "-days", "30", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        rig.run([*argv, "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)])
    return {"client_tls_sslmode": "allow", "client_tls_key_file": str(key), "client_tls_cert_file": str(cert)}


def bench(rig: Rig, chosen: argparse.Namespace) -> int:
    """Measures and prints; the exit status says whether an aim was missed."""
    postgres = Postgres(rig, POOL_SIZE + 30, "trust", {}, {"shared_buffers": "128MB"})
    session = postgres.connect()
    for role in (TRUSTED, BY_PASSWORD):
        session.query(f"create role {role} login")
    session.close()
    pgbench.fill(postgres, 1)
    session = postgres.connect(DATABASE)
    session.query("grant all on all tables in schema public to public")
    session.close()
    parts = {"logins": logins, "instructions": instructions, "queries": queries, "tokens": tokens, "store": store}
    missed = []
    for name, part in parts.items():
        if chosen.only in name:
            print(f"\n{name}", flush=True)
            missed += part(rig, postgres, chosen)
    for miss in missed:
        print(f"  MISSED  {miss}")
    return 1 if missed else 0


def cpu_us(pid: int) -> float:
    """What all threads have used so far, by the scheduler's own clock."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e3


def log_in(port: int, user: str, passwords: list[str], tls: ssl.SSLContext | None) -> None:
    """Each logs in and leaves, a few at a time."""
    failed: list[BaseException] = []

    def some(mine: list[str]) -> None:
        try:
            for password in mine:
                Connection(HERE, port, user, DATABASE, password, tls=tls).close()
        except BaseException as error:  # Whatever it is, it is told by the thread that measures.
            failed.append(error)

    threads = [threading.Thread(target=some, args=(passwords[at::THREADS],)) for at in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise Failed(f"a login of {user} failed: {failed[0]}")


def any_tls() -> ssl.SSLContext:
    """Whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def logins(rig: Rig, postgres: Postgres, chosen: argparse.Namespace) -> list[str]:
    """CPU of the process, kernel included, in turns."""
    house = open_house(rig, postgres, chosen.binary, [], "logins")
    keys, rows, missed = Keys(house), [], []
    for door, tls in (("plain", None), ("TLS", any_tls())):
        spent: dict[str, list[float]] = {way.name: [] for way in WAYS}
        for way in WAYS:
            log_in(house.door.port, way.user, way.passwords(keys, 20), tls)
        for number in range(chosen.rounds):
            for turn in range(len(WAYS)):
                way = WAYS[(turn + number) % len(WAYS)]
                passwords = way.passwords(keys, chosen.logins)
                time.sleep(0.2)
                before = cpu_us(house.pooler.pid)
                log_in(house.door.port, way.user, passwords, tls)
                spent[way.name].append((cpu_us(house.pooler.pid) - before) / chosen.logins)
        base = spent["trust"]
        for way in WAYS:
            ratio = statistics.median(ours / trust for ours, trust in zip(spent[way.name], base))
            more = statistics.median(ours - trust for ours, trust in zip(spent[way.name], base))
            rows.append([f"{door}, {way.name}", f"{statistics.median(spent[way.name]):.1f}", f"{ratio:.2f} x", f"{more:+.1f}"])
            if way.name in ("key", "jwt, seen") and ratio > KNOWN_MOST:
                missed.append(f"{door}: a login by {way.name} costs {ratio:.2f} x of a trusted one, not {KNOWN_MOST}")
            if way.name == "jwt, unseen" and more > UNSEEN_MOST_US:
                missed.append(f"{door}: an unseen token costs {more:.0f} us more, not {UNSEEN_MOST_US:.0f}")
    house.pooler.stop()
    about = (f"CPU of a login and its end, user space and kernel, us; median of {chosen.rounds} rounds of {chosen.logins} logins in "
             "turns; one worker.")
    print(f"\n{about}\n\n" + report.markdown(["", "CPU (us)", "beside trust, in the same round", "more than trust (us)"], rows))
    return missed


def totals(counts: Path) -> int:
    """Instructions that callgrind has counted."""
    total = re.search(r"^totals: (\d+)$", counts.read_text(errors="replace"), re.MULTILINE)
    if not total:
        raise Failed(f"{counts.name} has no totals")
    return int(total[1])


def counted(rig: Rig, postgres: Postgres, chosen: argparse.Namespace, name: str, work) -> int:
    """Instructions of a pooler from its start to its end, with some work between them."""
    if not shutil.which("valgrind"):
        raise Failed("valgrind is not there")
    counts = rig.folder / f"callgrind-{name}"
    launcher = ["valgrind", "--tool=callgrind", "--vgdb=no", f"--callgrind-out-file={counts}"]
    house = open_house(rig, postgres, chosen.binary, launcher, name)
    work(house)
    house.pooler.process.check()
    house.pooler.stop()
    return totals(counts)


def instructions(rig: Rig, postgres: Postgres, chosen: argparse.Namespace) -> list[str]:
    """Of a login, in user space."""
    found = {}
    for way in WAYS:

        def work(house: House, way: Way = way, count: int = 0) -> None:
            # What is fetched beforehand is as much in both runs.
            passwords = way.passwords(Keys(house), LONG)
            log_in(house.door.port, way.user, passwords[:count], None)

        short, long = (counted(rig, postgres, chosen, f"{way.user}-{WAYS.index(way)}-{count}", lambda house: work(house, count=count))
                       for count in (SHORT, LONG))
        found[way.name] = (long - short) / (LONG - SHORT)
        print(f"  {way.name}: {found[way.name]:,.0f}", flush=True)
    rows = [[name, f"{figure:,.0f}", f"{figure / found['trust']:.2f} x", f"{figure - found['trust']:+,.0f}"] for name, figure in found.items()]
    print("\nInstructions of a login and its end in user space.\n\n" + report.markdown(["", "instructions", "beside trust", "more"], rows))
    return []


def queries(rig: Rig, postgres: Postgres, chosen: argparse.Namespace) -> list[str]:
    """Instructions of a transaction, by who is in the session."""
    rows, base = [], {}
    for way in (way for way in WAYS if way.name in ("trust", "key")):
        figures = []
        for protocol in PROTOCOLS:

            def work(house: House, way: Way = way, protocol: str = protocol, each: int = 0) -> None:
                [password] = way.passwords(Keys(house), 1)
                load = pgbench.Load(protocol, CLIENTS, transactions_each=each, log_share=0.01, user=way.user)
                done = pgbench.run(rig, house.door.port, load, password)
                if done.failed:
                    raise Failed(f"{done.failed} transactions failed: {done.complaint}")

            short, long = (counted(rig, postgres, chosen, f"{way.user}-{protocol}-{each}", lambda house: work(house, each=each))
                           for each in (QUERIES_SHORT, QUERIES_LONG))
            figures.append((long - short) / (CLIENTS * (QUERIES_LONG - QUERIES_SHORT)))
            base.setdefault(protocol, figures[-1])
        rows.append([way.name, *(f"{figure:,.0f} ({figure / base[of]:.3f} x)" for figure, of in zip(figures, PROTOCOLS))])
        print(f"  {' '.join(rows[-1])}", flush=True)
    print(f"\nInstructions of a transaction in user space; {CLIENTS} clients over {POOL_SIZE} server connections.\n\n"
          + report.markdown(["session by", *PROTOCOLS], rows))
    return []


def store_url(rig: Rig, postgres: Postgres, kind: str, name: str) -> str:
    """Where a new store of a kind is; on PostgreSQL the database is made."""
    if kind == "sqlite":
        return f"sqlite:{rig.folder / f'{name}.db'}"
    session = postgres.connect()
    session.query(f"create database {name}")
    session.close()
    return f"postgres://postgres@{HERE}:{postgres.port}/{name}"


def tokens(rig: Rig, postgres: Postgres, chosen: argparse.Namespace) -> list[str]:
    """How many the endpoint gives out, and what one costs."""
    rows, missed = [], []
    for kind in ("sqlite", "postgres"):
        url = store_url(rig, postgres, kind, "tokens")
        door = Door(free_port(), postgres.port, POOL_SIZE, 1000, "key", passwords={"app": "console"}, own={"workers": "1"})
        house = House(rig, chosen.binary, door, url, [], f"tokens-{kind}")
        with contextlib.closing(house.api()) as api:
            keys = [house.application(api, f"app{number}")[1] for number in range(WRITERS)]
        before, begin = cpu_us(house.pooler.pid), time.monotonic()
        fetched = fetch(house.http_port, keys, chosen.seconds)
        spent, seconds = cpu_us(house.pooler.pid) - before, time.monotonic() - begin
        house.pooler.stop()
        rows.append([f"store on {kind}", f"{fetched / seconds:,.0f}", f"{spent / max(fetched, 1):.0f}", f"{spent / 1e4 / seconds:.0f} %"])
        if fetched / seconds < TOKENS_LEAST_S:
            missed.append(f"{fetched / seconds:,.0f} tokens a second from a store on {kind}, not {TOKENS_LEAST_S:,.0f}")
    print(f"\n{WRITERS} clients with {DEPTH} requests under way each, {chosen.seconds} s, on {os.cpu_count()} cores with the load on "
          "them.\n\n" + report.markdown(["", "tokens a second", "CPU of one (us)", "of a core"], rows))
    return missed


def fetch(port: int, keys: list[Key], seconds: int) -> int:
    """Fetches as many as it can; how many there were."""
    counts, failed = [0] * len(keys), []
    until = time.monotonic() + seconds

    def some(at: int) -> None:
        form = "grant_type=client_credentials"
        head = [f"POST /oauth/token HTTP/1.1\r\nHost: {HERE}:{port}", "Content-Type: application/x-www-form-urlencoded",
                f"Content-Length: {len(form)}", *(f"{name}: {value}" for name, value in keys[at].basic.items())]
        requests = ("\r\n".join(head) + "\r\n\r\n" + form).encode() * DEPTH
        with socket.create_connection((HERE, port), 30) as wire:
            while time.monotonic() < until and not failed:
                wire.sendall(requests)
                text = b""
                while text.count(b'"access_token"') < DEPTH or not text.endswith(b"}"):
                    more = wire.recv(1 << 16)
                    text += more
                    if not more or b"HTTP/1.1 4" in text or b"HTTP/1.1 5" in text:
                        failed.append(text[-500:])
                        return
                counts[at] += DEPTH

    threads = [threading.Thread(target=some, args=(at,)) for at in range(len(keys))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise Failed(f"no token: {failed[0].decode(errors='replace')}")
    return sum(counts)


def store(rig: Rig, postgres: Postgres, chosen: argparse.Namespace) -> list[str]:
    """What questions take while there are a million keys."""
    if not chosen.store_size:
        return []
    program = str(rig.program(chosen.store_size))
    for kind in ("sqlite", "postgres"):
        url = store_url(rig, postgres, kind, "big")
        print(f"{kind}:", flush=True)
        done = subprocess.run([*rig.prefix(), program, url], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=rig.folder)
        if done.returncode:
            raise Failed(f"store_size failed:\n{done.stderr.strip()}")
        print(done.stdout, flush=True)
    return []


if __name__ == "__main__":
    sys.exit(main())
