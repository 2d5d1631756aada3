"""The badge of a feed that is not live: the same on a lab's status bar and on a board."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["STATE_BADGES"]

STATE_BADGES: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "stalled": ("warn", "up", "STALLED"),
        "reconnecting": ("warn", "reload", "RECONNECTING"),
        "failed": ("fail", "times", "FAILED"),
        "stopped": ("calm", "square", "STOPPED"),
        "connecting": ("calm", "clock", "CONNECTING"),
    }
)
"""By state: the kind of badge, its sign, its word."""
