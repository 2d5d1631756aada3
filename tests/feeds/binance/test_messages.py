"""The wire format: recorded frames, and every way a frame can be bad."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pairlab.errors import DataError
from pairlab.feeds.binance.messages import STREAMS, ConsumedId, ControlMessage, WireDecoder
from pairlab.schema import TICK, Pair
from tests.feeds.scripted import NOW_MS, PAIR, agg

TRADE = {
    "e": "trade",
    "E": NOW_MS + 3,
    "T": NOW_MS,
    "s": "BTCUSDT",
    "t": 5,
    "p": "61800.30",
    "q": "0.006",
    "X": "MARKET",
    "m": False,
}
QUOTE = {
    "e": "bookTicker",
    "u": 9,
    "s": "ETHUSDT",
    "b": "2681.62",
    "B": "1.165",
    "a": "2681.63",
    "A": "73.077",
    "T": NOW_MS,
    "E": NOW_MS + 1,
}


def frame(payload: dict[str, Any], **changes: Any) -> bytes:
    data = {key: value for key, value in {**payload, **changes}.items() if value is not ...}
    return json.dumps({"stream": "btcusdt@x", "data": data}).encode()


def recorded_frames(*paths: Path) -> Iterator[bytes]:
    for path in paths:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for line in lines:
                if line[:1].isdigit():
                    yield line.partition(b" ")[2].strip()


@pytest.mark.data
def test_recorded_pair_of_2024(recorded: Path) -> None:
    paths = sorted((recorded / "binance-usdm-trade-20240808").glob("*.gz"))
    decoder = WireDecoder(PAIR, "trade")
    ticks = [decoder.decode(f, 1) for f in recorded_frames(*paths)]
    kept = np.array([t for t in ticks if type(t) is tuple], dtype=TICK)
    for leg, count in ((0, 21_313), (1, 14_076)):
        ids = kept["id"][kept["leg"] == leg]
        assert len(ids) == count
        assert set(np.diff(ids)) == {1}
    assert set(decoder.dropped) == {"other stream"}


@pytest.mark.data
def test_insurance_fund_trade_of_2023_is_counted_and_in_no_tick(recorded: Path) -> None:
    paths = sorted((recorded / "binance-usdm-trade-20230404").glob("*.gz"))
    decoder = WireDecoder(PAIR, "trade")
    items = [decoder.decode(f, 1) for f in recorded_frames(*paths)]
    ticks = [t for t in items if type(t) is tuple]
    assert len(ticks) == 12_934
    assert [i for i in items if isinstance(i, ConsumedId)] == [
        ConsumedId(time_ns=1_680_652_874_400_000_000, received_ns=1, id=3_535_191_080, leg=0)
    ]
    assert decoder.dropped["not market"] == 1
    assert 28722.5 not in {t[4] for t in ticks}


@pytest.mark.data
def test_aggregated_trades_of_2021(recorded: Path) -> None:
    path = recorded / "binance-usdm-2021-aggtrade" / "BINANCE_FUTURES.ws.1.0"
    ticks = []
    for pair in (Pair("SUSHIUSDT", "AKROUSDT"), Pair("KEEPUSDT", "CTKUSDT")):
        decoder = WireDecoder(pair, "aggTrade")
        items = [decoder.decode(f, 1) for f in recorded_frames(path)]
        ticks += [i for i in items if type(i) is tuple]
        assert not decoder.bad
        assert decoder.dropped.keys() <= {"other stream", "other symbol"}
    assert len(ticks) == 91


def test_fields_go_where_tick_has_them() -> None:
    tick = WireDecoder(PAIR, "trade").decode(frame(TRADE), 77)
    record = np.array([tick], dtype=TICK)[0]
    assert record["time_ns"] == NOW_MS * 1_000_000
    assert (record["received_ns"], record["id"], record["leg"]) == (77, 5, 0)
    assert (record["price"], record["quantity"]) == (61800.30, 0.006)
    assert not record["buyer_is_maker"]
    assert WireDecoder(PAIR, "trade").decode(frame(TRADE, m=True), 77)[6] is True


def test_quote_becomes_its_mid_price() -> None:
    tick = WireDecoder(PAIR, "bookTicker").decode(frame(QUOTE), 1)
    assert tick[2:] == (9, 1, (2681.62 + 2681.63) / 2, 1.165, False)


@pytest.mark.parametrize("stream", STREAMS)
def test_key_order_new_keys_and_a_missing_wrapper_change_nothing(stream: str) -> None:
    payload = {"aggTrade": json.loads(agg(0, 5))["data"], "trade": TRADE, "bookTicker": QUOTE}
    data = {**payload[stream], "nq": "1", "st": 2, "ps": None}
    turned = dict(reversed(data.items()))
    decoder = WireDecoder(PAIR, stream)
    expected = decoder.decode(frame(payload[stream]), 1)
    assert type(expected) is tuple
    assert decoder.decode(frame(turned), 1) == expected
    assert decoder.decode(json.dumps(turned).encode(), 1) == expected
    assert not decoder.dropped


def test_symbols_are_compared_whole_and_need_not_be_ascii() -> None:
    decoder = WireDecoder(Pair("币安人生USDT", "1000PEPEUSDT"), "trade")
    assert decoder.decode(frame(TRADE, s="币安人生USDT"), 1)[3] == 0
    assert decoder.decode(frame(TRADE, s="1000PEPEUSDT"), 1)[3] == 1
    assert decoder.decode(frame(TRADE, s="PEPEUSDT"), 1) is None
    assert decoder.decode(frame(TRADE, s="1000pepeusdt"), 1) is None
    assert decoder.dropped == {"other symbol": 2}


@pytest.mark.parametrize("kind", ["INSURANCE_FUND", "ADL", "NA", "SOMETHING_NEW"])
def test_what_is_no_market_trade_uses_up_its_id(kind: str) -> None:
    decoder = WireDecoder(PAIR, "trade")
    assert decoder.decode(frame(TRADE, X=kind, p="0", q="0"), 1) == ConsumedId(
        NOW_MS * 1_000_000, 1, 5, 0
    )
    assert decoder.dropped == {"not market": 1}
    assert not decoder.bad


@pytest.mark.parametrize("changes", [{"X": "RPI"}, {"X": ...}])
def test_other_real_trades_are_kept(changes: dict[str, Any]) -> None:
    assert type(WireDecoder(PAIR, "trade").decode(frame(TRADE, **changes), 1)) is tuple


@pytest.mark.parametrize("changes", [{"p": "0"}, {"q": "0.000"}])
def test_zero_uses_up_its_id(changes: dict[str, Any]) -> None:
    decoder = WireDecoder(PAIR, "trade")
    assert isinstance(decoder.decode(frame(TRADE, **changes), 1), ConsumedId)
    assert decoder.dropped == {"zero": 1}


BAD = {
    "nan price": (frame(TRADE, p="NaN"), "bad price"),
    "negative price": (frame(TRADE, p="-1"), "bad price"),
    "infinite price": (frame(TRADE, p="inf"), "bad price"),
    "overflowing price": (frame(TRADE, p="9" * 400), "bad price"),
    "nan quantity": (frame(TRADE, q="nan"), "bad price"),
    "negative quantity": (frame(TRADE, q="-0.5"), "bad price"),
    "price in words": (frame(TRADE, p="cheap"), "malformed"),
    "price as a number": (frame(TRADE, p=1.5), "malformed"),
    "id as a string": (frame(TRADE, t="5"), "malformed"),
    "negative id": (frame(TRADE, t=-1), "malformed"),
    "id beyond int64": (frame(TRADE, t=2**70), "malformed"),
    "time beyond int64": (frame(TRADE, T=10**17), "malformed"),
    "negative time": (frame(TRADE, T=-1), "malformed"),
    "null time": (frame(TRADE, T=None), "malformed"),
    "maker as a number": (frame(TRADE, m=1), "malformed"),
    "no price": (frame(TRADE, p=...), "malformed"),
    "no id": (frame(TRADE, t=...), "malformed"),
    "no symbol": (frame(TRADE, s=...), "malformed"),
    "empty payload": (b'{"stream":"x","data":{}}', "malformed"),
    "no payload": (b'{"stream":"x"}', "malformed"),
    "payload of a wrong type": (b'{"stream":"x","data":[1]}', "malformed"),
    "a list": (b"[]", "malformed"),
    "a number": (b"3", "malformed"),
    "null": (b"null", "malformed"),
    "truncated": (frame(TRADE)[:-20], "not JSON"),
    "empty": (b"", "not JSON"),
    "broken UTF-8": (frame(TRADE).replace(b"BTC", b"\xff\xfe\xfd"), "not JSON"),
    "binary garbage": (bytes(range(256)), "not JSON"),
    "2 MiB of garbage": (b"\x00\xff" * 2**20, "not JSON"),
    "2 MiB of brackets": (b"[" * 2**21, "not JSON"),
    "error reply": (b'{"error":{"code":2,"msg":"no"},"id":1}', "error reply"),
    "bare error": (b'{"code":-1,"msg":"no"}', "error reply"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_frames_are_counted_kept_and_change_nothing(name: str) -> None:
    bad, reason = BAD[name]
    decoder = WireDecoder(PAIR, "trade", bad_frames=3)
    assert type(decoder.decode(frame(TRADE), 1)) is tuple
    for _ in range(5):
        item = decoder.decode(bad, 1)
        assert item is None or (isinstance(item, ControlMessage) and item.kind == "error")
    assert type(decoder.decode(frame(TRADE), 1)) is tuple
    assert decoder.dropped == {reason: 5}
    assert len(decoder.bad) == 3
    assert all(text.startswith(reason) and len(text) < 250 for text in decoder.bad)
    assert all(text.isprintable() for text in decoder.bad)


@pytest.mark.parametrize("stream", STREAMS)
def test_many_at_once_are_decoded_as_one_by_one(stream: str) -> None:
    payload = {"aggTrade": json.loads(agg(0, 5))["data"], "trade": TRADE, "bookTicker": QUOTE}
    good = payload[stream]
    frames = [
        frame(good),
        frame(good, s="ETHUSDT"),
        frame(good, s="OTHER"),
        frame(good, p="NaN", b="NaN"),
        frame(good, p="0", b="0"),
        frame(good, q="x", B="x"),
        frame(good, X="NA"),
        json.dumps(good).encode(),
        b'{"e":"serverShutdown"}',
        b'{"result":null,"id":1}',
        *(bad for bad, _ in BAD.values()),
        frame(good),
    ]
    single, many = (WireDecoder(PAIR, stream, bad_frames=100) for _ in range(2))
    stamped = enumerate(frames, 7)  # each a nanosecond after the one before
    one_by_one = [item for at, f in stamped if (item := single.decode(f, at)) is not None]
    messages: list[ControlMessage] = []
    items = many.decode_many(frames, 7, messages)
    assert items == [item for item in one_by_one if not isinstance(item, ControlMessage)]
    assert [type(item) for item in items] == [
        type(item) for item in one_by_one if not isinstance(item, ControlMessage)
    ]
    assert messages == [item for item in one_by_one if isinstance(item, ControlMessage)]
    assert len(items) >= 4
    assert {message.kind for message in messages} == {"shutdown", "reply", "error"}
    assert many.dropped == single.dropped
    assert many.bad == single.bad
    assert many.delays_ns == single.delays_ns


def test_words_about_the_connection() -> None:
    decoder = WireDecoder(PAIR, "aggTrade")
    for raw, kind in (
        (b'{"result":null,"id":1}', "reply"),
        (b'{"e":"serverShutdown","E":1}', "shutdown"),
        (b'{"stream":"!x","data":{"e":"serverShutdown"}}', "shutdown"),
        (b'{"error":{"code":2,"msg":"x"},"id":1}', "error"),
    ):
        message = decoder.decode(raw, 1)
        assert isinstance(message, ControlMessage)
        assert message.kind == kind


def test_other_streams_and_a_bare_depth_snapshot_are_dropped_quietly() -> None:
    decoder = WireDecoder(PAIR, "trade")
    assert decoder.decode(frame(QUOTE), 1) is None
    assert decoder.decode(b'{"lastUpdateId":1,"bids":[],"asks":[]}', 1) is None
    assert decoder.dropped == {"other stream": 2}
    assert not decoder.bad


def test_delays_are_bounded_and_raw() -> None:
    decoder = WireDecoder(PAIR, "trade")
    for n in range(9_000):
        decoder.decode(frame(TRADE), (NOW_MS + 3) * 1_000_000 + n)
    assert len(decoder.delays_ns) == 8_192
    assert decoder.delays_ns[-1] == 8_999


def test_a_decoder_needs_a_pair_and_a_known_stream() -> None:
    with pytest.raises(DataError, match=r"'kline'.*aggTrade, trade, bookTicker"):
        WireDecoder(PAIR, "kline")
    with pytest.raises(DataError, match="'BTCUSDT' twice"):
        WireDecoder(Pair("BTCUSDT", "BTCUSDT"), "trade")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@given(st.binary(max_size=200))
@example(b'{"code":0,"msg":""}')
def test_no_bytes_raise_or_make_a_tick(data: bytes) -> None:
    decoder = WireDecoder(PAIR, "trade")
    item = decoder.decode(data, 1)
    if item is None:
        assert decoder.dropped.total() == 1  # what becomes nothing is counted
    else:
        assert isinstance(item, ControlMessage)


@given(st.sampled_from(sorted(TRADE)), JSON, st.sampled_from(STREAMS))
def test_no_value_of_any_key_raises_or_makes_a_wild_tick(key: str, value: Any, stream: str) -> None:
    base = {"aggTrade": json.loads(agg(0, 5))["data"], "trade": TRADE, "bookTicker": QUOTE}[stream]
    decoder = WireDecoder(PAIR, stream)
    assert type(decoder.decode(msgspec.json.encode({"data": base}), 1)) is tuple
    item = decoder.decode(msgspec.json.encode({"data": {**base, key: value}}), 1)
    if item is None or isinstance(item, ConsumedId):
        assert decoder.dropped.total() == 1  # what becomes no tick is counted
    elif type(item) is tuple:
        record = np.array([item], dtype=TICK)[0]
        assert 0 < record["price"] < np.inf
        assert 0 < record["quantity"] < np.inf
