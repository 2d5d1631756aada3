"""A receiver of webhooks on loopback, which checks as the README says, and a bad network."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

__all__ = ["BadNetwork", "Receiver", "readme_check"]

README = Path(__file__).parents[3] / "README.md"


def readme_check() -> Any:
    """Return the function that the README gives to receivers."""
    found = re.search(r"```python\n(import hmac.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert found is not None
    space: dict[str, Any] = {}
    exec(found[1], space)
    return space["check"]


class Receiver:
    """Answers each message as it was told to, and keeps those that are new."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.check = readme_check()
        self.seen: set[str] = set()
        self.verdicts: list[str] = []
        self.new: list[dict[str, Any]] = []
        self.raw: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[str] = []  # status lines of the next answers; then 200
        self.more = asyncio.Event()

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._on_client, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.new) < count:
                self.more.clear()
                await self.more.wait()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {k.title(): v for k, _, v in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers["Content-Length"]))
                writer.write(self._answer(headers, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, headers: dict[str, str], body: bytes) -> bytes:
        status = self.answers.pop(0) if self.answers else "200 OK"
        if status.startswith("200"):
            verdict = self.check(headers, body, self.secret, self.seen)
            self.verdicts.append(verdict)
            self.raw.append((headers, body))
            if verdict == "new":
                self.new.append(json.loads(body))
            elif verdict != "known":
                status = "401 Unauthorized"
        self.more.set()
        return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()


class BadNetwork:
    """A proxy that can be cut: no connection is made, or answers are lost on the way back."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.refuses = False
        self.loses_answers = 0
        self.lost = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> BadNetwork:
        self._server = await asyncio.start_server(self._on_client, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        there = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, there[1]}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, there[1]))
                group.create_task(self._copy(there[0], writer, back=True))
        except* (ConnectionError, EOFError):
            pass
        finally:
            self._writers -= {writer, there[1]}
            for each in (writer, there[1]):
                each.transport.abort()

    async def _copy(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, back: bool = False
    ) -> None:
        while data := await source.read(65_536):
            if back and self.loses_answers:
                self.loses_answers -= 1
                self.lost += 1
                raise EOFError
            target.write(data)
            await target.drain()
        raise EOFError
