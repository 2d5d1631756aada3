"""Board.on_alert(): alerts of all pairs reach the user's function, whatever that one does."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pairlab import Board, SettingError
from pairlab.alerts import Alert, SettingChange
from pairlab.board.board_alerts import BoardAlerts
from pairlab.board_protocol import BoardAlert
from pairlab.data.alert_log import AlertLog
from pairlab.engine import compile_kernel
from pairlab.local_exchange import LocalExchange
from pairlab.schema import Pair
from tests.board.test_board import group_of, until
from tests.feeds.many import markets, pairs

pytestmark = pytest.mark.usefixtures("no_task_left")

(A, B), (C, D) = pairs(2)
EASY = {"window": 20, "min_correlation": -1.0, "entry_z": 0.8, "exit_z": 0.3, "min_edge_bps": None}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_kernel(many_pairs=True)


def alerts_of(board: Board) -> list[BoardAlert]:
    return [alert for alert in board.alert_log if isinstance(alert.entry, Alert)]


async def delivered(board: Board) -> None:
    await asyncio.wait_for(asyncio.gather(*board._runner.listeners._tasks), 60)


async def test_plain_and_coroutine_functions_get_the_alerts_of_all_pairs_in_order() -> None:
    plain: list[BoardAlert] = []
    awaited: list[BoardAlert] = []
    threads = set()

    def call(alert: BoardAlert) -> None:
        threads.add(threading.current_thread())
        plain.append(alert)

    async def called(alert: BoardAlert) -> None:
        await asyncio.sleep(0)
        awaited.append(alert)

    def faulty(alert: BoardAlert) -> None:
        raise ValueError(alert.pair)

    async with LocalExchange(markets(2, 300.0)) as exchange:
        board = Board([(A, B), (C, D)], feed=group_of(exchange.url), **EASY)
        async with board:
            board.on_alert(call)
            end = board.on_alert(called)
            board.on_alert(faulty)
            board[A, B].settings.entry_z = 0.7  # a change is in the log, and no alert
            await until(board, lambda: {a.pair for a in alerts_of(board)} == {(A, B), (C, D)})
            await until(board, lambda: len(alerts_of(board)) > 8)
            end()
            was = len(awaited)
            await until(board, lambda: len(alerts_of(board)) > 12)
        await delivered(board)
        every = alerts_of(board)
        assert plain == every
        assert awaited == every[: len(awaited)]
        assert was <= len(awaited) <= was + 1 < len(every)  # one may have been under way
        assert threading.main_thread() not in threads
        assert board.listener_errors == len(every)
        assert board.running is False
        told = [entry.message for entry in board.event_log if "faulty" in entry.message]
        assert len(told) == 1
        assert "the stream continues" in told[0]
        first = every[0]
        assert first.sentence == f"{first.pair.y} / {first.pair.x}: {first.entry.sentence}"


async def test_what_a_pair_that_comes_later_decided_on_the_past_is_no_news() -> None:
    seen: list[BoardAlert] = []
    async with LocalExchange(markets(1, 300.0)) as exchange:
        board = Board([(A, B)], feed=group_of(exchange.url), **EASY)
        async with board:

            async def called(alert: BoardAlert) -> None:
                seen.append(alert)

            board.on_alert(called)
            await until(board, lambda: len(alerts_of(board)) > 8)
            late = board.add((B, A))
            await until(board, lambda: late.pipeline.engine is not None)
            past = len(late.alert_log.alerts())
            assert past > 3
            await until(board, lambda: len(late.alert_log.alerts()) > past + 2)
        await delivered(board)
        got = [alert.entry for alert in seen if alert.pair == (B, A)]
        assert got == late.alert_log.alerts()[past:]
        assert [a.entry for a in seen if a.pair == (A, B)] == board[A, B].alert_log.alerts()


def test_alerts_are_numbered_over_all_pairs() -> None:
    log, alerts = AlertLog(), BoardAlerts(capacity=3)
    for _ in range(5):
        log.changed(SettingChange(0, "entry_z", 1.0, 2.0))
    alerts.take(Pair(A, B), log)
    assert (alerts.total, alerts.newest_number, alerts.since(0)) == (5, 0, [])


@pytest.mark.parametrize("what", [None, 7, "print"])
def test_what_cannot_be_called_is_refused_at_once(what: object) -> None:
    with pytest.raises(SettingError, match="callback"):
        Board([(A, B)], feed="demo").on_alert(what)  # type: ignore[arg-type]
