"""Peers whose requirements are not ours: each in a process of an interpreter that has it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Self

import numpy as np

__all__ = ["Peer"]


class Peer:
    """A script of this folder that measures a package, and answers a line with a line.

    Parameters
    ----------
    script : str
        Its name. It gets the path of `data` and prints a line when it is ready.
    variable : str
        Environment variable that names the interpreter; by default this one.
    package : str
        What it must have.
    data : array
        What is measured on.

    Attributes
    ----------
    ready : str
        The line that it printed first.
    """

    def __init__(self, script: str, variable: str, package: str, data: np.ndarray) -> None:
        python = os.environ.get(variable, sys.executable)
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "data.npy"
        np.save(path, data)
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name(script)), str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ready = self._out.readline()
        if not self.ready:
            self.__exit__()
            raise RuntimeError(f"{python} has no {package} ({variable})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._folder.cleanup()

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def ask(self, line: str = "") -> str:
        """Return its answer to a line."""
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self._out.readline().strip()
