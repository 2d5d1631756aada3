"""WebhookBroker: each alert of a lab to one address, signed, in order, until it is taken."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec

from pairlab.alerts import Alert
from pairlab.clock import Clock
from pairlab.data.origin import Origin
from pairlab.errors import NetworkSetupError, SettingError
from pairlab.feeds.http_client import http_client
from pairlab.net import host_of
from pairlab.schema import LogLevel
from pairlab.services.orders.messages import Signer, message_of

__all__ = ["AlertSource", "WebhookBroker"]

_SECRET: Final = "PAIRLAB_WEBHOOK_SECRET"  # noqa: S105  # of the environment, its name
_LEAST_SECRET: Final = 16
_TIMEOUT_S: Final = 10.0
_FIRST_WAIT_S: Final = 0.5
_MOST_WAIT_S: Final = 30.0
_MOST_PAUSE_S: Final = 86_400.0
_STOP_S: Final = 5.0
_MOST_WAITING: Final = 10_000
_AGAIN: Final = frozenset({408, 425, 429})
_TAKEN: Final = 409  # a conflict: it has this key already


_HIDDEN: Final[set[str]] = set()


def _hide_addresses(record: logging.LogRecord) -> bool:
    """Put the host in place of an address: httpx logs each whole, with the tokens in it."""
    if isinstance(record.args, tuple):
        told = (host_of(str(arg)) if str(arg) in _HIDDEN else arg for arg in record.args)
        record.args = tuple(told)
    return True


logging.getLogger("httpx").addFilter(_hide_addresses)


class AlertSource(Protocol):
    """Of what alerts are sent: a lab."""

    def on_alert(self, callback: Callable[[Alert], object]) -> Callable[[], None]:
        """Have each new alert handed to a function."""

    def log(self, level: LogLevel, message: str) -> None:
        """Add a line to the event log."""


class _Message(NamedTuple):
    key: str
    body: bytes
    since_s: float


class WebhookBroker:
    """Posts every alert as JSON, in order, one at a time, and again until the receiver takes it.

    Each message has an idempotency key, the same whenever it is sent, and is signed with the time
    of sending. What the receiver refuses, or does not take in time, goes to a file.

    Parameters
    ----------
    source : AlertSource
        Whose alerts.
    url : str
        ``https://…``, or ``http://…``. Only its host is ever shown: paths carry tokens.
    origin : callable
        Returns where the numbers come from.
    session : str
        Of the lab.
    clock : Clock
        Source of the time.
    secret : str, optional
        That the receiver has, too, 16 characters or more; by default from
        ``PAIRLAB_WEBHOOK_SECRET``.
    dead_letters : path
        A line of JSON for each message that was given up.
    give_up_s : float
        How long a message is tried for.

    Attributes
    ----------
    delivered, dead : int
        Messages that the receiver took, and that were given up.
    last_error : str
        Why the last attempt failed; empty if it did not.

    Raises
    ------
    SettingError
        If `url` is none, or there is no secret, or a short one.
    """

    def __init__(
        self,
        source: AlertSource,
        url: str,
        *,
        origin: Callable[[], Origin],
        session: str,
        clock: Clock,
        secret: str | None = None,
        dead_letters: str | os.PathLike[str] = "webhook-dead-letters.ndjson",
        give_up_s: float = 3_600.0,
    ) -> None:
        address = _address(url)
        self._signer: Final = Signer(_checked(secret))
        usable = isinstance(give_up_s, int | float) and not isinstance(give_up_s, bool)
        if not usable or not 0.0 <= give_up_s < float("inf"):
            raise SettingError("give_up_s", give_up_s, "expected a number from 0, in seconds")
        self._url: Final = address
        _HIDDEN.add(address)
        self.host: Final = host_of(address)
        self._source, self._origin, self._session = source, origin, session
        self._clock: Final = clock
        self._dead_letters: Final = Path(dead_letters)
        self._give_up_s: Final = float(give_up_s)
        self._waiting: deque[_Message] = deque()
        self._dropped: list[_Message] = []
        self._task: asyncio.Task[None] | None = None
        self._arrived, self._ending = asyncio.Event(), False
        self.delivered = self.dead = 0
        self.last_error = self._given_up_for = ""
        self._forget: Callable[[], None] = source.on_alert(self._on_alert)

    def __repr__(self) -> str:
        return (
            f"<WebhookBroker to {self.host}: {self.delivered:,} delivered, "
            f"{self.waiting:,} waiting, {self.dead:,} given up>"
        )

    @property
    def waiting(self) -> int:
        """Messages that the receiver has not taken yet."""
        return len(self._waiting)

    async def _on_alert(self, alert: Alert) -> None:
        if len(self._waiting) >= _MOST_WAITING:  # the first one may be on its way
            self._dropped.append(self._waiting[1])
            del self._waiting[1]
        key, body = message_of(alert, self._origin(), self._session)
        self._waiting.append(_Message(key, body, self._clock.monotonic_s()))
        self._arrived.set()
        if self._task is None or self._task.done():  # a proxy could not be used: it may be mended
            self._task = asyncio.create_task(self._send_all(), name="pairlab webhook")

    async def stop(self) -> None:
        """Take no more alerts, send what waits for 5 s at most, and give up the rest."""
        self._forget()
        self._ending = True
        self._arrived.set()
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=_STOP_S)
            if late:
                self._task.cancel()
                await asyncio.wait(late)
        await self._give_up_all("the lab stopped before it was taken")

    # -- sending --------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        try:
            client = await asyncio.to_thread(self._client)
        except NetworkSetupError as error:
            self._note(f"nothing can be sent to {self.host}: {error}")
            await self._give_up_all(str(error))
            return
        async with client:
            while self._waiting or not self._ending:
                if not self._waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
                elif why := await self._send(client, self._waiting[0]):
                    await self._give_up([self._waiting.popleft()], why)
                else:
                    self._waiting.popleft()
                    self.delivered += 1
                    self._given_up_for = ""

    def _client(self) -> httpx.AsyncClient:
        parts = urlsplit(self._url)
        return http_client(f"{parts.scheme}://{parts.netloc}", timeout=_TIMEOUT_S)

    async def _send(self, client: httpx.AsyncClient, message: _Message) -> str:
        """Send a message until it is taken; return why it is given up, empty if it is taken."""
        wait_s = _FIRST_WAIT_S
        while True:
            failed, final, after_s = await self._attempt(client, message)
            if not failed:
                if self.last_error:
                    self._source.log("info", f"webhook: {self.host} takes messages again")
                self.last_error = ""
                return ""
            if not self.last_error:
                self._note(f"{failed}; it is tried again" if not final else failed)
            self.last_error = failed
            now_s = self._clock.monotonic_s()
            until_s = message.since_s + self._give_up_s
            pause_s = max(after_s, wait_s * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            await self._give_up_dropped()
            if final or now_s + pause_s > until_s:
                return failed
            await asyncio.sleep(pause_s)
            wait_s = min(2.0 * wait_s, _MOST_WAIT_S)

    async def _attempt(
        self, client: httpx.AsyncClient, message: _Message
    ) -> tuple[str, bool, float]:
        """Return what went wrong, whether for good, and how long the receiver wants a pause, s."""
        headers = self._signer.headers(message.key, message.body, self._clock.time_ns() / 1e9)
        try:
            # httpx limits each step; an answer that trickles in would outlast them all.
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await client.post(self._url, content=message.body, headers=headers)
        except (TimeoutError, httpx.TimeoutException):
            return f"{self.host} did not answer within {_TIMEOUT_S:g} s", False, 0.0
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return f"{self.host} cannot be reached ({type(error).__name__})", False, 0.0
        status = answer.status_code
        if 200 <= status < 300 or status == _TAKEN:
            return "", False, 0.0
        again = status in _AGAIN or status >= 500
        try:
            after_s = float(answer.headers.get("Retry-After", 0.0))
        except ValueError:
            after_s = 0.0  # a date: the usual pause will do
        if not 0.0 <= after_s <= _MOST_PAUSE_S:
            after_s = 0.0
        return f"{self.host} answered HTTP {status}", not again, after_s

    # -- giving up ------------------------------------------------------------------------------

    async def _give_up_all(self, why: str) -> None:
        await self._give_up_dropped()
        messages = list(self._waiting)
        self._waiting.clear()
        if messages:
            await self._give_up(messages, why)

    async def _give_up_dropped(self) -> None:
        dropped, self._dropped = self._dropped, []
        if dropped:
            await self._give_up(dropped, f"more than {_MOST_WAITING:,} wait")

    async def _give_up(self, messages: list[_Message], why: str) -> None:
        self.dead += len(messages)
        try:
            await asyncio.to_thread(_append, self._dead_letters, messages, why)
            words = f"messages are given up ({why}): they are in {self._dead_letters}"
        except OSError as error:
            words = f"messages are lost: {self._dead_letters} cannot be written ({error.strerror})"
        if words != self._given_up_for:  # told once until the receiver takes one again
            self._given_up_for = words
            self._note(words)

    def _note(self, words: str) -> None:
        self._source.log("warning", f"webhook: {words}")


def _append(path: Path, messages: list[_Message], why: str) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat()
    lines = [
        {"given_up": now, "reason": why, "message": msgspec.Raw(message.body)}
        for message in messages
    ]
    with path.open("ab") as file:
        file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())


def _address(url: object) -> str:
    """Return a URL as httpx writes it; no error shows it, as tokens may stand in it."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        named = parts is not None and parts.scheme in ("http", "https") and parts.hostname
        if parts is not None and named and parts.port != 0:
            return str(httpx.URL(parts.geturl()))
    except (ValueError, httpx.InvalidURL):
        pass  # such as a port that is none
    raise SettingError("url", "(not shown)", "expected https://host/path")


def _checked(secret: str | None) -> str:
    """Return the secret, of which no error shows anything."""
    given = os.environ.get(_SECRET) if secret is None else secret
    # What has no UTF-8 cannot be a key; the error of encoding it would show it.
    bare = given.encode(errors="ignore").decode() if isinstance(given, str) else None
    if not isinstance(given, str) or given != bare or len(given) < _LEAST_SECRET:
        raise SettingError(
            "secret", "(not shown)",
            f"expected {_LEAST_SECRET} characters or more, as argument or in {_SECRET}",
        )  # fmt: skip
    return given
