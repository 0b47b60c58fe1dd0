"""A small PostgreSQL client: logs in, asks simple queries, reads text. Just enough to watch a server or a pooler.

It is here so that watching needs no driver to be installed and no program to be started for each look.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct

PROTOCOL_3_0 = 196608
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
SCRAM = b"SCRAM-SHA-256"


class WireError(Exception):
    """The other side said no, or said something that makes no sense here."""


class Connection:
    """One session. Not for use from two threads at once."""

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        database: str,
        password: str = "",
        patience_s: float = 10.0,
        application: str = "plimsoll-dev",
        tls: ssl.SSLContext | None = None,
    ):
        self.socket = socket.create_connection((host, port), patience_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket.sendall(SSL_REQUEST)
            if self.socket.recv(1) != b"S":
                raise WireError("there is no TLS here")
            self.socket = tls.wrap_socket(self.socket)
        self.inbox = self.socket.makefile("rb")
        self.user, self.password, self.application = user, password, application
        try:
            self._log_in(database)
        except BaseException:
            self.close()
            raise

    def query(self, sql: str) -> list[dict[str, str | None]]:
        """Runs one statement; its rows, each a dict of column name to text."""
        self._send(b"Q", sql.encode() + b"\0")
        columns: list[str] = []
        rows: list[dict[str, str | None]] = []
        error = None
        while True:
            tag, body = self._receive()
            if tag == b"T":
                columns = _column_names(body)
            elif tag == b"D":
                rows.append(dict(zip(columns, _values(body))))
            elif tag == b"E":
                error = WireError(error_text(body))
                if body.startswith(b"SFATAL"):
                    raise error
            elif tag == b"Z":
                if error:
                    raise error
                return rows

    def close(self) -> None:
        """Says goodbye if anybody listens."""
        try:
            self._send(b"X", b"")
        except OSError:
            pass
        self.inbox.close()
        self.socket.close()

    def _log_in(self, database: str) -> None:
        parts = ["user", self.user, "database", database, "application_name", self.application]
        body = struct.pack("!i", PROTOCOL_3_0) + "\0".join(parts).encode() + b"\0\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        while True:
            tag, body = self._receive()
            if tag == b"E":
                raise WireError(error_text(body))
            if tag == b"R":
                self._answer(struct.unpack("!i", body[:4])[0], body[4:])
            elif tag == b"Z":
                return

    def _answer(self, kind: int, rest: bytes) -> None:
        if kind == 0:
            return
        if kind == 10 and SCRAM in rest.split(b"\0"):
            self._scram()
        elif kind == 5:
            inner = hashlib.md5((self.password + self.user).encode()).hexdigest()
            outer = hashlib.md5(inner.encode() + rest[:4]).hexdigest()
            self._send(b"p", b"md5" + outer.encode() + b"\0")
        elif kind == 3:
            self._send(b"p", self.password.encode() + b"\0")
        else:
            raise WireError(f"authentication request {kind} is not known here")

    def _scram(self) -> None:
        """RFC 5802 and RFC 7677, without channel binding."""
        nonce = base64.b64encode(os.urandom(18))
        bare = b"n=,r=" + nonce
        first = b"n,," + bare
        self._send(b"p", SCRAM + b"\0" + struct.pack("!i", len(first)) + first)
        challenge = self._sasl(11)
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        if not fields[b"r"].startswith(nonce):
            raise WireError("the server changed our nonce")
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"])
        )
        without_proof = b"c=biws,r=" + fields[b"r"]
        signed = bare + b"," + challenge + b"," + without_proof
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self._send(b"p", without_proof + b",p=" + base64.b64encode(proof))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        expected = base64.b64encode(hmac.digest(server_key, signed, "sha256"))
        if self._sasl(12) != b"v=" + expected:
            raise WireError("the server does not know the password")

    def _sasl(self, kind: int) -> bytes:
        tag, body = self._receive()
        if tag == b"E":
            raise WireError(error_text(body))
        if tag != b"R" or struct.unpack("!i", body[:4])[0] != kind:
            raise WireError(f"expected authentication request {kind}")
        return body[4:]

    def _send(self, tag: bytes, body: bytes) -> None:
        self.socket.sendall(tag + struct.pack("!i", len(body) + 4) + body)

    def _receive(self) -> tuple[bytes, bytes]:
        head = self.inbox.read(5)
        if len(head) < 5:
            raise WireError("the connection was closed")
        length = struct.unpack("!i", head[1:])[0]
        if length < 4:
            raise WireError(f"a message of length {length}")
        body = self.inbox.read(length - 4)
        if len(body) < length - 4:
            raise WireError("the connection was closed in the middle of a message")
        return head[:1], body


def error_text(body: bytes) -> str:
    """An ErrorResponse as one line: severity, SQLSTATE, message, detail, hint."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    text = f"{fields.get(b'S', 'ERROR')} {fields.get(b'C', '?????')}: {fields.get(b'M', '')}"
    for tag in (b"D", b"H"):
        if tag in fields:
            text += f" ({fields[tag]})"
    return text


def _column_names(body: bytes) -> list[str]:
    names, at = [], 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        end = body.index(b"\0", at)
        names.append(body[at:end].decode())
        at = end + 19
    return names


def _values(body: bytes) -> list[str | None]:
    values: list[str | None] = []
    at = 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        length = struct.unpack("!i", body[at : at + 4])[0]
        at += 4
        if length < 0:
            values.append(None)
            continue
        values.append(body[at : at + length].decode(errors="replace"))
        at += length
    return values
