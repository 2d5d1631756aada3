"""Peak memory and time of a backtest of a recording with so many ticks, in a process of its own.

``python -m tests.benchmarks.processes.backtest_streamed FOLDER``: prints how much memory of its own
(not what the system maps of files) the backtest of the recording there took, with seconds of CPU
time, as JSON. With ``FOLDER TICKS`` it writes the recording.
"""

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from pairlab import TICK, backtest
from pairlab.schema import Records
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.sink import RecordBatch
from tests.storage.recording import sessions

_STATUS = Path("/proc/self/status")
_BLOCK = 200_000
SETTINGS = {"hedge": "ols", "window": 50, "entry_z": 3.5, "min_correlation": 0.9}


def own_bytes() -> int:
    """Return the memory that no file stands behind."""
    line = next(x for x in _STATUS.read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def write(folder: Path, count: int) -> None:
    """Write a recording of a pair whose spread reverts, a tick a millisecond, the legs in turn."""
    random = np.random.default_rng(7)
    sink = FolderSink(folder)
    sink.open(sessions.info())
    level = 2_400.0
    for start in range(0, count, _BLOCK):
        n = min(_BLOCK, count - start)
        number = np.arange(start, start + n)
        ticks: Records = np.zeros(n, TICK)
        ticks["time_ns"] = 1_723_161_600 * 10**9 + number * 10**6
        ticks["received_ns"] = ticks["time_ns"] + 4_000_000
        ticks["leg"] = number & 1
        ticks["id"] = number >> 1
        walk = level + np.cumsum(random.normal(0.0, 0.02, n))
        level = float(walk[-1])
        noise = random.normal(0.0, 0.5, n)
        ticks["price"] = np.round(np.where(number & 1, walk, 25.0 * walk + noise), 2)
        ticks["quantity"] = 0.01
        sink.write(RecordBatch(ticks=[(start, ticks)]))
    sink.close()


class Peak:
    """The most memory that a process has while this is entered, looked at every 5 ms."""

    def __enter__(self) -> "Peak":
        self.most, self._over = own_bytes(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, own_bytes())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        write(folder, int(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as home:
        write(Path(home) / "few", 20_000)
        backtest(Path(home) / "few", **SETTINGS)  # type: ignore[arg-type]  # compiled, imported
    before, start = own_bytes(), time.process_time()
    with Peak() as peak:
        result = backtest(folder, **SETTINGS)  # type: ignore[arg-type]
    print(json.dumps({
        "bytes": peak.most - before, "kept": own_bytes() - before,
        "seconds": time.process_time() - start, "trades": len(result.trades),
        "rows": len(result.equity),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
