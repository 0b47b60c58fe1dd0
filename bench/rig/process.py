"""Processes and a folder that are gone when we are, however we end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

HERE = "127.0.0.1"
STOP_PATIENCE_S = 15


class Failed(Exception):
    """Something could not be done; the text is for whoever typed the command."""


class Rig:
    """A temporary folder and all processes started for it.

    As root, what is started runs as an unprivileged user (PostgreSQL insists on that); otherwise as ourselves. Each
    process has a session of its own, so that Ctrl-C reaches only us and we can stop things in order; if we are killed
    outright, the kernel ends them (`setpriv --pdeathsig`).
    """

    def __init__(self, what: str):
        self.user = unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix=f"plimsoll-{what}."))
        self.closing = contextlib.ExitStack()
        self.closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        if self.user:
            shutil.chown(self.folder, self.user, pwd.getpwnam(self.user).pw_gid)

    def __enter__(self) -> Rig:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
        return self

    def __exit__(self, *_) -> None:
        # From here on nothing interrupts: whoever presses Ctrl-C again means what is happening already.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.closing.close()

    def write(self, name: str, text: str) -> Path:
        """Writes a file that only we and the unprivileged user can read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        if self.user:
            shutil.chown(path, self.user)
        return path

    def program(self, path: str) -> Path:
        """A copy of a program where the unprivileged user can reach it, whoever's home it was built in."""
        copy = self.folder / "bin" / Path(path).name
        copy.parent.mkdir(exist_ok=True)
        if not copy.exists():
            shutil.copy(path, copy)
        for entry in (copy.parent, copy):
            entry.chmod(0o755)
        return copy

    def prefix(self, death: str = "KILL") -> list[str]:
        """What comes before a command so that it runs as it should."""
        drop = [f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"] if self.user else []
        return ["setpriv", "--pdeathsig", death, *drop, "--"]

    def run(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        """Runs a command to its end."""
        done = subprocess.run(
            self.prefix() + argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **(env or {})},
        )
        if done.returncode:
            raise Failed(f"{Path(argv[0]).name} failed:\n{(done.stderr or done.stdout).strip()}")

    def start(self, name: str, argv: list[str], stop: signal.Signals) -> Process:
        """Starts something that stays until the rig is closed."""
        log = self.folder / f"{name}.log"
        with open(log, "wb") as out:
            child = subprocess.Popen(
                self.prefix(stop.name[3:]) + argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        process = Process(name, child, log, stop)
        self.closing.callback(process.stop)
        return process


class Process:
    """One that we started."""

    def __init__(self, name: str, child: subprocess.Popen, log: Path, stop: signal.Signals):
        self.name, self.child, self.log, self.stop_signal = name, child, log, stop

    @property
    def pid(self) -> int:
        """Its number: `setpriv` becomes the program, so this is the program's own."""
        return self.child.pid

    def check(self) -> None:
        """Raises if it has ended."""
        if self.child.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.child.returncode}. The end of its log:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The end of what it printed."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join("    " + line for line in text.splitlines()[-lines:]) or "    (it printed nothing)"

    def stop(self) -> None:
        """Asks, waits, insists. Ends this process only, by its number."""
        for number, patience_s in ((self.stop_signal, STOP_PATIENCE_S), (signal.SIGKILL, None)):
            if self.child.poll() is not None:
                return
            self.child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(patience_s)


def unprivileged_user() -> str | None:
    """Who runs what we start; None where that is ourselves."""
    if os.geteuid() != 0:
        return None
    name = os.environ.get("PLIMSOLL_TEST_USER", "postgres")
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise Failed(f"PostgreSQL does not run as root, and there is no user {name!r} (PLIMSOLL_TEST_USER)") from None
    return name


def port_is_free(port: int) -> bool:
    """Whether somebody could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HERE, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that the kernel says is free."""
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        return probe.getsockname()[1]


def next_free_port(first: int) -> int:
    """`first`, or the next one that is free."""
    for port in range(first, min(first + 1000, 65536)):
        if port_is_free(port):
            return port
    raise Failed(f"no free port from {first} on")


def _end(number: int, _frame) -> None:
    raise SystemExit(128 + number)
