"""Files that are whole or not there, whenever the process is killed or the power fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["Step", "fsync_folder", "make_folder", "no_step", "publish", "remove", "write_text"]

Step = Callable[[str], None]
"""Called with the name of each step once it is done: a test ends the process there."""


def no_step(name: str) -> None:
    """Do nothing after a step."""


_CAN_SYNC_FOLDERS: Final = os.name == "posix"


def fsync_file(path: Path) -> None:
    """Make a file's content durable."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def fsync_folder(path: Path) -> None:
    """Make durable which files a folder names."""
    if not _CAN_SYNC_FOLDERS:  # Windows cannot open a folder
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_folder(path: Path, top: Path) -> None:
    """Make a folder below `top`, and make durable that it is there."""
    missing = []
    while path != top and not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        fsync_folder(folder.parent)


def publish(temporary: Path, path: Path, step: Step = no_step) -> None:
    """Give a finished file its name: it is there whole, or not at all."""
    fsync_file(temporary)
    step(f"synced {path.name}")
    os.replace(temporary, path)
    step(f"renamed {path.name}")
    fsync_folder(path.parent)
    step(f"named {path.name}")


def write_text(path: Path, text: str, step: Step = no_step) -> None:
    """Replace a file's text at once."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    step(f"wrote {path.name}")
    publish(temporary, path, step)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
