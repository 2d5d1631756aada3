"""The WebSocket /stream: rows and alerts as they arrive, coalesced for slow readers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from pairlab.lab.pair_lab import PairLab
from pairlab.services.rest.serializers import entries_to_dicts, rows_to_dicts

__all__ = ["Stream", "StreamCursor"]

_MIN_INTERVAL_S: Final = 0.01
"""Between two messages: 5,000 rows a second need not be 5,000 messages."""

_MAX_ROWS: Final = 250
_MAX_ALERTS: Final = 50
"""Of one message: at most about 150 KB, and a millisecond of the loop's time."""

_MAX_BEHIND: Final = 10_000
"""Rows or entries that a reader may be behind before it skips to the newest and learns how many
it missed. Larger than the burst that follows a blocked loop, which is not a slow reader."""

_MAX_READERS: Final = 100


class StreamCursor(NamedTuple):
    """A reader's position in the rows and in the alert log.

    Attributes
    ----------
    epoch : int
        Of the rows: it changes when they are recomputed.
    row, entry : int
        Numbers of the next row and of the next entry of the alert log.
    """

    epoch: int
    row: int
    entry: int


class Stream:
    """Serves /stream to many readers, none of which delays the lab or another reader.

    Nothing is queued per reader: each has a cursor into the lab's own rings and gets what is new
    since then once its previous message is sent. A reader that stops reading costs that one
    message and the socket's buffer.

    Parameters
    ----------
    lab : PairLab
        Provides rows and alerts.
    encode_cursor : callable
        Converts a cursor to the text that a client passes back.
    """

    def __init__(self, lab: PairLab, encode_cursor: Callable[[StreamCursor], str]) -> None:
        self._lab = lab
        self._encode_cursor = encode_cursor
        self._wakeup = asyncio.Event()
        self._wakeup_count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_wakeup_s = float("-inf")
        self._last_message: tuple[Any, str] = ((), "")
        self.readers = 0

    def open(self) -> None:
        """Subscribe to the lab; call it on the lab's loop."""
        self._unsubscribe = self._lab.on_update(self._notify)
        self._lab.settings.observe(self._setting_changed)

    def close(self) -> None:
        """Unsubscribe from the lab."""
        self._unsubscribe()
        self._lab.settings.unobserve(self._setting_changed)
        if self._timer is not None:
            self._timer.cancel()

    def _setting_changed(self, change: Any) -> None:
        # Settings may be changed on any thread; rows arrive on the loop only.
        self._lab.call_on_loop(self._notify)

    def _notify(self) -> None:
        """Wake the readers, now or as soon as the minimum interval allows."""
        if self._timer is None and self.readers:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(
                max(loop.time(), self._last_wakeup_s + _MIN_INTERVAL_S), self._wake_readers
            )

    def _wake_readers(self) -> None:
        self._timer = None
        self._last_wakeup_s = asyncio.get_running_loop().time()
        self._wakeup_count += 1
        wakeup, self._wakeup = self._wakeup, asyncio.Event()
        wakeup.set()

    async def serve(self, ws: WebSocket, cursor: StreamCursor | None) -> None:
        """Send until the reader disconnects or the server stops.

        Parameters
        ----------
        ws : WebSocket
            Not accepted yet.
        cursor : StreamCursor, optional
            First row and entry to send; by default the newest row.
        """
        if self.readers >= _MAX_READERS:
            problem = {"detail": f"{_MAX_READERS} readers are connected already"}
            await ws.send_denial_response(JSONResponse(problem, 503))
            return
        self.readers += 1
        try:
            await ws.accept()
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._send(ws, cursor or self._newest()))
                received = (await ws.receive())["type"]
                sending.cancel()
            if received != "websocket.disconnect":
                await ws.close(1008, "/stream only sends")
        finally:
            self.readers -= 1

    def _newest(self) -> StreamCursor:
        """Return the position right before the newest row."""
        epoch, row = self._lab.rows.cursor
        return StreamCursor(epoch, max(row - 1, 0), self._lab.alert_log.total)

    async def _send(self, ws: WebSocket, cursor: StreamCursor) -> None:
        with contextlib.suppress(WebSocketDisconnect):  # `serve` notices it, too
            while True:
                count, wakeup = self._wakeup_count, self._wakeup
                now = StreamCursor(*self._lab.rows.cursor, self._lab.alert_log.total)
                if cursor != now:
                    text, cursor = self._since(cursor, now)
                    await ws.send({"type": "websocket.send", "text": text})
                if cursor != now:
                    await asyncio.sleep(0)
                elif count == self._wakeup_count:
                    await wakeup.wait()

    def _since(self, cursor: StreamCursor, now: StreamCursor) -> tuple[str, StreamCursor]:
        """Return the next message for a reader at `cursor`, and its cursor after that."""
        restated = cursor.epoch != now.epoch
        row = max(now.row - 1, 0) if restated else cursor.row
        if now.row - row > min(_MAX_BEHIND, len(self._lab.rows)):
            row = now.row - min(_MAX_ROWS, len(self._lab.rows))
        entry = cursor.entry
        if now.entry - entry > min(_MAX_BEHIND, len(self._lab.alert_log)):
            entry = now.entry - min(_MAX_ALERTS, len(self._lab.alert_log))
        after = StreamCursor(
            now.epoch, min(row + _MAX_ROWS, now.row), min(entry + _MAX_ALERTS, now.entry)
        )
        if self._last_message[0] != (cursor, after):  # readers that keep up share their messages
            skipped = (0 if restated else row - cursor.row, entry - cursor.entry)
            self._last_message = (
                (cursor, after),
                self._message(cursor._replace(row=row, entry=entry), after, skipped),
            )
        return self._last_message[1], after

    def _message(self, first: StreamCursor, after: StreamCursor, skipped: tuple[int, int]) -> str:
        rows, log = self._lab.rows, self._lab.alert_log
        new = rows.slice(first.row, after.row)
        oldest = log.total - len(log)
        entries = log.between(first.entry - oldest, after.entry - oldest)
        return msgspec.json.encode(
            {
                "rows": rows_to_dicts(new),
                "skipped_rows": skipped[0],
                "alerts": entries_to_dicts(entries),
                "skipped_alerts": skipped[1],
                "restated": first.epoch != after.epoch,
                "cursor": self._encode_cursor(after),
            }
        ).decode()
