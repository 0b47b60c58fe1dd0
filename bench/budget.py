#!/usr/bin/env python3
"""The soak of the budget: a small server that many pools and foreign programs share, a greedy application beside a
modest one, and a server that goes away under load. `./dev soak --budget` calls this.

It passes if no client saw a refusal, if PostgreSQL refused nobody while a control user looked on, and if the bounds
that docs/budget.md states were kept.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from dataclasses import dataclass, field

from rig import figures, pgbench, report, watch
from rig.command import at_least, status_of
from rig.pooler import Door, Pooler
from rig.postgres import Postgres
from rig.process import HERE, Rig, free_port
from rig.wire import Connection, WireError

LIMIT = 30
FOREIGN_MOST = 10
DATABASES = tuple(f"d{number}" for number in range(3))
USERS = tuple(f"u{number}" for number in range(5))
CLIENTS_EACH = 40
REFUSED = "53300"
# What is said to have a control user look at the server.
LOOKS = {"control_user": "watcher", "control_interval": "1s"}
# Where only refusals teach, so many logins a second may be refused: a full server is asked for one more now and then.
REFUSED_S = 2.0
# A transaction of about 2 ms, most of it in PostgreSQL: connections are what is short, not the processor.
SLEEPS = "select pg_sleep(0.002);\n"


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./dev soak --budget")
    arguments.add_argument("--seconds", type=at_least(5), default=120, help="of each crowd (default: 120)")
    arguments.add_argument("--only", default="", help="scenes whose name has this in it")
    arguments.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    figures.raise_descriptor_limit(8000)
    scenes = {
        "crowd, control user": lambda rig: crowd(rig, chosen, LOOKS, "transaction"),
        "crowd, untouched ini": lambda rig: crowd(rig, chosen, {}, "transaction"),
        "crowd, PgBouncer's shape": lambda rig: crowd(rig, chosen, {"compat": "pgbouncer"}, "transaction"),
        "crowd, session mode": lambda rig: crowd(rig, chosen, LOOKS, "session"),
        "greedy and modest": lambda rig: greedy(rig, chosen),
        "away for 20 s": lambda rig: away(rig, chosen),
    }
    wanted = {name: scene for name, scene in scenes.items() if chosen.only in name}
    if not wanted:
        arguments.error(f"no scene has {chosen.only!r} in its name; there are: {'; '.join(scenes)}")

    def work() -> int:
        problems = []
        for name, scene in wanted.items():
            print(f"\n{name}", flush=True)
            with Rig("budget") as rig:
                problems += [f"{name}: {problem}" for problem in scene(rig)]
        return show(problems)

    return status_of(work)


def show(problems: list[str]) -> int:
    """The verdict; the exit status."""
    for problem in problems:
        print(f"  PROBLEM  {problem}")
    print("soak --budget: " + ("FAILED" if problems else "passed"))
    return 1 if problems else 0


def open_pooler(rig: Rig, chosen: argparse.Namespace, door: Door) -> Pooler:
    return Pooler(rig, "plimsoll", [str(rig.program(chosen.binary))], door)


# Many pools, a foreign program, a small server.


def crowd(rig: Rig, chosen: argparse.Namespace, own: dict[str, str], mode: str) -> list[str]:
    """600 clients of 15 pools on a server of 30 connections, of which others take up to 10."""
    postgres = Postgres(rig, LIMIT, "trust", {}, {"log_error_verbosity": "verbose"})
    session = postgres.connect()
    for name in DATABASES:
        session.query(f"create database {name}")
    for name in USERS:
        session.query(f"create role {name} login")
    session.query("create role watcher login in role pg_read_all_stats")
    session.close()
    secrets = {name: "" for name in (*USERS, "watcher", "app")}
    control = "control_user" in own
    door = Door(free_port(), postgres.port, 20, 2000, passwords=secrets, databases=DATABASES, own=own)
    door.more["pool_mode"] = mode
    pooler = open_pooler(rig, chosen, door)
    script = rig.write("sleeps.sql", SLEEPS)
    with Foreign(postgres) as foreign, watch.sessions(postgres.connect()) as sessions:
        loads = {}
        for user in USERS:
            for database in DATABASES:
                load = pgbench.Load("simple", CLIENTS_EACH, chosen.seconds, script=("-f", str(script)), log_share=0.05)
                load.user, load.database = user, database
                loads[f"{database}/{user}"] = pgbench.Running(rig, f"{database}-{user}", door.port, load)
        outcomes = {name: load.outcome() for name, load in loads.items()}
    pooler.process.check()
    log = postgres.process.log.read_text(errors="replace")
    # Those of the foreign program are its own: it asks PostgreSQL, not us.
    refused = sum(f"FATAL:  {REFUSED}" in line for line in log.splitlines()) - foreign.refused
    done = [outcome.transactions for outcome in outcomes.values()]
    print(f"  {sum(done):,} transactions, each pool {min(done):,} to {max(done):,}; at most {sessions.most:.0f} sessions of "
          f"{LIMIT} beside the one that counts; foreign ones 0 to {foreign.most}; logins of ours that PostgreSQL refused: {refused}", flush=True)
    problems = [f"{name}: {outcome.failed} failed: {outcome.complaint}" for name, outcome in outcomes.items() if outcome.failed]
    if sessions.broken:
        problems.append(f"nobody watched to the end: {sessions.broken}")
    if mode == "transaction" and min(done) == 0:
        problems.append("a pool starved")
    if refused > REFUSED_S * chosen.seconds:
        problems.append(f"a storm: PostgreSQL refused {refused} logins of ours in {chosen.seconds} s")
    if control and refused:
        problems.append(f"PostgreSQL refused {refused} logins of ours although a control user looked on")
    # Where nobody looks at the server we take what it gives, and others find it full; so they do beyond the headroom
    # where sessions keep what they have.
    if control and mode == "transaction" and foreign.refused:
        problems.append(f"{foreign.refused} logins of others were refused")
    return problems


class Foreign:
    """A program that is not ours and goes straight to PostgreSQL: 0 to 10 sessions, one more or less at a time."""

    def __init__(self, postgres: Postgres):
        self.postgres, self.most, self.refused = postgres, 0, 0
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Foreign:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.enough.set()
        self.thread.join(10)

    def _live(self) -> None:
        dice, held = random.Random(1), []
        while not self.enough.wait(0.5):
            wanted = max(0, min(FOREIGN_MOST, len(held) + dice.choice((-1, 1))))
            while len(held) > wanted:
                held.pop().close()
            if len(held) < wanted:
                try:
                    held.append(Connection(HERE, self.postgres.port, "app", "app", application="foreign"))
                except (OSError, WireError):
                    self.refused += 1
            self.most = max(self.most, len(held))
        for session in held:
            session.close()


# A greedy application beside a modest one.


def greedy(rig: Rig, chosen: argparse.Namespace) -> list[str]:
    """1,000 clients of one application and 5 of another in one pool: how long the 5 take, in both orders of service."""
    postgres = Postgres(rig, LIMIT, "trust", {}, {})
    script = rig.write("sleeps.sql", SLEEPS)
    seconds = max(chosen.seconds // 6, 5)
    rows, problems = [], []
    for fairness in ("application", "fifo"):
        door = Door(free_port(), postgres.port, 20, 2000, own={"queue_fairness": fairness})
        pooler = open_pooler(rig, chosen, door)
        load = lambda name, clients, more: pgbench.Load(  # noqa: E731
            "simple", clients, seconds + more, script=("-f", str(script)), application=name, log_share=1.0)
        # What a transaction takes where nobody waits: as many clients as servers, in the same noise.
        alone = pgbench.Running(rig, "alone", door.port, load("alone", 20, 0)).outcome()
        many = pgbench.Running(rig, "greedy", door.port, load("greedy", 1000, 4))
        time.sleep(3)
        few = pgbench.Running(rig, "modest", door.port, load("modest", 5, 0)).outcome()
        crowd_of = many.outcome()
        pooler.process.check()
        pooler.stop()
        for outcome in (alone, few, crowd_of):
            if outcome.failed:
                problems.append(f"{outcome.failed} failed: {outcome.complaint}")
        ratio = few.latency_p99_ms / alone.latency_p99_ms
        rows.append([fairness, f"{alone.latency_p99_ms:.1f}", f"{few.latency_p99_ms:.1f}", f"{ratio:.1f} x",
                     f"{crowd_of.latency_p99_ms:.1f}"])
        # A wait of 3 transactions and the transaction itself.
        if fairness == "application" and ratio > 4:
            problems.append(f"the modest application's p99 is {ratio:.1f} x that of a transaction")
    head = ["queue_fairness", "p99 of 20 alone, ms", "p99 of the modest 5, ms", "ratio", "p99 of the greedy 1,000, ms"]
    print(report.table(head, rows), flush=True)
    return problems


# A server that goes away.


@dataclass
class Tally:
    """What the clients of one load have seen."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    answers: list[float] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


