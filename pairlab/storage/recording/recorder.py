"""From the event loop to a place that keeps it: a queue, and a thread that empties it."""

from __future__ import annotations

import atexit
import dataclasses
import errno
import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, cast

import numpy as np

from pairlab.alerts import Alert
from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.data.journal import JournalEvent
from pairlab.errors import PairlabError, StorageError
from pairlab.schema import LogLevel, Records
from pairlab.storage.recording.machine import machine_versions
from pairlab.storage.recording.sink import RebuiltRows, RecordBatch, RecordingInfo, RecordSink

__all__ = ["Recorder", "RecorderState"]

RecorderState = Literal["opening", "recording", "waiting", "sealing", "stopped", "failed"]

FLUSH_S: Final = 0.25
"""A killed process loses what came since the last flush; one that is late is forgiven three."""

BUFFER_BYTES: Final = 128 * 1024 * 1024
_RETRY_S: Final = 1.0
_WAKE_BYTES: Final = 8 * 1024 * 1024
_PIECES: Final = 50  # handled at a stretch
_JOINED: Final = 4_096  # arrays made one at a stretch: 0.3 ms with the interpreter's lock
_SMALL: Final = 2_048  # what an event or alert counts as, bytes
_EXIT_S: Final = 20.0
_FULL: Final = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class Recorder:
    """Takes what a lab makes, in order, and has a thread write it to a sink.

    The methods ``put_…`` are called on the lab's loop. They keep references and return at once:
    what they are given must not be written to again. While the sink cannot store, up to
    `buffer_bytes` wait; ticks and rows beyond that are left out, which is told and which a sink
    sees by their numbers.

    Parameters
    ----------
    sink : RecordSink
        Where it goes.
    info : RecordingInfo
        What is recorded; its versions are filled in.
    target : str
        The place, for messages.
    tell : callable
        Called on the writer's thread with a level and a sentence.
    fsync_s : float
        A loss of power costs at most the last so many seconds.
    buffer_bytes : int
        What may wait.
    flush_s, retry_s : float
        Pause between two writes, and before a failed one is tried again.
    clock : Clock
        Of durations.

    Attributes
    ----------
    ticks, rows, alerts, events : int
        Stored so far.
    lost_ticks : int
        Left out because the sink could not store for too long.
    error : str
        Why it waits or has failed; empty otherwise.
    """

    def __init__(
        self,
        sink: RecordSink,
        info: RecordingInfo,
        *,
        target: str,
        tell: Callable[[LogLevel, str], None],
        fsync_s: float = 10.0,
        buffer_bytes: int = BUFFER_BYTES,
        flush_s: float = FLUSH_S,
        retry_s: float = _RETRY_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._sink: Final = sink
        self._info = info
        self.target: Final = target
        self._tell: Final = tell
        self._sync_s: Final = fsync_s / 2  # the other half is for the disk
        self._buffer_bytes: Final = buffer_bytes
        self._flush_s: Final = flush_s
        self._retry_s: Final = retry_s
        self._clock: Final = clock
        self._queue: Final[deque[tuple[Any, ...]]] = deque()
        self._put_bytes = self._done_bytes = 0  # each is written by one thread alone
        self._wake: Final = threading.Event()
        self._stopping: Final = threading.Event()
        self._ended: Final = threading.Event()
        self._settled: Final = threading.Event()
        self._stepped: Final = threading.Condition()
        self._thread: Final = threading.Thread(target=self._run, name="pairlab record", daemon=True)
        self._state: RecorderState = "opening"
        self.error = ""
        self.ticks = self.rows = self.alerts = self.events = 0
        self.lost_ticks = 0
        self._lost_span_ns: tuple[int, int] | None = None
        self._pending = RecordBatch()
        self._pending_bytes = 0
        self._must_open = False
        self._dirty = False

    @property
    def state(self) -> RecorderState:
        """What it does: ``waiting`` while the sink cannot store."""
        return self._state

    @property
    def nbytes(self) -> int:
        """Bytes that the recording takes, as far as known."""
        return self._sink.nbytes

    @property
    def waiting_bytes(self) -> int:
        """Bytes that are not stored yet."""
        return max(self._put_bytes - self._done_bytes, 0)

    # -- on the lab's loop ----------------------------------------------------------------------

    def put_ticks(self, first: int, ticks: Records) -> None:
        """Take ticks from this ordinal on."""
        nbytes = ticks.nbytes
        if self._put_bytes + nbytes - self._done_bytes <= self._buffer_bytes:
            self._put((nbytes, "ticks", first, ticks))
        else:
            times = ticks["time_ns"]
            span = self._lost_span_ns
            first_ns = int(times[0]) if span is None else span[0]
            self._lost_span_ns = first_ns, int(times[-1])
            self.lost_ticks += len(ticks)

    def put_rows(self, epoch: int, first: int, rows: Records) -> None:
        """Take rows of an epoch from this number on."""
        nbytes = rows.nbytes
        if self._put_bytes + nbytes - self._done_bytes <= self._buffer_bytes:
            self._put((nbytes, "rows", epoch, first, rows))

    def put_held_ticks(self, first: int, ticks: Records) -> None:
        """Take the ticks that were there before, however many; the limit is for those to come."""
        self._put((0, "ticks", first, ticks))

    def put_held_rows(self, epoch: int, first: int, rows: Records) -> None:
        """Take the rows that were there before, however many."""
        self._put((0, "rows", epoch, first, rows))

    def put_alerts(self, alerts: list[Alert]) -> None:
        """Take alerts."""
        self._put_small(len(alerts), "alerts", alerts)

    def put_event(self, number: int, event: JournalEvent) -> None:
        """Take the event of this number of the journal."""
        self._put_small(1, "event", number, event)

    def put_rebuilt(self, epoch: int, seq: int, count: int, held: Records) -> None:
        """Take the rows that a rebuild made: their digest is recorded, not they."""
        self._put_small(1, "rebuilt", epoch, seq, count, held)

    def put_price_decimals(self, decimals: tuple[int, int]) -> None:
        """Take the decimals of the tick sizes, known by now."""
        self._put_small(1, "decimals", decimals)

    def _put_small(self, count: int, *item: Any) -> None:
        # Without an event nothing after it can be replayed: it may still come when ticks may not.
        if self._put_bytes - self._done_bytes <= 2 * self._buffer_bytes:
            self._put((count * _SMALL, *item))

    def _put(self, item: tuple[Any, ...]) -> None:
        self._queue.append(item)
        self._put_bytes = put = self._put_bytes + item[0]
        # While the writer is behind it need not be told with each tick: that takes a lock.
        if put - self._done_bytes > _WAKE_BYTES and not self._wake.is_set():
            self._wake.set()

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to write, on a thread."""
        atexit.register(self._at_exit)
        self._thread.start()

    def request_stop(self) -> None:
        """Have the thread write what waits, seal, and end."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; return whether it has."""
        return self._ended.wait(timeout_s)

    def wait_settled(self, timeout_s: float | None = None) -> bool:
        """Wait until the first attempt to open has ended, well or not."""
        return self._settled.wait(timeout_s)

    def flush(self, timeout_s: float = 10.0) -> None:
        """Wait until what was put so far is written, or cannot be; not on the lab's loop."""
        wanted = self._put_bytes

        def done() -> bool:
            stuck = self._state in ("waiting", "failed") or self._ended.is_set()
            return stuck or self._done_bytes >= wanted

        self._wake.set()
        with self._stepped:
            self._stepped.wait_for(done, timeout_s)

    def _at_exit(self) -> None:
        self.request_stop()
        self.join(_EXIT_S)

    # -- the writer's thread --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._info = dataclasses.replace(self._info, versions=machine_versions())
            self._must_open = True
            while not self._stopping.is_set():
                self._step()
                self._settled.set()
                self._notify()
                if self._state == "failed":
                    return
                waiting = self._state == "waiting"
                self._wake.wait(self._retry_s if waiting else self._flush_s)
                self._wake.clear()
            self._finish()
        except Exception as error:  # a fault of ours: it must be seen, and end here
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._settled.set()
            self._ended.set()
            self._notify()
            atexit.unregister(self._at_exit)

    def _notify(self) -> None:
        with self._stepped:
            self._stepped.notify_all()

    def _finish(self) -> None:
        if self._state == "waiting":
            self._must_open = True  # a last attempt, whatever it was
        self._step()
        left = self._pending.tick_count
        if self._state == "failed":
            return
        if self._state == "waiting":
            self._tell(
                "error",
                f"recording to {self.target} ended while it could not be written to "
                f"({self.error}): the last {left:,} ticks are not in it",
            )
        else:
            self._state = "sealing"
        try:
            self._sink.close()
        except (OSError, PairlabError) as error:
            self.error = _told(error)
            self._tell(
                "warning",
                f"the recording {self.target} could not be sealed ({self.error}): it can be read, "
                "and the next recording there seals it",
            )
        self._state = "stopped"

    def _step(self) -> None:
        """Open if need be, write what has come, and sync if it is time."""
        self._drain()
        try:
            if self._must_open:
                self._sink.open(self._info)
                self._must_open = False
                self._next_sync_s = self._clock.monotonic_s() + self._sync_s
            if self._pending:
                self._write()
            if self._dirty and self._clock.monotonic_s() >= self._next_sync_s:
                self._next_sync_s = self._clock.monotonic_s() + self._sync_s
                self._sink.sync()
                self._dirty = False
            self._good()
        except (OSError, StorageError) as error:
            self._bad(error)
        except PairlabError as error:  # it can never be
            self._fail(str(error))

    def _write(self) -> None:
        batch = self._pending
        self._sink.write(batch)
        self._pending = RecordBatch()
        self._done_bytes += self._pending_bytes
        self._pending_bytes = 0
        self._dirty = True
        self.ticks += batch.tick_count
        self.rows += batch.row_count
        self.alerts += len(batch.alerts)
        self.events += len(batch.events)

    def _drain(self) -> None:
        """Move what has come into the batch that is due, arrays that belong together joined."""
        batch = self._pending
        ticks: list[tuple[tuple[int, ...], Records]] = []
        rows: list[tuple[tuple[int, ...], Records]] = []
        for number in range(len(self._queue)):
            if number % _PIECES == _PIECES - 1:
                time.sleep(0)  # lets the loop go on: it would wait for the interpreter's lock
            item = self._queue.popleft()
            self._pending_bytes += item[0]
            match item:
                case (_, "ticks", first, part):
                    ticks.append(((first,), part))
                case (_, "rows", epoch, first, part):
                    rows.append(((epoch, first), part))
                case (_, "alerts", alerts):
                    batch.alerts += alerts
                case (_, "event", number, event):
                    if not batch.events:
                        batch.first_event = number
                    batch.events.append(event)
                case (_, "rebuilt", epoch, seq, count, held):
                    digest = hashlib.sha256(held.view(np.uint8)).hexdigest()
                    batch.rebuilds.append(RebuiltRows(epoch, seq, count, len(held), digest))
                case (_, "decimals", decimals):
                    batch.price_decimals = decimals
        batch.ticks += [(key[0], part) for key, part in _joined(ticks)]
        batch.rows += [(key[0], key[1], part) for key, part in _joined(rows)]

    def _good(self) -> None:
        if self._state == "waiting":
            lost, self._lost_span_ns = self._lost_span_ns, None
            text = "nothing is missing"
            if lost is not None:
                text = (
                    f"{self.lost_ticks:,} ticks ({(lost[1] - lost[0]) / 1e9:.3g} s) could not be "
                    "kept meanwhile: a gap is marked in it"
                )
            self._tell("info", f"recording to {self.target} goes on; {text}")
        self._state, self.error = "recording", ""

    def _bad(self, error: OSError | StorageError) -> None:
        self._must_open |= getattr(error, "errno", None) not in _FULL
        told = _told(error)
        if self._state != "waiting" or told != self.error:
            size = self._buffer_bytes / 1024**2
            self._tell(
                "error",
                f"cannot record to {self.target}: {told}. The stream goes on; up to {size:,.0f} "
                "MiB wait in memory, and it is tried again every second",
            )
        self._state, self.error = "waiting", told

    def _fail(self, text: str) -> None:
        self._state, self.error = "failed", text
        self._tell("error", f"nothing more is recorded to {self.target}: {text}")
        try:
            self._sink.close()
        except (OSError, PairlabError):
            return  # what was wrong has been told


def _told(error: BaseException) -> str:
    """Return an error in plain words."""
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror.lower()}{where}"
    return str(error) or type(error).__name__


def _joined(
    parts: list[tuple[tuple[int, ...], Records]],
) -> list[tuple[tuple[int, ...], Records]]:
    """Return parts with those that continue each other in one array; the last key counts up."""
    found: list[tuple[tuple[int, ...], Records]] = []
    run: list[Records] = []
    begin: tuple[int, ...] = ()
    following: tuple[int, ...] | None = None
    for key, part in parts:
        if key != following and run:
            found.append((begin, _one(run)))
            run = []
        if not run:
            begin = key
        run.append(part)
        following = (*key[:-1], key[-1] + len(part))
    if run:
        found.append((begin, _one(run)))
    return found


def _one(run: list[Records]) -> Records:
    """Return arrays as one; as bytes, because numpy copies records field by field."""
    if len(run) == 1:
        return run[0]
    pieces: list[bytes] = []
    buffers = cast("list[memoryview]", run)  # which numpy's stubs do not say of an array
    for start in range(0, len(run), _JOINED):
        pieces.append(b"".join(buffers[start : start + _JOINED]))
        time.sleep(0)
    return np.frombuffer(pieces[0] if len(pieces) == 1 else b"".join(pieces), run[0].dtype)
