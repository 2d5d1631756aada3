"""Binance's public archive, with every fault that it is known to have."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isal import isal_zlib
from pandas.testing import assert_frame_equal

from pairlab import DataError, analyze, read_archive
from pairlab.storage import archive_text

DAY = "2024-08-08"
NAME = f"BTCUSDT-aggTrades-{DAY}.zip"
T0_MS = int(pd.Timestamp(DAY).timestamp() * 1000)
HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"


def agg_trades(
    count: int, first_id: int = 100, start_ms: int = T0_MS, seed: int = 0
) -> pd.DataFrame:
    """Trades as the archive's columns have them."""
    random = np.random.default_rng(seed)
    ids = np.arange(first_id, first_id + count)
    return pd.DataFrame({
        "agg_trade_id": ids,
        "price": np.round(60_000 + np.cumsum(random.normal(0, 1, count)), 1),
        "quantity": np.round(random.exponential(0.1, count) + 0.001, 3),
        "first_trade_id": 3 * ids, "last_trade_id": 3 * ids + 2,
        "transact_time": start_ms + np.cumsum(random.integers(0, 40, count)),
        "is_buyer_maker": np.where(random.random(count) < 0.5, "true", "false"),
    })  # fmt: skip


def text_of(frame: pd.DataFrame, header: bool = True) -> bytes:
    return frame.to_csv(index=False, header=header).encode()


def zipped(folder: Path, text: bytes, name: str = NAME, member: str | None = None) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member or name.replace(".zip", ".csv"), text)
    return path


def expected(frame: pd.DataFrame, unit: str = "ms") -> pd.DataFrame:
    """The same with pandas, sorted and each id once."""
    frame = frame.drop_duplicates("agg_trade_id").sort_values("agg_trade_id")
    index = pd.DatetimeIndex(
        pd.to_datetime(frame["transact_time"].to_numpy(), unit=unit, utc=True), name="time"
    ).as_unit("ns")
    return pd.DataFrame(
        {
            "symbol": pd.Categorical(["BTCUSDT"] * len(frame)),
            "id": frame["agg_trade_id"].to_numpy(),
            "price": frame["price"].astype(float).to_numpy(),
            "quantity": frame["quantity"].astype(float).to_numpy(),
            "buyer_is_maker": (
                frame["is_buyer_maker"].astype(str).str.lower() == "true"
            ).to_numpy(),
            "gap_before": frame["agg_trade_id"].diff().fillna(1).gt(1).to_numpy().astype(np.int64),
        },
        index=index,
    )


def one(report: pd.DataFrame) -> dict[str, Any]:
    assert len(report) == 1
    return report.iloc[0].to_dict()


def test_a_day_as_published(tmp_path: Path) -> None:
    frame = agg_trades(5_000)
    path = zipped(tmp_path, text_of(frame))
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / f"{NAME}.CHECKSUM").write_text(f"{sha}  {NAME}\n")
    archive = read_archive(path)
    assert_frame_equal(archive.ticks, expected(frame))
    assert one(archive.report) == {
        "symbol": "BTCUSDT", "kind": "aggTrades", "rows": 5_000, "first_id": 100, "last_id": 5_099,
        "missing": 0, "duplicates": 0, "conflicts": 0, "out_of_order": 0, "time_steps_back": 0,
        "zero_quantity": 0, "bad_price": 0, "off_grid": 0, "one_sided": False,
        "unit": "ms", "header": True, "interval": "", "sha256": sha, "checksum": "verified",
    }  # fmt: skip
    assert archive.report.index.tolist() == [str(path)]
    assert "5,000 ticks" in repr(archive)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(("unit", "factor"), [("ms", 1), ("us", 1_000)])
