"""Records some 5,000 ticks a second in child processes, each of which is killed: test_killed.py.

``python -m tests.storage.recording.killed FOLDER PROGRESS COUNT``: for each child, a line on
standard output once it is dead; the next begins when a line comes in. With COUNT 0 one child whose
sealing never ends: a line once it has begun, and it is killed 1.5 s later.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np

from pairlab.schema import TICK, Pair, Records
from pairlab.settings import Settings
from pairlab.storage.recording.durable import Step, no_step
from pairlab.storage.recording.folder_sink import FolderSink
from pairlab.storage.recording.recorder import Recorder
from pairlab.storage.recording.sink import RecordingInfo

PROGRESS = struct.Struct("<qqq")  # child, ticks put, time of the last one
BATCH = 10
PER_S = 5_000


def ticks_of(child: int, first: int, count: int, now_ns: int) -> Records:
    """Each tick tells whose it is, and which: none can be mistaken for another."""
    ticks = np.zeros(count, TICK)
    ticks["id"] = child * 10**9 + np.arange(first, first + count)
    ticks["leg"] = ticks["id"] % 2
    ticks["price"] = ticks["id"] * 0.125 + 1.0
    ticks["quantity"] = ticks["id"] % 97 + 0.5
    ticks["buyer_is_maker"] = ticks["id"] % 3 == 0
    ticks["time_ns"] = ticks["received_ns"] = now_ns
    return ticks


def record(folder: Path, progress: mmap.mmap, child: int, step: Step = no_step) -> None:
    """Record until killed."""
    info = RecordingInfo(
        session=f"{child}", pair=Pair("BTCUSDT", "ETHUSDT"), stream="trade", feed="TEST",
        real_money=False, price_decimals=None, settings=Settings().values(), started_ns=0,
    )  # fmt: skip
    recorder = Recorder(
        FolderSink(folder, segment_bytes=200_000, step=step), info, target="",
        tell=lambda *_: None,
    )  # fmt: skip
    recorder.start()
    put, begin = 0, time.monotonic()
    while True:
        while put < (time.monotonic() - begin) * PER_S:
            now_ns = time.time_ns()
            recorder.put_ticks(put, ticks_of(child, put, BATCH, now_ns))
            put += BATCH
            progress[:] = PROGRESS.pack(child, put, now_ns)
        time.sleep(0.002)


def never_ends(name: str) -> None:
    """Let a process be for ever between the first file of a seal and the next step."""
    if name.startswith("wrote ticks"):
        print("sealing", flush=True)
        time.sleep(600)


def main() -> None:
    folder, progress_path, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    progress_path.write_bytes(bytes(PROGRESS.size))
    when = random.Random(5)
    with progress_path.open("r+b") as file, mmap.mmap(file.fileno(), PROGRESS.size) as progress:
        for child in range(1, count + 1) if count else (1_000,):
            pid = os.fork()
            if not pid:
                try:
                    record(folder, progress, child, no_step if count else never_ends)
                finally:
                    os._exit(1)
            while PROGRESS.unpack(progress[:])[0] != child:
                time.sleep(0.005)
            time.sleep(when.uniform(0.0, 2.4) if count else 1.5)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            print(child, flush=True)
            sys.stdin.readline()


if __name__ == "__main__":
    main()
