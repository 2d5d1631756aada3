"""What a recording holds comes back from Arrow tables bit for bit."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pairlab.alerts import Alert
from pairlab.data.alert_log import AlertLog
from pairlab.data.journal import (
    EngineStarted,
    GapFilled,
    GapMarked,
    JournalEvent,
    Rebuilt,
    Seeds,
    SettingChanged,
    TimeCorrected,
)
from pairlab.engine import PairEngine
from pairlab.engine.gaps import Gap
from pairlab.errors import DataError
from pairlab.schema import ROW, TICK, Pair
from pairlab.settings import Settings
from pairlab.storage.journal_table import events_of, events_table
from pairlab.storage.tables import (
    alerts_of,
    alerts_table,
    rows_of,
    rows_table,
    settings_of,
    settings_text,
    ticks_of,
    ticks_table,
)
from tests.engine import worlds

PAIR = Pair("BTCUSDT", "ETHUSDT")


def through_parquet(table: pa.Table) -> pa.Table:
    file = io.BytesIO()
    pq.write_table(table, file)
    return pq.read_table(io.BytesIO(file.getvalue()))


def bits(records: Any) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(records[name]).tobytes() for name in records.dtype.names}


def legs_of_a_pair(ticks: Any) -> Any:
    ticks = ticks.copy()
    ticks["leg"] &= 1
    return ticks


@given(hnp.arrays(TICK, st.integers(0, 20)).map(legs_of_a_pair), st.integers(0, 2**40))
def test_ticks_come_back_bit_for_bit(ticks: Any, first: int) -> None:
    seq, again = ticks_of(through_parquet(ticks_table(ticks, first, PAIR)), PAIR)
    assert bits(again) == bits(ticks)
    assert seq.tolist() == list(range(first, first + len(ticks)))


@given(hnp.arrays(ROW, st.integers(0, 20)), st.integers(0, 2**40), st.integers(0, 2**31 - 1))
def test_rows_come_back_bit_for_bit(rows: Any, first: int, epoch: int) -> None:
    """Any bits of a float: NaN of whatever sign and payload, infinities, denormals."""
    epochs, numbers, again = rows_of(through_parquet(rows_table(rows, first, epoch)))
    assert bits(again) == bits(rows)
    assert epochs.tolist() == [epoch] * len(rows)
    assert numbers.tolist() == list(range(first, first + len(rows)))


def some_alerts() -> list[Alert]:
    engine = PairEngine(Settings(hedge_ratio=25.0, min_correlation=-1.0, window=20, entry_z=1.0))
    log = AlertLog()
    rows = engine.update(worlds.trades(5, 3_000))
    log.add(engine.events, rows, engine.values)
    return log.alerts()


def test_alerts_come_back_equal() -> None:
    alerts = some_alerts()
    assert {alert.kind.name for alert in alerts} >= {"ENTRY", "EXIT"}
    again = alerts_of(through_parquet(alerts_table(alerts)))
    assert repr(again) == repr(alerts)  # NaN equals NaN here
    assert alerts_of(through_parquet(alerts_table([]))) == []


def seeds(count: int) -> Seeds:
    return Seeds(
        np.arange(count, dtype=np.int64) * 60_000_000_000,
        np.linspace(0.1, 0.3, count),
        np.geomspace(1e-9, 1e9, count),
    )


VALUES = Settings(window=80, hedge="ols", entry_z=2.25).values()
EVENTS: list[JournalEvent] = [
    EngineStarted(7, 0, VALUES, None),
    GapMarked(9, None),
    GapMarked(9, 3, 1),
    TimeCorrected(9),
    GapFilled(9, seeds(4)),
    SettingChanged(10, "hedge", "ols", "kalman"),
    SettingChanged(10, "entry_z", 2.25, 0.1 + 0.2),
    Rebuilt(10, 14, 2, 12, VALUES, seeds(3), (Gap(9, 7), Gap(11, 4)), seeds(0)),
    EngineStarted(7, 0, VALUES, seeds(2), (Gap(1),), seeds(5)),
]


def test_events_come_back_equal_and_in_order() -> None:
    again = events_of(through_parquet(events_table(EVENTS)))
    assert repr(again) == repr(EVENTS)
    for was, now in zip(EVENTS, again, strict=True):
        for name in ("seeds", "candles"):
            old, new = getattr(was, name, None), getattr(now, name, None)
            assert (old is None) == (new is None)
            for a, b in zip(old or (), new or (), strict=True):
                assert a.dtype == b.dtype
                assert a.tobytes() == b.tobytes()
    assert events_of(through_parquet(events_table([]))) == []


def test_settings_come_back_equal() -> None:
    assert settings_of(settings_text(VALUES)) == VALUES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected an object"),
        ("{", "cannot be read"),
        ('{"window": -1}', "window"),
        ('{"unheard_of": 1}', "unheard_of"),
        ('{"window": "os.system"}', "window"),
    ],
)
def test_settings_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        settings_of(text)


def test_what_is_no_table_of_ours_is_refused_by_column() -> None:
    ticks = worlds.trades(1, 5)
    ticks["leg"] = [0, 1, 0, 1, 0]
    table = ticks_table(ticks, 0, PAIR)
    with pytest.raises(DataError, match="'price' is missing"):
        ticks_of(table.drop_columns(["price"]), PAIR)
    with pytest.raises(DataError, match="ETHUSDT"):
        ticks_of(table, Pair("BTCUSDT", "SOLUSDT"))
    text = table.set_column(5, "price", pa.array(["a"] * 5))
    with pytest.raises(DataError, match="'price' is string"):
        ticks_of(text, PAIR)
    nulls = table.set_column(5, "price", pa.array([1.0, None, 2.0, 3.0, None]))
    with pytest.raises(DataError, match="2 nulls"):
        ticks_of(nulls, PAIR)
    with pytest.raises(DataError, match="'Unknown'"):
        events_of(events_table(EVENTS[:1]).set_column(1, "event", pa.array(["Unknown"])))
    alert = alerts_table(some_alerts()[:1])
    with pytest.raises(DataError, match="SETTLED"):
        alerts_of(alert.set_column(2, "kind", pa.array(["SETTLED"])))
