"""Folders in memory, where there are any: every seal waits for the disk many times."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # each test makes a folder of its own there


def folder_in_memory() -> Path:
    return Path(tempfile.mkdtemp(prefix="pairlab-", dir=MEMORY if MEMORY.is_dir() else None))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    path = folder_in_memory()
    yield path
    shutil.rmtree(path, ignore_errors=True)
