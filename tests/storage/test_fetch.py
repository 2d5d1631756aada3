"""Downloads from a server on loopback that answers as the archive's does."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pairlab import DataError, PairlabError, SettingError, read_archive
from pairlab.storage import fetch
from pairlab.storage.fetch import FetchedFile, fetch_archive
from tests.storage.test_archive import agg_trades, text_of, zipped
from tests.storage.test_archive_klines import klines as klines_of
from tests.storage.test_archive_klines import published as published_bars

TODAY = dt.date(2024, 8, 20)
DAYS = [dt.date(2024, 8, n) for n in (1, 2, 3)]
ROOT = "/data/futures/um/daily/aggTrades/BTCUSDT"


@dataclass
class PublicArchive:
    """What the server has, what it was asked, and how it fails."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range
    cut_after: dict[str, int] = field(default_factory=dict)  # bytes after which it hangs up, once
    refuse: Counter[str] = field(default_factory=Counter)  # 503 so many times
    url: str = ""

    def publish(self, path: str, content: bytes, checksum: bool = True) -> None:
        self.files[path] = content
        if checksum:
            name, sha = path.rpartition("/")[2], hashlib.sha256(content).hexdigest()
            self.files[f"{path}.CHECKSUM"] = f"{sha}  {name}\n".encode()


@pytest.fixture
def public_archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[PublicArchive]:
    monkeypatch.setattr(fetch, "_FIRST_PAUSE_S", 0.01)
    has = PublicArchive()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            has.asked.append((self.path, asked))
            content = has.files.get(self.path)
            if has.refuse[self.path] > 0:
                has.refuse[self.path] -= 1
                return self.answer(503, b"busy", {"Retry-After": "0"})
            if content is None:
                return self.answer(404, b"<Error>NoSuchKey</Error>", {})
            if asked is None:
                return self.answer(200, content, {})
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
            if start >= len(content):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, content[start:], {"Content-Range": span})

        def answer(self, code: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            cut = has.cut_after.pop(self.path, None) if code in (200, 206) else None
            self.wfile.write(content if cut is None else content[:cut])
            if cut is not None:
                self.wfile.flush()
                self.connection.shutdown(2)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        has.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield has
        server.shutdown()
        thread.join()


def name_of(day: dt.date) -> str:
    return f"BTCUSDT-aggTrades-{day}.zip"


@pytest.fixture
def published(public_archive: PublicArchive, tmp_path: Path) -> PublicArchive:
    """Three days of aggregate trades."""
    source = tmp_path / "source"
    source.mkdir()
    for at, day in enumerate(DAYS):
        trades = text_of(agg_trades(4_000, 100 + 4_000 * at, seed=at))
        public_archive.publish(
            f"{ROOT}/{name_of(day)}", zipped(source, trades, name_of(day)).read_bytes()
        )
    return public_archive


async def fetched(has: PublicArchive, out: Path, **options: Any) -> list[FetchedFile]:
    what = {"symbols": ["BTCUSDT"], "kind": "aggTrades", "first": DAYS[0], "last": DAYS[-1]}
    return await fetch_archive(**{**what, **options}, out=out, url=has.url, today=TODAY)  # type: ignore[arg-type]


async def test_what_is_fetched_can_be_read(published: PublicArchive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[tuple[str, int, int]] = []
    files = await fetched(
        published, out, on_file=lambda f, done, total: seen.append((f.name, done, total))
    )
    assert [(f.name, f.status) for f in files] == [(name_of(d), "fetched") for d in DAYS]
    assert sorted(seen)[0][0] == name_of(DAYS[0])
    assert [s[1:] for s in seen] == [(1, 3), (2, 3), (3, 3)]
    for day in DAYS:
        assert (out / name_of(day)).read_bytes() == published.files[f"{ROOT}/{name_of(day)}"]
    archive = await asyncio.to_thread(read_archive, out)
    assert len(archive.ticks) == 12_000
    assert set(archive.report["checksum"]) == {"verified"}
    assert not list(out.glob("*.part"))


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "^SSL_CERT_FILE = '/nowhere/ca.pem' cannot be used"),
        ({"ALL_PROXY": "http://user:12/secret@proxy:1"}, "^ALL_PROXY is invalid.*correct or unset"),
        (
            {"ALL_PROXY": "socks5://user:secret@127.0.0.1:9", "NO_PROXY": "[::1],10.0.0.0/8"},
            r"the proxy of ALL_PROXY \(socks5://127\.0\.0\.1:9\): is it right.*where it stopped$",
        ),
    ],
    ids=["certificates", "no proxy", "a proxy that does not run"],
)
async def test_the_environment_is_read_as_the_feeds_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(fetch, "_FIRST_PAUSE_S", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PairlabError, match=words) as caught:
        await fetch_archive(
            ["BTCUSDT"], "aggTrades", DAYS[0], DAYS[0], tmp_path, url="https://archive.invalid"
        )
    assert "secret" not in str(caught.value)


