"""Pages of trades from REST, fetched once for everyone who misses them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from pairlab.feeds.binance.rest_client import PAGE_TRADES, RestClient, RestTrade

__all__ = ["TradePages"]

_FRESH_S: Final = 0.05  # for so long an answer is as good as one of now


@dataclass(frozen=True, slots=True)
class _InFlightRequest:
    limit: int
    answer: asyncio.Task[list[RestTrade]]


class TradePages:
    """Asks REST for trades; who asks for the same at the same time shares the answer, or its error.

    A hole in a symbol of a hundred pairs is a hole in each of them.

    Parameters
    ----------
    rest : RestClient
        What is asked.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest
        self._flights: dict[tuple[str, int, bool], _InFlightRequest] = {}

    async def get(
        self, symbol: str, from_id: int, limit: int = PAGE_TRADES, *, can_wait: bool = False
    ) -> list[RestTrade]:
        """Return trades from `from_id` on, `limit` or more, as `RestClient.agg_trades` does.

        Raises
        ------
        FeedError
            For no answer, a refusal, or an answer that cannot be read.
        """
        key = (symbol, from_id, can_wait)
        flight = self._flights.get(key)
        if flight is None or flight.limit < limit:
            asking = self._rest.agg_trades(symbol, from_id, limit, can_wait=can_wait)
            flight = _InFlightRequest(limit, asyncio.create_task(asking))
            self._flights[key] = flight
            flight.answer.add_done_callback(lambda _: self._note_landing(key, flight))
        # One who gives up must not take the answer from the others.
        return await asyncio.shield(flight.answer)

    def _note_landing(self, key: tuple[str, int, bool], flight: _InFlightRequest) -> None:
        if not flight.answer.cancelled():
            flight.answer.exception()  # its askers have seen it, or have given up
        asyncio.get_running_loop().call_later(_FRESH_S, self._forget, key, flight)

    def _forget(self, key: tuple[str, int, bool], flight: _InFlightRequest) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def close(self) -> None:
        """End what is under way."""
        answers = [flight.answer for flight in self._flights.values()]
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
