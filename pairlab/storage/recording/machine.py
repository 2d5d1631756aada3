"""What computed the rows: versions and processor, without which two machines cannot be compared."""

from __future__ import annotations

import importlib.metadata
import platform
from functools import cache
from pathlib import Path

__all__ = ["machine_versions"]


@cache
def machine_versions() -> dict[str, str]:
    """Return the versions of what takes part in a row, and the processor; reads files.

    Returns
    -------
    dict of str
        ``pairlab``, ``numba``, ``llvmlite``, ``numpy``, ``python``, ``machine``, ``cpu`` and
        ``cpu_features``, the last two empty where the system does not tell.
    """
    found = {}
    for name in ("pairlab", "numba", "llvmlite", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a checkout
            found[name] = "unknown"
    cpu, features = _cpu()
    return found | {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": cpu,
        "cpu_features": features,
    }


def _cpu() -> tuple[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor(), ""
    about: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        about.setdefault(name.strip(), value.strip())
    features = about.get("flags", about.get("Features", ""))
    return about.get("model name", platform.processor()), " ".join(sorted(features.split()))
