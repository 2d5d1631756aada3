"""Alerts as signed messages: what is sent, and how a receiver can tell that it is genuine."""

from __future__ import annotations

import hashlib
import hmac
import math
from typing import Any, Final

import msgspec
import pandas as pd

from pairlab.alerts import Alert
from pairlab.data.origin import Origin

__all__ = ["Signer", "message_of"]

_NUMBERS: Final = (
    "y", "x", "hedge_ratio", "intercept", "spread", "spread_mean", "spread_std", "zscore",
    "correlation", "p_value", "half_life",
)  # fmt: skip


class Signer:
    """Signs messages with HMAC-SHA256, and shows its secret to nobody.

    Parameters
    ----------
    secret : str
        Which the receiver has, too.
    """

    def __init__(self, secret: str) -> None:
        self._mac: Final = hmac.new(secret.encode(), digestmod=hashlib.sha256)

    def headers(self, key: str, body: bytes, time_s: float) -> dict[str, str]:
        """Return what a message is sent with.

        Parameters
        ----------
        key : str
            Of the message: the same each time that it is sent.
        body : bytes
            The message.
        time_s : float
            When it is sent, s since 1970 UTC: an old one is no new one.
        """
        stamp = f"{time_s:.3f}"
        mac = self._mac.copy()
        mac.update(f"{stamp}.{key}.".encode() + body)
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "X-Pairlab-Timestamp": stamp,
            "X-Pairlab-Signature": f"sha256={mac.hexdigest()}",
        }


def message_of(alert: Alert, origin: Origin, session: str) -> tuple[str, bytes]:
    """Return an alert's key, and the message in JSON; what is not a number is null there.

    Parameters
    ----------
    alert : Alert
        What was decided.
    origin : Origin
        Where its numbers come from.
    session : str
        Of the lab: numbers of alerts are unique within it.
    """
    key = f"{session}-{alert.number}"
    at: dict[str, Any] = {name: getattr(alert.at, name) for name in _NUMBERS}
    return key, msgspec.json.encode(
        {
            "key": key,
            "session": session,
            "number": alert.number,
            "kind": alert.kind.name,
            "side": alert.side,
            "time": pd.Timestamp(alert.time_ns, tz="UTC").isoformat(),
            "time_ns": alert.time_ns,
            "y_symbol": origin.pair.y,
            "x_symbol": origin.pair.x,
            "market": origin.source,
            "real_money": origin.real_money,
            "reason": alert.reason,
            "sentence": alert.sentence,
            **{name: value if math.isfinite(value) else None for name, value in at.items()},
        }
    )
