"""Columns of a table of one's own: guessed, told, given, and refused in words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab.errors import DataError, SettingError
from pairlab.schema import Pair
from pairlab.storage.replay.tables.columns import (
    FIELDS,
    check_columns,
    described,
    find_columns,
    legs_of,
    maker_of,
    numbers_of,
    same_symbol,
    time_unit,
    times_of,
)

PATH = Path("mine.csv")
NS = 1_723_075_200_123_456_789


def spelled(draw: st.DrawFn, name: str) -> str:
    letters = [draw(st.sampled_from((c.lower(), c.upper(), f"_{c}"))) for c in name]
    return "".join(letters)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], dict[str, str]]:
    """Draw column names that each mean one field, in any spelling, and strange ones between."""
    fields = ["time", "price", *draw(st.lists(st.sampled_from(list(FIELDS)[2:]), unique=True))]
    meant = {field: spelled(draw, draw(st.sampled_from(FIELDS[field]))) for field in fields}
    others = draw(st.lists(st.sampled_from(["bid", "venue", "x1", "Unnamed: 0"]), unique=True))
    return draw(st.permutations([*meant.values(), *others])), meant


@settings(max_examples=40)
@given(tables())
def test_a_name_is_known_in_any_spelling(table: tuple[list[str], dict[str, str]]) -> None:
    names, meant = table
    assert find_columns(PATH, names) == meant


@settings(max_examples=40)
@given(tables(), st.data())
def test_what_is_given_is_not_guessed(
    table: tuple[list[str], dict[str, str]], data: st.DataObject
) -> None:
    names, meant = table
    column = data.draw(st.sampled_from([n for n in names if n != meant["price"]]))
    found = find_columns(PATH, [*names, "price_of_mine", "when"], {"time": "when", "id": column})
    assert (found["time"], found["id"]) == ("when", column)
    assert len(set(found.values())) == len(found)  # no column is two things


def test_of_two_that_would_do_the_first_known_name_counts_and_it_is_said() -> None:
    found = find_columns(PATH, ["ts", "timestamp", "last", "price", "qty"])
    assert found == {"time": "timestamp", "price": "price", "quantity": "qty"}
    assert described(found, {"time"}) == (
        "time = 'timestamp', price = 'price' (guessed), quantity = 'qty' (guessed)"
    )


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"mine.csv: no column 'px' \(price\); there are 'a', 'b'"):
        find_columns(PATH, ["a", "b"], {"price": "px"})
    with pytest.raises(DataError, match="no column is known to be the time; there are 'a', "):
        find_columns(PATH, ["a", "price"])
    with pytest.raises(SettingError, match="columns = 'prize' is invalid: expected one of time, "):
        check_columns({"prize": "a"})
    with pytest.raises(SettingError, match="the name of the column of price"):
        check_columns({"price": 3})  # type: ignore[dict-item]


def column(values: list[object], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("values", "unit", "want"),
    [
        (column([NS]), "ns", NS),
        (column([NS // 10**3]), "us", NS // 10**3 * 10**3),
        (column([NS // 10**6]), "ms", NS // 10**6 * 10**6),
        (column([NS // 10**9]), "s", NS // 10**9 * 10**9),
        (column([NS / 1e9]), "s", 1_723_075_200_123_457_000),
        (column([NS / 1e6]), "ms", 1_723_075_200_123_457_000),
        (column(["2024-08-08T00:00:00.5Z"]), None, 1_723_075_200_500_000_000),
        (column(["2024-08-08 02:00:00+02:00"]), None, 1_723_075_200_000_000_000),
        (column([NS], pa.timestamp("ns")), None, NS),
        (column([NS // 10**6], pa.timestamp("ms", "Asia/Tokyo")), None, NS // 10**6 * 10**6),
    ],
)
def test_times_of_every_unit(values: pa.ChunkedArray, unit: str | None, want: int) -> None:
    found = time_unit(PATH, "ts", values)
    assert found == unit
    assert times_of(PATH, "ts", values, found).tolist() == [want]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([NS, NS // 1000], "is no time in one unit"),
        ([12, 13], "is no time in one unit"),
        ([float("inf")], "is no time in one unit"),
        (["yesterday"], "row 1: ts = 'yesterday' is no time: expected ISO 8601"),
        ([NS, None], "row 2 has no ts"),
        ([True], "row 1: ts = True is no time"),
    ],
)
def test_what_is_no_time_is_named(values: list[object], told: str) -> None:
    of = column(values)
    with pytest.raises(DataError, match=re.escape(told)):
        times_of(PATH, "ts", of, time_unit(PATH, "ts", of))


def test_a_later_block_keeps_the_unit_of_the_first() -> None:
    with pytest.raises(DataError, match="ts 1723075200 is no time in us since 1970, as others"):
        times_of(PATH, "ts", column([NS // 1000, 1_723_075_200]), "us")


def test_numbers_and_what_is_none() -> None:
    assert numbers_of(PATH, "px", column(["1.5", "2e3"])).tolist() == [1.5, 2000.0]
    for values, told in (
        (["1.5", "a" * 99], f"row 2: px = '{'a' * 59}… is no number"),
        ([1.5, None], "row 2 has no px"),
        ([[1.0]], "is no number"),
    ):
        with pytest.raises(DataError, match=re.escape(told)):
            numbers_of(PATH, "px", column(values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([True, False], [True, False]),
        (["buy", "SELL", " b "], [False, True, False]),
        (["true", "False"], [True, False]),
        ([1, 0], [True, False]),
        ([], []),
    ],
)
def test_the_side_in_every_spelling(values: list[object], want: list[bool]) -> None:
    assert maker_of(PATH, "side", column(values, None if values else pa.string())).tolist() == want
    with pytest.raises(DataError, match="side = 'hold': expected buy or sell, or a flag"):
        maker_of(PATH, "side", column(["hold"]))


def test_symbols_in_every_spelling_and_those_of_others() -> None:
    pair = Pair("BTCUSDT", "ETHUSDT")
    names = column(["btc/usdt", "ETH-USDT", "SOLUSDT", "BTCUSDT", "BINANCE:ETHUSDT", "?"])
    legs, others = legs_of(PATH, "s", names, pair)
    assert legs.tolist() == [0, 1, -1, 0, 1, -1]
    assert sorted(others) == ["?", "SOLUSDT"]
    assert same_symbol("?", "?")
    coded = legs_of(PATH, "s", pa.chunked_array([names.combine_chunks().dictionary_encode()]), pair)
    assert np.array_equal(coded[0], legs)
