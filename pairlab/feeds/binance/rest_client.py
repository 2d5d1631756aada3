"""Binance's REST interface, as far as a feed needs it, and what its refusals mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.errors import (
    FeedError,
    FirewallError,
    GeoBlockedError,
    RateLimitedError,
)
from pairlab.feeds.binance.exchange_info import (
    DEFAULT_WEIGHT_PER_MIN,
    ExchangeInfo,
    read_exchange_info,
)
from pairlab.feeds.binance.lenient import ListDecoder
from pairlab.feeds.environment import proxy_hint, tls_hint, unreachable
from pairlab.feeds.http_client import http_client
from pairlab.feeds.rate_limit import SlidingWindowLimiter
from pairlab.net import host_of, is_loopback_url
from pairlab.schema import NS_PER_S

__all__ = [
    "PAGE_TRADES",
    "PAGE_WEIGHT",
    "ClockOffset",
    "ExchangeInfo",
    "RestClient",
    "RestTrade",
    "is_loopback_url",
    "refusal",
]

PAGE_TRADES: Final = 1000
PAGE_WEIGHT: Final = 20
_OUR_SHARE: Final = 0.9  # of the weight: other programs may share the address
_DEFAULT_WAIT_S: Final = {429: 60.0, 418: 120.0}  # where the answer has no Retry-After
_MAX_CONCURRENT: Final = 4
_LONGEST_WAIT_S: Final = 3 * 24 * 3600.0  # Binance bans for three days at most
_NS_PER_MS: Final = 1_000_000
_NOT_THERE: Final = (
    "that is not Binance Futures' interface. If it stays so, check url and rest_url of the feed, "
    "proxy and VPN."
)

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Ms = Annotated[int, msgspec.Meta(gt=0, lt=4_102_444_800_000)]


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815 - the exchange's key


class RestTrade(msgspec.Struct, gc=False):
    """One row of ``/fapi/v1/aggTrades``: id, price, quantity, time in ms, buyer is maker."""

    a: _Id
    p: str
    q: str
    T: _Ms
    m: bool


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How far the local clock is ahead: this machine's minus the exchange's.

    Attributes
    ----------
    offset_ns : int
        Positive if this machine is ahead.
    round_trip_ns : int
        Of the request it was read from: the offset is right to half of it.
    """

    offset_ns: int
    round_trip_ns: int


def refusal(status: int, retry_after: str | None, where: str) -> FeedError:
    """Return the error for an HTTP answer that is no success.

    Parameters
    ----------
    status : int
        HTTP status.
    retry_after : str or None
        The ``Retry-After`` header, in seconds.
    where : str
        What was asked, e.g. ``the stream at fstream.binance.com``.
    """
    if status == 451:
        return GeoBlockedError(
            f"{where} answered HTTP 451: Binance does not serve this location. "
            "Trying again does not help; use a permitted location, or feed='demo'."
        )
    if status == 403:
        return FirewallError(
            f"{where} answered HTTP 403: the exchange's firewall refused this address. "
            "It usually lifts that after some minutes without requests."
        )
    if status in (418, 429):
        wait_s = _DEFAULT_WAIT_S[status]
        if retry_after is not None:
            try:
                wait_s = min(max(float(retry_after), 0.0), _LONGEST_WAIT_S)
            except ValueError:
                pass  # a date, or damage: the default stands
            else:
                wait_s = wait_s if wait_s == wait_s else _DEFAULT_WAIT_S[status]
        why = (
            "too many requests from this address"
            if status == 429
            else "this address is banned for a while, for asking too often"
        )
        return RateLimitedError(
            f"{where} answered HTTP {status}: {why}; waiting {wait_s:g} s as requested.", wait_s
        )
    if status < 400 or status == 511:
        return FeedError(
            f"{where} answered HTTP {status}, which is not the exchange's answer: the log-in page "
            "of a network, a proxy or a firewall stands in between. Open any page in a browser and "
            "log in, or check proxy and VPN."
        )
    if status >= 500:
        return FeedError(f"{where} answered HTTP {status}: a fault on the exchange's side.")
    if status != 400:  # of another server: the exchange has these addresses, and asks no log-in
        return FeedError(f"{where} answered HTTP {status}: {_NOT_THERE}")
    return FeedError(f"{where} answered HTTP {status}.")


