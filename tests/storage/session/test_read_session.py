"""Session files of strangers: truncated, altered, oversized, with code in them. All are refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairlab import DataError, PairLab, SettingError
from pairlab.storage.session.limits import SessionLimits
from pairlab.storage.session.parquet_reader import read_member
from pairlab.storage.session.read_session import read_session
from pairlab.storage.session.session_tables import MEMBERS
from pairlab.storage.session.write_session import parquet_bytes
from tests.lab.session.labs import lab_with_a_past

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("session") / "x.pairlab"
    lab_with_a_past().save(path)
    return path.read_bytes()


@pytest.fixture
def members(content: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(autouse=True)
def nothing_is_written(tmp_path: Path) -> Iterator[None]:
    """Whatever is refused, no file appears: neither here nor beside, above or in the home."""
    folders = (tmp_path, tmp_path.parent, Path.cwd(), Path.home(), Path("/tmp"))
    before = {folder: set(os.listdir(folder)) for folder in folders}
    yield
    for folder, names in before.items():
        new = set(os.listdir(folder)) - names
        assert not {n for n in new if n not in ("x.pairlab", "pipe") and "evil" in n}, folder
    assert set(os.listdir(tmp_path)) <= {"x.pairlab", "pipe"}


def zipped(members: Members, *, method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def signed(members: Members) -> Members:
    """Return members whose manifest has their digests: what a careful attacker would do."""
    manifest = json.loads(members["manifest.json"])
    for name in MEMBERS:
        data = members[f"{name}.parquet"]
        entry = manifest["members"][name]
        entry["bytes"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    return {**members, "manifest.json": json.dumps(manifest).encode()}


def with_table(members: Members, name: str, table: Any, rows: int | None = None, **how: Any) -> Any:
    """Return members with another table in place of one of them."""
    out = io.BytesIO()
    pq.write_table(table, out, **{"store_schema": False, "compression": "zstd", **how})
    manifest = json.loads(members["manifest.json"])
    manifest["members"][name]["rows"] = table.num_rows if rows is None else rows
    text = json.dumps(manifest).encode()
    return signed({**members, f"{name}.parquet": out.getvalue(), "manifest.json": text})


def with_manifest(members: Members, fields: dict[str, Any]) -> Members:
    manifest = {**json.loads(members["manifest.json"]), **fields}
    return {**members, "manifest.json": json.dumps(manifest).encode()}


def table_of(members: Members, name: str) -> Any:
    return pq.read_table(io.BytesIO(members[f"{name}.parquet"]))


def refused(tmp_path: Path, data: bytes, said: str, **limits: Any) -> None:
    path = tmp_path / "x.pairlab"
    path.write_bytes(data)
    with pytest.raises(DataError, match=said) as caught:
        PairLab.open(path, **limits)
    assert "x.pairlab" in str(caught.value)
    assert len(str(caught.value)) < 2_000


def test_as_written_or_zipped_again_it_opens(
    tmp_path: Path, content: bytes, members: Members
) -> None:
    for data in (content, zipped(members), zipped(members, method=zipfile.ZIP_DEFLATED)):
        (tmp_path / "x.pairlab").write_bytes(data)
        assert len(read_session(tmp_path / "x.pairlab").rows) == 600


def test_cut_at_every_97th_byte(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pairlab"
    path.write_bytes(content)
    cuts = range(len(content) - len(content) % 97, -1, -97)
    assert len(cuts) > 300
    for cut in cuts:
        os.truncate(path, cut)
        with pytest.raises(DataError, match="cut off"):
            read_session(path)
    assert path.read_bytes() == b""


@pytest.mark.slow
def test_one_bit_flipped_is_noticed_wherever_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pairlab"
    bits = np.random.default_rng(5).integers(0, 8 * len(content), 80).tolist()
    harmless = 0
    whole = repr(read_of(path, content))
    for bit in bits:
        data = bytearray(content)
        data[bit // 8] ^= 1 << bit % 8
        try:
            found = read_of(path, bytes(data))
        except DataError:
            continue
        harmless += 1  # a date of the directory: of no meaning
        assert repr(found) == whole
    assert harmless <= 10


def read_of(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    return read_session(path)


def test_members_that_do_not_belong(tmp_path: Path, members: Members) -> None:
    for name in ("evil.py", "../evil.parquet", "/tmp/evil", "rows/evil.parquet", "ticks.parquet/"):
        refused(tmp_path, zipped({**members, name: b"x"}), "has 14 members, expected 13")
        swapped = {n: d for n, d in members.items() if n != "log.parquet"}
        refused(tmp_path, zipped({**swapped, name: b"x"}), "has a member")
    swapped = {n: d for n, d in members.items() if n != "log.parquet"}
    refused(tmp_path, zipped(swapped), "has 12 members")
    twice = zipped({**swapped, "rows.parqueT": b"other"}).replace(b"rows.parqueT", b"rows.parquet")
    refused(tmp_path, twice, "has 'rows.parquet' 2 times")


def test_a_name_that_ends_in_a_zero_byte(tmp_path: Path, members: Members) -> None:
    data = zipped(members).replace(b"ticks.parquet", b"ticks.pa\0uet\0")
    refused(tmp_path, data, r"has a member 'ticks.pa\\x00uet")


def test_what_the_directory_may_not_say(tmp_path: Path, members: Members) -> None:
    data = zipped(members)
    directory = data.index(b"PK\x01\x02")
    encrypted = bytearray(data)
    encrypted[directory + 8] |= 1
    refused(tmp_path, bytes(encrypted), "is encrypted")
    bz2 = zipped(members, method=zipfile.ZIP_BZIP2)
    refused(tmp_path, bz2, "compressed by method 12")
    overlapping = bytearray(data)
    second = data.index(b"PK\x01\x02", directory + 4)
    overlapping[second + 42 : second + 46] = data[directory + 42 : directory + 46]
    refused(tmp_path, bytes(overlapping), "shares bytes with another member")
    refused(tmp_path, data + b"appended", "does not end as one")
    refused(tmp_path, b"\x7fELF" * 100, "no ZIP file")
    refused(tmp_path, b"", "cut off")
    many = bytearray(data)
    many[-22 + 8 : -22 + 12] = struct.pack("<2H", 60_000, 60_000)
    refused(tmp_path, bytes(many), "has 60,000 members")
    refused(tmp_path, b"front" + data, "not where it says")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    with pytest.raises(DataError, match="no regular file"):
        read_session(tmp_path / "pipe")
    assert time.monotonic() - began < 30
    with pytest.raises((DataError, IsADirectoryError)):
        read_session(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_session(tmp_path / "nowhere.pairlab")


def test_a_digest_that_does_not_fit(tmp_path: Path, members: Members) -> None:
    rows = bytearray(members["rows.parquet"])
    rows[len(rows) // 2] ^= 1
    refused(tmp_path, zipped({**members, "rows.parquet": bytes(rows)}), "rows.parquet is damaged")
    swapped = {**members, "opened.parquet": members["forming.parquet"]}
    refused(tmp_path, zipped(swapped), "bytes, the manifest says")
    # Even with a digest that fits, a flipped bit of a page is noticed: pages have sums of their own
    refused(tmp_path, zipped(signed({**members, "rows.parquet": bytes(rows)})), "rows.parquet")


# -- bombs ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_zip_bomb(tmp_path: Path, members: Members) -> None:
    bomb = {**members, "ticks.parquet": bytes(80 << 20)}
    refused(tmp_path, zipped(bomb, method=zipfile.ZIP_DEFLATED), "a ratio of [0-9,]+; max_ratio")


def test_limits_are_parameters(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content, "max_file_bytes is 10,000", max_file_bytes=10_000)
    refused(tmp_path, content, "max_member_bytes is 5,000", max_member_bytes=5_000)
    refused(tmp_path, content, "max_bytes", max_bytes=20_000)
    with pytest.raises(SettingError, match="max_ratio = 0"):
        PairLab.open(tmp_path / "x.pairlab", max_ratio=0)


@pytest.mark.slow
def test_a_parquet_bomb_of_numbers(tmp_path: Path, members: Members) -> None:
    """Some kilobytes that stand for 320 MB, within a ZIP that is as large as it says."""
    column = pa.array(np.full(20_000_000, 7))
    bomb = with_table(members, "gaps", pa.table({"seq": column, "legs": column}))
    assert len(bomb["gaps.parquet"]) < 300_000
    refused(tmp_path, zipped(bomb), "gaps.parquet: .* a ratio of")
    small = pa.table({"seq": column[:9], "legs": column[:9]})
    refused(tmp_path, zipped(with_table(members, "gaps", small, rows=3)), "the manifest says 3")


def test_a_parquet_bomb_of_text(tmp_path: Path, members: Members) -> None:
    """One long message, a hundred thousand times, in a dictionary: 10 GB of text."""
    count = 100_000
    long = pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array(["x" * 100_000]))
    table = pa.table(
        {
            "time": pa.array(np.zeros(count, np.int64)).view(pa.timestamp("ns", "UTC")),
            "level": pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array(["info"])),
            "message": long,
        }
    )
    bomb = with_table(members, "log", table)
    assert len(bomb["log.parquet"]) < 200_000
    refused(tmp_path, zipped(bomb), "log.parquet: column 'message': it takes 10,000,000,000 bytes")


def test_encodings_that_expand_are_refused() -> None:
    table = pa.table(
        {
            "time": pa.array([0, 1], pa.timestamp("ns", "UTC")),
            "level": ["info", "info"],
            "message": ["abc", "abcd"],
        }
    )
    out = io.BytesIO()
    pq.write_table(
        table, out, store_schema=False, use_dictionary=False, compression="zstd",
        column_encoding={"message": "DELTA_BYTE_ARRAY"},
    )  # fmt: skip
    with pytest.raises(DataError, match="'message' is encoded as DELTA_BYTE_ARRAY"):
        read_member("log", out.getvalue(), 2, SessionLimits())
    out = io.BytesIO()
    pq.write_table(table, out, store_schema=False, compression="gzip")
    with pytest.raises(DataError, match="packed by GZIP"):
        read_member("log", out.getvalue(), 2, SessionLimits())
    assert read_member("log", parquet_bytes(table), 2, SessionLimits()).num_rows == 2


# -- code -------------------------------------------------------------------------------------


class Loot:
    """Unpickled, it writes a file: the proof that code ran."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (eval, (f"__import__('pathlib').Path({self.path!r}).touch()",))


