"""Costs, order limits and funding: what is taken, and what is refused by name."""

import zipfile

import numpy as np
import pandas as pd
import pytest

from pairlab import Costs, DataError, LotRule, Pair, SettingError
from pairlab.backtesting.costs import funding_of, lot_rules

PAIR = Pair("BTCUSDT", "ETHUSDT")
HOUR = 3_600_000_000_000
T0 = pd.Timestamp("2024-08-01").value
TEXT = "calc_time,funding_interval_hours,last_funding_rate\n" + "".join(
    f"{(T0 + 8 * k * HOUR) // 10**6},8,{k * 1e-5}\n" for k in range(6)
)


@pytest.mark.parametrize("name", ["fee_bps", "slippage_bps"])
@pytest.mark.parametrize("value", [-0.1, 1001, float("nan"), float("inf"), "4", True])
def test_a_cost_out_of_range_is_named(name, value):
    with pytest.raises(SettingError, match=name):
        Costs(**{name: value})


@pytest.mark.parametrize("name", ["step_size", "min_qty", "min_notional"])
@pytest.mark.parametrize("value", [-1, float("nan"), None])
def test_a_limit_out_of_range_is_named(name, value):
    with pytest.raises(SettingError, match=name):
        LotRule(**{name: value})


def test_limits_are_those_of_exchange_info():
    symbol = {
        "symbol": "BTCUSDT",
        "filters": [
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
        ],
    }
    assert LotRule.of_exchange_info(symbol) == LotRule(0.001, 0.001, 100.0)


def test_quantities_are_rounded_down_but_for_rounding():
    rule = LotRule(0.1)
    np.testing.assert_allclose(rule.rounded(np.array([0.3, 0.39, 0.05])), [0.3, 0.3, 0.0])
    assert rule.rounded(np.array([3 * 0.1])) == pytest.approx(0.3)
    assert LotRule().rounded(np.array([0.123]))[0] == 0.123


def test_limits_are_found_by_symbol_or_leg():
    y, x = LotRule(1.0), LotRule(2.0)
    assert lot_rules((y, x), PAIR) == (y, x)
    assert lot_rules({"ETHUSDT": x, "BTCUSDT": y}, PAIR) == (y, x)
    assert lot_rules({"x": x, "y": y}, PAIR) == (y, x)
    for bad in ({"y": y}, (y,), (y, 1.0), 3):
        with pytest.raises(DataError, match="lots"):
            lot_rules(bad, PAIR)


@pytest.fixture
def files(tmp_path):
    paths = []
    for symbol in PAIR:
        path = tmp_path / f"{symbol}-fundingRate-2024-08.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.stem + ".csv", TEXT)
        paths.append(path)
    return paths


def test_funding_is_read_of_files_frames_and_series(files, tmp_path):
    (tmp_path / "plain.csv").write_text(TEXT)
    frame = pd.read_csv(tmp_path / "plain.csv")
    series = pd.Series(
        frame["last_funding_rate"].to_numpy(), pd.to_datetime(frame["calc_time"], unit="ms")
    )
    bare, micro = tmp_path / "bare.csv", tmp_path / "micro.csv"
    bare.write_text(TEXT.split("\n", 1)[1])
    micro.write_text(TEXT.replace("00000,8,", "00000000,8,"))
    for given in (
        files[0], str(files[0]), [files[0]], tmp_path / "plain.csv", frame, series, bare, micro,
    ):  # fmt: skip
        y, x = funding_of(Costs(funding=(given, None)), PAIR, T0, T0 + 40 * HOUR)
        assert y.time_ns.tolist() == [T0 + 8 * k * HOUR for k in range(6)]
        np.testing.assert_allclose(y.rate, np.arange(6) * 1e-5)
        assert len(x.time_ns) == 0
    assert funding_of(Costs(), PAIR, T0, T0) is None


def test_funding_that_does_not_cover_the_span_is_refused(files):
    costs = Costs(funding=dict(zip(PAIR, files, strict=True)))
    funding_of(costs, PAIR, T0 - 8 * HOUR, T0 + 48 * HOUR)
    for start, end in ((T0 - 9 * HOUR, T0), (T0, T0 + 49 * HOUR)):
        with pytest.raises(DataError, match="funding of BTCUSDT is known from 2024-08-01 00:00 to"):
            funding_of(costs, PAIR, start, end)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (pd.DataFrame({"calc_time": [1]}), "last_funding_rate"),
        (pd.Series([np.nan], pd.to_datetime(["2024-08-01"])), "missing"),
        (pd.Series([], pd.DatetimeIndex([]), dtype=float), "no rate"),
        (3.0, "not float"),
        ("/nowhere.csv", "nowhere"),
    ],
)
def test_funding_that_cannot_be_read_is_refused(given, says):
    with pytest.raises(DataError, match=says):
        funding_of(Costs(funding=(given, None)), PAIR, T0, T0)
    with pytest.raises(DataError, match="funding"):
        funding_of(Costs(funding=given), PAIR, T0, T0)
