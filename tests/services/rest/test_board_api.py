"""A board over REST: its table, and each pair as a lab's paths show it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

# Importing these reads files, which would block a test's event loop.
import pairlab.services.rest.server
import pairlab.widgets  # noqa: F401
from pairlab import Board, PairlabError
from pairlab.board_protocol import BreakAlert
from pairlab.engine import compile_kernel
from pairlab.local_exchange import LocalExchange
from pairlab.schema import HISTORY_COLUMNS, Pair
from pairlab.services.rest.server import RestServer
from tests.board.test_board import group_of, until
from tests.feeds.many import markets, pairs
from tests.services.rest.conftest import TOKEN, read

pytestmark = pytest.mark.usefixtures("no_task_left")

(A, B), (C, D) = pairs(2)
EASY = {"window": 20, "min_correlation": -1.0, "entry_z": 0.8, "exit_z": 0.3, "min_edge_bps": None}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel(many_pairs=True)


@asynccontextmanager
async def served(
    *more: tuple[str, str], **serve: Any
) -> AsyncIterator[tuple[Board, RestServer, httpx.AsyncClient]]:
    async with LocalExchange(markets(2, 300.0)) as exchange:
        board = Board([(A, B), (C, D), *more], feed=group_of(exchange.url), **EASY)
        async with board:
            server = await board.serve(
                **{"port": 0, "token": TOKEN, "requests_per_s": 1e6, **serve}
            )
            await until(board, lambda: min(len(board[A, B].rows), len(board[C, D].rows)) > 200)
            await until(board, lambda: board.alert_total > 5)
            async with httpx.AsyncClient(base_url=server.url) as client:
                yield board, server, client
        with pytest.raises(httpx.ConnectError):  # it ended with the board
            async with httpx.AsyncClient() as client:
                await client.get(f"{server.url}/health")


async def get(client: httpx.AsyncClient, path: str, status: int = 200, **query: Any) -> Any:
    response = await client.get(path, params=query)
    assert response.status_code == status, response.text
    return read(response) if response.content else None


async def test_the_table_is_the_boards_and_a_pair_is_as_a_lab() -> None:
    pair = f"{A}/{B}"
    async with served(("NOSUCHUSDT", B)) as (board, _, client):
        await until(board, lambda: "NOSUCHUSDT" in board.health().failed)
        listed = (await get(client, "/pairs"))["pairs"]
        assert {(one["y"], one["x"]) for one in listed} == set(board.pairs)
        last = next(one for one in listed if one["y"] == "NOSUCHUSDT")
        assert (last["state"], last["row"], last["y_age_s"]) == ("failed", None, None)
        assert "does not list 'NOSUCHUSDT'" in last["detail"]
        first = next(one for one in listed if one["y"] == A)
        assert first["state"] == "live"
        row = board.history((A, B)).loc[first["row"]["time"] :]
        assert first["row"]["zscore"] in row["zscore"].to_list()
        assert {"time", "filled", *HISTORY_COLUMNS} == set(first["row"])

        health = await get(client, "/health")
        assert (health["ready"], health["pairs"], health["alerts"] > 5) == (True, 3, True)
        assert "NOSUCHUSDT" in health["failed"]
        own = await get(client, "/pairs/health", pair=pair)
        assert (own["y"], own["x"], own["ready"], own["window"]) == (A, B, True, 20)
        assert (await get(client, "/pairs/health", 503, pair=f"NOSUCHUSDT/{B}"))[
            "state"
        ] == "failed"
        assert await get(client, "/analytics/latest", 204, pair=f"NOSUCHUSDT/{B}") is None
        assert (await get(client, "/analytics/latest", pair=pair))["provisional"] is False

        page = await get(client, "/analytics/stats", pair=pair, limit=50)
        rest = await get(
            client, "/analytics/stats", pair=pair, cursor=page["next_cursor"], limit=100
        )
        got = [one["zscore"] for one in page["rows"] + rest["rows"]]
        want = board[A, B].rows.slice(0, 150)["zscore"]
        assert [np.nan if z is None else z for z in got] == pytest.approx(
            want.tolist(), nan_ok=True
        )
        other = await get(
            client, "/analytics/stats", 410, pair=f"{C}/{D}", cursor=page["next_cursor"]
        )
        assert "another run" in other["detail"]
        newest = await get(client, "/analytics/stats", pair=pair, last=3)
        assert len(newest["rows"]) == 3

        text = (await client.get("/analytics/stats/csv", params={"pair": pair})).text
        frame = pd.read_csv(io.StringIO(text))
        assert len(frame) >= 200
        assert f"{A}" in frame.columns[-1]

        alerts = await get(client, "/alerts", limit=3)
        assert alerts["more"]
        more = await get(client, "/alerts", cursor=alerts["next_cursor"])
        told = [(one["y"], one["sentence"]) for one in alerts["alerts"] + more["alerts"]]
        log = [(a.pair.y, a.entry.sentence) for a in board.alert_log]
        assert told == log[: len(told)]
        assert len(told) > 5
        moved = BreakAlert("BREAK", 1_723_161_600_000_000_000, 1.25)
        board.alert_log.add(Pair(A, B), moved)
        more = await get(client, "/alerts", cursor=more["next_cursor"])
        newest = [one for one in more["alerts"] if one["kind"] == "BREAK"]
        assert newest == [{
            "y": A, "x": B, "time": "2024-08-09T00:00:00.000Z", "kind": "BREAK", "ratio": 1.25,
            "reason": "CUSUM 1.25 ≥ 1", "sentence": moved.sentence,
        }]  # fmt: skip
        of_pair = await get(client, "/pairs/alerts", pair=pair)
        assert [one["sentence"] for one in of_pair["alerts"]] == [
            entry.sentence for entry in list(board[A, B].alert_log)[: len(of_pair["alerts"])]
        ]


async def test_what_is_not_there_or_not_allowed_is_refused_in_words() -> None:
    async with served() as (board, server, client):
        wrong = await get(client, "/analytics/stats", 404, pair=f"{B}/{A}")
        assert "did you mean" in wrong["detail"]
        assert (
            "not on the board"
            in (await get(client, "/analytics/latest", 404, pair="X/Y"))["detail"]
        )
        same = await get(client, "/analytics/latest", 404, pair=f"{A}/{A}")
        assert "two different symbols" in same["detail"]
        assert "pair" in (await get(client, "/analytics/stats", 422))["detail"]
        assert "unknown field" in (await get(client, "/alerts", 422, pairs="x"))["detail"]
        assert "cursor" in (await get(client, "/alerts", 422, cursor="nonsense"))["detail"]
        assert "another run" in (await get(client, "/alerts", 410, cursor="000000-0"))["detail"]
        mine = (await get(client, "/alerts"))["next_cursor"].split("-")[0]
        far = await get(client, "/alerts", 422, cursor=f"{mine}-999999")
        assert "was not issued" in far["detail"]
        # Host and Origin as a lab's server has them, and nothing can be changed.
        for headers, status in (
            ({"Host": "evil.example"}, 421), ({"Origin": "https://evil.example"}, 403),
        ):  # fmt: skip
            assert (await client.get("/pairs", headers=headers)).status_code == status
        assert (await client.post("/pairs")).status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert (await client.post("/pairs", headers=right)).status_code == 405
        schema = await get(client, "/openapi.json")
        assert {"/pairs", "/alerts", "/analytics/stats"} <= set(schema["paths"])
        assert (await client.get("/docs")).status_code == 200
        # A pair that has left is not found, and its cursors are another run's when it is back.
        page = await get(client, "/analytics/stats", pair=f"{C}/{D}", limit=5)
        board.remove((C, D))
        await get(client, "/analytics/stats", 404, pair=f"{C}/{D}")
        board.add((C, D))
        await get(client, "/analytics/stats", 410, pair=f"{C}/{D}", cursor=page["next_cursor"])
        assert repr(server).endswith("serving>")


async def test_beyond_this_machine_reading_needs_the_token() -> None:
    async with served(host="0.0.0.0") as (_, server, client):
        for path in ("/pairs", "/health", "/alerts"):
            assert (await client.get(path)).status_code == 401
            right = {"Authorization": f"Bearer {TOKEN}"}
            assert (await client.get(path, headers=right)).status_code == 200
        assert server.host == "0.0.0.0"


async def test_a_board_that_does_not_run_is_not_served() -> None:
    with pytest.raises(PairlabError, match="needs a started board"):
        await Board([(A, B)], feed="demo").serve(port=0)
