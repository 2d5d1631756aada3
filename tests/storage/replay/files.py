"""Files that replays play, made of ticks, and the ticks of a sink."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pairlab.feeds.base import Closes
from pairlab.schema import TICK, Records
from tests.engine import worlds

__all__ = ["Heard", "archive", "frame_of", "frames", "made", "same"]

SYMBOLS = np.array(["BTCUSDT", "ETHUSDT"])


def made(seed: int = 3, count: int = 3_000) -> Records:
    """Return ticks in order of time whose ids count up by one in each leg."""
    ticks = worlds.trades(seed, count)
    ticks = ticks[np.argsort(ticks["time_ns"], kind="stable")]
    for leg in (0, 1):
        at = ticks["leg"] == leg
        ticks["id"][at] = 1_000 * (leg + 1) + np.arange(at.sum())
    ticks["time_ns"] += 1_723_075_200_000_000_000 - ticks["time_ns"][0]
    ticks["time_ns"] = ticks["time_ns"] // 1_000_000 * 1_000_000
    ticks["received_ns"] = ticks["time_ns"]
    ticks["quantity"] = np.maximum(ticks["quantity"], 0.001)  # a zero is no trade on the wire
    return ticks


def frame_of(ticks: Records) -> pd.DataFrame:
    """Return ticks as a table with columns of unambiguous names."""
    return pd.DataFrame(
        {
            "time": pd.DatetimeIndex(ticks["time_ns"].view("M8[ns]")).tz_localize("UTC"),
            "symbol": SYMBOLS[ticks["leg"]],
            "id": ticks["id"],
            "price": ticks["price"],
            "quantity": ticks["quantity"],
            "side": np.where(ticks["buyer_is_maker"], "sell", "buy"),
        }
    )


def frames(path: Path, ticks: Records) -> Path:
    """Write ticks as a recorder of frames does."""
    lines = []
    for tick in ticks:
        symbol = str(SYMBOLS[tick["leg"]])
        data = {
            "e": "trade", "E": int(tick["time_ns"]) // 10**6, "T": int(tick["time_ns"]) // 10**6,
            "s": symbol, "t": int(tick["id"]), "p": repr(float(tick["price"])),
            "q": repr(float(tick["quantity"])), "X": "MARKET", "m": bool(tick["buyer_is_maker"]),
        }  # fmt: skip
        text = json.dumps({"stream": f"{symbol.lower()}@trade", "data": data})
        lines.append(f"{int(tick['received_ns'])} {text}\n")
    path.write_text("".join(lines))
    return path


def archive(folder: Path, ticks: Records, day: str = "2024-08-08") -> list[Path]:
    """Write ticks as files of Binance's archive, one a symbol."""
    paths = []
    for leg, symbol in enumerate(SYMBOLS):
        own = ticks[ticks["leg"] == leg]
        table = pd.DataFrame(
            {
                "agg_trade_id": own["id"], "price": own["price"], "quantity": own["quantity"],
                "first_trade_id": own["id"], "last_trade_id": own["id"],
                "transact_time": own["time_ns"] // 10**6,
                "is_buyer_maker": np.where(own["buyer_is_maker"], "true", "false"),
            }
        )  # fmt: skip
        path = folder / f"{symbol}-aggTrades-{day}.zip"
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(f"{path.stem}.csv", table.to_csv(index=False))
        paths.append(path)
    return paths


def same(got: Records, want: Records) -> bool:
    """Return whether ticks are equal in every field, NaN being equal to NaN."""
    return len(got) == len(want) and all(
        np.array_equal(got[name], want[name], equal_nan=TICK[name].kind == "f")
        for name in TICK.names or ()
    )


class Heard:
    """A sink that keeps what it is given, by resets."""

    def __init__(self, need: tuple[int, int] = (100, 0)) -> None:
        self.need = need
        self.row_count = 0
        self.parts: list[Records] = []
        self.warm: list[Records] = []
        self.gaps: list[tuple[int, int, int]] = []  # ticks before it, missing, legs
        self.resets = 0
        self.seeds: Mapping[str, Closes] = {}
        self.bars: list[tuple[int, str, Closes]] = []

    @property
    def ticks(self) -> Records:
        return np.concatenate([np.zeros(0, TICK), *self.warm, *self.parts])

    def warm_up_need(self) -> tuple[int, int]:
        return self.need

    def on_reset(self, closes: Mapping[str, Closes]) -> None:
        self.resets += 1
        self.seeds, self.bars = closes, []
        self.parts, self.warm, self.gaps, self.row_count = [], [], [], 0

    def on_closes(self, timeframe: str, closes: Closes) -> None:
        self.bars.append((len(self.ticks), timeframe, closes))

    def on_ticks(self, ticks: Records) -> None:
        self.parts.append(ticks)
        self.row_count += int((ticks["leg"] == 0).sum())  # a row a tick of y

    def on_warm_up(self, ticks: Records) -> None:
        self.warm.append(ticks)
        self.row_count += int((ticks["leg"] == 0).sum())

    def on_gap(self, missing: int) -> None:
        self.on_leg_gap(missing, 3)

    def on_leg_gap(self, missing: int, legs: int) -> None:
        self.gaps.append((len(self.ticks), missing, legs))
