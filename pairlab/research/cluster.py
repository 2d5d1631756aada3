"""Pieces of work on a Dask cluster: sent with their data, and again where a worker was lost."""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from typing import Any, Final

from pairlab.errors import DataError, MissingExtraError, PairlabError

__all__ = ["on_workers", "require_client"]

_ATTEMPTS: Final = 5
"""How often the data are sent before a cluster that loses them is given up."""

_WAITS_S: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Before data that no worker took are sent again: the scheduler is to notice which are gone."""


def require_client(client: object) -> Any:
    """Return the package `distributed`, of whose clients this is one.

    Raises
    ------
    DataError
        If it is none.
    MissingExtraError
        Without ``pip install "pairlab[cluster]"``.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise MissingExtraError("distributed", "cluster") from None
    if not isinstance(client, distributed.Client):
        raise DataError(f"client must be a dask.distributed.Client, not {type(client).__name__}")
    return distributed


def on_workers(
    client: Any,
    function: Callable[..., Any],
    data: object,
    pieces: Mapping[str, tuple[Any, ...]],
    take: Callable[[str, Any], None],
    *,
    prefix: str,
    scatter: bool = True,
) -> None:
    """Call ``function(data, *arguments)`` for each piece, on the workers.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.
    function : callable
        Of a module that the workers have.
    data : object
        Sent to the workers once, or, without `scatter`, with each piece.
    pieces : mapping
        Digest of what a piece is, but for the data → its arguments.
    take : callable
        Called with each digest and result, in any order, once each.
    prefix : str
        Of the names of the futures.
    scatter : bool
        Whether the data are large.

    Raises
    ------
    PairlabError
        If the cluster loses the data again and again, or no worker takes them.
    """
    distributed = require_client(client)
    waiting = dict(pieces)
    for attempt in range(_ATTEMPTS):
        # Scattered data do not survive the worker that holds them: they are then sent again.
        given: Any = _scattered(client, data) if scatter else data
        name = given.key if scatter else repr(data)
        futures = {
            client.submit(
                function, given, *arguments, key=_name_of(prefix, key, name, attempt), pure=False
            ): key
            for key, arguments in waiting.items()
        }
        lost = False
        try:
            for future in distributed.as_completed(list(futures)):
                try:
                    result = future.result()
                except CancelledError:
                    lost = True
                    continue
                key = futures[future]
                del waiting[key]
                future.release()
                take(key, result)
        except BaseException:
            client.cancel(list(futures))
            raise
        if not lost:
            return
    raise PairlabError(f"the cluster has lost the data {_ATTEMPTS} times: its workers do not last")


def _scattered(client: Any, data: object) -> Any:
    """Send data to a worker; the scheduler may choose one that has just died."""
    for wait_s in _WAITS_S:
        try:
            return client.scatter([data], hash=False)[0]
        except OSError:  # CommClosedError is one
            time.sleep(wait_s)
    try:
        return client.scatter([data], hash=False)[0]
    except OSError as error:
        raise PairlabError(f"no worker of the cluster took the data: {error}") from error


def _name_of(prefix: str, key: str, data: str, attempt: int) -> str:
    """Return the name of a future: another one for other work, data, or after a loss."""
    digest = hashlib.sha256(f"{key} {data} {attempt}".encode()).hexdigest()
    return f"pairlab-{prefix}-{digest[:32]}"