def test_a_type_that_would_unpickle_is_refused_unread(tmp_path: Path, members: Members) -> None:
    """What a `PyExtensionType` is in a file: a name by which pyarrow < 14.0.1 unpickles."""
    import pickle

    loot = tmp_path / "loot"
    field = pa.field(
        "seq", pa.int64(),
        metadata={
            b"ARROW:extension:name": b"arrow.py_extension_type",
            b"ARROW:extension:metadata": pickle.dumps(Loot(str(loot))),
        },
    )  # fmt: skip
    pickle.loads(pickle.dumps(Loot(str(loot))))
    assert loot.exists(), "unpickled, it runs"
    loot.unlink()
    schema = pa.schema([field, pa.field("legs", pa.int64())])
    table = pa.table([pa.array([1]), pa.array([3])], schema=schema)
    evil = with_table(members, "gaps", table, store_schema=True)
    assert b"ARROW:schema" in evil["gaps.parquet"]
    refused(tmp_path, zipped(evil), "describes types of its own .*ARROW:schema")
    assert not loot.exists()


def test_an_extension_type_that_is_registered_here_is_not_made(
    tmp_path: Path, members: Members
) -> None:
    made: list[bytes] = []

    class Evil(pa.ExtensionType):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(pa.int64(), "pairlab.test.evil")

        def __arrow_ext_serialize__(self) -> bytes:
            return b"payload"

        @classmethod
        def __arrow_ext_deserialize__(cls, storage: Any, serialized: bytes) -> Any:
            made.append(serialized)
            return cls()

    pa.register_extension_type(Evil())
    try:
        values = pa.ExtensionArray.from_storage(Evil(), pa.array([1], pa.int64()))
        table = pa.table({"seq": values, "legs": pa.array([3], pa.int64())})
        evil = with_table(members, "gaps", table, store_schema=True)
        made.clear()
        refused(tmp_path, zipped(evil), "describes types of its own")
        assert made == []
        pq.read_table(io.BytesIO(evil["gaps.parquet"]))
        assert made, "an ordinary reader would have called it"
    finally:
        pa.unregister_extension_type("pairlab.test.evil")


