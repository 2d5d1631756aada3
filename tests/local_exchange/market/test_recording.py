"""Recordings: three formats, merged by receive time, sent as they were recorded."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from pairlab.errors import DataError, SettingError
from pairlab.local_exchange import Recording

NS_LINES = (
    b'1723161255088176367 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,'
    b'"T":1723161256322,"s":"BTCUSDT","t":1,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}\n'
    b'1723161255188176367 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256400,'
    b'"T":1723161256399,"s":"BTCUSDT","t":2,"p":"61800.40","q":"0.199","X":"MARKET","m":true}}\n'
)


def opened(path: Path | list[Path], **options: object) -> Recording:
    recording = Recording(path, None, **options)
    recording.open()
    return recording


def drain(recording: Recording, streams: set[str], limit: int = 100) -> list[tuple[str, bytes]]:
    messages = []
    while recording.next_ns() is not None:
        messages += recording.take(None, streams, limit)
    return messages


@pytest.mark.data
class TestRealRecordings:
    def test_2024_nanoseconds(self, recorded: Path) -> None:
        recording = opened(recorded / "binance-usdm-trade-20240808")
        wanted = {"btcusdt@trade", "ethusdt@trade"}
        messages = drain(recording, wanted)
        counts = {s: sum(name == s for name, _ in messages) for s in wanted}
        assert counts == {"btcusdt@trade": 21_313, "ethusdt@trade": 14_076}
        infos = {i.symbol: i for i in recording.symbols()}
        assert infos["BTCUSDT"].tick_size == "0.10"
        assert infos["ETHUSDT"].tick_size == "0.01"
        assert infos["BTCUSDT"].price_precision == 2

    @pytest.mark.slow
    def test_frames_are_as_recorded_and_in_order_of_receipt(self, recorded: Path) -> None:
        folder = recorded / "binance-usdm-trade-20240808"
        lines = [
            line.split(b" ", 1)
            for file in sorted(folder.glob("*.gz"))
            for line in gzip.decompress(file.read_bytes()).splitlines()
            if b'"stream":' in line and (b"@trade" in line or b"@bookTicker" in line)
        ]
        messages = drain(
            opened(folder),
            {f"{s}@{k}" for s in ("btcusdt", "ethusdt") for k in ("trade", "bookTicker")},
        )
        assert len(messages) == len(lines) == 155_470
        assert sorted(frame for _, frame in messages) == sorted(frame for _, frame in lines)
        stamp = {frame: int(time) for time, frame in lines}
        received = np.array([stamp[frame] for _, frame in messages])
        # Within a file the lines' own order stands where its clock stepped back.
        assert np.mean(np.diff(received) >= 0) > 0.99
        trades = [json.loads(frame)["data"] for name, frame in messages if "@trade" in name]
        for symbol in ("BTCUSDT", "ETHUSDT"):
            ids = [t["t"] for t in trades if t["s"] == symbol]
            assert ids == list(range(ids[0], ids[0] + len(ids)))

    def test_2023_microseconds_over_midnight(self, recorded: Path) -> None:
        recording = opened(recorded / "binance-usdm-trade-20230404")
        messages = drain(recording, {"btcusdt@trade"})
        ids = [json.loads(frame)["data"]["t"] for _, frame in messages]
        assert len(ids) == 12_935
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert recording.streams["btcusdt@markPrice@1s"] == 514
        assert 1_680_652_700 <= recording.start_ns / 1e9 < 1_680_652_702

    def test_2021_seconds_with_a_url_first(self, recorded: Path) -> None:
        recording = opened(recorded / "binance-usdm-2021-aggtrade")
        aggs = {s for s in recording.streams if s.endswith("@aggTrade")}
        messages = drain(recording, aggs)
        assert len(messages) == 91
        assert [i.symbol for i in recording.symbols()] == [
            "SUSHIUSDT",
            "AKROUSDT",
            "KEEPUSDT",
            "CTKUSDT",
        ]
        sushi = [json.loads(f)["data"] for n, f in messages if n == "sushiusdt@aggTrade"]
        answered = recording.agg_trades("SUSHIUSDT", sushi[0]["a"], None, None, 1_000)
        assert answered == [{k: d[k] for k in "apqflTm"} for d in sushi]
        assert len(answered) == 40

    @pytest.mark.slow
    def test_the_clock_is_moved_so_that_no_frame_is_early(self, recorded: Path) -> None:
        recording = opened(recorded / "binance-usdm-trade-20240808")
        early = total = 0
        while (due := recording.next_ns()) is not None:
            for _, frame in recording.take(due, {"btcusdt@trade"}, 1):
                total += 1
                early += json.loads(frame)["data"]["E"] > due / 1e6
        assert total == 21_313
        assert early < 0.02 * total  # the recorder's own clock ran 1.27 s behind

    def test_klines_are_made_of_the_trades_sent_so_far(self, recorded: Path) -> None:
        recording = opened(recorded / "binance-usdm-trade-20240808")
        assert recording.klines("ETHUSDT", 60_000, None, None, 10) == []
        trades = [json.loads(f)["data"] for _, f in drain(recording, {"ethusdt@trade"})]
        klines = recording.klines("ETHUSDT", 60_000, None, None, 10)
        assert sum(k[8] for k in klines) == 14_076
        last = [t for t in trades if t["T"] // 60_000 == klines[-1][0] // 60_000]
        prices = [float(t["p"]) for t in last]
        assert [float(v) for v in klines[-1][1:5]] == [
            prices[0], max(prices), min(prices), prices[-1],
        ]  # fmt: skip

    def test_a_trade_at_a_price_of_its_own_makes_no_candle(self, recorded: Path) -> None:
        recording = opened(recorded / "binance-usdm-trade-20230404")
        drain(recording, set())
        klines = recording.klines("BTCUSDT", 60_000, None, None, 100)
        assert max(float(k[2]) for k in klines) < 28_722.5  # the insurance fund's
        assert sum(k[8] for k in klines) == 12_934


def test_files_are_merged_and_keep_their_own_order_when_the_clock_steps_back(
    tmp_path: Path,
) -> None:
    def line(at: int, symbol: str, id_: int) -> bytes:
        data = {"e": "trade", "E": at // 10**6, "T": at // 10**6, "s": symbol.upper(), "t": id_}
        data |= {"p": "1.5", "q": "2", "X": "MARKET", "m": True}
        return b"%d %s\n" % (at, json.dumps({"stream": f"{symbol}@trade", "data": data}).encode())

    base = 1_700_000_000_000_000_000
    ours = line(base, "aa", 1) + line(base + 9, "aa", 2) + line(base + 5, "aa", 3)
    (tmp_path / "a").write_bytes(ours)
    theirs = line(base + 7, "bb", 1) + line(base + 12, "bb", 2)
    (tmp_path / "b.gz").write_bytes(gzip.compress(theirs))
    (tmp_path / "LICENSE").write_text("not a recording")
    order = [json.loads(f)["data"] for _, f in drain(opened(tmp_path), {"aa@trade", "bb@trade"})]
    assert [(d["s"], d["t"]) for d in order] == [
        ("AA", 1), ("BB", 1), ("AA", 2), ("AA", 3), ("BB", 2),
    ]  # fmt: skip


def test_reopening_rewinds(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(NS_LINES)
    recording = opened(tmp_path / "r")
    first = drain(recording, {"btcusdt@trade"})
    assert len(first) == 2
    assert recording.next_ns() is None
    recording.open()
    assert drain(recording, {"btcusdt@trade"}) == first


def test_microseconds_and_nanoseconds_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "ns").write_bytes(NS_LINES)
    parts = [line.split(b" ", 1) for line in NS_LINES.splitlines()]
    (tmp_path / "us").write_bytes(b"\n".join(head[:16] + b" " + rest for head, rest in parts))
    times = [opened(tmp_path / name).start_ns for name in ("ns", "us")]
    assert times[0] == pytest.approx(times[1], abs=2_000)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "contains no messages"),
        (b'{"stream":"a@trade"}\n', "line 1"),
        (b"12345 {}\n", "line 1"),
        (b"time,price\n1,2\n", "line 1"),
        (NS_LINES + b'1723161255188176367 {"stream":"btcusdt@trade","data":{"e":\n', "line 3"),
        (NS_LINES + b"x {}\n", "line 3"),
        (NS_LINES.replace(b'"61800.40"', b"61800.40"), "line 2"),
        (NS_LINES.replace(b"61800.40", b"sixty"), "line 2"),
        (b"\x1f\x8b\x08\x00garbage", "gzip"),
        (gzip.compress(NS_LINES)[:-20], "gzip"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "bad.rec"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        opened(path)
    assert str(path) in str(caught.value)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        opened(tmp_path / "nothing")
    with pytest.raises(DataError, match="no recording in this folder"):
        opened(tmp_path)
    with pytest.raises(DataError, match="at least one"):
        Recording([])
    with pytest.raises(SettingError, match="speed"):
        Recording(tmp_path, -1)


def test_an_unwrapped_snapshot_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(
        NS_LINES + b'1723161255199999999 {"lastUpdateId":5,"bids":[["1","2"]],"asks":[]}\n'
    )
    recording = opened(tmp_path / "r")
    assert recording.streams == {"btcusdt@trade": 2}
