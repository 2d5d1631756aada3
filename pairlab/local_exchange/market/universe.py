"""A market of many symbols with a known past: pairs that are cointegrated, and decoys."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.local_exchange.market.market import StartCondition
from pairlab.local_exchange.market.market_group import MarketGroup
from pairlab.local_exchange.market.synthetic import SyntheticMarket
from pairlab.schema import NS_PER_S

__all__ = ["PlantedPair", "UniverseMarket"]

Floats = NDArray[np.float64]

_START_NS: Final = 1_767_603_600 * NS_PER_S  # 2026-01-05 09:00 UTC, a Monday
_HOUR_S: Final = 3_600
_VOLATILITY: Final = 0.005  # of an hour's return
_SPREAD: Final = 0.008  # of y's price, a planted spread's standard deviation

_PLANTED: Final = (
    ("SOLUSDT", "AVAXUSDT", 4.0), ("LTCUSDT", "BCHUSDT", 6.0), ("LINKUSDT", "DOTUSDT", 8.0),
    ("UNIUSDT", "AAVEUSDT", 10.0), ("ATOMUSDT", "NEARUSDT", 24.0), ("ETCUSDT", "XLMUSDT", 48.0),
)  # fmt: skip
_SAME: Final = (("BTCUSDT", "BTCUSDC"), ("1000PEPEUSDT", "PEPEUSDC"))
_STALE: Final = (("ALGOUSDT", "IOTAUSDT"),)
_FACTOR: Final = (
    "OPUSDT", "ARBUSDT", "APTUSDT", "SUIUSDT", "SEIUSDT", "TIAUSDT", "INJUSDT", "STXUSDT",
    "IMXUSDT", "LDOUSDT", "MKRUSDT", "CRVUSDT",
)  # fmt: skip
_WALKS: Final = (
    "ETHUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "TRXUSDT", "TONUSDT", "ICPUSDT",
    "FILUSDT", "HBARUSDT", "VETUSDT", "GRTUSDT", "SANDUSDT", "MANAUSDT", "AXSUSDT", "THETAUSDT",
    "EGLDUSDT", "FLOWUSDT", "CHZUSDT", "ZECUSDT", "DASHUSDT", "XMRUSDT",
)  # fmt: skip


class PlantedPair(NamedTuple):
    """A pair that is cointegrated by construction.

    Attributes
    ----------
    y, x : str
        Symbols.
    hedge_ratio : float
        Units of x for one of y.
    half_life : float
        Of the spread, an Ornstein-Uhlenbeck process, hours.
    """

    y: str
    x: str
    hedge_ratio: float
    half_life: float


class UniverseMarket(MarketGroup):
    """52 symbols with hourly closes of the past, of which six pairs are cointegrated.

    Beside them are decoys: twelve symbols that share a factor, and move alike without reverting;
    two quoted in another currency; one whose price changes once in twelve hours; and walks. From
    the start on, the symbols trade two by two as `SyntheticMarket` does, planted pairs with their
    own hedge ratio.

    Parameters
    ----------
    seed : int, default 7
        Of the random numbers, 0 or above.
    hours : int, default 1_000
        Of the past.
    rate_per_s : float, default 2
        Trades of two symbols per second.
    start_ns : int, optional
        First time of its clock, ns since 1970 UTC; by default Monday 2026-01-05 09:00 UTC.
    speed, start_condition
        As `MarketGroup` takes them.

    Attributes
    ----------
    planted : tuple of PlantedPair
        What a scan should find.
    same_underlying, stale : tuple of (str, str)
        Decoys.
    common_factor : tuple of str
        Decoys.
    """

    def __init__(
        self,
        *,
        seed: int = 7,
        hours: int = 1_000,
        rate_per_s: float = 2.0,
        start_ns: int | None = None,
        speed: float | None = 1.0,
        start_condition: StartCondition = "open",
    ) -> None:
        paths, planted = _paths(np.random.default_rng([seed, 2]), hours)
        self.planted: Final = planted
        self.same_underlying: Final = _SAME
        self.stale: Final = _STALE
        self.common_factor: Final = _FACTOR
        ratios = {(pair.y, pair.x): pair.hedge_ratio for pair in planted}
        first = [*ratios, *_SAME, *_STALE]
        rest = [*_FACTOR, *_WALKS]
        twos = [*first, *zip(rest[::2], rest[1::2], strict=True)]
        markets = [
            SyntheticMarket(
                seed=seed + 1 + number,
                rate_per_s=rate_per_s,
                symbols=two,
                start_ns=_START_NS if start_ns is None else start_ns,
                ratio=ratios.get(two),
                prices=(float(paths[two[0]][-1]), float(paths[two[1]][-1])),
                past=(paths[two[0]], paths[two[1]]),
                past_step_s=_HOUR_S,
                keep_trades=100_000,
            )
            for number, two in enumerate(twos)
        ]
        super().__init__(markets, speed=speed, start_condition=start_condition)

    @property
    def names(self) -> tuple[str, ...]:
        """Return all symbols."""
        return tuple(info.symbol for info in self.symbols())


def _paths(
    rng: np.random.Generator, hours: int
) -> tuple[dict[str, Floats], tuple[PlantedPair, ...]]:
    """Return the closes of every symbol, and which pairs are planted."""

    def walk(steps: Floats | None = None) -> Floats:
        price = 10.0 ** rng.uniform(0.0, 3.0)
        own = _VOLATILITY * rng.standard_normal(hours) if steps is None else steps
        path: Floats = price * np.exp(np.cumsum(own))
        return path

    paths: dict[str, Floats] = {}
    planted = []
    for y, x, half_life in _PLANTED:
        paths[x] = walk()
        ratio = float(np.round(rng.uniform(0.3, 3.0), 2))
        level = ratio * float(paths[x].mean())
        paths[y] = (
            0.2 * level + ratio * paths[x] + _reverting(rng, hours, half_life, _SPREAD * level)
        )
        planted.append(PlantedPair(y, x, ratio, half_life))
    for one, other in _SAME:
        paths[one] = walk()
        units = 1_000.0 if one.startswith("1000") else 1.0
        quoted = 1.0 + _reverting(rng, hours, 2.0, 5e-4)
        paths[other] = paths[one] / units * quoted
    for one, other in _STALE:
        paths[one] = walk()
        paths[other] = 0.4 * paths[one][np.arange(hours) // 12 * 12]
    factor = 0.9 * _VOLATILITY * rng.standard_normal(hours)
    for name in _FACTOR:
        paths[name] = walk(factor + 0.45 * _VOLATILITY * rng.standard_normal(hours))
    for name in _WALKS:
        paths[name] = walk()
    return paths, tuple(planted)


def _reverting(rng: np.random.Generator, hours: int, half_life: float, deviation: float) -> Floats:
    """Return an Ornstein-Uhlenbeck process, sampled every hour."""
    phi = math.exp(-math.log(2.0) / half_life)
    shocks = rng.standard_normal(hours) * deviation * math.sqrt(1.0 - phi * phi)
    path = np.empty(hours)
    value = float(rng.standard_normal()) * deviation
    for hour in range(hours):
        value = phi * value + float(shocks[hour])
        path[hour] = value
    return path
