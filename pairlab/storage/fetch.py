"""`fetch_archive`: download files of Binance's public archive, resumed and verified."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import httpx

from pairlab.errors import DataError, PairlabError, SettingError
from pairlab.feeds.environment import proxy_hint, tls_hint, unreachable
from pairlab.feeds.http_client import http_client

__all__ = ["ARCHIVE_URL", "KINDS", "FetchedFile", "fetch_archive"]

ARCHIVE_URL: Final = "https://data.binance.vision"

KINDS: Final = ("aggTrades", "trades", "klines", "fundingRate")
"""What can be fetched; fundingRate is published by the month alone, the others by the day, too."""

_KLINE_INTERVALS: Final = (
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d",
)  # fmt: skip
_PARALLEL: Final = 4
_ATTEMPTS: Final = 5
_AS_IT_IS: Final = {"Accept-Encoding": "identity"}
_FIRST_PAUSE_S: Final = 1.0
_TIMEOUT: Final = httpx.Timeout(30.0, connect=15.0)

Status = Literal["fetched", "present", "missing"]


@dataclass(frozen=True)
class FetchedFile:
    """What became of one file.

    Attributes
    ----------
    name : str
        As the archive has it.
    status : {"fetched", "present", "missing"}
        ``"present"``: it was in the folder already, and is what the archive has today.
    detail : str
        Why it is missing, or whether its checksum was verified.
    path : Path or None
        Where it is; None if it is missing.
    """

    name: str
    status: Status
    detail: str
    path: Path | None


@dataclass(frozen=True)
class _Wanted:
    """A file of the archive: where it is, and the days that it has."""

    path: str
    first: dt.date
    last: dt.date

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


async def fetch_archive(
    symbols: Sequence[str],
    kind: str,
    first: dt.date,
    last: dt.date,
    out: str | os.PathLike[str],
    *,
    interval: str = "1m",
    url: str = ARCHIVE_URL,
    today: dt.date | None = None,
    on_file: Callable[[FetchedFile, int, int], None] | None = None,
) -> list[FetchedFile]:
    """Download the archive's files of USDⓈ-M Futures for a span of days into a folder.

    A file that is there already is asked about, and fetched again only if the archive has replaced
    it. A download that was interrupted goes on where it stopped. Daily files are preferred: a
    monthly one is fetched for days that have no file of their own.

    Parameters
    ----------
    symbols : sequence of str
        Such as BTCUSDT.
    kind : {"aggTrades", "trades", "klines", "fundingRate"}
        What to fetch.
    first, last : datetime.date
        First and last day, UTC, both included.
    out : str or os.PathLike
        Folder to write to; made if need be.
    interval : str
        Length of the klines.
    url : str
        Root of the archive.
    today : datetime.date, optional
        To tell what is not published yet from what does not exist; by default today, UTC.
    on_file : callable, optional
        Called after each file with it, how many are done, and how many there will be.

    Returns
    -------
    list of FetchedFile
        In order of symbol and day; those that the archive does not have, too.

    Raises
    ------
    SettingError
        For a symbol, kind, interval or span that cannot be.
    PairlabError
        If the folder cannot be written, or the archive cannot be reached after several attempts;
        `NetworkSetupError` for a proxy or certificate of the environment that cannot be used.
    DataError
        If a file differs from its checksum twice.
    """
    _check(symbols, kind, interval, first, last)
    today = today or dt.datetime.now(dt.UTC).date()
    folder = Path(out)
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise PairlabError(f"{folder} cannot be made: {error.strerror}") from None
    limits = httpx.Limits(max_connections=_PARALLEL)
    client = await asyncio.to_thread(
        http_client, url, timeout=_TIMEOUT, limits=limits, follow_redirects=True
    )
    async with client:
        fetcher = _Fetcher(client, folder, today)
        wanted = [
            w for symbol in symbols for w in _daily_or_monthly(symbol, kind, interval, first, last)
        ]
        done = await _all(fetcher, wanted, on_file)
        if kind != "fundingRate":
            done = await _with_months(fetcher, done, symbols, kind, interval, on_file)
    return [file for _, file in done]


def _check(symbols: Sequence[str], kind: str, interval: str, first: dt.date, last: dt.date) -> None:
    if kind not in KINDS:
        raise SettingError("kind", kind, f"expected one of {', '.join(KINDS)}")
    if kind == "klines" and interval not in _KLINE_INTERVALS:
        raise SettingError("interval", interval, f"expected one of {', '.join(_KLINE_INTERVALS)}")
    if isinstance(symbols, str) or not symbols:
        raise SettingError("symbols", symbols, "expected one symbol or more, such as ['BTCUSDT']")
    for symbol in symbols:
        # It becomes a part of a URL and of a file's name.
        if not re.fullmatch(r"[A-Z0-9_]{2,40}", symbol):
            raise SettingError("symbol", symbol, "expected capital letters and digits: BTCUSDT")
    if last < first:
        raise SettingError("last", str(last), f"it must not be before the first day ({first})")
    if first.year < 2017:
        raise SettingError("first", str(first), "the archive begins in 2017")


# -- which files ---------------------------------------------------------------------------------


def _path(symbol: str, kind: str, interval: str, period: str, when: str) -> str:
    folder, name = f"{kind}/{symbol}", f"{symbol}-{kind}-{when}.zip"
    if kind == "klines":
        folder, name = f"{folder}/{interval}", f"{symbol}-{interval}-{when}.zip"
    return f"/data/futures/um/{period}/{folder}/{name}"


def _month(symbol: str, kind: str, interval: str, day: dt.date) -> _Wanted:
    first = day.replace(day=1)
    last = (first + dt.timedelta(days=32)).replace(day=1) - dt.timedelta(days=1)
    return _Wanted(_path(symbol, kind, interval, "monthly", f"{day:%Y-%m}"), first, last)


def _daily_or_monthly(
    symbol: str, kind: str, interval: str, first: dt.date, last: dt.date
) -> list[_Wanted]:
    days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    if kind == "fundingRate":
        return list(dict.fromkeys(_month(symbol, kind, interval, day) for day in days))
    return [_Wanted(_path(symbol, kind, interval, "daily", f"{d}"), d, d) for d in days]


_Done = list[tuple[_Wanted, FetchedFile]]


async def _with_months(
    fetcher: _Fetcher,
    done: _Done,
    symbols: Sequence[str],
    kind: str,
    interval: str,
    on_file: Callable[[FetchedFile, int, int], None] | None,
) -> _Done:
    """Fetch monthly files for the days that have none of their own."""
    for symbol in symbols:
        lacking = [
            w for w, file in done
            if file.status == "missing" and w.name.startswith(f"{symbol}-")
            and (fetcher.today - w.first).days > _LATE_DAYS
        ]  # fmt: skip
        months = list(dict.fromkeys(_month(symbol, kind, interval, w.first) for w in lacking))
        got = await _all(fetcher, months, on_file)
        covered = {w.path[-11:-4] for w, file in got if file.status != "missing"}  # YYYY-MM
        done = [
            pair for pair in done
            if pair[0] not in lacking or f"{pair[0].first:%Y-%m}" not in covered
        ] + [(w, file) for w, file in got if file.status != "missing"]  # fmt: skip
    order = {symbol: at for at, symbol in enumerate(symbols)}
    return sorted(done, key=lambda pair: (order[pair[0].name.partition("-")[0]], pair[0].first))


_LATE_DAYS: Final = 7
"""A daily file may be published some days late."""


# -- one file ------------------------------------------------------------------------------------


async def _all(
    fetcher: _Fetcher,
    wanted: Iterable[_Wanted],
    on_file: Callable[[FetchedFile, int, int], None] | None,
) -> _Done:
    queue, done = list(wanted), dict[_Wanted, FetchedFile]()
    left = iter(queue)

    async def work() -> None:
        for item in left:
            done[item] = await fetcher.fetch(item)
            if on_file is not None:
                on_file(done[item], len(done), len(queue))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_PARALLEL, len(queue))):
                group.create_task(work())
    except* PairlabError as errors:
        raise errors.exceptions[0] from None
    return [(item, done[item]) for item in queue]


class _Fetcher:
    """Downloads files to a folder.

    Parameters
    ----------
    client : httpx.AsyncClient
        Its base URL is the archive's.
    folder : Path
        Where files go.
    today : datetime.date
        UTC.
    """

    def __init__(self, client: httpx.AsyncClient, folder: Path, today: dt.date) -> None:
        self.client, self.folder, self.today = client, folder, today

    async def fetch(self, wanted: _Wanted) -> FetchedFile:
        """Return the file, from the folder or from the archive."""
        target = self.folder / wanted.name
        checksum = await self._checksum(wanted)
        if checksum is not None and await asyncio.to_thread(_sha256, target) == checksum:
            return FetchedFile(wanted.name, "present", "checksum verified", target)
        for last in (False, True):
            if not await self._download(wanted, checksum):
                return FetchedFile(wanted.name, "missing", self._why_missing(wanted), None)
            found = await asyncio.to_thread(_sha256, _part(target))
            if checksum in (None, found):
                break
            await asyncio.to_thread(_part(target).unlink)
            if last:
                raise DataError(
                    f"{wanted.name}: SHA-256 is {found}, its CHECKSUM file says {checksum}, and "
                    "fetching it again did not help: the archive may be replacing it, try later"
                )
            checksum = await self._checksum(wanted)
        await asyncio.to_thread(_settle, target, checksum)
        said = "checksum verified" if checksum else "the archive has no checksum of it"
        return FetchedFile(wanted.name, "fetched", said, target)

    def _why_missing(self, wanted: _Wanted) -> str:
        if wanted.last >= self.today:
            return "not published yet: the archive gets a day's file after the day has ended (UTC)"
        if (self.today - wanted.last).days <= _LATE_DAYS:
            return "not published yet: files can be days late; try again tomorrow"
        return "the archive does not have it: was the symbol listed then, and is it spelt so?"

    async def _checksum(self, wanted: _Wanted) -> str | None:
        pause_s = _FIRST_PAUSE_S
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._asked(f"{wanted.path}.CHECKSUM", {}) as response:
                    if response is None:
                        return None
                    words = (await response.aread()).decode("utf-8", "replace").split()
                break
            except httpx.RequestError as error:  # cut off after its head
                if attempt == _ATTEMPTS:
                    raise _unreachable(self.client, error) from None
            await asyncio.sleep(pause_s)
            pause_s *= 2
        if not words or not re.fullmatch("[0-9a-fA-F]{64}", words[0]):
            raise DataError(f"{wanted.name}.CHECKSUM holds no SHA-256: {' '.join(words)[:80]!r}")
        return words[0].lower()

    async def _download(self, wanted: _Wanted, checksum: str | None) -> bool:
        """Write the file's ``.part``; False if the archive does not have it."""
        part = _part(self.folder / wanted.name)
        pause_s = _FIRST_PAUSE_S
        for attempt in range(1, _ATTEMPTS + 1):
            # Without a checksum nothing would notice that the file was replaced meanwhile.
            have = await asyncio.to_thread(_size, part) if checksum is not None else 0
            headers = {"Range": f"bytes={have}-"} if have else {}
            try:
                async with self._asked(wanted.path, headers) as response:
                    if response is None:
                        return False
                    if response.status_code == 416:  # nothing is left of it, or it became shorter
                        whole = response.headers.get("content-range", "").rpartition("/")[2]
                        if whole == str(have):
                            return True
                        await asyncio.to_thread(part.unlink)
                        continue
                    await _save(response, part, append=response.status_code == 206)
                    return True
            except httpx.RequestError as error:
                if attempt == _ATTEMPTS:
                    raise _unreachable(self.client, error) from None
            await asyncio.sleep(pause_s)
            pause_s *= 2
        raise PairlabError(f"{wanted.name} could not be fetched in {_ATTEMPTS} attempts")

    @contextlib.asynccontextmanager
    async def _asked(
        self, path: str, headers: dict[str, str]
    ) -> AsyncIterator[httpx.Response | None]:
        """Give an answer, after some attempts if need be; None for 404."""
        pause_s = _FIRST_PAUSE_S
        for attempt in range(1, _ATTEMPTS + 1):
            opened = contextlib.AsyncExitStack()
            async with opened:
                try:
                    response = await opened.enter_async_context(
                        self.client.stream("GET", path, headers={**_AS_IT_IS, **headers})
                    )
                except httpx.RequestError as error:
                    if attempt == _ATTEMPTS:
                        raise _unreachable(self.client, error) from None
                    response = None
                if response is not None:
                    code = response.status_code
                    if code == 404:
                        yield None
                        return
                    if code in (200, 206, 416):
                        yield response
                        return
                    if code not in (429, 500, 502, 503, 504) or attempt == _ATTEMPTS:
                        raise PairlabError(
                            f"{response.url} answered {code} {response.reason_phrase}"
                        )
                    with contextlib.suppress(ValueError):
                        pause_s = max(pause_s, float(response.headers.get("retry-after", "0")))
            await asyncio.sleep(min(pause_s, 60.0))
            pause_s *= 2


