"""Whether the exchange can be reached from here, before anything is built on it."""

from __future__ import annotations

from pairlab.errors import FeedError, NetworkSetupError, UnknownSymbolError
from pairlab.feeds.binance.rest_client import RestClient
from pairlab.feeds.binance.venue import LIVE_URL, Venue
from pairlab.schema import Pair

__all__ = ["find_problem"]


async def find_problem(
    url: str = LIVE_URL, timeout_s: float = 5.0, pair: Pair | None = None
) -> str:
    """Return in a sentence why the exchange does not answer, and what to do; empty if it does.

    Parameters
    ----------
    url : str
        Of the stream; REST is asked that belongs to it.
    timeout_s : float
        How long to wait for each answer.
    pair : Pair, optional
        Symbols to look for, where the exchange answers and gives its list.

    Raises
    ------
    UnknownSymbolError
        If one of them is not listed.
    NetworkSetupError
        If a proxy or certificate of the environment cannot be used.
    """
    rest_url = Venue("aggTrade", url).rest_url
    try:
        async with RestClient(rest_url, timeout_s=timeout_s) as rest:
            await rest.clock_offset(samples=1)
            if pair is not None:
                await _check(rest, pair)
    except (NetworkSetupError, UnknownSymbolError):
        raise
    except FeedError as error:
        return str(error)
    return ""


async def _check(rest: RestClient, pair: Pair) -> None:
    try:
        info = await rest.exchange_info()
    except FeedError:
        return  # the page will ask, and tell
    info.check(pair)
