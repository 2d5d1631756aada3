"""The app: every path, what it takes and what it answers."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import FastAPI, HTTPException, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import Send

from pairlab import __version__
from pairlab.data.csv_export import csv_name
from pairlab.data.time_selection import between_ns, span_ns
from pairlab.errors import DataError, SettingError
from pairlab.lab.pair_lab import PairLab
from pairlab.services.rest import models
from pairlab.services.rest.openapi import ABOUT, describe_stream, serve_docs
from pairlab.services.rest.scheduler import RenderLock
from pairlab.services.rest.serializers import (
    csv_stream,
    health_report,
    is_warming,
    json_list,
    latest_json,
)
from pairlab.services.rest.stream import Cursor, Stream
from pairlab.settings import SETTINGS, unknown_setting

__all__ = ["create_app"]

_MOST_TRANSFERS: Final = 32
_STALLED_S: Final = 60.0
"""A CSV whose reader takes nothing for so long is given up."""

_MOMENT: Final = r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$"
_CURSOR: Final = r"^[0-9a-f]{6}-\d{1,12}-\d{1,15}-\d{1,12}$"


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    known = (401, 403, 421, 429, *statuses)
    return {s: {"model": models.Problem, "description": HTTPStatus(s).phrase} for s in known}


_Moment = Annotated[
    str | None,
    Field(
        default=None,
        pattern=_MOMENT,
        description="ISO 8601 with a time zone (write + as %2B); included.",
        json_schema_extra={"format": "date-time"},
    ),
]
_Cursor = Annotated[
    str | None,
    Field(default=None, pattern=_CURSOR, description="`next_cursor` of the page before."),
]


class _Query(models.Model):
    """A query whose misspelt fields are refused, not ignored."""


class _Span(_Query):
    start: _Moment
    end: _Moment


class _RowQuery(_Span):
    limit: int = Field(1000, ge=1, le=10_000, description="Most rows in the answer.")
    cursor: _Cursor
    last: int | None = Field(
        None, ge=1, le=10_000, description="Only the newest so many of the range; without cursor."
    )


class _AlertQuery(_Query):
    limit: int = Field(1000, ge=1, le=10_000, description="Most entries in the answer.")
    cursor: _Cursor


class _Json(JSONResponse):
    """JSON that is encoded already."""

    def render(self, content: Any) -> bytes:
        """Return the content as it is."""
        return bytes(content)


class _Api:
    """What the paths do, on one lab."""

    def __init__(self, lab: PairLab) -> None:
        self.lab = lab
        self.stream = Stream(lab, self.cursor)
        self.turn = RenderLock()
        self.transfers = 0
        self._run = secrets.token_hex(3)
        self._latest: tuple[Any, bytes] = (None, b"")

    # -- reading --------------------------------------------------------------------------------

    async def health(self) -> Response:
        """Give readiness, feed, counters, lags and versions; 503 while the lab is not ready."""
        ready, body = health_report(self.lab, self.stream.readers)
        return _Json(body, 200 if ready else 503)

    async def latest(self) -> Response:
        """Give the newest row; at bar timeframes the forming bar. 204 until the window is full."""
        at = self.lab.latest()
        if at is None or is_warming(at):
            return Response(status_code=204)
        if self._latest[0] != at:  # many clients ask between two ticks
            self._latest = (at, latest_json(at))
        return _Json(self._latest[1])

    async def rows(self, asked: Annotated[_RowQuery, Query()]) -> Response:
        """Give a page of the history, oldest first; next_cursor gives the next one."""
        if asked.cursor and asked.last:
            raise HTTPException(422, "last and cursor cannot be combined")
        span = _span(asked)
        place = self.place(asked.cursor)
        held, oldest = self.lab.rows.view(), self.lab.rows.start
        first = len(held) - len(between_ns(held, span[0], None))
        end = len(between_ns(held, None, span[1]))
        missed = 0
        if place is not None:
            first, missed = max(first, place.row - oldest), max(0, oldest - place.row)
        elif asked.last:
            first = max(first, end - asked.last)
        count = min(max(end - first, 0), asked.last or asked.limit)
        # A copy: a view would keep a whole ring's memory for a page that is slow to leave.
        page = held[first : first + count].copy()
        rest = {
            "next_cursor": self.cursor(self.now()._replace(row=oldest + first + count)),
            "more": first + count < end,
            "missed": missed,
        }
        del held
        return _Json(await json_list("rows", page, rest, self.turn))

    async def csv(self, asked: Annotated[_Span, Query()]) -> Response:
        """Send the history as PairLab.to_csv writes it, while it is written."""
        span = _span(asked)
        if self.transfers >= _MOST_TRANSFERS:
            raise HTTPException(503, f"{_MOST_TRANSFERS} files are being sent already")
        return _Csv(self, csv_stream(self.lab.rows.ring, *span, self.turn))

    async def alerts(self, asked: Annotated[_AlertQuery, Query()]) -> Response:
        """Give a page of the alert log, oldest first: every alert with why, and setting changes."""
        place = self.place(asked.cursor, any_rows=True)
        log = list(self.lab.alert_log)
        total = self.lab.alert_log.total
        oldest = total - len(log)
        entry = oldest if place is None else place.entry
        first = max(entry - oldest, 0)
        page = log[first : first + asked.limit]
        rest = {
            "next_cursor": self.cursor(self.now()._replace(entry=oldest + first + len(page))),
            "more": first + len(page) < len(log),
            "missed": max(0, oldest - entry),
        }
        return _Json(await json_list("alerts", page, rest, self.turn))

    async def config(self) -> Response:
        """Give every setting."""
        return _Json(msgspec.json.encode(self.lab.settings.values()))

    # -- changing -------------------------------------------------------------------------------

    async def change(self, request: Request) -> Response:
        """Change settings: all that are named, or, with a 422 that says why, none.

        It applies from the next tick, and the sliders move.
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
            raise HTTPException(422, "the body must be an object of settings by name")
        settings = self.lab.settings
        before = settings.values()
        try:
            for name in changes:
                if name not in SETTINGS:
                    raise unknown_setting(name)
            asked: dict[str, Any] = {n: _number(n, value) for n, value in changes.items()}
            settings.update(**asked)
        except SettingError as error:
            raise HTTPException(422, str(error)) from None
        except MemoryError:
            settings.update(**asdict(before))
            raise HTTPException(422, "this machine has not the memory for that") from None
        return await self.config()

    # -- live -----------------------------------------------------------------------------------

    async def live(self, ws: WebSocket) -> None:
        """Send rows and alerts as they come."""
        text = ws.query_params.get("cursor")
        try:
            if text is not None and not re.fullmatch(_CURSOR, text):
                raise HTTPException(422, f"cursor = {text[:60]!r} is not one that this server gave")
            place = self.place(text, any_rows=True)
        except HTTPException as error:
            body = msgspec.json.encode({"detail": error.detail})
            await ws.send_denial_response(_Json(body, error.status_code))
            return
        await self.stream.serve(ws, place)

    # -- places ---------------------------------------------------------------------------------

    def now(self) -> Cursor:
        """Return the place after everything that there is."""
        return Cursor(*self.lab.rows.cursor, self.lab.alert_log.total)

    def cursor(self, place: Cursor) -> str:
        """Return a place as the text that a client gives back."""
        return f"{self._run}-{place.epoch}-{place.row}-{place.entry}"

    def place(self, cursor: str | None, *, any_rows: bool = False) -> Cursor | None:
        """Return the place that a cursor stands for, or refuse it in plain words."""
        if cursor is None:
            return None
        run, *numbers = cursor.split("-")
        place, now = Cursor(*map(int, numbers)), self.now()
        if run != self._run:
            raise HTTPException(410, "the cursor is from another run: begin again without one")
        if place.epoch != now.epoch and not any_rows:
            raise HTTPException(
                410, "the rows were computed anew under other settings: begin again without cursor"
            )
        if place.entry > now.entry or (place.epoch == now.epoch and place.row > now.row):
            raise HTTPException(422, f"cursor = {cursor!r} is not one that this server gave")
        return place


