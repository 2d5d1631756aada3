"""Processes that are there and do nothing: a kernel, a server, an exchange."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.browser.conftest import Server

__all__ = ["NOTICED_MS", "frozen", "kernel_process"]

NOTICED_MS = 5_000 + 2_500  # a machine that is busy with something else draws late


@contextmanager
def frozen(*processes: psutil.Process) -> Iterator[None]:
    """Stop processes, and let them go on."""
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


def kernel_process(server: Server) -> psutil.Process:
    """Return the process of the kernel that was started last."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    name = server.newest_kernel().name
    return next(p for p in children if any(name in part for part in p.cmdline()))