CLIENTS = 100
CONNECTS = 4
AWAY_S = 20


def away(rig: Rig, chosen: argparse.Namespace) -> list[str]:
    """PostgreSQL stopped for 20 s under load: who is told off, how many logins there are at once, how soon it is well."""
    postgres = Postgres(rig, LIMIT, "trust", {}, {})
    door = Door(free_port(), postgres.port, 20, 500, own={"connect_concurrency": str(CONNECTS)})
    pooler = open_pooler(rig, chosen, door)
    tally, console = Tally(), pooler.console()
    threads = [threading.Thread(target=_ask, args=(door.port, tally), daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(5)
    before = _rate(tally, time.monotonic() - 3, time.monotonic())
    gone = time.monotonic()
    postgres.stop()
    most = _most_logins(console, gone + AWAY_S)
    postgres.start()
    back = time.monotonic()
    most = max(most, _most_logins(console, back + 3))
    time.sleep(3)
    after = _rate(tally, back + 3, back + 6)
    tally.ended.set()
    for thread in threads:
        thread.join(30)
    stuck = sum(thread.is_alive() for thread in threads)
    # Who had a server when it went has lost it; everybody else had nothing to lose.
    lost = len(tally.errors)
    late = [text for at, text in tally.errors if at > gone + 3]
    print(f"  {before:,.0f} answers/s before, {after:,.0f} from the third second after it accepted again; at most {most} "
          f"logins at once; {lost} of {CLIENTS} clients had a statement in the server that went", flush=True)
    problems = []
    if most > CONNECTS:
        problems.append(f"{most} logins at once, connect_concurrency is {CONNECTS}")
    if after < 0.9 * before:
        problems.append(f"{after:,.0f} answers/s after it, {before:,.0f} before")
    if lost > door.pool_size:
        problems.append(f"{lost} clients saw an error, the pool had {door.pool_size} servers: {tally.errors[-1][1]}")
    if late:
        problems.append(f"{len(late)} were told off while it was away: {late[0]}")
    if stuck:
        problems.append(f"{stuck} clients never got an answer")
    return problems


def _ask(port: int, tally: Tally) -> None:
    client = None
    while not tally.ended.is_set():
        try:
            client = client or Connection(HERE, port, "app", "app", patience_s=60)
            client.query("select pg_sleep(0.01)")
            with tally.lock:
                tally.answers.append(time.monotonic())
        except (OSError, WireError) as error:
            with tally.lock:
                tally.errors.append((time.monotonic(), str(error)))
            client = None
    if client:
        client.close()


def _rate(tally: Tally, begin: float, end: float) -> float:
    with tally.lock:
        return sum(begin <= at < end for at in tally.answers) / (end - begin)


def _most_logins(console: Connection, until: float) -> int:
    most = 0
    while time.monotonic() < until:
        most = max(most, sum(int(row["sv_login"]) for row in console.query("SHOW POOLS")))
        time.sleep(0.02)
    return most


if __name__ == "__main__":
    sys.exit(main())
