"""Binance's public archive as the source of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from pairlab.errors import DataError
from pairlab.schema import TICK, Pair, Records
from pairlab.storage.archive import read_archive
from pairlab.storage.replay.tick_source import HeldTicks, IdGaps, in_order_of_time

__all__ = ["open_archive"]

_STREAMS: Final = MappingProxyType(
    {"aggTrades": "aggTrade", "trades": "trade", "bookTicker": "bookTicker"}
)


def open_archive(paths: Sequence[Path], pair: Pair, stream: str | None = None) -> HeldTicks:
    """Return the ticks in archive files of a pair, as `pairlab.read_archive` reads them.

    Each symbol's are in the order of their ids, both merged by time; where both have one time, y's
    come first: the archive does not say which was first. Missing ids are gaps of their leg.

    Parameters
    ----------
    paths : sequence of Path
        Files; those whose name is of neither symbol are left out.
    pair : Pair
        The symbols.
    stream : str, optional
        What a tick is; it must be what the files hold.

    Raises
    ------
    DataError
        As `read_archive`, or if a symbol is missing, or the stream is another.
    MissingExtraError
        Without ``pip install "pairlab[storage]"``.
    """
    chosen = [path for path in paths if path.name.startswith(tuple(f"{s}-" for s in pair))]
    archive = read_archive([*(chosen or paths)])
    report = archive.report
    kinds = sorted(set(report.loc[report["symbol"].isin(pair), "kind"]))
    if len(kinds) > 1:
        raise DataError(
            f"files of {' and '.join(kinds)}: one kind at a time, for ids are different series"
        )
    if not kinds:
        found = ", ".join(sorted(set(report["symbol"])))
        raise DataError(f"the archive files are of {found}: expected {pair.y} and {pair.x}")
    if kinds[0] == "klines":
        raise DataError(
            "the archive files hold bars, not ticks: a replay plays ticks; "
            "pairlab.analyze(pairlab.read_archive(files).pair_bars()) computes the rows of bars"
        )
    kind = _STREAMS[kinds[0]]
    if stream not in (None, kind):
        raise DataError(f"the archive files hold {kind} ticks, not {stream}")
    legs = [_leg(archive.ticks, symbol, leg) for leg, symbol in enumerate(pair)]
    ticks = in_order_of_time(*legs)
    gaps = IdGaps().find(ticks) if kind != "bookTicker" else []
    notes = [line.strip() for line in repr(archive).splitlines()]
    return HeldTicks(pair, kind, ticks, gaps, notes=notes)


def _leg(frame: Any, symbol: str, leg: int) -> Records:
    rows = frame[(frame["symbol"] == symbol).to_numpy()]
    ticks = np.zeros(len(rows), TICK)
    ticks["time_ns"] = rows.index.tz_localize(None).to_numpy("M8[ns]").view(np.int64)
    ticks["received_ns"] = ticks["time_ns"]
    ticks["leg"] = leg
    for name in ("id", "price", "quantity", "buyer_is_maker"):
        ticks[name] = rows[name].to_numpy()
    return ticks
