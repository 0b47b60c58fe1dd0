"""Poolers: Plimsoll, and PgBouncer beside which it is measured. Both read the same file."""

from __future__ import annotations

import signal
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

from .process import HERE, Failed, Rig
from .wire import Connection, WireError

START_PATIENCE_S = 20


@dataclass
class Door:
    """What a pooler is told: where to listen, whom to let in, where PostgreSQL is."""

    port: int
    server_port: int
    pool_size: int
    client_max: int
    auth_type: str = "trust"
    passwords: dict[str, str] = field(default_factory=dict)
    admin: str = "app"
    more: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    plain: str = ""
    databases: tuple[str, ...] = ("app",)

    @property
    def password(self) -> str:
        """What the admin logs in with; a secret in auth_file may be another."""
        return self.plain or self.passwords.get(self.admin, "")

    def ini(self, auth_file: Path) -> str:
        """The file's text, for PgBouncer and, with `[plimsoll]` keys, for us."""
        lines = [
            "[databases]",
            *(f"{name} = host={HERE} port={self.server_port} dbname={name}" for name in self.databases),
            "[pgbouncer]",
            f"listen_addr = {HERE}",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            f"auth_type = {self.auth_type}",
            f"auth_file = {auth_file}",
            f"admin_users = {self.admin}",
            "pool_mode = transaction",
            f"default_pool_size = {self.pool_size}",
            f"max_client_conn = {self.client_max}",
            "log_connections = 0",
            "log_disconnections = 0",
            "ignore_startup_parameters = extra_float_digits",
        ]
        lines += [f"{key} = {value}" for key, value in self.more.items()]
        if self.own:
            lines.append("[plimsoll]")
            lines += [f"{key} = {value}" for key, value in self.own.items()]
        return "\n".join(lines) + "\n"


class Pooler:
    """A running pooler."""

    def __init__(self, rig: Rig, name: str, argv: list[str], door: Door):
        self.name, self.door = name, door
        users = "".join(f'"{user}" "{secret}"\n' for user, secret in door.passwords.items())
        auth_file = rig.write(f"{name}.users", users or f'"{door.admin}" ""\n')
        ini = rig.write(f"{name}.ini", door.ini(auth_file))
        # SIGQUIT: both end at once. SIGINT and SIGTERM wait for somebody.
        self.process = rig.start(name, [*argv, str(ini)], signal.SIGQUIT)
        self._wait()

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def connect(self, database: str = "app") -> Connection:
        """A session through it."""
        return Connection(HERE, self.door.port, self.door.admin, database, self.door.password, tls=self.door.tls)

    def console(self) -> Connection:
        """Its console."""
        return self.connect("pgbouncer")

    def stop(self) -> None:
        """Ends it before the rig does."""
        self.process.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_PATIENCE_S
        while True:
            self.process.check()
            try:
                self.console().close()
                return
            except (OSError, WireError) as error:
                if time.monotonic() > deadline:
                    raise Failed(f"{self.name} does not let us in: {error}\n{self.process.tail()}") from None
                time.sleep(0.1)
