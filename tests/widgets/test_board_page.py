"""A board's page: what it sends, to whom, and what a hand on it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pairlab import Board
from pairlab.engine import compile_kernel
from pairlab.local_exchange import LocalExchange
from pairlab.widgets.board.board_lines import spark
from pairlab.widgets.board.board_page import BoardPage
from pairlab.widgets.dashboard import Dashboard
from tests.board.test_board import group_of, until
from tests.feeds.many import markets, pairs

(A, B), (C, D) = pairs(2)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel(many_pairs=True)


async def test_frames_go_to_a_page_that_draws_and_a_click_opens_a_warm_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with LocalExchange(markets(2, 300.0)) as exchange:
        asked = [(A, B), (C, D), (A, D), ("NOSUCHUSDT", B)]
        async with Board(asked, feed=group_of(exchange.url), window=20) as board:
            page = board.page("light")
            assert board.page("light") is page
            assert isinstance(page, BoardPage)
            sent: list[tuple[dict[str, Any], Any]] = []
            monkeypatch.setattr(
                page.table, "send", lambda frame, buffers: sent.append((frame, buffers))
            )
            await until(board, lambda: all(len(board[p].rows) > 40 for p in asked[:3]))
            await until(board, lambda: "NOSUCHUSDT" in board.health().failed)
            assert not sent  # nobody looks
            page.table.page_says({"opened": True})
            frame, buffers = sent[-1]
            assert frame["pairs"] == [f"{y} / {x}" for y, x in asked]
            z = np.asarray(buffers[0])
            assert np.isfinite(z).tolist() == [True, True, True, False]
            kinds = {(line["y"], line["x"]): line["kind"] for line in frame["lines"]}
            assert kinds["NOSUCHUSDT", B] == "failed"
            assert all(len(line["spark"]) <= 60 for line in frame["lines"])
            assert "does not list" in next(
                line["tip"] for line in frame["lines"] if line["kind"] == "failed"
            )
            # the next frame waits until this one has been drawn
            count = page.table.frames
            assert not page.table.wanted
            page.table.page_says({"drawn": True})
            await until(board, lambda: page.table.frames > count)
            assert " · running" in page._strip.value
            order = [line["i"] for line in sent[-1][0]["lines"]]
            page.table.page_says({"hold": True})
            held = board.snapshot().order.tolist()
            page.table.show(board.snapshot()._replace(order=np.arange(4)))
            assert [line["i"] for line in sent[-1][0]["lines"]] == held
            page.table.page_says({"hold": False})
            assert sorted(order) == [0, 1, 2, 3]
            page.table.page_says({"open": 2})
            assert page.opened == (A, D)
            dashboard = page._detail.children[1]
            assert isinstance(dashboard, Dashboard)
            text = dashboard.parts["strip"]._cells["test"].value
            assert "STATIONARY" in text
            page.table.page_says({"open": 99})
            assert page.opened == (A, D)
            page.open_pair(board[A, B].pair)
            assert dashboard.comm is None
            page.close_pair()
            assert page._detail.children == ()
        assert "STOPPED" in page._strip.value
        page.close()


def test_a_sparkline_is_cut_off_and_broken_where_there_is_no_z() -> None:
    assert spark(np.array([-9.0, -4.0, 0.0, np.nan, 2.0, 4.0, 8.0])) == [
        0,
        0,
        50,
        None,
        75,
        100,
        100,
    ]
    assert len(spark(np.zeros(300))) == 60
    assert spark(np.zeros(0)) == []
