"""What a path is, and that every kind of file gives the ticks that it was made of."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairlab import read_archive
from pairlab.errors import DataError
from pairlab.schema import Pair, Records
from pairlab.storage.replay.open_source import kind_of, open_source, symbols_in
from pairlab.storage.replay.tables.own_tables import RowGroupTicks
from pairlab.storage.replay.tick_source import HeldTicks, TickSource, in_order_of_time
from tests.storage.replay.files import SYMBOLS, archive, frame_of, frames, made, same

PAIR = Pair("BTCUSDT", "ETHUSDT")
TICKS = made()


def played(source: TickSource, *where: int) -> Records:
    return np.concatenate([block.ticks for block in source.blocks(*where)])


def gaps(source: TickSource) -> list[tuple[int, int, int]]:
    found, start = [], 0
    for block in source.blocks():
        found += [(start + mark.at, mark.missing, mark.legs) for mark in block.gaps]
        start += len(block.ticks)
    return found


def csv(path: Path, **options: object) -> Path:
    frame_of(TICKS).to_csv(path, index=False, **options)  # type: ignore[call-overload]
    return path


def ndjson(path: Path) -> Path:
    frame_of(TICKS).to_json(path, orient="records", lines=True, date_format="iso", date_unit="ns")
    return path


def parquet(path: Path, rows: int = 500) -> Path:
    pq.write_table(pa.Table.from_pandas(frame_of(TICKS)), path, row_group_size=rows)
    return path


FILES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "mine.csv": ("csv", csv),
    "mine.csv.gz": ("csv", csv),
    "mine.tsv": ("csv", lambda path: csv(path, sep="\t")),
    "mine.txt": ("csv", lambda path: csv(path, sep=";", encoding="utf-8-sig")),
    "mine.ndjson": ("ndjson", ndjson),
    "mine.parquet": ("parquet", parquet),
    "mine.dat": ("frames", lambda path: frames(path, TICKS)),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_ticks_it_was_made_of(name: str, tmp_path: Path) -> None:
    kind, write = FILES[name]
    path = write(tmp_path / name)
    assert kind_of(path) == kind
    source = open_source([path], PAIR)
    assert same(played(source), TICKS)
    assert gaps(source) == []
    assert source.stream == "trade"
    assert source.time_span_ns == (TICKS["time_ns"][0], TICKS["time_ns"][-1])
    assert symbols_in([path]) in (None, ["BTCUSDT", "ETHUSDT"], ["ETHUSDT", "BTCUSDT"])


@pytest.mark.parametrize("name", FILES)
def test_a_time_is_found_with_so_many_ticks_before_it(name: str, tmp_path: Path) -> None:
    source = open_source([FILES[name][1](tmp_path / name)], PAIR)
    for at in (0, 1, 499, 500, 501, 1_234, len(TICKS) - 1):
        first = int(np.searchsorted(TICKS["time_ns"], TICKS["time_ns"][at]))
        for before in (0, 7, 900):
            got = played(source, int(TICKS["time_ns"][at]), before)
            assert same(got, TICKS[max(first - before, 0) :]), (at, before)
    assert list(source.blocks(int(TICKS["time_ns"][-1]) + 1, 0)) == []


@pytest.mark.parametrize("name", ["mine.csv", "mine.parquet", "mine.dat"])
def test_missing_ids_are_gaps_of_their_leg(name: str, tmp_path: Path) -> None:
    legs = [np.flatnonzero(TICKS["leg"] == leg) for leg in (0, 1)]
    lost = np.concatenate([legs[0][100:103], legs[1][700:701], legs[0][900:902]])
    left = np.delete(TICKS, lost)
    want = []
    for leg in (0, 1):
        at = np.flatnonzero(left["leg"] == leg)
        steps = np.diff(left["id"][at])
        want += [(int(at[k + 1]), int(steps[k]) - 1, leg + 1) for k in np.flatnonzero(steps > 1)]
    path = tmp_path / name
    if name == "mine.csv":
        frame_of(left).to_csv(path, index=False)
    elif name == "mine.parquet":
        pq.write_table(pa.Table.from_pandas(frame_of(left)), path, row_group_size=400)
    else:
        frames(path, left)
    source = open_source([path], PAIR)
    assert sorted(gaps(source)) == sorted(want)
    assert len(want) == 3
    assert sum(missing for _, missing, _ in want) == 6


def test_archives_are_merged_by_time_with_y_before_x_at_equal_times(tmp_path: Path) -> None:
    want = np.delete(TICKS, [1_000, 1_001, 2_000])
    paths = archive(tmp_path, want)
    (tmp_path / "SOLUSDT-aggTrades-2024-08-08.zip").write_bytes(b"PK damaged")  # not of the pair
    source = open_source([tmp_path], PAIR)
    got = played(source)
    for leg in (0, 1):
        assert same(got[got["leg"] == leg], want[want["leg"] == leg])
    keys = list(zip(got["time_ns"].tolist(), got["leg"].tolist(), got["id"].tolist(), strict=True))
    assert keys == sorted(keys)
    found = read_archive(paths).ticks
    assert len(found) == len(got)
    assert sum(m for _, m, _ in gaps(source)) == 3
    assert source.stream == "aggTrade"
    assert symbols_in([tmp_path]) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert "Archive: 2,997 ticks" in source.notes[0]
    turned = played(open_source(paths, Pair("ETHUSDT", "BTCUSDT")))
    times = turned["time_ns"]
    tie = np.flatnonzero((np.diff(times) == 0) & (np.diff(turned["leg"]) != 0))
    assert len(tie) > 5
    assert (turned["leg"][tie] == 0).all()  # of this pair ETHUSDT is y
    with pytest.raises(DataError, match="hold aggTrade ticks, not trade"):
        open_source(paths, PAIR, "trade")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "names", [("btc-usdt_0808", "eth-usdt_0808"), ("a", "b"), ("z", "ETHUSDT")]
)
def test_one_file_a_symbol(kind: str, names: tuple[str, str], tmp_path: Path) -> None:
    table, paths = frame_of(TICKS), []
    for name, symbol in zip(names, SYMBOLS, strict=True):
        own = table[table["symbol"] == symbol].drop(columns="symbol")
        paths.append(tmp_path / f"{name}.{kind}")
        if kind == "csv":
            own.to_csv(paths[-1], index=False)
        else:
            own.to_parquet(paths[-1], index=False, row_group_size=300)
    source = open_source(paths, PAIR)
    assert isinstance(source, RowGroupTicks if kind == "parquet" else HeldTicks)
    want = in_order_of_time(TICKS[TICKS["leg"] == 0], TICKS[TICKS["leg"] == 1])
    assert same(played(source), want)
    at = int(want["time_ns"][1_500])
    got = played(source, at, 40)
    first = int(np.searchsorted(want["time_ns"], at))
    assert same(got[-len(want) + first :], want[first:])  # from there on all, and before it enough
    assert 40 <= len(got) - (len(want) - first) <= 80
    assert any("every row is of BTCUSDT" in note for note in source.notes)
    assert symbols_in(paths) == []


def test_rows_out_of_order_are_put_in_order_and_it_is_said(tmp_path: Path) -> None:
    mixed = TICKS[np.random.default_rng(1).permutation(len(TICKS))]
    path = tmp_path / "mixed.parquet"
    pq.write_table(pa.Table.from_pandas(frame_of(mixed)), path, row_group_size=500)
    source = open_source([path], PAIR)
    assert isinstance(source, HeldTicks)  # its row groups overlap
    got = played(source)
    order = np.argsort(mixed["time_ns"], kind="stable")
    assert same(got, mixed[order])
    assert re.search(r"1,\d{3} rows out of order of time", source.notes[0])
    inside = tmp_path / "inside.parquet"  # in order from row group to row group, not within
    parts = [TICKS[start : start + 500] for start in range(0, 3_000, 500)]
    parts = [part[part["time_ns"] > part["time_ns"][0]][::-1] for part in parts]
    with pq.ParquetWriter(inside, pa.Table.from_pandas(frame_of(parts[0])).schema) as writer:
        for part in parts:
            writer.write_table(pa.Table.from_pandas(frame_of(part)))
    lazy = open_source([inside], PAIR)
    assert isinstance(lazy, RowGroupTicks)
    assert same(
        played(lazy), np.concatenate([p[np.argsort(p["time_ns"], kind="stable")] for p in parts])
    )


def test_a_mapping_is_taken_and_what_was_guessed_is_said(tmp_path: Path) -> None:
    names = {"time": "wann", "symbol": "wer", "price": "p", "id": "n"}
    table = frame_of(TICKS).rename(columns=names)
    table["price"], table["wer"] = 1.0, table["wer"].str.replace("USDT", "/USDT")
    table["received"] = (TICKS["time_ns"] + 5_000_000) // 1000
    path = tmp_path / "fremd.csv"
    table.to_csv(path, index=False)
    source = open_source([path], PAIR, columns=names)
    want = TICKS.copy()
    want["received_ns"] += 5_000_000
    assert same(played(source), want)
    assert source.notes[0] == (
        "fremd.csv: time = 'wann', symbol = 'wer', price = 'p', id = 'n', quantity = 'quantity' "
        "(guessed), received = 'received' (guessed), side = 'side' (guessed); received in us"
    )
    with pytest.raises(DataError, match="no column is known to be the time"):
        open_source([path], PAIR)
    with pytest.raises(DataError, match="columns are those of CSV, NDJSON or Parquet"):
        open_source([frames(tmp_path / "f", TICKS)], PAIR, columns=names)


def test_what_a_table_does_not_say(tmp_path: Path) -> None:
    table = pd.concat(
        [frame_of(TICKS)[["time", "symbol", "price"]], frame_of(TICKS[:9])[["time", "price"]]]
    )
    table["symbol"] = table["symbol"].fillna("SOLUSDT")
    path = tmp_path / "few.csv"
    table.to_csv(path, index=False)
    source = open_source([path], PAIR)
    got = played(source)
    for name in ("price", "time_ns", "leg"):
        assert np.array_equal(got[name], TICKS[name]), name
    assert np.isnan(got["quantity"]).all()
    assert "rows of SOLUSDT are left out" in " ".join(source.notes)
    assert "no gaps are marked" in source.notes[-1]
    assert source.price_decimals == (0, 1)


HOSTILE: dict[str, tuple[str, str]] = {
    "no.csv": ("time,symbol\n1723075200,BTCUSDT\n", "no column is known to be the price"),
    "head.csv": ("1723075200,BTCUSDT,1.0\n", "names no columns: expected a header"),
    "deep.ndjson": ('{"a":' * 500 + "1" + "}" * 500, "no column is known to be the time"),
    "text.csv": (
        "time,symbol,price\n1723075200,BTCUSDT,1.0\n1723075201,ETHUSDT,dear\n",
        "invalid value 'dear'",
    ),
    "when.csv": ("time,symbol,price\nsoon,BTCUSDT,1\n", "row 1: time = 'soon' is no time"),
    "units.csv": (
        "time,symbol,price\n1723075200,BTCUSDT,1\n1723075200000,ETHUSDT,1\n",
        "is no time in one unit",
    ),
    "hole.csv": ("time,symbol,price\n1723075200,BTCUSDT,\n", "row 1 has no price"),
    "ragged.csv": ("time,symbol,price\n1723075200,BTCUSDT,1,2\n", "Expected 3 columns, got 4"),
    "whose.csv": ("time,price\n1723075200,1\n", "no column of symbols"),
    "other.csv": ("time,symbol,price\n1723075200,A,1\n", "no ticks of BTCUSDT and ETHUSDT"),
    "rows.csv": ("time,symbol,price\n", "no ticks of BTCUSDT and ETHUSDT"),
    "long.csv": (
        "time,symbol,price\n1723075200,BTCUSDT,1\n1723075200,BTCUSDT,1" + "0" * 9_000_000,
        "cannot be read as CSV: straddling",
    ),
    "line.ndjson": ('{"time": 1723075200, "price": 1' + "0" * 9_000_000 + "}\n", "NDJSON: "),
    "wide.csv": ("time,price," + "x" * 70_000, "its first line is longer than"),
    "nul.csv": ("time,symbol,price\n1723075200,\0,1\n", "no ticks of"),
    "cut.ndjson": ('{"time": 1723075200, "price"', "cannot be read as NDJSON"),
    "mixed.ndjson": ('{"price": 1}\n{"price": "a"}\n', "cannot be read as NDJSON"),
    "list.ndjson": (
        '{"time": 1723075200, "symbol": "BTCUSDT", "price": [1]}\n',
        "price = array([1]) is no",
    ),
    "fake.parquet": ("PAR1 and nothing more", "cannot be read as Parquet"),
    "empty.csv": ("", "contains no messages"),
    "prose.csv": ("dear diary\n", "line 1: expected"),
    "saved.pairlab": ("PK\3\4", "cannot be opened: "),
    "ETHUSDT-aggTrades-2024-08-08.zip": ("PK\3\4 no zip", "damaged or no zip"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_played_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    text, told = HOSTILE[name]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        played(open_source([path], PAIR))
    assert told in str(refused.value)
    assert len(str(refused.value)) < 700
    if name != "other.csv" and "no ticks" not in told:
        assert path.name in str(refused.value)


def test_files_of_several_kinds_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    mine, raw = csv(tmp_path / "mine.csv"), frames(tmp_path / "raw", TICKS)
    with pytest.raises(DataError, match=r"several kinds .*mine.csv \(csv\), raw \(frames\)"):
        open_source([mine, raw], PAIR)
    with pytest.raises(DataError, match="gone: no such file or folder"):
        open_source([tmp_path / "gone"], PAIR)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none: no recording in this folder"):
        open_source([tmp_path / "none"], PAIR)
    packed = gzip.compress(mine.read_bytes())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"cut\.csv\.gz"):
        open_source([tmp_path / "cut.csv.gz"], PAIR)


def test_a_flipped_byte_of_a_later_row_group_is_told_where_it_is(tmp_path: Path) -> None:
    path = parquet(tmp_path / "mine.parquet")
    data = bytearray(path.read_bytes())
    file = pq.ParquetFile(path)
    at = file.metadata.row_group(4).column(3).data_page_offset
    data[at : at + 12] = b"\xff" * 12  # the header of a page
    path.write_bytes(data)
    source = open_source([path], PAIR)
    with pytest.raises(DataError, match="row group 4"):
        played(source)


def test_the_real_recording_as_the_local_exchange_reads_it(recorded: Path) -> None:
    source = open_source([recorded / "binance-usdm-trade-20240808"], PAIR)
    got = played(source)
    assert len(got) == 35_389
    for leg in (0, 1):
        assert (np.diff(got["id"][got["leg"] == leg]) == 1).all()
    assert (np.diff(got["received_ns"]) >= 0).all()
    assert source.price_decimals == (2, 2)
    assert gaps(source) == []


@pytest.mark.parametrize(
    "name", ["mine.csv", "mine.csv.gz", "mine.ndjson", "mine.parquet", "mine.dat"]
)
def test_damage_anywhere_is_refused_in_words_or_played(name: str, tmp_path: Path) -> None:
    """Flipped, cut out, put in: never anything but ticks or a DataError that names the file."""
    whole = FILES[name][1](tmp_path / name).read_bytes()
    path = tmp_path / "damaged" / name
    path.parent.mkdir()
    random = np.random.default_rng(5)
    put_in = [b"1e999", b"nan", b"\xff\xfe", b"null", b"9" * 20, b"{", b'"', b"\x00" * 40]
    told = []
    for number in range(50):
        at = int(random.integers(len(whole) if number % 3 else 200))
        raw = bytearray(whole)
        if number % 2:
            raw[at] ^= 1 << int(random.integers(8))
        else:
            raw[at : at + number % 5] = put_in[number // 2 % len(put_in)]
        path.write_bytes(raw)
        for read in (lambda: symbols_in([path]), lambda: all_blocks([path])):
            try:
                read()
            except DataError as error:
                told.append(str(error))
    assert len(told) > 10
    assert all(str(path) in text or "no ticks of" in text for text in told)


def all_blocks(paths: list[Path]) -> int:
    return sum(len(block.ticks) for block in open_source(paths, PAIR).blocks())