@pytest.mark.parametrize("flags", [("true", "false"), ("True", "False"), ("TRUE", "FALSE")])
def test_headers_units_and_booleans(
    tmp_path: Path, header: bool, unit: str, factor: int, flags: tuple[str, str]
) -> None:
    frame = agg_trades(300)
    frame["transact_time"] *= factor
    frame["is_buyer_maker"] = frame["is_buyer_maker"].map(
        dict(zip(("true", "false"), flags, strict=True))
    )
    archive = read_archive(zipped(tmp_path, text_of(frame, header)))
    assert_frame_equal(archive.ticks, expected(frame, unit))
    assert one(archive.report)["unit"] == unit
    assert one(archive.report)["header"] == header


def test_spot_has_a_column_more_and_numbers_in_scientific_notation(tmp_path: Path) -> None:
    frame = agg_trades(50)
    frame["price"], frame["quantity"] = 1.5e-5, 2e-3
    frame["best_match"] = "True"
    text = text_of(frame, header=False)
    assert b"1.5e-05" in text
    assert_frame_equal(read_archive(zipped(tmp_path, text)).ticks, expected(frame))


@pytest.mark.parametrize("named", [True, False])
def test_trades_and_book_tickers_are_told_by_their_columns(tmp_path: Path, named: bool) -> None:
    agg = agg_trades(40)
    trades = pd.DataFrame({
        "id": agg["agg_trade_id"], "price": agg["price"], "qty": agg["quantity"],
        "quote_qty": agg["price"] * agg["quantity"], "time": agg["transact_time"],
        "is_buyer_maker": agg["is_buyer_maker"],
    })  # fmt: skip
    name = f"BTCUSDT-trades-{DAY}.zip" if named else "some.zip"
    for header in (True, False):
        path = zipped(tmp_path, text_of(trades, header), name)
        archive = read_archive(path, symbol="BTCUSDT")
        assert one(archive.report)["kind"] == "trades"
        assert_frame_equal(archive.ticks, expected(agg))
    book = pd.DataFrame({
        "update_id": 7 * agg["agg_trade_id"], "best_bid_price": agg["price"] - 0.05,
        "best_bid_qty": 1.0, "best_ask_price": agg["price"] + 0.05, "best_ask_qty": 2.0,
        "transaction_time": agg["transact_time"], "event_time": agg["transact_time"] + 3,
    })  # fmt: skip
    name = f"BTCUSDT-bookTicker-{DAY}.zip" if named else "some.zip"
    for header in (True, False):
        archive = read_archive(zipped(tmp_path, text_of(book, header), name), symbol="BTCUSDT")
        assert one(archive.report)["kind"] == "bookTicker"
        assert one(archive.report)["missing"] == -1  # its ids need not be contiguous
        assert not archive.ticks["gap_before"].any()
        assert archive.ticks["price"].to_numpy() == pytest.approx(agg["price"].to_numpy())
        assert (archive.ticks["quantity"] == 3.0).all()


def test_interleaved_rows_are_put_in_order(tmp_path: Path) -> None:
    frame = agg_trades(1_000)
    mixed = pd.concat([frame[:500].reset_index(drop=True), frame[500:].reset_index(drop=True)])
    mixed = mixed.sort_index(kind="stable")  # row k of the first half, row k of the second, …
    archive = read_archive(zipped(tmp_path, text_of(mixed)))
    assert_frame_equal(archive.ticks, expected(frame))
    assert one(archive.report)["out_of_order"] == 499


def test_every_row_twice_and_some_that_contradict(tmp_path: Path) -> None:
    frame = agg_trades(200)
    twice = pd.concat([frame, frame])
    archive = read_archive(zipped(tmp_path, text_of(twice)))
    assert_frame_equal(archive.ticks, expected(frame))
    assert one(archive.report)["duplicates"] == 200
    assert one(archive.report)["conflicts"] == 0
    other = frame.copy()
    other.loc[[3, 8], "price"] += 1.0
    archive = read_archive(zipped(tmp_path, text_of(pd.concat([frame, other]))))
    assert_frame_equal(archive.ticks, expected(frame))
    assert one(archive.report)["conflicts"] == 2


