"""Readers that take their time: each asks for 50 rows of 1 MB, reads one a second, and looks at every byte."""

from __future__ import annotations

import hashlib
import struct
import threading
import time

from .pooler import Pooler
from .process import Failed
from .wire import Connection

ROWS = 50
ROW_BYTES = 1_000_000
PAUSE_S = 1.0
PATIENCE_S = 180
SQL = f"SELECT i, repeat(md5(i::text), {ROW_BYTES // 32}) FROM generate_series(1, {ROWS}) i"


class Reader:
    """A client with a thread of its own."""

    def __init__(self, pooler: Pooler):
        self.session = pooler.connect()
        self.session.socket.settimeout(PATIENCE_S)
        self.hurry = threading.Event()
        self.trouble = ""
        text = SQL.encode() + b"\0"
        self.session.socket.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def finish(self) -> None:
        """Reads the rest as fast as it can; fails unless every byte was right."""
        self.hurry.set()
        self.thread.join(PATIENCE_S)
        self.session.close()
        if self.trouble or self.thread.is_alive():
            raise Failed(f"a lazy reader: {self.trouble or 'it never came to its end'}")

    def _run(self) -> None:
        try:
            rows = 0
            while True:
                tag, body = _message(self.session)
                if tag == b"D":
                    rows += 1
                    _look_at(body, rows)
                    self.hurry.wait(PAUSE_S)
                elif tag == b"E":
                    raise Failed(f"an error after {rows} rows")
                elif tag == b"Z":
                    if rows != ROWS:
                        raise Failed(f"{rows} rows of {ROWS}")
                    return
        except (Failed, OSError) as error:
            self.trouble = str(error)


def wait_until_off(console: Connection, count: int) -> float:
    """Waits until so many results are off their servers; seconds that took."""
    began = time.monotonic()
    while True:
        spills = console.query("SHOW SPILLS")
        if sum(spill["state"] == "draining" for spill in spills) >= count:
            return time.monotonic() - began
        if time.monotonic() - began > PATIENCE_S:
            raise Failed(f"the results are not off their servers after {PATIENCE_S} s: {spills}")
        time.sleep(0.05)


def _message(session: Connection) -> tuple[bytes, bytes]:
    head = session.inbox.read(5)
    if len(head) < 5:
        raise Failed("cut off")
    length = struct.unpack("!i", head[1:])[0] - 4
    body = session.inbox.read(length)
    if len(body) < length:
        raise Failed("cut off in the middle of a message")
    return head[:1], body


def _look_at(body: bytes, row: int) -> None:
    """A row is: count of columns, then length and value of each."""
    number = str(row).encode()
    text = hashlib.md5(number).hexdigest().encode() * (ROW_BYTES // 32)
    if body != struct.pack("!hi", 2, len(number)) + number + struct.pack("!i", len(text)) + text:
        raise Failed(f"row {row} is not what was asked for")
