"""The FastAPI application: every path, its parameters and its responses."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, HTTPException, Query, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.types import Send

from pairlab.data.csv_export import csv_name
from pairlab.data.origin import Origin
from pairlab.data.time_selection import between_ns, span_ns
from pairlab.errors import DataError, SettingError
from pairlab.lab.pair_lab import PairLab
from pairlab.services.rest import models
from pairlab.services.rest.application import CSV_BODY, Application, EncodedJson
from pairlab.services.rest.openapi import DESCRIPTION, describe_stream, serve_docs
from pairlab.services.rest.scheduler import RenderLock
from pairlab.services.rest.serializers import (
    ServedPair,
    csv_stream,
    health_report,
    is_warming,
    json_list,
    latest_json,
)
from pairlab.services.rest.stream import Stream, StreamCursor
from pairlab.settings import SETTINGS, unknown_setting

__all__ = ["AlertQuery", "PairApi", "RowQuery", "TimeRange", "create_app"]

_MAX_TRANSFERS: Final = 32
_STALL_TIMEOUT_S: Final = 60.0
"""A CSV download whose client reads nothing for this long is aborted."""

_TIMESTAMP_PATTERN: Final = r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$"
_CURSOR_PATTERN: Final = r"^[0-9a-f]{6}-\d{1,12}-\d{1,15}-\d{1,12}$"


_Timestamp = Annotated[
    str | None,
    Field(
        default=None,
        pattern=_TIMESTAMP_PATTERN,
        description="ISO 8601 with a time zone (write + as %2B); included.",
        json_schema_extra={"format": "date-time"},
    ),
]
_CursorText = Annotated[
    str | None,
    Field(default=None, pattern=_CURSOR_PATTERN, description="`next_cursor` of the page before."),
]


class TimeRange(models.Query):
    """A span of time."""

    start: _Timestamp
    end: _Timestamp


class RowQuery(TimeRange):
    """What a page of rows is asked for with."""

    limit: int = Field(1000, ge=1, le=10_000, description="Maximum number of rows.")
    cursor: _CursorText
    last: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Only the newest rows of the range, this many; not with cursor.",
    )


class AlertQuery(models.Query):
    """What a page of alerts is asked for with."""

    limit: int = Field(1000, ge=1, le=10_000, description="Maximum number of entries.")
    cursor: _CursorText


class PairApi:
    """The handlers of what is read of one pair.

    Parameters
    ----------
    lab : ServedPair
        Whose rows and alerts.
    run : str
        Tells cursors of this run from any other's.
    """

    def __init__(self, lab: ServedPair, run: str) -> None:
        self.lab = lab
        self.render_lock = RenderLock()
        self.transfers = 0
        self._run = run
        self._latest: tuple[Any, bytes] = (None, b"")

    def readers(self) -> int:
        """Return how many clients of /stream are connected."""
        return 0

    async def health(self) -> Response:
        """Return readiness, feed, counters, lags and versions; 503 while the lab is not ready."""
        ready, body = health_report(self.lab, self.readers())
        return EncodedJson(body, 200 if ready else 503)

    async def latest(self) -> Response:
        """Return the newest row, or the forming bar; 204 until the window is full."""
        at = self.lab.latest()
        if at is None or is_warming(at):
            return Response(status_code=204)
        if self._latest[0] != at:  # many requests may arrive between two ticks
            self._latest = (at, latest_json(at))
        return EncodedJson(self._latest[1])

    async def rows(self, query: Annotated[RowQuery, Query()]) -> Response:
        """Return a page of the history, oldest first; next_cursor leads to the next one."""
        if query.cursor and query.last:
            raise HTTPException(422, "last and cursor cannot be combined")
        span = _time_range(query)
        cursor = self.decode_cursor(query.cursor)
        held, oldest = self.lab.rows.view(), self.lab.rows.start
        first = len(held) - len(between_ns(held, span[0], None))
        end = len(between_ns(held, None, span[1]))
        missed = 0
        if cursor is not None:
            first, missed = max(first, cursor.row - oldest), max(0, oldest - cursor.row)
        elif query.last:
            first = max(first, end - query.last)
        count = min(max(end - first, 0), query.last or query.limit)
        # A copy: a view would keep a whole buffer alive while a slow client reads its page.
        page = held[first : first + count].copy()
        rest = {
            "next_cursor": self.encode_cursor(self.end()._replace(row=oldest + first + count)),
            "more": first + count < end,
            "missed": missed,
        }
        del held
        return EncodedJson(await json_list("rows", page, rest, self.render_lock))

    async def csv(self, query: Annotated[TimeRange, Query()]) -> Response:
        """Stream the history as PairLab.to_csv writes it."""
        span = _time_range(query)
        if self.transfers >= _MAX_TRANSFERS:
            raise HTTPException(503, f"{_MAX_TRANSFERS} CSV downloads are running already")
        lab = self.lab
        origin = Origin.of(lab.pair, lab.health(), lab.row_settings)
        pieces = csv_stream(lab.rows.ring, *span, self.render_lock, origin)
        return _CsvResponse(self, csv_name(lab.pair, origin), pieces)

    async def alerts(self, query: Annotated[AlertQuery, Query()]) -> Response:
        """Return a page of the alert log, oldest first: alerts and setting changes."""
        cursor = self.decode_cursor(query.cursor, any_epoch=True)
        log = self.lab.alert_log
        oldest = log.total - len(log)
        entry = oldest if cursor is None else cursor.entry
        first = max(entry - oldest, 0)
        page = log.between(first, first + query.limit)
        rest = {
            "next_cursor": self.encode_cursor(
                self.end()._replace(entry=oldest + first + len(page))
            ),
            "more": first + len(page) < len(log),
            "missed": max(0, oldest - entry),
        }
        return EncodedJson(await json_list("alerts", page, rest, self.render_lock))

    def end(self) -> StreamCursor:
        """Return the position after the newest row and entry."""
        return StreamCursor(*self.lab.rows.cursor, self.lab.alert_log.total)

    def encode_cursor(self, cursor: StreamCursor) -> str:
        """Return a cursor as the text that a client passes back."""
        return f"{self._run}-{cursor.epoch}-{cursor.row}-{cursor.entry}"

    def decode_cursor(self, text: str | None, *, any_epoch: bool = False) -> StreamCursor | None:
        """Return the cursor of a text from `encode_cursor`.

        Raises
        ------
        HTTPException
            If it is from another run, from an earlier epoch, or beyond the end.
        """
        if text is None:
            return None
        run, *numbers = text.split("-")
        cursor, end = StreamCursor(*map(int, numbers)), self.end()
        if run != self._run:
            raise HTTPException(410, "the cursor is from another run: start again without cursor")
        if cursor.epoch != end.epoch and not any_epoch:
            raise HTTPException(
                410, "the rows were recomputed under other settings: start again without cursor"
            )
        if cursor.entry > end.entry or (cursor.epoch == end.epoch and cursor.row > end.row):
            raise HTTPException(422, f"cursor = {text!r} was not issued by this server")
        return cursor


class _Api(PairApi):
    """The handlers of all paths, for one lab."""

    lab: PairLab

    def __init__(self, lab: PairLab) -> None:
        super().__init__(lab, secrets.token_hex(3))
        self.stream = Stream(lab, self.encode_cursor)

    def readers(self) -> int:
        """Return how many clients of /stream are connected."""
        return self.stream.readers

    async def config(self) -> Response:
        """Return every setting."""
        return EncodedJson(msgspec.json.encode(self.lab.settings.values()))

    async def change(self, request: Request) -> Response:
        """Change all settings named, or, with a 422 and the reason, none of them.

        Changes apply from the next tick, and the dashboard shows them.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException(
                415, f"Content-Type = {kind!r} is invalid: expected application/json"
            )
        try:
            changes = msgspec.json.decode(await request.body())
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from None
        if not isinstance(changes, dict):
            raise HTTPException(422, "expected a JSON object of settings by name")
        settings = self.lab.settings
        before = settings.values()
        try:
            for name in changes:
                if name not in SETTINGS:
                    raise unknown_setting(name)
            numbers: dict[str, Any] = {n: _number(n, value) for n, value in changes.items()}
            settings.update(**numbers)
        except SettingError as error:
            raise HTTPException(422, str(error)) from None
        except MemoryError:
            settings.update(**asdict(before))
            raise HTTPException(422, "not enough memory on this machine") from None
        return await self.config()

    async def live(self, ws: WebSocket) -> None:
        """Send rows and alerts as they arrive."""
        text = ws.query_params.get("cursor")
        try:
            if text is not None and not re.fullmatch(_CURSOR_PATTERN, text):
                raise HTTPException(422, f"cursor = {text[:60]!r} was not issued by this server")
            cursor = self.decode_cursor(text, any_epoch=True)
        except HTTPException as error:
            body = msgspec.json.encode({"detail": error.detail})
            await ws.send_denial_response(EncodedJson(body, error.status_code))
            return
        await self.stream.serve(ws, cursor)


