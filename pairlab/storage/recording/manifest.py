"""The manifest of a recording: what it is, and every file that belongs to it."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from pairlab.errors import DataError
from pairlab.schema import Pair
from pairlab.settings import SettingValues
from pairlab.storage.recording.durable import Step, no_step, write_text
from pairlab.storage.recording.sink import RebuiltRows, RecordingInfo
from pairlab.storage.tables import FORMAT_VERSION, settings_of, settings_text

__all__ = ["Dropped", "Hole", "Loss", "Manifest", "Part", "SealedFile", "Status"]

Status = Literal["recording", "sealed"]
FileKind = Literal["ticks", "rows", "alerts", "journal"]

NAME: Final = "manifest.json"
LIVE: Final = "live"

_DATE: Final = r"date=\d{4}-\d{2}-\d{2}"
_PATH: Final = re.compile(
    rf"(ticks/symbol=[^/\\]+/{_DATE}|(rows|alerts)/{_DATE}|journal)/\d{{6}}\.parquet"
)
_MAX_BYTES: Final = 256 * 1024 * 1024


class SealedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A Parquet file.

    Attributes
    ----------
    path : str
        Within the recording, with ``/``.
    kind : {"ticks", "rows", "alerts", "journal"}
        What it holds.
    segment : int
        Number of the live segment that it was made of.
    records, nbytes : int
        Its length.
    first, last : int
        Ordinals of ticks, numbers of rows (of the first and last epoch), of alerts, of events.
    first_epoch, last_epoch : int
        Of rows.
    first_ns, last_ns : int
        Least and greatest time of ticks, rows or alerts; 0 of the journal.
    sha256 : str
        Of its bytes.
    written_ns : int
        Wall clock at which the last of it was recorded, ns since 1970 UTC.
    """

    path: str
    kind: FileKind
    segment: int
    records: int
    nbytes: int
    first: int
    last: int
    first_epoch: int = 0
    last_epoch: int = 0
    first_ns: int = 0
    last_ns: int = 0
    sha256: str = ""
    written_ns: int = 0


