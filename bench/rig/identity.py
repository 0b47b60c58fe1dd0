"""A pooler that knows identities: its store, its API, applications with keys, tokens."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import subprocess
from dataclasses import dataclass

from .pooler import Door, Pooler
from .process import HERE, Failed, Rig, free_port

PATIENCE_S = 30
# The one login role of these scenes, and the database that clients ask for.
ROLE = DATABASE = "app"


@dataclass(frozen=True)
class Key:
    """A key, and what HTTP wants of it."""

    text: str

    @property
    def bearer(self) -> dict[str, str]:
        """For the API."""
        return {"Authorization": f"Bearer {self.text}"}

    @property
    def basic(self) -> dict[str, str]:
        """For the token endpoint: client_secret_basic."""
        pair = f"{self.text.split('_')[2]}:{self.text}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


class Api:
    """The HTTP API, one request after the other on one connection."""

    def __init__(self, port: int, key: Key):
        self.port, self.key = port, key
        self.connection = http.client.HTTPConnection(HERE, port, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        """The answer, which has to be a good one."""
        headers = {**self.key.bearer, "Content-Type": "application/json"}
        return self._send(method, path, json.dumps(body) if body is not None else None, headers)

    def token(self, key: Key) -> str:
        """A fresh access token."""
        headers = {**key.basic, "Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", "/oauth/token", "grant_type=client_credentials", headers)["access_token"]

    def _send(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> dict:
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:300]}")
        return json.loads(text) if text else {}

    def close(self) -> None:
        """Its connection."""
        self.connection.close()


class House:
    """A pooler with a store of identities, an organisation with a data set, and an administrator.

    The console's users go on logging in by their secrets; `launcher` is what the program is started by.
    """

    def __init__(self, rig: Rig, binary: str, door: Door, store: str, launcher: list[str] | None = None, name: str = "plimsoll"):
        program = str(rig.program(binary))
        self.admin = Key(init(rig, program, store))
        self.http_port = free_port()
        door.own = {"identity_store": store, "http_listen": f"{HERE}:{self.http_port}", **door.own}
        self.door = door
        self.pooler = Pooler(rig, name, [*(launcher or []), program], door)
        with contextlib.closing(self.api()) as api:
            self.org = api.ask("POST", "/v1/orgs", {"name": "acme"})["id"]
            dataset = {"org": self.org, "name": "orders", "database": DATABASE}
            self.dataset = api.ask("POST", "/v1/datasets", dataset)["id"]

    def api(self, key: Key | None = None) -> Api:
        """As the administrator, or as somebody."""
        return Api(self.http_port, key or self.admin)

    def application(self, api: Api, name: str, scopes: list[str] | None = None, **limits: int) -> tuple[str, Key]:
        """One with a grant and a key: its id and the key."""
        app = api.ask("POST", "/v1/apps", {"org": self.org, "name": name, "party": "first"})["id"]
        grant = {"subject": app, "dataset": self.dataset, "role": ROLE, "actions": ["*"], "limits": limits}
        api.ask("POST", "/v1/grants", grant)
        key = {"app": app, "kind": "key", "env": "soak", **({"scopes": scopes} if scopes else {})}
        return app, Key(api.ask("POST", "/v1/keys", key)["key"])


def init(rig: Rig, program: str, store: str) -> str:
    """Makes a store; the first administrator's key."""
    argv = [*rig.prefix(), program, "identity", "init", "--store", store]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=rig.folder)
    if done.returncode:
        raise Failed(f"identity init failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
