"""A PostgreSQL that lives in a folder and is thrown away."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from .process import HERE, Failed, Rig, free_port
from .wire import Connection, WireError

START_PATIENCE_S = 60


def bin_folder() -> Path:
    """The folder of `postgres`, `initdb` and `pgbench`: PLIMSOLL_PG_BIN, which `./dev` sets."""
    folder = os.environ.get("PLIMSOLL_PG_BIN")
    if not folder or not (Path(folder) / "initdb").exists():
        raise Failed("PLIMSOLL_PG_BIN does not name a folder with initdb in it; start this through ./dev")
    return Path(folder)


class Postgres:
    """A running server with one database, `app`, owned by the role `app`. The superuser is `postgres`.

    Durability is off: what is measured is connections, not disks.
    """

    def __init__(self, rig: Rig, max_connections: int, auth: str, passwords: dict[str, str], more: dict[str, str]):
        self.rig, self.passwords = rig, passwords
        self.bin = bin_folder()
        self.data = rig.folder / "data"
        self.port = free_port()
        self._initdb(auth)
        settings = {
            "listen_addresses": HERE,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(max_connections),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            **more,
        }
        argv = [str(self.bin / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        self.argv = argv
        self.start()
        self._make_database()

    def start(self) -> None:
        """Starts it, for the first time or after `stop`, and waits until it lets people in."""
        # SIGINT is PostgreSQL's fast shutdown: sessions are ended, nobody is waited for.
        self.process = self.rig.start("postgres", self.argv, signal.SIGINT)
        self._wait()

    def stop(self) -> None:
        """Ends it and all its sessions."""
        self.process.stop()

    @property
    def version(self) -> str:
        """Such as `15.20`."""
        with_name = subprocess.run([str(self.bin / "postgres"), "--version"], capture_output=True, text=True)
        return with_name.stdout.split()[2]

    def connect(self, database: str = "postgres") -> Connection:
        """A session of the superuser, past any pooler."""
        return Connection(HERE, self.port, "postgres", database, self.passwords.get("postgres", ""))

    def _initdb(self, auth: str) -> None:
        argv = [str(self.bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", auth]
        argv += ["-E", "UTF8", "--locale=C", "--no-sync"]
        if self.passwords:
            argv.append(f"--pwfile={self.rig.write('initial-password', self.passwords['postgres'])}")
        self.rig.run(argv)

    def _wait(self) -> None:
        deadline = time.monotonic() + START_PATIENCE_S
        while True:
            self.process.check()
            try:
                self.connect().close()
                return
            except (OSError, WireError) as error:
                if time.monotonic() > deadline:
                    raise Failed(f"PostgreSQL does not answer: {error}\n{self.process.tail()}") from None
                time.sleep(0.1)

    def _make_database(self) -> None:
        session = self.connect()
        password = self.passwords.get("app")
        session.query("create role app login" + (f" password '{password}'" if password else ""))
        session.query("create database app owner app")
        session.close()