class _CsvResponse(StreamingResponse):
    """A CSV download, rendered while it is sent and aborted if its client stops reading."""

    media_type = "text/csv; charset=utf-8"

    def __init__(self, api: PairApi, name: str, pieces: AsyncIterator[str]) -> None:
        super().__init__(pieces, headers={"Content-Disposition": f'attachment; filename="{name}"'})
        self._api = api

    async def stream_response(self, send: Send) -> None:
        """Send the pieces; a download that cannot be completed ends broken, never with a gap."""

        async def send_or_time_out(message: Any) -> None:
            async with asyncio.timeout(_STALL_TIMEOUT_S):
                await send(message)

        self._api.transfers += 1
        try:
            await super().stream_response(send_or_time_out)
        except DataError as error:
            self._api.lab.log("warning", str(error))
        except TimeoutError:
            self._api.lab.log(
                "warning",
                f"a CSV download was aborted: its client read nothing for {_STALL_TIMEOUT_S:g} s. "
                "Read continuously, or request less with start= and end=",
            )
        finally:
            self._api.transfers -= 1


def _time_range(query: TimeRange) -> tuple[int | None, int | None]:
    try:
        return span_ns(_clamped("start", query.start), _clamped("end", query.end))
    except DataError as error:
        raise HTTPException(422, str(error)) from None


