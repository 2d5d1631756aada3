"""The feed beside the least that any client must do: receive and decode."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from pairlab.engine import PairEngine
from pairlab.feeds.binance.binance_feed import BinanceFeed
from pairlab.feeds.config import Limits
from pairlab.schema import Pair, Records
from tests.benchmarks.harness import Result, Wanted, benchmark, compare
from tests.benchmarks.processes.kernels import firehose

PAIR = Pair("BTCUSDT", "ETHUSDT")
FRAMES = 200_000


class AggTrade(msgspec.Struct, gc=False):
    """The fields that a tick has."""

    s: str
    a: int
    p: str
    q: str
    T: int
    E: int
    m: bool


class Frame(msgspec.Struct, gc=False):
    """A combined stream's wrapper."""

    data: AggTrade


async def bare(url: str) -> None:
    """Receive and decode, and nothing else."""
    decode = msgspec.json.Decoder(Frame).decode
    count = 0
    with contextlib.suppress(ConnectionClosed):
        async with connect(f"{url}/market/stream", compression=None, max_queue=1024) as ws:
            while True:
                decode(await ws.recv(decode=False))
                count += 1
    if count != FRAMES:
        raise RuntimeError(f"the bare loop got {count:,} of {FRAMES:,} frames")


class Rows:
    """Makes rows of ticks, and counts them."""

    def __init__(self) -> None:
        self.engine = PairEngine()
        self.count = self.gaps = 0

    def on_ticks(self, ticks: Records) -> None:
        self.count += len(self.engine.update(ticks))

    def on_gap(self, missing: int) -> None:
        self.gaps += 1


async def to_rows(url: str) -> None:
    """The whole way from the socket to rows."""
    rows = Rows()
    feed = BinanceFeed(PAIR, url=url, limits=Limits(attempts_per_5_min=10_000))
    await feed.run(rows)
    if rows.count != FRAMES - 1 or rows.gaps:
        raise RuntimeError(f"{rows.count:,} rows, {rows.gaps:,} gaps from {FRAMES:,} frames")


@benchmark("from the socket to rows, beside a bare receive loop that only decodes")
def socket_to_row(rounds: int) -> list[Result]:
    with firehose(FRAMES) as url:
        return [
            compare(
                "socket to row",
                lambda: asyncio.run(to_rows(url)),
                lambda: asyncio.run(bare(url)),
                peer_name="bare receive + decode",
                unit="µs per trade",
                wanted=Wanted(ratio_at_least=0.6),
                rounds=rounds,
                scale=(1e6 / FRAMES, 1e6 / FRAMES),
            )
        ]
