"""Somebody who looks again and again while a load runs, and keeps the most that was seen."""

from __future__ import annotations

import threading

from .wire import Connection, WireError

# PostgreSQL's own count of sessions, without the one that asks.
SESSIONS = """
    select count(*) as n from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
"""


class Watch:
    """Asks one question every few milliseconds on a session of its own, in a thread of its own.

    A watch that lost its session says so when it is read: a cap that nobody watched was not kept.
    """

    def __init__(self, session: Connection, sql: str, figure, interval_s: float):
        self.session, self.sql, self.figure, self.interval_s = session, sql, figure, interval_s
        self.most = 0.0
        self.looks = 0
        self.broken: str | None = None
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.enough.set()
        self.thread.join(10)

    def _look(self) -> None:
        while not self.enough.is_set():
            try:
                self.most = max(self.most, self.figure(self.session.query(self.sql)))
            except (OSError, WireError, KeyError, ValueError, TypeError) as error:
                self.broken = str(error) or repr(error)
                return
            self.looks += 1
            self.enough.wait(self.interval_s)


def sessions(session: Connection) -> Watch:
    """The most sessions that PostgreSQL had at once."""
    return Watch(session, SESSIONS, lambda rows: float(rows[0]["n"]), 0.005)


def longest_wait(console: Connection) -> Watch:
    """The longest, in milliseconds, that the oldest client in a queue had been waiting."""
    return Watch(console, "SHOW POOLS", _oldest_wait_ms, 0.02)


def _oldest_wait_ms(rows) -> float:
    return max((float(row["maxwait"]) * 1e3 + float(row["maxwait_us"]) / 1e3 for row in rows), default=0.0)
