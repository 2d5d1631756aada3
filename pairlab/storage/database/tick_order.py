"""Ticks of several sessions in one order, and the gaps that remain between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairlab.schema import BOTH_LEGS, TIME_CORRECTED, Pair, Records

__all__ = ["Mark", "StoredSession", "gap_legs", "order_of"]


class StoredSession(NamedTuple):
    """What is known of a session beside its ticks and rows.

    Attributes
    ----------
    session : int
        Its number in the database.
    source, stream : str
        Market and stream.
    pair : Pair
        Its symbols; its gaps count their legs.
    started_ns : int
        Wall clock at its start, ns since 1970 UTC.
    since_ns, until_ns : int
        When it received its first and its newest tick, ns since 1970 UTC.
    """

    session: int
    source: str
    stream: str
    pair: Pair
    started_ns: int
    since_ns: int
    until_ns: int


class Mark(NamedTuple):
    """Ticks are missing in a session before one of its ordinals, or that tick was corrected.

    Attributes
    ----------
    session, seq : int
        Which session, and the ordinal of the first tick after the gap.
    legs : int
        Whose, of the session's pair: 1 y, 2 x, 3 both; and `TIME_CORRECTED`.
    """

    session: int
    seq: int
    legs: int = BOTH_LEGS


def order_of(
    session: NDArray[np.int64], seq: NDArray[np.int64], received_ns: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Return the order in which ticks were received.

    Within a session ordinals decide, for the wall clock may step back. Sessions that recorded at
    the same time are merged by when each had received what.

    Parameters
    ----------
    session, seq, received_ns : numpy.ndarray
        Of each tick, shape (n,).

    Returns
    -------
    numpy.ndarray
        Indexes, shape (n,).
    """
    order = np.lexsort((seq, session))
    if not len(order):
        return order
    starts = np.flatnonzero(np.diff(session[order], prepend=session[order[:1]] - 1))
    clock = received_ns[order]
    for first, end in zip(starts, [*starts[1:], len(order)], strict=True):
        np.maximum.accumulate(clock[first:end], out=clock[first:end])
    return order[np.argsort(clock, kind="stable")] if len(starts) > 1 else order


def gap_legs(
    session: NDArray[np.int64],
    seq: NDArray[np.int64],
    ticks: Records,
    marks: Sequence[Mark],
    sessions: Mapping[int, StoredSession],
    symbols: Sequence[str],
) -> NDArray[np.int8]:
    """Return whose trades are missing before each tick, as `PairLab.ticks` tells it.

    Parameters
    ----------
    session, seq : numpy.ndarray
        Of each tick, shape (n,), in the order of `order_of`.
    ticks : numpy.ndarray
        `pairlab.TICK` records, shape (n,); ``leg`` is the index within `symbols`.
    marks : sequence of Mark
        What each session knows to have missed.
    sessions : mapping of int to StoredSession
        All that have one of these symbols, by number.
    symbols : sequence of str
        One or two.

    Returns
    -------
    numpy.ndarray
        0 none, 1 the first symbol's, 2 the second's, 3 both, and the bit `TIME_CORRECTED`; int8,
        shape (n,).
    """
    legs = np.zeros(len(ticks), np.int8)
    goes_on = _goes_on(session, ticks)
    starts = _starts(sessions)
    for number in np.unique(session).tolist():
        mine = np.flatnonzero(session == number)
        pair, first_seq = sessions[number].pair, seq[mine[0]]
        found = [m for m in marks if m.session == number and m.seq >= first_seq]
        if number in starts and mine[0]:  # else what came before is not asked for
            found.append(Mark(number, int(first_seq)))
        for mark in found:
            at = int(np.searchsorted(seq[mine], mark.seq))
            whose = {symbol for leg, symbol in enumerate(pair) if mark.legs >> leg & 1}
            if at < len(mine) and seq[mine[at]] == mark.seq:
                legs[mine[at]] |= mark.legs & TIME_CORRECTED
            if at < len(mine) and not goes_on[mine[at]]:
                legs[mine[at]] |= sum(1 << i for i, s in enumerate(symbols) if s in whose)
    return legs


def _starts(sessions: Mapping[int, StoredSession]) -> set[int]:
    """Return the sessions that began after another one, and while none recorded."""
    every = sessions.values()
    return {
        s.session
        for s in every
        if any(other.since_ns < s.since_ns for other in every)
        and not any(other.since_ns < s.since_ns <= other.until_ns for other in every)
    }


def _goes_on(session: NDArray[np.int64], ticks: Records) -> NDArray[np.bool_]:
    """Tell of which ticks another session has the trade before: its ids count on."""
    found = np.zeros(len(ticks), np.bool_)
    for leg in (0, 1):
        mine = np.flatnonzero(ticks["leg"] == leg)
        found[mine[1:]] = (np.diff(ticks["id"][mine]) == 1) & (np.diff(session[mine]) != 0)
    return found
