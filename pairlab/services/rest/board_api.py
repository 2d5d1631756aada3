"""The FastAPI application of a board: its pairs in one list, and each as a lab's paths show it."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final
from weakref import WeakKeyDictionary

import msgspec
from fastapi import FastAPI, HTTPException, Query, Response
from pydantic import Field

from pairlab.board.board import Board
from pairlab.board.board_pair import BoardPair
from pairlab.errors import SettingError
from pairlab.schema import NO_TIME_NS
from pairlab.services.rest import board_models, models
from pairlab.services.rest.application import CSV_BODY, Application, EncodedJson
from pairlab.services.rest.openapi import serve_docs
from pairlab.services.rest.rest_api import AlertQuery, PairApi, RowQuery, TimeRange
from pairlab.services.rest.scheduler import RenderLock
from pairlab.services.rest.serializers import (
    VERSIONS,
    entries_to_dicts,
    now_text,
    rows_to_dicts,
)

__all__ = ["create_board_app"]

_DESCRIPTION: Final = """The analytics of a running board: many pairs.

* **Reading** requires no token on this machine; from other machines send
  `Authorization: Bearer <token>`. Nothing can be changed over REST.
* `pair` names one of them: `BTCUSDT/ETHUSDT` (write / as %2F if your client wants it).
* NaN is `null`; times are ISO 8601, UTC.
"""
_ITEMS_PER_PIECE: Final = 20
_ENTRY_PATTERN: Final = r"^[0-9a-f]{6}-\d{1,12}$"

_PairText = Annotated[
    str,
    Field(
        pattern=r"^[^/]{1,40}/[^/]{1,40}$",
        description="Both symbols, y first: BTCUSDT/ETHUSDT.",
        examples=["BTCUSDT/ETHUSDT"],
    ),
]


class _OnePair(models.Query):
    pair: _PairText


class _PairTimes(TimeRange):
    pair: _PairText


class _PairRows(RowQuery):
    pair: _PairText


class _PairAlerts(AlertQuery):
    pair: _PairText


class _AllAlerts(models.Query):
    limit: int = Field(1000, ge=1, le=10_000, description="Maximum number of entries.")
    cursor: Annotated[
        str | None,
        Field(
            default=None,
            pattern=_ENTRY_PATTERN,
            description="`next_cursor` of the page before.",
        ),
    ]


class _BoardApi:
    """The handlers of all paths, for one board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.render_lock = RenderLock()
        self._run = secrets.token_hex(3)
        self._apis: WeakKeyDictionary[BoardPair, PairApi] = WeakKeyDictionary()

    def of(self, text: str) -> PairApi:
        """Return the handlers of a pair.

        Raises
        ------
        HTTPException
            If it is not on the board.
        """
        y, _, x = text.partition("/")
        try:
            view = self.board[y.strip(), x.strip()]
        except SettingError as error:
            raise HTTPException(404, str(error)) from None
        api = self._apis.get(view)
        if api is None:
            # Cursors of a pair that has left the board and come again are another run's.
            api = self._apis[view] = PairApi(view, secrets.token_hex(3))
        return api

    async def health(self) -> Response:
        """Return feeds, counters, lags and versions; 503 while no symbol is live."""
        health = self.board.health()
        ready = health.state == "live"
        report = {
            "ready": ready,
            "reason": "" if ready else f"the feeds are {health.state}: {health.detail}",
            "time": now_text(),
            **{name: getattr(health, name) for name in health.__dataclass_fields__},
            "failed": dict(health.failed),
            "dropped": dict(health.dropped),
            "alerts": self.board.alert_total,
            "versions": VERSIONS,
        }
        return EncodedJson(msgspec.json.encode(report), 200 if ready else 503)

    async def pairs(self) -> Response:
        """Return all pairs with their newest rows, what needs attention first."""
        at = self.board.snapshot()
        entries: list[Any] = []
        for begin in range(0, len(at.order), _ITEMS_PER_PIECE):
            await self.render_lock.wait_turn()
            numbers = at.order[begin : begin + _ITEMS_PER_PIECE]
            # A pair without a row has no time that could be written.
            made = at.rows[numbers]["time_ns"] != NO_TIME_NS
            rows = iter(rows_to_dicts(at.rows[numbers[made]]))
            for number, has_row in zip(numbers.tolist(), made.tolist(), strict=True):
                pair, (state, detail) = at.pairs[number], at.states[number]
                entries.append(
                    {
                        "y": pair.y,
                        "x": pair.x,
                        "state": state,
                        "detail": detail,
                        "y_age_s": float(at.y_age_s[number]),
                        "x_age_s": float(at.x_age_s[number]),
                        "deviation_round_trips": float(at.round_trips[number]),
                        "row": next(rows) if has_row else None,
                    }
                )
        return EncodedJson(msgspec.json.encode({"pairs": entries}))

    async def pair_health(self, query: Annotated[_OnePair, Query()]) -> Response:
        """Return readiness, feeds, counters and lags of one pair; 503 while it is not ready."""
        return await self.of(query.pair).health()

    async def latest(self, query: Annotated[_OnePair, Query()]) -> Response:
        """Return a pair's newest row, or the forming bar; 204 until the window is full."""
        return await self.of(query.pair).latest()

    async def rows(self, query: Annotated[_PairRows, Query()]) -> Response:
        """Return a page of a pair's history, oldest first; next_cursor leads to the next one."""
        return await self.of(query.pair).rows(query)

    async def csv(self, query: Annotated[_PairTimes, Query()]) -> Response:
        """Stream a pair's history as PairLab.to_csv writes it."""
        return await self.of(query.pair).csv(query)

    async def pair_alerts(self, query: Annotated[_PairAlerts, Query()]) -> Response:
        """Return a page of one pair's alert log, oldest first: alerts and setting changes."""
        return await self.of(query.pair).alerts(query)

    async def alerts(self, query: Annotated[_AllAlerts, Query()]) -> Response:
        """Return a page of the log of all pairs' alerts, oldest first."""
        log = self.board.alert_log
        oldest = log.total - len(log)
        entry = oldest
        if query.cursor is not None:
            run, _, number = query.cursor.partition("-")
            entry = int(number)
            if run != self._run:
                raise HTTPException(
                    410, "the cursor is from another run: start again without cursor"
                )
            if entry > log.total:
                raise HTTPException(422, f"cursor = {query.cursor!r} was not issued by this server")
        first = max(entry - oldest, 0)
        page = log.between(first, first + query.limit)
        items: list[dict[str, Any]] = []
        for begin in range(0, len(page), _ITEMS_PER_PIECE):
            await self.render_lock.wait_turn()
            part = page[begin : begin + _ITEMS_PER_PIECE]
            of_part = [alert.entry for alert in part]
            for alert, fields in zip(part, entries_to_dicts(of_part), strict=True):
                items.append({"y": alert.pair.y, "x": alert.pair.x, **fields})
        body = {
            "alerts": items,
            "next_cursor": f"{self._run}-{oldest + first + len(page)}",
            "more": first + len(page) < len(log),
            "missed": max(0, oldest - entry),
        }
        return EncodedJson(msgspec.json.encode(body))