def _clamped(name: str, text: str | None) -> str | None:
    """Return a time limited to the range of 64-bit nanoseconds."""
    if text is None:
        return None
    try:
        datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise DataError(f"{name} = {text!r} is not a valid time: {error}") from None
    if "1678" <= text[:4] <= "2261":
        return text
    return "1678-01-01T00:00:00Z" if text[:4] < "1678" else "2261-12-31T23:59:59Z"


def _number(name: str, value: object) -> object:
    """Return a JSON integer as a float where the setting is one: 2 and 2.0 are the same."""
    real = "number" in str(SETTINGS[name].schema)
    return float(value) if real and type(value) is int and abs(value) < 2**53 else value


def create_app(lab: PairLab) -> tuple[FastAPI, Stream]:
    """Return the application that serves `lab`, and its stream, opened and closed by the server.

    It reads files, so it must not be called on the lab's event loop. It checks neither token nor
    host: `pairlab.services.rest.security.SecurityMiddleware` does.
    """
    api = _Api(lab)
    made = Application(DESCRIPTION, lab.log)
    path = made.path
    path("GET", "/health", api.health, models.HealthReport,
         responses={503: {"model": models.HealthReport, "description": "Not ready."}})  # fmt: skip
    path("GET", "/analytics/latest", api.latest, models.Latest,
         responses={204: {"description": "Warming up: see /health."}})  # fmt: skip
    path("GET", "/analytics/stats", api.rows, models.RowPage, 410, 422)
    path("GET", "/analytics/stats/csv", api.csv, None, 422, 503, responses={200: CSV_BODY})
    path("GET", "/alerts", api.alerts, models.AlertPage, 410, 422)
    whole = {"application/json": {"schema": models.settings_schema(partial=False)}}
    partial = {"application/json": {"schema": models.settings_schema(partial=True)}}
    settings = {200: {"description": "Every setting, as it is now.", "content": whole}}
    path("GET", "/config", api.config, responses=settings)
    path("POST", "/config", api.change, None, 400, 413, 415, 422, responses=settings,
         openapi_extra={"requestBody": {"required": True, "content": partial},
                        "security": [{"token": []}]})  # fmt: skip
    made.app.add_api_websocket_route("/stream", api.live)
    describe_stream(made.app)
    serve_docs(made.app)
    return made.app, api.stream
