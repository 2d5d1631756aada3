"""Whether rows and alerts of a recording are what its ticks and its journal give, bit for bit."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np

from pairlab.schema import NO_TIME_NS

__all__ = ["Certificate", "Difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which the replay and the recording differ.

    Attributes
    ----------
    where : str
        ``row``, ``alert``, ``rebuild``, ``file`` or ``journal``.
    name : str
        The row's column, the alert's field, the file's path: what differs.
    recorded, replayed : object
        Both values; None where one of the two has no such row, alert or file.
    seq : int or None
        Ordinal of the tick that made the row.
    epoch, row : int or None
        The row's epoch and number within it.
    time_ns : int
        The row's time, ns since 1970 UTC; `pairlab.schema.NO_TIME_NS` where it has none.
    """

    where: str
    name: str
    recorded: object
    replayed: object
    seq: int | None = None
    epoch: int | None = None
    row: int | None = None
    time_ns: int = NO_TIME_NS

    def __str__(self) -> str:
        place = self.where
        if self.row is not None:
            place += f" {self.row:,}"
        if self.epoch:
            place += f" of epoch {self.epoch}"
        if self.seq is not None:
            place += f", made by tick {self.seq:,}"
        if self.time_ns != NO_TIME_NS:
            time = np.datetime_as_string(np.datetime64(self.time_ns, "ns"), timezone="UTC")
            place += f", at {time}"
        was, now = _text(self.recorded), _text(self.replayed)
        if was == now:  # NaN of another sign or payload
            was, now = (
                f"{text} ({_bits(value)})"
                for text, value in ((was, self.recorded), (now, self.replayed))
            )
        return f"{place}: {self.name} is {was} in the recording, {now} in the replay"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What `pairlab.verify` found.

    Attributes
    ----------
    equal : bool
        Whether every row, alert and rebuild of the recording, and each file's checksum, is as the
        replay gives it, to the last bit.
    reason : str
        Why not; empty where they are equal.
    difference : Difference or None
        The first one.
    path : str
        Of the recording.
    sessions : int
        Sessions of a lab that were recorded there, one after another.
    ticks, rows, alerts : int
        How many were replayed and compared.
    first_seq, last_seq : int
        Ordinals of the first and the last tick.
    settings_changes, rebuilds, gaps : int
        Journal events among them.
    files : int
        Sealed files whose checksum was compared.
    machine, recorded_machine : Mapping of str to str
        Processor, its features, and versions of pairlab and what computes: here, and where the
        recording was made.
    """

    equal: bool
    reason: str
    difference: Difference | None
    path: str
    sessions: int = 0
    ticks: int = 0
    rows: int = 0
    alerts: int = 0
    first_seq: int = 0
    last_seq: int = 0
    settings_changes: int = 0
    rebuilds: int = 0
    gaps: int = 0
    files: int = 0
    machine: Mapping[str, str] = field(default_factory=dict)
    recorded_machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def same_machine(self) -> bool:
        """Whether machine and versions are those of the recording."""
        return self.machine == self.recorded_machine

    def __bool__(self) -> bool:
        return self.equal

    def __str__(self) -> str:
        sessions = "session" if self.sessions == 1 else "sessions"
        compared = (
            f"{self.rows:,} rows and {self.alerts:,} alerts of {self.ticks:,} ticks, "
            f"{self.sessions} {sessions}, tick {self.first_seq:,} to {self.last_seq:,}"
        )
        journal = (
            f"{self.settings_changes:,} changes of settings, {self.rebuilds:,} rebuilds, "
            f"{self.gaps:,} gaps"
        )
        lines = [
            "EQUAL, bit for bit" if self.equal else f"NOT EQUAL: {self.reason}",
            f"  recording   {self.path}",
            f"  compared    {compared}",
            f"  journal     {journal}",
            f"  files       {self.files:,} sealed, checksums compared",
            f"  machine     {_machine_text(self.machine)}",
        ]
        if not self.same_machine:
            lines.append(f"  recorded on {_machine_text(self.recorded_machine)}")
        return "\n".join(lines)

    __repr__ = __str__

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON: numbers that are not finite as text."""
        return {name: _plain(value) for name, value in asdict(self).items()}


_COMPUTES: Final = ("pairlab", "numba", "llvmlite", "numpy")


def _machine_text(machine: Mapping[str, str]) -> str:
    versions = ", ".join(f"{name} {machine[name]}" for name in _COMPUTES if name in machine)
    cpu = machine.get("cpu") or machine.get("machine") or "unknown processor"
    features = machine.get("cpu_features", "")
    digest = f" (features {zlib.crc32(features.encode()):08x})" if features else ""
    return f"{cpu}{digest}; {versions or 'unknown versions'}"


def _text(value: object) -> str:
    return "not there" if value is None else repr(value)


def _bits(value: object) -> str:
    return struct.pack(">d", value).hex() if isinstance(value, float) else repr(value)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return str(value)
