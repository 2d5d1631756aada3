"""The expected ticks: those of the same market without faults."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pairlab.feeds.binance.messages import WireDecoder
from pairlab.local_exchange import SyntheticMarket
from pairlab.schema import TICK, Pair, Records

_CHUNK_MESSAGES = 2048
_FIELDS = tuple(name for name in TICK.names or () if name != "received_ns")


class Truth:
    """Ticks of the fault-free market, in its order.

    Parameters
    ----------
    seed, rate_per_s
        Of the market.
    pair : Pair
        Its symbols.
    """

    def __init__(self, seed: int, rate_per_s: float, pair: Pair) -> None:
        self._market = SyntheticMarket(
            seed=seed,
            rate_per_s=rate_per_s,
            symbols=(pair.y, pair.x),
            speed=None,
            history_s=0,
            keep_trades=1_000,
        )
        self._market.open()
        self._wanted = {f"{symbol.lower()}@aggTrade" for symbol in pair}
        self._decoder = WireDecoder(pair, "aggTrade")
        self._ready = np.empty(0, TICK)
        self._first = np.zeros(2, np.int64)

    def begin_at(self, first: tuple[int, int]) -> None:
        """Skip ticks before these ids: what precedes the first tick received is not missing."""
        self._first = np.array(first)

    def take(self, count: int) -> Records:
        """Return the next `count` ticks."""
        parts = [self._ready]
        have = len(self._ready)
        while have < count:
            messages = self._market.take(None, self._wanted, _CHUNK_MESSAGES)
            decoded = [self._decoder.decode(payload, 0) for _, payload in messages]
            ticks = np.array(decoded, dtype=TICK)
            parts.append(ticks[ticks["id"] >= self._first[ticks["leg"]]])
            have += len(parts[-1])
        ready = np.concatenate(parts)
        self._ready = ready[count:].copy()
        return ready[:count]


@dataclass
class Verdict:
    """Differences between the ticks received and those expected.

    Attributes
    ----------
    ticks : int
        Number compared.
    lost, repeated : int
        Ids skipped, and ids that did not increase, within a symbol.
    different : int
        Ticks that differ from the expected tick at the same position.
    first : str
        Description of the first of those.
    time_ns : int
        Trade time of the last one compared.
    """

    truth: Truth
    ticks: int = 0
    lost: int = 0
    repeated: int = 0
    different: int = 0
    first: str = ""
    time_ns: int = 0
    _last: list[int] = field(default_factory=lambda: [-1, -1])
    _early: list[Records] = field(default_factory=list)

    def take(self, ticks: Records) -> tuple[Records, Records]:
        """Compare a batch; return the ticks compared and those expected.

        Comparison starts when there are ticks of both legs.
        """
        if not self.ticks:
            self._early.append(ticks)
            ticks = np.concatenate(self._early)
            if len(set(ticks["leg"].tolist())) < 2:
                return ticks[:0], ticks[:0]
            self._early.clear()
            y, x = (ticks["id"][ticks["leg"] == leg] for leg in (0, 1))
            self.truth.begin_at((int(y[0]), int(x[0])))
        for leg in (0, 1):
            ids = ticks["id"][ticks["leg"] == leg]
            if not len(ids):
                continue
            before = self._last[leg] if self._last[leg] >= 0 else ids[0] - 1
            steps = np.diff(ids, prepend=before)
            self.lost += int((steps[steps > 1] - 1).sum())
            self.repeated += int((steps < 1).sum())
            self._last[leg] = int(ids[-1])
        expected = self.truth.take(len(ticks))
        wrong = np.zeros(len(ticks), bool)
        for name in _FIELDS:
            # Exact comparison: a NaN equals nothing, so it is found.
            wrong |= ticks[name] != expected[name]
        if wrong.any() and not self.first:
            at = int(wrong.argmax())
            self.first = f"tick {self.ticks + at:,}: {ticks[at]} instead of {expected[at]}"
        self.different += int(wrong.sum())
        self.ticks += len(ticks)
        self.time_ns = int(expected["time_ns"][-1])
        return ticks, expected

    @property
    def clean(self) -> bool:
        """Whether ticks were compared and none differed."""
        return self.ticks > 0 and not (self.lost or self.repeated or self.different)