def _unreachable(client: httpx.AsyncClient, error: Exception) -> PairlabError:
    return PairlabError(
        f"{client.base_url.host} cannot be reached{proxy_hint(str(client.base_url))}: "
        f"{unreachable(error)}.{tls_hint(error)} What was fetched is kept; the same command goes "
        "on where it stopped"
    )


# -- the disk ------------------------------------------------------------------------------------


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


async def _save(response: httpx.Response, part: Path, *, append: bool) -> None:
    try:
        file = await asyncio.to_thread(part.open, "ab" if append else "wb")
        try:
            async for piece in response.aiter_raw():  # as it comes: a cut loses nothing
                await asyncio.to_thread(file.write, piece)
        finally:
            await asyncio.to_thread(file.close)
    except OSError as error:
        raise PairlabError(f"{part} cannot be written: {error.strerror}") from None


def _sha256(path: Path) -> str | None:
    """Return a file's digest; None if there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _settle(target: Path, checksum: str | None) -> None:
    """Put a file that is whole under its name, so that it stays there after a power loss."""
    beside = target.with_name(f"{target.name}.CHECKSUM")
    if checksum is None:
        beside.unlink(missing_ok=True)  # it would be of the file that is replaced now
    else:
        _part(beside).write_text(f"{checksum}  {target.name}\n", "utf-8")
        _part(beside).replace(beside)
    with _part(target).open("rb") as file:
        os.fsync(file.fileno())
    _part(target).replace(target)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
