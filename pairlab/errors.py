"""Exceptions that pairlab raises, and its warning.

::

    PairlabError
    ├── SettingError (ValueError)         a setting out of range, contradictory or unknown
    ├── DataError (ValueError)            prices, ticks or a file that cannot be used as given
    ├── MissingExtraError (ImportError)   an optional dependency that is not installed, by name
    ├── WaitTimeoutError (TimeoutError)   PairLab.wait timed out
    ├── StorageError                      a recording cannot be stored for now; it is tried again
    └── FeedError (ConnectionError)       the stream cannot continue
        ├── UnknownSymbolError            the exchange does not list the symbol
        ├── NetworkSetupError             a proxy or certificate of the environment is unusable
        ├── GeoBlockedError               HTTP 451: refused from this location; never retried
        ├── FirewallError                 HTTP 403: refused by the exchange's firewall
        └── RateLimitedError              HTTP 429, or 418: a ban; carries retry_after_s
    PairlabWarning (UserWarning)          a result holds, but by an assumption or not as fast
"""

from __future__ import annotations

import sys
import warnings
from typing import Final

__all__ = [
    "DataError",
    "FeedError",
    "FirewallError",
    "GeoBlockedError",
    "MissingExtraError",
    "NetworkSetupError",
    "PairlabError",
    "PairlabWarning",
    "RateLimitedError",
    "SettingError",
    "StorageError",
    "UnknownSymbolError",
    "WaitTimeoutError",
    "first_leaf",
    "warn_user",
]


_MOST_SHOWN: Final = 200
"""Characters of a value that a message repeats: somebody may have given a whole file."""


class PairlabError(Exception):
    """Base class of all exceptions that pairlab raises."""


class SettingError(PairlabError, ValueError):
    """A setting was rejected; the old value is kept.

    Parameters
    ----------
    name : str
        The setting, or the unknown name.
    value : object
        The rejected value.
    allowed : str
        What would be accepted ("expected …"), or which other setting it contradicts.
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        shown = repr(value)
        if len(shown) > _MOST_SHOWN:
            shown = f"{shown[: _MOST_SHOWN - 1]}…"
        super().__init__(f"{name} = {shown} is invalid: {allowed}")
        self.name = name
        self.value = value
        self.allowed = allowed


class DataError(PairlabError, ValueError):
    """Prices, ticks or a file cannot be used as given."""


class MissingExtraError(PairlabError, ImportError):
    """An optional part of pairlab needs a package that is not installed.

    Parameters
    ----------
    package : str
        The package that could not be imported.
    extra : str
        The extra that installs it: ``pip install "pairlab[extra]"``.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is not installed: pip install "pairlab[{extra}]"')
        self.package = package
        self.extra = extra


class WaitTimeoutError(PairlabError, TimeoutError):
    """`PairLab.wait` timed out before there were enough rows."""


class StorageError(PairlabError):
    """Something cannot be stored for now.

    Of a recording the recorder keeps what it can, and tries again.
    """


class FeedError(PairlabError, ConnectionError):
    """The stream cannot continue; the message says why and what to do."""


class UnknownSymbolError(FeedError):
    """The exchange does not list the symbol."""


class NetworkSetupError(FeedError):
    """A proxy or a certificate that the environment names cannot be used; not retried."""


class GeoBlockedError(FeedError):
    """HTTP 451: the exchange refuses connections from this location; not retried."""


class FirewallError(FeedError):
    """HTTP 403: the exchange's firewall refused the request."""


class RateLimitedError(FeedError):
    """HTTP 429 (too many requests) or 418 (banned for ignoring 429).

    Parameters
    ----------
    message : str
        The message to display.
    retry_after_s : float
        Seconds until the next request is allowed.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PairlabWarning(UserWarning):
    """A result holds, but rests on an assumption that its user should know, or took longer."""


def warn_user(message: str) -> None:
    """Warn with `PairlabWarning`, as coming from the line outside pairlab that led here.

    Parameters
    ----------
    message : str
        What to know, and what to do about it.
    """
    package, level = __name__.partition(".")[0], 2
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, PairlabWarning, stacklevel=level)


def first_leaf(errors: BaseException) -> BaseException:
    """Return the error inside nested groups that caused the others, a `FeedError` before any other.

    An error that is no group is returned as it is.
    """
    leaves: list[BaseException] = []
    todo: list[BaseException] = [errors]
    while todo:
        error = todo.pop(0)
        if isinstance(error, BaseExceptionGroup):
            todo.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, FeedError)), leaves[0])