class Part(msgspec.Struct, kw_only=True):
    """One session of a lab within a recording: its engine began anew.

    Attributes
    ----------
    session : str
        As in `RecordingInfo`.
    first_seq : int
        Ordinal of its first tick in the recording.
    seq_offset, epoch_offset : int
        Ordinals and epochs of the recording minus those of the session.
    started_ns : int
        Wall clock, ns since 1970 UTC.
    settings : dict
        In force before its first tick.
    complete : bool
        Whether the session's first tick is its first.
    first_segment : int
        Number of the first live segment that is its own.
    versions : dict of str
        Of what computed its rows.
    events, alerts : int
        Numbers that its next event and, less one, its next alert will get within the session.
    """

    session: str
    first_seq: int
    seq_offset: int = 0
    epoch_offset: int = 0
    started_ns: int = 0
    settings: dict[str, Any] = {}
    complete: bool = True
    first_segment: int = 0
    versions: dict[str, str] = {}
    events: int = 0
    alerts: int = 0

    @property
    def setting_values(self) -> SettingValues:
        """The settings, checked; DataError if they are none."""
        return settings_of(json.dumps(self.settings))


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """Ticks that the lab had and the recording has not: it could not be written for a while.

    Attributes
    ----------
    first_seq, last_seq : int
        Their ordinals.
    first_ns, last_ns : int
        Times of the recorded ticks before and after them, ns since 1970 UTC; 0: none before.
    """

    first_seq: int
    last_seq: int
    first_ns: int = 0
    last_ns: int = 0


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovery found torn or damaged.

    Attributes
    ----------
    segment : int
        Number of the live segment.
    nbytes : int
        Bytes that were no whole frame.
    ticks, rows : int
        Records that they held, as far as their headers tell.
    first_ns, last_ns : int
        Times of the ticks lost, ns since 1970 UTC; 0 if not known.
    """

    segment: int
    nbytes: int
    ticks: int = 0
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @property
    def seconds(self) -> float:
        """Span of the ticks lost."""
        return (self.last_ns - self.first_ns) / 1e9


class Dropped(msgspec.Struct, kw_only=True):
    """What retention has removed."""

    files: int = 0
    nbytes: int = 0
    last_seq: int = -1


class Manifest(msgspec.Struct, kw_only=True):
    """What a recording is, and every sealed file of it.

    Attributes
    ----------
    format : int
        `pairlab.storage.tables.FORMAT_VERSION`.
    recording : str
        Tells this recording from any other.
    y, x : str
        The symbols.
    stream, feed, real_money, price_decimals
        As in `RecordingInfo`.
    status : {"recording", "sealed"}
        ``recording`` also where the process that wrote it was killed.
    sealed_through : int
        Number of the last live segment that was sealed: what is left of it in ``live/`` counts no
        more.
    last_seq, last_ns : int
        Ordinal of the last sealed tick (-1: none) and the greatest time of the sealed ticks.
    last_event_seq : int
        Greatest ordinal of a sealed event; -1: none.
    last_epoch, last_row : int
        Of the last sealed row; -1: none.
    files : list of SealedFile
        In order of their segments.
    parts, holes, losses, rebuilds
        In order.
    dropping : list of str
        Files that retention is about to remove: no longer part of the recording.
    dropped : Dropped
        What it has removed.
    """

    format: int = FORMAT_VERSION
    recording: str
    y: str
    x: str
    stream: str
    feed: str
    real_money: bool
    price_decimals: tuple[int, int] | None = None
    started_ns: int = 0
    status: Status = "recording"
    sealed_through: int = 0
    last_seq: int = -1
    last_ns: int = 0
    last_event_seq: int = -1
    last_epoch: int = -1
    last_row: int = -1
    files: list[SealedFile] = []
    parts: list[Part] = []
    holes: list[Hole] = []
    losses: list[Loss] = []
    rebuilds: list[RebuiltRows] = []
    dropping: list[str] = []
    dropped: Dropped = msgspec.field(default_factory=Dropped)

    @classmethod
    def begin(cls, info: RecordingInfo) -> Manifest:
        """Return the manifest of a new recording, without a part."""
        return cls(
            recording=uuid.uuid4().hex,
            y=info.pair.y,
            x=info.pair.x,
            stream=info.stream,
            feed=info.feed,
            real_money=info.real_money,
            price_decimals=info.price_decimals,
            started_ns=info.started_ns,
            last_seq=info.first_seq - 1,
        )

    @property
    def pair(self) -> Pair:
        """The symbols of legs 0 and 1."""
        return Pair(self.y, self.x)

    def part_of(self, segment: int) -> Part | None:
        """Return the part whose ticks a live segment holds, if any has begun."""
        begun = [part for part in self.parts if part.first_segment <= segment]
        return begun[-1] if begun else None

    def part_for(self, info: RecordingInfo, segment: int) -> Part:
        """Return the part that a session continues, or a new one for it behind all others.

        Parameters
        ----------
        info : RecordingInfo
            Of the session.
        segment : int
            Number of the live segment that it begins.
        """
        if self.parts and self.parts[-1].session == info.session:
            return self.parts[-1]
        # Behind the last events, too: an ordinal tells to which part an event belongs.
        first_seq = max(self.last_seq, self.last_event_seq) + 1
        part = Part(
            session=info.session,
            first_seq=first_seq,
            seq_offset=first_seq - info.first_seq,
            epoch_offset=self.last_epoch + 1,
            started_ns=info.started_ns,
            settings=json.loads(settings_text(info.settings)),
            complete=info.complete,
            first_segment=segment,
            versions=dict(info.versions),
        )
        self.parts.append(part)
        return part

    # -- on disk --------------------------------------------------------------------------------

    def save(self, folder: Path, step: Step = no_step) -> None:
        """Put it in place of the last one, at once."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=1).decode()
        write_text(folder / NAME, text + "\n", step)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a recording.

        Raises
        ------
        DataError
            If there is none, or it is none of this version's.
        OSError
            If it cannot be read.
        """
        path = folder / NAME
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise DataError(f"{path} is larger than {_MAX_BYTES:,} bytes: no manifest")
            raw = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{folder} is no recording: it has no {NAME}") from None
        try:
            head = msgspec.json.decode(raw, type=dict[str, Any])
            version = head.get("format")
            if version != FORMAT_VERSION:
                raise DataError(
                    f"{path}: format {version!r} cannot be read: expected {FORMAT_VERSION}; a "
                    "newer pairlab has written it, or it is no recording's"
                )
            manifest = msgspec.json.decode(raw, type=cls)
        except msgspec.MsgspecError as error:
            raise DataError(f"{path} cannot be read: {error}") from None
        for name in (*(file.path for file in manifest.files), *manifest.dropping):
            if not _PATH.fullmatch(name):
                raise DataError(f"{path} names {name!r}, which no recording has")
        return manifest
