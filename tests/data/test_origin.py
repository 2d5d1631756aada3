"""What leaves the program says where it comes from, and pandas still reads it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

from pairlab import PairLab
from pairlab.data.csv_export import alerts_csv, csv_name, csv_pieces, ticks_csv
from pairlab.data.origin import Origin
from pairlab.schema import ROW, TICK, Pair

PAIR = Pair("BTCUSDT", "ETHUSDT")


def origin(feed: str = "SIMULATED", real_money: bool = False, pair: Pair = PAIR) -> Origin:
    lab = PairLab(feed="demo", window=123, stop_z=None)
    health = replace(lab.health(), feed=feed, real_money=real_money)
    return Origin.of(pair, health, lab.row_settings)


@pytest.mark.parametrize(
    ("feed", "real_money", "source", "name"),
    [
        ("SIMULATED", False, "SIMULATED", "pairlab-SIMULATED-BTCUSDT-ETHUSDT-"),
        ("RECORDING", False, "RECORDING", "pairlab-RECORDING-BTCUSDT-ETHUSDT-"),
        ("REPLAY", False, "REPLAY", "pairlab-REPLAY-BTCUSDT-ETHUSDT-"),
        ("BINANCE", True, "BINANCE", "pairlab-BTCUSDT-ETHUSDT-"),
        ("TESTNET", False, "TESTNET (not real money)", "pairlab-TESTNET-BTCUSDT-ETHUSDT-"),
        ("LOCAL 127.0.0.1:9", False, "LOCAL 127.0.0.1:9 (not real money)", "pairlab-LOCAL-"),
        ("", False, " (not real money)", "pairlab-not-BTCUSDT"),
        ("../..", False, "../.. (not real money)", "pairlab-SIMULATED-BTCUSDT"),
    ],
)
def test_the_market_stands_in_the_file_s_name_and_in_every_row(
    feed: str, real_money: bool, source: str, name: str
) -> None:
    told = origin(feed, real_money)
    assert told.source == source
    assert csv_name(PAIR, told).startswith(name)
    rows = np.zeros(50_000, ROW)  # three pieces
    rows["time_ns"] = np.arange(len(rows)) * 1_000_000
    text = "".join(csv_pieces(rows, told))
    frame = pd.read_csv(io.StringIO(text), index_col="time", parse_dates=True)
    assert (frame["source"] == source.strip()).all() or (frame["source"] == source).all()
    assert frame.columns[-1] == told.settings
    assert frame.iloc[:, -1].isna().all()
    assert frame.index[-1] == pd.Timestamp(49_999_000_000, tz="UTC")


def test_the_settings_are_those_of_the_rows() -> None:
    settings = dict(part.split("=") for part in origin().settings.split("; "))
    assert settings["pair"] == "BTCUSDT/ETHUSDT"
    assert settings["stream"] == "aggTrade"
    assert (settings["window"], settings["stop_z"], settings["hedge"]) == ("123", "off", "fixed")
    assert not {"history_rows", "ticks_held"} & set(settings)


@pytest.mark.parametrize("table", ["history", "ticks", "alerts"])
def test_names_that_csv_would_break_on_are_quoted(table: str) -> None:
    told = origin('A,"B"\nC', pair=Pair('a"b', "x,y"))
    pieces = {
        "history": lambda: csv_pieces(np.zeros(2, ROW), told),
        "ticks": lambda: ticks_csv(np.zeros(2, TICK), told.pair, np.zeros(2, np.int8), told),
        "alerts": lambda: alerts_csv([], told),
    }[table]()
    header, *lines = csv.reader(io.StringIO("".join(pieces)))
    assert header[-2:] == ["source", told.settings]
    assert told.settings.startswith('pair=a"b/x,y; ')
    assert all(len(line) == len(header) for line in lines)
    assert all(line[-2:] == [told.source, ""] for line in lines)


def test_no_password_of_an_address_is_written() -> None:
    secret = "hunter2"
    lab = PairLab(feed=f"ws://{quote('me')}:{secret}@127.0.0.1:1", hedge="ols")
    told = Origin.of(lab.pair, lab.health(), lab.row_settings)
    assert secret not in told.source + told.settings + csv_name(lab.pair, told)
    assert told.source == "LOCAL 127.0.0.1:1 (not real money)"
    assert told.marker == "LOCAL-"
    assert secret not in lab.csv_bytes().decode()