class RestClient:
    """The few REST requests a feed makes, each with a time limit and within the weight budget.

    Use it as ``async with RestClient(...) as rest``.

    Parameters
    ----------
    base_url : str
        ``https://fapi.binance.com``, or ``http://host:port`` of a local exchange.
    timeout_s : float
        For one answer.
    clock : Clock
        Source of the time.
    report : callable
        Takes a sentence about entries of an answer that could not be read and were left out.

    Attributes
    ----------
    budget : SlidingWindowLimiter
        Of request weight.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float = 10.0,
        clock: Clock = SYSTEM_CLOCK,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.base_url = base_url
        self.budget = SlidingWindowLimiter(
            int(DEFAULT_WEIGHT_PER_MIN * _OUR_SHARE), 60.0, clock=clock
        )
        self.clock = clock
        self._timeout_s = timeout_s
        self._blocked_until_s = 0.0  # monotonic: Retry-After holds for every request
        self._concurrent = asyncio.Semaphore(_MAX_CONCURRENT)
        self._client: httpx.AsyncClient | None = None
        self._report = report
        self._time = msgspec.json.Decoder(_Time)
        self._trades: ListDecoder[RestTrade] = ListDecoder(RestTrade)

    async def __aenter__(self) -> RestClient:
        # Loading the certificates takes a while and reads files: not on the loop.
        self._client = await asyncio.to_thread(
            http_client,
            self.base_url,
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=_MAX_CONCURRENT, max_keepalive_connections=2),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def exchange_info(self) -> ExchangeInfo:
        """Return the listed symbols and adopt the weight limit.

        Raises
        ------
        FeedError
            For no answer, a refusal, or an answer that cannot be read.
        """
        raw = await self.get("/fapi/v1/exchangeInfo", {}, weight=1)
        try:
            info = read_exchange_info(raw, partial(self.report_odd, "exchangeInfo"))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self.unreadable("exchangeInfo", error) from error
        self.budget.limit = max(PAGE_WEIGHT, int(info.weight_per_min * _OUR_SHARE))
        return info

    async def clock_offset(self, samples: int = 3) -> ClockOffset:
        """Return this machine's clock minus the exchange's, from the quickest of some answers.

        Raises
        ------
        FeedError
            For no answer, a refusal, or an answer that cannot be read.
        """
        best: ClockOffset | None = None
        for _ in range(samples):
            asked_ns = self.clock.time_ns()
            asked_s = self.clock.monotonic_s()
            raw = await self.get("/fapi/v1/time", {}, weight=1)
            round_trip_ns = round((self.clock.monotonic_s() - asked_s) * NS_PER_S)
            try:
                server_ns = self._time.decode(raw).serverTime * _NS_PER_MS
            except (msgspec.MsgspecError, ValueError) as error:
                raise self.unreadable("time", error) from error
            offset = ClockOffset(asked_ns + round_trip_ns // 2 - server_ns, round_trip_ns)
            if best is None or offset.round_trip_ns < best.round_trip_ns:
                best = offset
        if best is None:
            raise ValueError(f"samples = {samples} is invalid: expected 1 or more")
        return best

    async def agg_trades(
        self,
        symbol: str,
        from_id: int | None = None,
        limit: int = PAGE_TRADES,
        *,
        can_wait: bool = False,
    ) -> list[RestTrade]:
        """Return aggregate trades from `from_id` on (the newest ones without it), oldest first.

        What `can_wait` leaves half of the weight budget to what cannot.

        Raises
        ------
        FeedError
            For no answer, a refusal, or an answer that cannot be read.
        """
        query: dict[str, str | int] = {"symbol": symbol, "limit": limit}
        if from_id is not None:
            query["fromId"] = from_id
        raw = await self.get("/fapi/v1/aggTrades", query, weight=PAGE_WEIGHT, can_wait=can_wait)
        try:
            trades = self._trades.decode(raw, partial(self.report_odd, "aggTrades"))
            return sorted(trades, key=lambda trade: trade.a)
        except (msgspec.MsgspecError, ValueError) as error:
            raise self.unreadable("aggTrades", error) from error

    async def get(
        self,
        path: str,
        query: Mapping[str, str | int],
        *,
        weight: int,
        can_wait: bool = False,
    ) -> bytes:
        """Return the body of one answer, within the weight budget.

        What `can_wait` leaves half of that budget to what cannot.

        Raises
        ------
        FeedError
            For no answer or a refusal.
        """
        if self._client is None:
            raise RuntimeError("RestClient is used outside `async with`")
        wait_s = self._blocked_until_s - self.clock.monotonic_s()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        await self.budget.spend(weight, self.budget.limit // 2 if can_wait else 0)
        where = self._where(path)
        try:
            # httpx limits each step; an answer that trickles in would outlast them all.
            # To queue for a socket is no part of it: others' answers are.
            async with self._concurrent, asyncio.timeout(self._timeout_s):
                answer = await self._client.get(path, params=dict(query))
        except (TimeoutError, httpx.TimeoutException) as error:
            hint = proxy_hint(self.base_url) or "."
            raise FeedError(f"{where} did not answer within {self._timeout_s:g} s{hint}") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            hint = proxy_hint(self.base_url)
            raise FeedError(
                f"{where} cannot be reached{hint}: {unreachable(error)}.{tls_hint(error)}"
            ) from error
        if answer.status_code == 407:  # of a proxy, never of the exchange
            hint = proxy_hint(self.base_url)
            raise FeedError(f"{where} cannot be reached{hint}: HTTP 407, it wants a login.")
        used = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isdecimal():
            self.budget.learn(int(used))
        if answer.status_code != 200 or answer.content.lstrip().startswith(b"<"):  # HTML, no JSON
            problem = refusal(answer.status_code, answer.headers.get("Retry-After"), where)
            if isinstance(problem, RateLimitedError):
                self._blocked_until_s = self.clock.monotonic_s() + problem.retry_after_s
            raise problem
        return answer.content

    def report_odd(self, what: str, problem: str) -> None:
        """Report entries of an answer that were left out."""
        self._report(f"{host_of(self.base_url)}: {what}: {problem}")

    def unreadable(self, what: str, error: Exception) -> FeedError:
        """Return the error for an answer of ``/fapi/v1/{what}`` that is not what was asked for."""
        return FeedError(
            f"{self._where(f'/fapi/v1/{what}')} sent an unreadable {what} "
            f"({str(error).rstrip('.')}): {_NOT_THERE}"
        )

    def _where(self, path: str) -> str:
        return f"{host_of(self.base_url)}{urlsplit(self.base_url).path.rstrip('/')}{path}"