def test_missing_ids_are_marked_and_counted(tmp_path: Path) -> None:
    frame = agg_trades(300).drop(index=[10, 11, 12, 200])
    archive = read_archive(zipped(tmp_path, text_of(frame)))
    assert_frame_equal(archive.ticks, expected(frame))
    assert archive.ticks["id"][archive.ticks["gap_before"] == 1].tolist() == [113, 301]
    assert one(archive.report)["missing"] == 4


def test_what_is_odd_in_the_rows_is_counted_and_kept(tmp_path: Path) -> None:
    frame = agg_trades(100)
    frame.loc[[5, 6], "quantity"] = 0.0
    frame.loc[7, "price"] = 0.0
    frame["is_buyer_maker"] = "true"
    frame.loc[50, "transact_time"] -= 10_000
    found = read_archive(zipped(tmp_path, text_of(frame)))
    report = one(found.report)
    assert len(found.ticks) == 100
    assert (report["zero_quantity"], report["bad_price"], report["one_sided"]) == (2, 1, True)
    assert report["time_steps_back"] == 1
    assert "same side on every row" in repr(found)


def test_a_day_between_two_files_and_one_that_overlaps(tmp_path: Path) -> None:
    frame = agg_trades(900)
    days = [frame[:300], frame[300:600], frame[600:]]
    names = [f"BTCUSDT-aggTrades-2024-08-0{n}.zip" for n in (1, 2, 3)]
    paths = [zipped(tmp_path, text_of(d), n) for d, n in zip(days, names, strict=True)]
    assert_frame_equal(read_archive(paths[::-1]).ticks, expected(frame))  # in whatever order
    lacking = read_archive([paths[0], paths[2]])
    assert lacking.report["missing"].tolist() == [0, 300]
    assert lacking.ticks["id"][lacking.ticks["gap_before"] == 1].tolist() == [700]
    # A monthly file that lacks a day, and says otherwise of a trade: the daily one is right.
    month = pd.concat([days[0], days[2]])
    month.loc[20, "price"] = 1.0
    monthly = zipped(tmp_path, text_of(month), "BTCUSDT-aggTrades-2024-08.zip")
    both = read_archive([monthly, *paths])
    assert_frame_equal(both.ticks, expected(frame))
    assert both.report["duplicates"].tolist() == [600, 0, 0, 0]
    assert both.report["conflicts"].tolist() == [1, 0, 0, 0]
    assert both.report["missing"].tolist() == [0, 0, 0, 0]


def test_two_symbols_are_merged_by_time_and_can_be_analyzed(tmp_path: Path) -> None:
    btc, eth = agg_trades(800), agg_trades(700, first_id=9_000, seed=1)
    eth["price"] = np.round(eth["price"] / 25, 2)
    eth.loc[100, "transact_time"] -= 500  # may not overtake its own predecessor
    paths = [
        zipped(tmp_path, text_of(btc)),
        zipped(tmp_path, text_of(eth), NAME.replace("BTC", "ETH")),
    ]
    ticks = read_archive(paths).ticks
    assert list(ticks["symbol"].cat.categories) == ["BTCUSDT", "ETHUSDT"]
    for symbol, frame in (("BTCUSDT", btc), ("ETHUSDT", eth)):
        assert ticks["id"][ticks["symbol"] == symbol].tolist() == frame["agg_trade_id"].tolist()
    steps = np.diff(ticks.index.asi8)
    assert (steps < 0).sum() == 1
    holes = read_archive(
        [
            zipped(tmp_path, text_of(btc)),
            zipped(tmp_path, text_of(eth.drop(index=range(300, 400))), NAME.replace("BTC", "ETH")),
        ]
    ).ticks
    (gap,) = np.flatnonzero(holes["gap_before"])
    assert (holes["gap_before"].iloc[gap], holes["symbol"].iloc[gap]) == (2, "ETHUSDT")
    rows = analyze(ticks, pair=("BTCUSDT", "ETHUSDT"), window=50)
    assert len(rows) >= 1_400
    assert np.isfinite(rows["zscore"]).sum() > 1_000


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_text_without_a_zip(tmp_path: Path, suffix: str) -> None:
    frame = agg_trades(60)
    path = tmp_path / NAME.replace(".zip", suffix)
    text = b"\xef\xbb\xbf" * (suffix == ".csv") + text_of(frame)
    path.write_bytes(gzip.compress(text) if suffix == ".csv.gz" else text)
    (tmp_path / "notes.txt").write_text("not of the archive")
    assert_frame_equal(read_archive(tmp_path).ticks, expected(frame))


