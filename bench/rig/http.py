"""Many HTTP clients in one process: enough of HTTP/1.1 to ask, on connections that stay."""

from __future__ import annotations

import asyncio
import time

from .process import HERE

PATIENCE_S = 30.0
# The service waits 15 s for the next request of a connection.
IDLE_MAX_S = 10.0


class HttpError(Exception):
    """No answer, or none that makes sense here."""


class Client:
    """One connection, made when it is first needed, and again after `leave`."""

    def __init__(self, port: int):
        self.port = port
        self.used = 0.0
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, headers: dict[str, str], body: str = "") -> tuple[int, bytes]:
        """Status and body of the answer."""
        try:
            return await asyncio.wait_for(self._ask(method, path, headers, body), PATIENCE_S)
        except (OSError, EOFError, ValueError, IndexError, KeyError) as error:
            await self.leave()
            raise HttpError(f"{type(error).__name__}: {error}") from None
        except TimeoutError:
            await self.leave()
            raise HttpError(f"no answer in {PATIENCE_S:.0f} s") from None

    async def _ask(self, method: str, path: str, headers: dict[str, str], body: str) -> tuple[int, bytes]:
        # As HTTP clients do: what the server has closed meanwhile, or is about to close, is not used again.
        if self.reader is not None and (self.reader.at_eof() or time.monotonic() - self.used > IDLE_MAX_S):
            await self.leave()
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(HERE, self.port)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HERE}:{self.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        text = await self.reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection") == "close":
            await self.leave()
        self.used = time.monotonic()
        return int(head[0].split(" ")[1]), text

    async def leave(self) -> None:
        """Closes the connection."""
        writer, self.reader, self.writer = self.writer, None, None
        if writer is not None:
            writer.close()
