"""Who misses the same trades at the same time asks once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.server import ServerConnection

from pairlab.errors import FeedError
from pairlab.feeds.binance.rest_client import RestClient
from pairlab.feeds.sequencing.trade_pages import TradePages
from tests.feeds.scripted import Script, playing, tell

pytestmark = pytest.mark.usefixtures("no_task_left")


async def nobody(ws: ServerConnection) -> None:
    await ws.close()


async def opened(stack: AsyncExitStack) -> tuple[Script, TradePages]:
    script = await stack.enter_async_context(playing(nobody))
    tell(script, 0, *range(1, 20))
    url = script.url.replace("ws://", "http://")
    pages = TradePages(await stack.enter_async_context(RestClient(url)))
    stack.push_async_callback(pages.close)
    return script, pages


async def test_an_answer_is_shared_by_all_who_ask_for_no_more() -> None:
    async with AsyncExitStack() as stack:
        script, pages = await opened(stack)
        answers = await asyncio.gather(*(pages.get("BTCUSDT", 3, 5) for _ in range(20)))
        assert [trade.a for trade in answers[0]] == [3, 4, 5, 6, 7]
        assert all(answer == answers[0] for answer in answers)
        assert len(script.asked) == 1
        more, other = await asyncio.gather(pages.get("BTCUSDT", 3, 9), pages.get("BTCUSDT", 4, 5))
        assert (len(more), other[0].a) == (9, 4)
        assert len(script.asked) == 3


async def test_an_error_is_shared_too() -> None:
    async with AsyncExitStack() as stack:
        script, pages = await opened(stack)
        script.rest = lambda path, query: (503, b"")
        asking = (pages.get("BTCUSDT", 3, 5) for _ in range(20))
        errors = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(error, FeedError) for error in errors)
        assert len(script.asked) == 1


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    async with AsyncExitStack() as stack:
        script, pages = await opened(stack)
        impatient, patient = (asyncio.create_task(pages.get("BTCUSDT", 3, 5)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        assert len(await patient) == 5
        assert impatient.cancelled()
        assert len(script.asked) == 1
