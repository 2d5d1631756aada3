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

from pairlab.lab import PairLab
from pairlab.services.records import alerts_json, rows_json

__all__ = ["Place", "Stream"]

_PACE_S: Final = 0.01
"""Least time between two messages: 5,000 rows a second need not be 5,000 messages."""

_MOST_ROWS: Final = 250
_MOST_ALERTS: Final = 50
"""Newest entries that one message holds; a reader that is further behind is told how many it
missed. A message is then at most some 150 KB, and about a millisecond of the loop's time."""

_MOST_READERS: Final = 100


class Place(NamedTuple):
    """How far a reader has got.

    Attributes
    ----------
    generation : int
        Of the rows: it changes when they are computed anew.
    row, entry : int
        Numbers of the next row and of the next entry of the alert log.
    """

    generation: int
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

    def __init__(self, lab: PairLab, cursor: Callable[[Place], str]) -> None:
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
        self._unlisten = self._lab.listen(self._notify)
        self._lab.settings.observe(self._setting_changed)

    def close(self) -> None:
        """Stop listening to the lab."""
        self._unlisten()
        self._lab.settings.unobserve(self._setting_changed)
        if self._timer is not None:
            self._timer.cancel()

    def _setting_changed(self, change: Any) -> None:
        # Code on any thread may change a setting; rows come on the loop alone.
        self._lab.call(self._notify)

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

    async def serve(self, ws: WebSocket, place: Place | None) -> None:
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

    def _here(self) -> Place:
        """Return the place right before the newest row."""
        rows = self._lab.rows
        return Place(self._lab.generation, max(rows.total - 1, 0), self._lab.alert_log.total)

    async def _send(self, ws: WebSocket, place: Place) -> None:
        with contextlib.suppress(WebSocketDisconnect):  # `serve` hears of it, too
            while True:
                seen, news = self._round, self._news
                text, place = self._since(place)
                if text:
                    await ws.send({"type": "websocket.send", "text": text})
                if seen == self._round:
                    await news.wait()

    def _since(self, place: Place) -> tuple[str, Place]:
        """Return the message for a reader at `place`, and its place after that."""
        rows, log = self._lab.rows, self._lab.alert_log
        now = Place(self._lab.generation, rows.total, log.total)
        if now == place:
            return "", now
        if self._made[0] != (place, now):  # readers who keep up share their messages
            self._made = ((place, now), self._message(place, now))
        return self._made[1], now

    def _message(self, place: Place, now: Place) -> str:
        rows, log = self._lab.rows, self._lab.alert_log
        restated = place.generation != now.generation
        new_rows = 1 if restated else now.row - place.row
        new_entries = now.entry - place.entry
        newest = rows.view(min(new_rows, _MOST_ROWS))
        entries = list(islice(reversed(log), min(new_entries, _MOST_ALERTS)))[::-1]
        return msgspec.json.encode(
            {
                "rows": rows_json(newest),
                "skipped_rows": 0 if restated else new_rows - len(newest),
                "alerts": alerts_json(entries),
                "skipped_alerts": new_entries - len(entries),
                "restated": restated,
                "cursor": self._cursor(now),
            }
        ).decode()