@pytest.mark.parametrize("text", [b"", (HEADER + "\n").encode()])
def test_a_file_without_rows(tmp_path: Path, text: bytes) -> None:
    archive = read_archive(zipped(tmp_path, text))
    assert len(archive.ticks) == 0
    assert one(archive.report)["rows"] == 0
    assert "no ticks" in repr(archive)
    frame = agg_trades(10)
    other = zipped(tmp_path, text_of(frame), NAME.replace("08.zip", "09.zip"))
    assert_frame_equal(read_archive([tmp_path / NAME, other]).ticks, expected(frame))


# -- what is refused -----------------------------------------------------------------------------

GOOD = text_of(agg_trades(500))


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(DataError, match=match) as told:
        read_archive(path, **options)
    assert str(path) in str(told.value)


def test_a_damaged_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path, GOOD)
    whole = path.read_bytes()
    for cut in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        refused(path, "damaged or no zip file")
    for at in (0, 31, whole.rindex(b"PK\x01\x02") + 42):  # headers, and where the first one is
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :])
        refused(path, "damaged|in the zip")
    # One bit anywhere in the compressed text, whose CRC the zip holds.
    start = 30 + len(NAME)
    for at in range(start, start + len(whole) // 2, 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        refused(path, "damaged|cannot be read|no one unit|has no|layout|need one|columns")


@pytest.mark.parametrize("fast", [True, False])
def test_zips_are_inflated_by_either_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    frame = agg_trades(2_000)
    path = zipped(tmp_path, text_of(frame))
    inflaters = []

    class Counted:
        error = isal_zlib.error

        @staticmethod
        def decompressobj(bits: int) -> Any:
            inflaters.append(bits)
            return isal_zlib.decompressobj(bits)

        crc32 = staticmethod(isal_zlib.crc32)

    monkeypatch.setattr(archive_text, "isal_zlib", Counted if fast else None)
    assert_frame_equal(read_archive(path).ticks, expected(frame))
    assert bool(inflaters) == fast


def test_zips_that_the_archive_never_publishes(tmp_path: Path) -> None:
    refused(zipped(tmp_path, GOOD, member="../../etc/passwd"), "expected BTCUSDT-aggTrades")
    refused(zipped(tmp_path, GOOD, member="/tmp/x.csv"), "expected BTCUSDT-aggTrades")
    path = zipped(tmp_path, GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.csv", b"1,2")
    refused(path, "2 files in the zip")
    bomb = zipped(tmp_path, GOOD[:200] + b"0" * 20_000_000)
    refused(bomb, "times its size: expected at most")
    assert not (tmp_path.parent / "etc").exists()


def test_a_zip_that_understates_its_size(tmp_path: Path) -> None:
    path = zipped(tmp_path, GOOD)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 100)  # uncompressed size in the directory
    path.write_bytes(raw)
    refused(path, "damaged|cannot be read")


def test_a_checksum_that_does_not_match(tmp_path: Path) -> None:
    path = zipped(tmp_path, GOOD)
    beside = tmp_path / f"{NAME}.CHECKSUM"
    beside.write_text(f"{'0' * 64}  {NAME}")
    refused(path, "is not the file that .* describes")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "is not the file that .* describes")  # which says more than that it is damaged
    path.write_bytes(whole)
    beside.write_text("<html>Not here</html>")
    with pytest.raises(DataError, match="holds no SHA-256"):
        read_archive(path)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (["1,2,3,4,5"], "unknown layout|5 columns"),
        ([f"{T0_MS},1,2,3,4,{T0_MS},5,6,7,8,9,0"], "12 columns: expected 7 of aggTrades"),
        (["1,5.0,1.0,1,1,never,true"], "cannot be read as aggTrades"),
        (["1,free,1.0,1,1,1723075200000,true"], "cannot be read as aggTrades"),
        (["1,5.0,1.0,1,1,1723075200000,true", "2,5.0,1.0,2,2,1723075200,true"], "no one unit"),
        (
            ["1,5.0,1.0,1,1,1723075200000,true", "2,,1.0,2,2,1723075200000,true"],
            "row 2 has no price",
        ),
        (["1,5.0,1.0,1,1,1723075200000,true", "2,5.0"], "cannot be read as aggTrades"),
        (["1,5.0,1.0,1,1,1723075200000,perhaps"], "cannot be read as aggTrades"),
        (["agg_trade_id,cost,quantity,a,b,transact_time,is_buyer_maker"], "one column price"),
        (["id,id,price,quantity,a,time,is_buyer_maker"], "one column id"),
    ],
)
def test_text_that_cannot_be_understood(tmp_path: Path, rows: list[str], match: str) -> None:
    refused(zipped(tmp_path, "\n".join(rows).encode()), match)