def test_the_written_file_describes_no_types(members: Members) -> None:
    for name in MEMBERS:
        assert pq.read_metadata(io.BytesIO(members[f"{name}.parquet"])).metadata is None


# -- wrong types and values -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": "zip"}, "expected 'pairlab session'"),
        ({"version": 99}, "format version 99"),
        ({"pair": ["BTCUSDT"]}, "two different symbols"),
        ({"pair": ["BTCUSDT", "BTCUSDT"]}, "two different symbols"),
        ({"pair": ["BTCUSDT", 7]}, "a list of texts"),
        ({"pair": ["BTCUSDT", "SOLUSDT"]}, "expected BTCUSDT and SOLUSDT"),
        ({"stream": None}, "stream = None"),
        ({"real_money": 1}, "true or false"),
        ({"price_decimals": [2, -1]}, "2 whole numbers from 0"),
        ({"saved_ns": 1e300}, "a whole number"),
        ({"saved_ns": 2**70}, "a whole number"),
        ({"tick_total": 5}, "not numbered up to 4"),
        ({"tick_total": True}, "a whole number"),
        ({"epoch": 77}, "not all of epoch 77"),
        ({"row_end": 0}, "not numbered"),
        ({"settings": {"window": -4}}, "window"),
        ({"settings": {"__class__": 1}}, "__class__"),
        ({"settings": {"history_rows": 100}}, "more rows than history_rows"),
        ({"settings": []}, "an object"),
        ({"engine": {}}, "has no 'signal'"),
        ({"health": {"state": "hacked"}}, "one of connecting"),
        ({"row_latency_ms": [1]}, "two numbers"),
        ({"selected_ns": [1, "2"]}, "2 whole numbers"),
        ({"members": {}}, "members are"),
        ({"newest_alert": -1}, "newest_alert = -1"),
    ],
)
def test_manifests_that_do_not_fit(
    tmp_path: Path, members: Members, fields: dict[str, Any], said: str
) -> None:
    refused(tmp_path, zipped(with_manifest(members, fields)), said)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5_000],
    ids=range(8),
)
def test_manifests_that_are_none(tmp_path: Path, members: Members, text: bytes) -> None:
    refused(tmp_path, zipped({**members, "manifest.json": text}), "manifest.json")