def create_board_app(board: Board) -> FastAPI:
    """Return the application that serves `board`.

    It reads files, so it must not be called on the board's event loop. It checks neither token nor
    host: `pairlab.services.rest.security.SecurityMiddleware` does.
    """
    api = _BoardApi(board)
    made = Application(_DESCRIPTION, board.log)
    path = made.path
    report = board_models.BoardHealthReport
    path("GET", "/health", api.health, report,
         responses={503: {"model": report, "description": "Not ready."}})  # fmt: skip
    path("GET", "/pairs", api.pairs, board_models.PairList)
    path("GET", "/pairs/health", api.pair_health, models.HealthReport, 404, 422,
         responses={503: {"model": models.HealthReport, "description": "Not ready."}})  # fmt: skip
    path("GET", "/analytics/latest", api.latest, models.Latest, 404, 422,
         responses={204: {"description": "Warming up: see /pairs/health."}})  # fmt: skip
    path("GET", "/analytics/stats", api.rows, models.RowPage, 404, 410, 422)
    path("GET", "/analytics/stats/csv", api.csv, None, 404, 422, 503, responses={200: CSV_BODY})
    path("GET", "/alerts", api.alerts, board_models.BoardAlertPage, 410, 422)
    path("GET", "/pairs/alerts", api.pair_alerts, models.AlertPage, 404, 410, 422)
    serve_docs(made.app)
    return made.app