def test_funding_rates_are_named(tmp_path: Path) -> None:
    path = zipped(tmp_path, b"1723075200000,8,0.0001", "BTCUSDT-fundingRate-2024-08.zip")
    refused(path, "holds funding rates, not trades or klines", symbol="BTCUSDT")


def test_paths_and_symbols_that_cannot_be(tmp_path: Path) -> None:
    path = zipped(tmp_path, GOOD)
    refused(path, "is of BTCUSDT, not of ETHUSDT", symbol="ETHUSDT")
    refused(zipped(tmp_path, GOOD, "some.zip"), "does not say which symbol")
    refused(tmp_path / "none.zip", "no such file")
    (tmp_path / "x.txt").write_text("")
    refused(tmp_path / "x.txt", r"expected a \.zip")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no .zip")
    with pytest.raises(DataError, match="paths = "):
        read_archive([])
    trades = zipped(tmp_path, b"1,5.0,1.0,5.0,1723075200000,true", f"BTCUSDT-trades-{DAY}.zip")
    with pytest.raises(DataError, match="different series"):
        read_archive([path, trades])


def test_a_file_larger_than_allowed_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_text, "MAX_BYTES", 1_000)
    refused(zipped(tmp_path, GOOD), "expected at most 1,000 bytes")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_to_the_order_gives_the_same_ticks(tmp_path: Path, data: st.DataObject) -> None:
    """Rows dropped, doubled, shuffled and spread over files that overlap, against pandas."""
    frame = agg_trades(data.draw(st.integers(1, 60)))
    rows = data.draw(st.lists(st.integers(0, len(frame) - 1), min_size=1, max_size=120))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    pieces = [frame.iloc[rows[a:b]] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    paths = []
    for at, piece in enumerate(pieces):
        name = f"BTCUSDT-aggTrades-2024-08-{at + 1:02}.zip"
        paths.append(zipped(tmp_path, text_of(piece, header=bool(at % 2)), name))
    archive = read_archive(paths)
    assert_frame_equal(archive.ticks, expected(frame.iloc[rows]))
    assert archive.report["rows"].sum() == len(rows)
    kept = len(set(rows))
    assert archive.report["duplicates"].sum() == len(rows) - kept
    assert archive.report["missing"].sum() == max(rows) - min(rows) + 1 - kept
    assert archive.report["conflicts"].sum() == 0