def test_a_manifest_of_two_mebibytes(tmp_path: Path, members: Members) -> None:
    padded = members["manifest.json"] + b" " * (2 << 20)
    refused(tmp_path, zipped({**members, "manifest.json": padded}), "at most 1,048,576")


def changed(members: Members, name: str, column: str, value: Any) -> Members:
    table = table_of(members, name)
    at = table.column_names.index(column)
    values = table.column(at).to_pylist()
    values[len(values) // 2] = value
    array = pa.array(values, table.schema.field(at).type)
    return with_table(members, name, table.set_column(at, column, array), use_dictionary=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "column", "value", "said"),
    [
        ("ticks", "seq", 3, "not numbered"),
        ("ticks", "price", None, "holds 1 nulls"),
        ("ticks", "symbol", "EVIL", "ticks of 'EVIL'"),
        ("rows", "row", 0, "not numbered"),
        ("rows", "y", float("inf"), "a row has no prices"),
        ("rows", "x", -1.0, "a row has no prices"),
        ("rows", "position", 100, "a position is not"),
        ("alerts", "kind", "EVIL", "is a 'EVIL'"),
        ("alerts", "side", 9, "of side 9"),
        ("alerts", "settings", '{"window": "x"}', "window"),
        ("changes", "setting", "__init__", "no setting '__init__'"),
        ("changes", "new", "[1]", "value is none"),
        ("changes", "entry", -5, "not in order|no place"),
        ("journal", "event", "os.system", "'os.system'"),
        ("journal", "fields", "{}", "cannot be read"),
        ("gaps", "legs", 12, "of no leg"),
        ("positions", "position", 5, "a position is not"),
        ("bars", "timeframe", "2s", "no bars of '2s'"),
        ("log", "level", "evil", "unknown level"),
    ],
)
def test_values_that_cannot_be(
    tmp_path: Path, members: Members, name: str, column: str, value: Any, said: str
) -> None:
    refused(tmp_path, zipped(changed(members, name, column, value)), said)


def test_columns_of_another_type(tmp_path: Path, members: Members) -> None:
    table = table_of(members, "gaps")
    text = table.set_column(1, "legs", table.column("legs").cast(pa.string()))
    refused(tmp_path, zipped(with_table(members, "gaps", text)), "expected seq int64, legs int64")
    more = table.append_column("evil", table.column("legs"))
    refused(tmp_path, zipped(with_table(members, "gaps", more)), "its columns are")
    refused(
        tmp_path,
        zipped(signed({**members, "gaps.parquet": b"PAR1" + bytes(64) + b"PAR1"})),
        "gaps.parquet",
    )
