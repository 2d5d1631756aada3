"""The still picture of a board that a saved notebook shows."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from pairlab import Board
from pairlab.engine import compile_kernel
from pairlab.local_exchange import LocalExchange
from pairlab.widgets.board.board_page import BoardPage
from pairlab.widgets.still import output
from pairlab.widgets.still.board_picture import BoardMoment, board_picture, board_words
from pairlab.widgets.style.theme import DARK
from tests.board.test_board import group_of, until
from tests.feeds.many import markets, pairs
from tests.widgets.still.test_still import SECRETS, count, pixels

LINE: dict[str, Any] = {
    "y": "AUSDT", "x": "BUSDT", "word": "LONG", "z": "−2.50", "corr": "0.90", "p": "0.01",
    "half": "12.0", "dev": "1.25 ×", "spark": [10, 90] * 30,
}  # fmt: skip


def moment(z: list[float], real_money: bool = False) -> BoardMoment:
    source = "BINANCE" if real_money else "SIMULATED"
    names = [f"A{n} / B{n}" for n in range(len(z))]
    lines = [LINE] * min(len(z), 24)
    return BoardMoment(source, real_money, 10**18, names, np.array(z), lines)


def test_the_picture_shows_the_pairs_and_says_what_it_is() -> None:
    picture, texts = pixels(board_picture(moment([-4.0, 0.0, 4.0])))
    assert texts["pairlab"] == "SIMULATED; board"
    assert count(picture, DARK.z) > 100, "a sparkline is drawn"
    assert count(picture, DARK.sim) > 300, "SIMULATED stands on it"
    assert count(pixels(board_picture(moment([1.0], real_money=True)))[0], DARK.sim) == 0
    words = board_words(moment([-4.0, 0.0, 4.0]))
    assert words.startswith("pairlab board: 3 pairs · SIMULATED · 2001-09-09 01:46:40 UTC · 2 with")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_no_z_breaks_the_picture(bad: float) -> None:
    for pairs_ in (0, 1, 200):
        picture, _ = pixels(board_picture(moment([bad] * pairs_)))
        assert picture.shape[1] == 880


@pytest.fixture
def compiled() -> None:
    compile_kernel(many_pairs=True)


@pytest.mark.usefixtures("compiled")
async def test_a_board_in_a_notebook_publishes_its_picture_before_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published: list[tuple[dict[str, str], dict[str, Any]]] = []
    monkeypatch.setattr(output, "_saves_outputs", lambda: True)
    monkeypatch.setattr(
        output, "publish_display_data", lambda bundle, **how: published.append((bundle, how))
    )
    async with (
        LocalExchange(markets(1, 300.0)) as exchange,
        Board([pairs(1)[0]], feed=group_of(exchange.url), window=20) as board,
    ):
        assert isinstance(board.page(), BoardPage)
        bundle: Any = board._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert bundle["text/plain"].startswith("pairlab board: 1 pair · ")
        first, how = published[0]
        assert not how["update"]
        await until(board, lambda: len(board[pairs(1)[0]].rows) > 40)
    # The last moment takes the place of the first one when the board stops.
    last, how_last = published[-1]
    assert how_last["update"]
    assert how_last["transient"] == how["transient"]
    assert " UTC · " in last["text/plain"]
    assert last["image/png"] != first["image/png"]
    assert count(pixels(base64.b64decode(last["image/png"]))[0], DARK.z) > 30


def test_no_password_of_a_feed_comes_into_a_notebook() -> None:
    board = Board([pairs(1)[0]], feed=f"ws://{SECRETS[0]}:{SECRETS[1]}@127.0.0.1:1")
    shown = str((board._repr_mimebundle_(), board.health(), board.page()._strip.value))
    assert "127.0.0.1:1" in shown
    assert not any(secret in shown for secret in SECRETS)