class _Csv(StreamingResponse):
    """A file that is written as it is sent, given up where nobody takes it."""

    media_type = "text/csv; charset=utf-8"

    def __init__(self, api: _Api, pieces: AsyncIterator[str]) -> None:
        name = csv_name(api.lab.pair)
        super().__init__(pieces, headers={"Content-Disposition": f'attachment; filename="{name}"'})
        self._api = api

    async def stream_response(self, send: Send) -> None:
        """Send the pieces; a file that cannot be finished ends broken, never with a hole."""

        async def soon(message: Any) -> None:
            async with asyncio.timeout(_STALLED_S):
                await send(message)

        self._api.transfers += 1
        try:
            await super().stream_response(soon)
        except DataError as error:
            self._api.lab.log("warning", str(error))
        except TimeoutError:
            words = (
                f"a CSV was given up: its reader took nothing for {_STALLED_S:g} s; its program "
                "has to read on, or to ask for less with start= and end="
            )
            self._api.lab.log("warning", words)
        finally:
            self._api.transfers -= 1


def _span(asked: _Span) -> tuple[int | None, int | None]:
    try:
        return span_ns(_clamped("start", asked.start), _clamped("end", asked.end))
    except DataError as error:
        raise HTTPException(422, str(error)) from None


def _clamped(name: str, moment: str | None) -> str | None:
    """Return a moment within what 64 bits of nanoseconds can say."""
    if moment is None:
        return None
    try:
        datetime.fromisoformat(moment.upper())
    except ValueError as error:
        raise DataError(f"{name} = {moment!r} is no moment in time: {error}") from None
    if "1678" <= moment[:4] <= "2261":
        return moment
    return "1678-01-01T00:00:00Z" if moment[:4] < "1678" else "2261-12-31T23:59:59Z"


