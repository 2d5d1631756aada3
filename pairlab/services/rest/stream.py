"""The WebSocket: rows and alerts as they come, coalesced for a reader that is slow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from pairlab.lab.pair_lab import PairLab
from pairlab.services.rest.serializers import alerts_json, rows_json

__all__ = ["Cursor", "Stream"]

_PACE_S: Final = 0.01
"""Least time between two messages: 5,000 rows a second need not be 5,000 messages."""

_MOST_ROWS: Final = 250
_MOST_ALERTS: Final = 50
"""What one message holds: at most some 150 KB, and about a millisecond of the loop's time."""

_FAR: Final = 10_000
"""Rows, or entries, that a reader may be behind; beyond that it gets the newest and is told how
many it missed. A burst after a blocked loop is not a slow reader."""

_MOST_READERS: Final = 100


class Cursor(NamedTuple):
    """How far a reader has got.

    Attributes
    ----------
    epoch : int
        Of the rows: it changes when they are computed anew.
    row, entry : int
        Numbers of the next row and of the next entry of the alert log.
    """

    epoch: int
    row: int
    entry: int


class Stream:
    """Serves /stream to any number of readers, none of whom is waited for.

    Nothing is queued for a reader: it has a place in the lab's own rings, and gets what is new
    since that place when the message before has left. What a reader that stopped reading costs is
    that one message and the socket's buffer.

    Parameters
    ----------
    lab : PairLab
        Whose rows and alerts.
    cursor : callable
        Makes a place into the text that a client gives back.
    """

    def __init__(self, lab: PairLab, cursor: Callable[[Cursor], str]) -> None:
        self._lab = lab
        self._cursor = cursor
        self._news = asyncio.Event()
        self._round = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_s = float("-inf")
        self._made: tuple[Any, str] = ((), "")
        self.readers = 0

    def open(self) -> None:
        """Listen to the lab, from its loop."""
        self._unlisten = self._lab.on_update(self._notify)
        self._lab.settings.observe(self._setting_changed)

    def close(self) -> None:
        """Stop listening to the lab."""
        self._unlisten()
        self._lab.settings.unobserve(self._setting_changed)
        if self._timer is not None:
            self._timer.cancel()

    def _setting_changed(self, change: Any) -> None:
        # Code on any thread may change a setting; rows come on the loop alone.
        self._lab.call_on_loop(self._notify)

    def _notify(self) -> None:
        """Let the readers look, now or as soon as the pace allows."""
        if self._timer is None and self.readers:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._last_s + _PACE_S), self._go_round)

    def _go_round(self) -> None:
        self._timer = None
        self._last_s = asyncio.get_running_loop().time()
        self._round += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def serve(self, ws: WebSocket, place: Cursor | None) -> None:
        """Send until the reader leaves or the server ends.

        Parameters
        ----------
        ws : WebSocket
            Not accepted yet.
        place : Place, optional
            Where to begin; by default with the newest row.
        """
        if self.readers >= _MOST_READERS:
            words = {"detail": f"{_MOST_READERS} readers are served already"}
            await ws.send_denial_response(JSONResponse(words, 503))
            return
        self.readers += 1
        try:
            await ws.accept()
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._send(ws, place or self._here()))
                said = (await ws.receive())["type"]
                sending.cancel()
            if said != "websocket.disconnect":
                await ws.close(1008, "/stream only sends")
        finally:
            self.readers -= 1

    def _here(self) -> Cursor:
        """Return the place right before the newest row."""
        epoch, row = self._lab.rows.cursor
        return Cursor(epoch, max(row - 1, 0), self._lab.alert_log.total)

    async def _send(self, ws: WebSocket, place: Cursor) -> None:
        with contextlib.suppress(WebSocketDisconnect):  # `serve` hears of it, too
            while True:
                seen, news = self._round, self._news
                now = Cursor(*self._lab.rows.cursor, self._lab.alert_log.total)
                if place != now:
                    text, place = self._since(place, now)
                    await ws.send({"type": "websocket.send", "text": text})
                if place != now:
                    await asyncio.sleep(0)
                elif seen == self._round:
                    await news.wait()

    def _since(self, place: Cursor, now: Cursor) -> tuple[str, Cursor]:
        """Return the next message for a reader at `place`, and its place after that."""
        restated = place.epoch != now.epoch
        row = max(now.row - 1, 0) if restated else place.row
        if now.row - row > min(_FAR, len(self._lab.rows)):
            row = now.row - min(_MOST_ROWS, len(self._lab.rows))
        entry = place.entry
        if now.entry - entry > min(_FAR, len(self._lab.alert_log)):
            entry = now.entry - min(_MOST_ALERTS, len(self._lab.alert_log))
        after = Cursor(
            now.epoch, min(row + _MOST_ROWS, now.row), min(entry + _MOST_ALERTS, now.entry)
        )
        if self._made[0] != (place, after):  # readers who keep up share their messages
            skipped = (0 if restated else row - place.row, entry - place.entry)
            self._made = (
                (place, after),
                self._message(place._replace(row=row, entry=entry), after, skipped),
            )
        return self._made[1], after

    def _message(self, first: Cursor, after: Cursor, skipped: tuple[int, int]) -> str:
        rows, log = self._lab.rows, self._lab.alert_log
        new = rows.slice(first.row, after.row)
        oldest = log.total - len(log)
        entries = islice(log, first.entry - oldest, after.entry - oldest)
        return msgspec.json.encode(
            {
                "rows": rows_json(new),
                "skipped_rows": skipped[0],
                "alerts": alerts_json(entries),
                "skipped_alerts": skipped[1],
                "restated": first.epoch != after.epoch,
                "cursor": self._cursor(after),
            }
        ).decode()