async def test_a_checksum_that_is_cut_off_is_asked_for_again(
    published: PublicArchive, tmp_path: Path
) -> None:
    published.cut_after[f"{ROOT}/{name_of(DAYS[0])}.CHECKSUM"] = 10
    files = await fetched(published, tmp_path / "out")
    assert [(f.status, f.detail) for f in files] == [("fetched", "checksum verified")] * 3


async def test_what_is_there_is_not_fetched_again_unless_it_was_replaced(
    published: PublicArchive, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    await fetched(published, out)
    published.asked.clear()
    files = await fetched(published, out)
    assert {f.status for f in files} == {"present"}
    assert all(path.endswith(".CHECKSUM") for path, _ in published.asked)
    published.publish(f"{ROOT}/{name_of(DAYS[1])}", b"another file under the same name")
    files = await fetched(published, out)
    assert [f.status for f in files] == ["present", "fetched", "present"]
    assert (out / name_of(DAYS[1])).read_bytes() == b"another file under the same name"


async def test_an_interrupted_download_goes_on_where_it_stopped(
    published: PublicArchive, tmp_path: Path
) -> None:
    out, path = tmp_path / "out", f"{ROOT}/{name_of(DAYS[0])}"
    published.cut_after[path] = 20_000
    (file,) = await fetched(published, out, last=DAYS[0])
    assert file.status == "fetched"
    ranges = [asked for where, asked in published.asked if where == path]
    assert ranges[0] is None
    assert re.fullmatch(r"bytes=\d+-", ranges[1] or "")
    # The same across two runs: the process was killed in the middle, or after the last byte.
    whole, part = published.files[path], out / f"{name_of(DAYS[0])}.part"
    for have in (1, len(whole) // 2, len(whole)):
        await asyncio.to_thread((out / name_of(DAYS[0])).rename, part)
        part.write_bytes(whole[:have])
        published.asked.clear()
        (file,) = await fetched(published, out, last=DAYS[0])
        assert (path, f"bytes={have}-") in published.asked
        assert (out / name_of(DAYS[0])).read_bytes() == whole


async def test_a_wrong_part_is_thrown_away_and_fetched_whole(
    published: PublicArchive, tmp_path: Path
) -> None:
    out, path = tmp_path / "out", f"{ROOT}/{name_of(DAYS[0])}"
    out.mkdir()
    for wrong in (b"x" * 1_000, b"x" * 10_000_000):
        (out / f"{name_of(DAYS[0])}.part").write_bytes(wrong)
        (file,) = await fetched(published, out, last=DAYS[0])
        assert file.path is not None
        assert file.path.read_bytes() == published.files[path]
        file.path.unlink()


async def test_a_file_that_never_matches_its_checksum(
    published: PublicArchive, tmp_path: Path
) -> None:
    published.files[f"{ROOT}/{name_of(DAYS[0])}.CHECKSUM"] = b"0" * 64
    with pytest.raises(DataError, match="CHECKSUM file says 0000"):
        await fetched(published, tmp_path / "out", last=DAYS[0])
    assert not (tmp_path / "out" / name_of(DAYS[0])).exists()
    published.files[f"{ROOT}/{name_of(DAYS[0])}.CHECKSUM"] = b"<html>"
    with pytest.raises(DataError, match="holds no SHA-256"):
        await fetched(published, tmp_path / "out", last=DAYS[0])


async def test_a_file_without_a_checksum_is_fetched_and_that_is_said(
    public_archive: PublicArchive, tmp_path: Path
) -> None:
    public_archive.publish(f"{ROOT}/{name_of(DAYS[0])}", b"content", checksum=False)
    (file,) = await fetched(public_archive, tmp_path, last=DAYS[0])
    assert (file.status, file.detail) == ("fetched", "the archive has no checksum of it")


async def test_what_is_not_there_is_told_apart(published: PublicArchive, tmp_path: Path) -> None:
    for day, words in (
        (TODAY, "not published yet: the archive gets"),
        (TODAY - dt.timedelta(days=3), "files can be days late"),
        (dt.date(2024, 5, 1), "was the symbol listed"),
    ):
        (file,) = await fetched(published, tmp_path, first=day, last=day)
        assert file.status == "missing"
        assert words in file.detail


async def test_a_month_stands_in_for_days_that_are_lacking(
    published: PublicArchive, tmp_path: Path
) -> None:
    month = "/data/futures/um/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-08.zip"
    published.publish(
        month, zipped(tmp_path, text_of(agg_trades(12_000)), month.rpartition("/")[2]).read_bytes()
    )
    files = await fetched(published, tmp_path / "out")
    assert not [f for f in files if "2024-08.zip" in f.name]  # the days have their own
    del published.files[f"{ROOT}/{name_of(DAYS[1])}"]
    files = await fetched(published, tmp_path / "two")
    names = {"BTCUSDT-aggTrades-2024-08.zip", name_of(DAYS[0]), name_of(DAYS[2])}
    assert {f.name for f in files} == names
    archive = await asyncio.to_thread(read_archive, tmp_path / "two")
    assert len(archive.ticks) == 12_000


async def test_klines_and_funding_rates_have_paths_of_their_own(
    public_archive: PublicArchive, tmp_path: Path
) -> None:
    klines = "/data/futures/um/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-08-01.zip"
    funding = "/data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-{}.zip"
    bars = klines_of(24, step_ms=3_600_000)
    public_archive.publish(
        klines, published_bars(tmp_path, bars, "2024-08-01", interval="1h").read_bytes()
    )
    for month in ("06", "07"):
        public_archive.publish(funding.format(month), b"funding")
    out = tmp_path / "out"
    (file,) = await fetched(public_archive, out, kind="klines", interval="1h", last=DAYS[0])
    assert file.status == "fetched"
    archive = await asyncio.to_thread(read_archive, out)
    assert archive.bars["close"].tolist() == bars["close"].tolist()
    assert archive.report["checksum"].tolist() == ["verified"]
    files = await fetched(
        public_archive,
        tmp_path,
        kind="fundingRate",
        first=dt.date(2024, 6, 20),
        last=dt.date(2024, 7, 2),
    )
    assert [f.name[-11:] for f in files] == ["2024-06.zip", "2024-07.zip"]


async def test_a_busy_server_is_asked_again(published: PublicArchive, tmp_path: Path) -> None:
    path = f"{ROOT}/{name_of(DAYS[0])}"
    published.refuse[path], published.refuse[f"{path}.CHECKSUM"] = 3, 2
    (file,) = await fetched(published, tmp_path / "out", last=DAYS[0])
    assert file.status == "fetched"
    published.refuse[f"{path}.CHECKSUM"] = 99
    with pytest.raises(PairlabError, match="answered 503"):
        await fetched(published, tmp_path / "two", last=DAYS[0])


async def test_an_archive_that_cannot_be_reached(
    public_archive: PublicArchive, tmp_path: Path
) -> None:
    public_archive.url = "http://127.0.0.1:9"  # nobody listens on discard
    with pytest.raises(PairlabError, match=r"127\.0\.0\.1 cannot be reached.*where it stopped"):
        await fetched(public_archive, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"symbols": "BTCUSDT"}, "one symbol or more"),
        ({"symbols": []}, "one symbol or more"),
        ({"symbols": ["../../etc"]}, "capital letters"),
        ({"kind": "depth"}, "expected one of aggTrades"),
        ({"kind": "klines", "interval": "7m"}, "expected one of 1s"),
        ({"last": dt.date(2024, 7, 1)}, "must not be before"),
        ({"first": dt.date(1999, 1, 1)}, "begins in 2017"),
    ],
)
async def test_what_cannot_be_is_refused(
    public_archive: PublicArchive, tmp_path: Path, wrong: dict[str, Any], match: str
) -> None:
    with pytest.raises(SettingError, match=match):
        await fetched(public_archive, tmp_path, **wrong)
    assert public_archive.asked == []


async def test_a_folder_that_cannot_be_written(published: PublicArchive, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PairlabError, match="cannot be made"):
        await fetched(published, tmp_path / "file" / "out")


def command(has: PublicArchive, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pairlab", "fetch", *arguments, "--url", has.url],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.slow
def test_the_command(published: PublicArchive, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    span = ("--from", "2024-08-01", "--to", "2024-08-03", "--out", out)
    done = command(published, "BTCUSDT", *span)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"pairlab: 3 files fetched, 0 were there already, 0 missing; in {out}\n"
    done = command(published, "BTCUSDT", "ETHUSDT", *span)
    assert done.returncode == 1
    assert "ETHUSDT-aggTrades-2024-08-01.zip: the archive does not have it" in done.stderr
    assert "0 files fetched, 3 were there already, 3 missing" in done.stdout
    done = command(published, "BTCUSDT", "--from", "yesterday", "--out", out)
    assert done.returncode == 2
    assert "'yesterday' is invalid: expected a day, as 2024-08-08" in done.stderr
