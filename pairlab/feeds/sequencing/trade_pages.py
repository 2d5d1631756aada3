"""Pages of trades from REST, fetched once for all pairs that have the same gap."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from pairlab.feeds.binance.rest_client import PAGE_TRADES, RestClient, RestTrade

__all__ = ["TradePages"]

_ANSWER_TTL_S: Final = 0.05  # for so long an answer is as good as a new one


@dataclass(frozen=True, slots=True)
class _InFlightRequest:
    limit: int
    answer: asyncio.Task[list[RestTrade]]


class TradePages:
    """Asks REST for trades; equal requests at the same time share the answer, or its error.

    A gap in a symbol of a hundred pairs is a gap in each of them.

    Parameters
    ----------
    rest : RestClient
        Open while pages are asked for.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest
        self._in_flight: dict[tuple[str, int, bool], _InFlightRequest] = {}

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
        request = self._in_flight.get(key)
        if request is None or request.limit < limit:
            asking = self._rest.agg_trades(symbol, from_id, limit, can_wait=can_wait)
            request = _InFlightRequest(limit, asyncio.create_task(asking))
            self._in_flight[key] = request
            request.answer.add_done_callback(lambda _: self._note_answer(key, request))
        # One caller that gives up must not take the answer from the others.
        return await asyncio.shield(request.answer)

    def _note_answer(self, key: tuple[str, int, bool], request: _InFlightRequest) -> None:
        if not request.answer.cancelled():
            request.answer.exception()  # its callers have seen it, or have given up
        asyncio.get_running_loop().call_later(_ANSWER_TTL_S, self._forget, key, request)

    def _forget(self, key: tuple[str, int, bool], request: _InFlightRequest) -> None:
        if self._in_flight.get(key) is request:
            del self._in_flight[key]

    async def close(self) -> None:
        """Cancel what is under way."""
        answers = [request.answer for request in self._in_flight.values()]
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