def _number(name: str, value: object) -> object:
    """Return a JSON number as the setting's own kind: 2 and 2.0 are the same threshold."""
    real = "number" in str(SETTINGS[name].schema)
    return float(value) if real and type(value) is int and abs(value) < 2**53 else value


def create_app(lab: PairLab) -> tuple[FastAPI, Stream]:
    """Return the app that serves `lab`, and its stream, to be opened and closed with the server.

    It reads files: not for the loop that ticks come on. The app asks for no token and checks no
    host: `pairlab.services.rest.security.SecurityMiddleware` stands before it.
    """
    api = _Api(lab)
    methods: defaultdict[str, set[str]] = defaultdict(set)
    app = FastAPI(
        title="pairlab",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )

    def path(
        method: Literal["GET", "POST"],
        url: str,
        do: Callable[..., Any],
        model: Any = None,
        *problems: int,
        **more: Any,
    ) -> None:
        responses = {**_problems(*problems), **more.pop("responses", {})}
        if model is not None:
            responses[200] = {"model": model}
        methods[url].add(method)
        first = (do.__doc__ or "").splitlines()[0].split(". ")[0].rstrip(".")
        app.add_api_route(
            url, do, methods=[method], responses=responses, response_class=_Json,
            response_model=None, name=do.__name__, summary=first, **more,
        )  # fmt: skip

    path("GET", "/health", api.health, models.HealthReport,
         responses={503: {"model": models.HealthReport, "description": "Not ready."}})  # fmt: skip
    path("GET", "/analytics/latest", api.latest, models.Latest,
         responses={204: {"description": "Warming up: see /health."}})  # fmt: skip
    path("GET", "/analytics/stats", api.rows, models.RowPage, 410, 422)
    csv_body = {"description": "A file.", "content": {"text/csv": {"schema": {"type": "string"}}}}
    path("GET", "/analytics/stats/csv", api.csv, None, 422, 503, responses={200: csv_body})
    path("GET", "/alerts", api.alerts, models.AlertPage, 410, 422)
    whole = {"application/json": {"schema": models.settings_schema(partial=False)}}
    partial = {"application/json": {"schema": models.settings_schema(partial=True)}}
    settings = {200: {"description": "Every setting, as it is now.", "content": whole}}
    path("GET", "/config", api.config, responses=settings)
    path("POST", "/config", api.change, None, 400, 413, 415, 422, responses=settings,
         openapi_extra={"requestBody": {"required": True, "content": partial},
                        "security": [{"token": []}]})  # fmt: skip
    app.add_api_websocket_route("/stream", api.live)
    describe_stream(app)
    serve_docs(app)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, AnyHTTPException)  # noqa: S101  registered for nothing else
        body, headers = msgspec.json.encode({"detail": error.detail}), error.headers
        if error.status_code == 405:  # a path's methods are separate routes: Starlette tells one's
            headers = {"Allow": ", ".join(sorted(methods[request.url.path]))}
        return _Json(body, error.status_code, headers=headers)

    async def misread(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
        return _Json(msgspec.json.encode({"detail": _words(error)}), 422)

    async def failed(request: Request, error: Exception) -> Response:
        lab.log(
            "error",
            f"{request.url.path}: {type(error).__name__}: {error}. Everything else goes on; ask "
            "again, and if that fails, too, stop and start the lab",
        )
        return _Json(b'{"detail":"an error of the server: see the lab\'s event log"}', 500)

    app.add_exception_handler(AnyHTTPException, refused)
    app.add_exception_handler(RequestValidationError, misread)
    app.add_exception_handler(Exception, failed)
    return app, api.stream


def _words(error: RequestValidationError) -> str:
    problems = []
    for problem in error.errors():
        name, value = problem["loc"][-1], str(problem.get("input"))[:60]
        if problem["type"] == "extra_forbidden":
            problems.append(f"there is no field {str(name)[:60]!r}")
        else:
            problems.append(f"{name} = {value!r} is invalid: {problem['msg']}")
    return "; ".join(problems)
