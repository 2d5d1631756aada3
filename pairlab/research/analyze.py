"""`analyze`: batch computation of `PairLab.history` from past prices, by the live kernel."""

from __future__ import annotations

from typing import Final, Unpack

import pandas as pd

from pairlab.data.frames import rows_frame
from pairlab.engine import PairEngine
from pairlab.engine.validation import ObservationSettings
from pairlab.errors import SettingError, warn_user
from pairlab.research.inputs import Given, given_of
from pairlab.research.past import past_of
from pairlab.research.silence import MaxSilence, limit_of
from pairlab.schema import AlertKind, Filter
from pairlab.settings import SettingKwargs, Settings

__all__ = ["analyze", "label_of"]


_FILTERS: Final = {
    Filter.CORRELATION: "min_correlation",
    Filter.LEG_AGE: "max_leg_age_s",
    Filter.STATIONARY: "require_stationary",
    Filter.COOLDOWN: "cooldown_s",
    Filter.EDGE: "min_edge_bps",
    Filter.STOP_Z: "stop_z",
}
"""The setting that each filter obeys."""


def analyze(
    y: object,
    x: object = None,
    *,
    pair: tuple[str, str] | None = None,
    times: object = None,
    label: str | None = None,
    max_silence: MaxSilence = "auto",
    **settings: Unpack[SettingKwargs],
) -> pd.DataFrame:
    """Compute every metric and position of a pair over its past.

    Parameters
    ----------
    y, x : pandas.Series
        Prices with a DatetimeIndex, ascending and unique (taken as UTC where neither has a time
        zone). There is one observation per timestamp of their union from where both have begun,
        the last prices carried forward; NaN is no price, as if its timestamp were not there. At
        ``timeframe`` other than ``"tick"`` the prices are gathered into bars first; the last bar,
        unless `label` tells that it is complete, is left out, as it is live. polars' Series and
        arrays have no index: give `times`.
    y : pandas.DataFrame or polars.DataFrame
        Instead of two Series, one of

        - two columns of prices, y and then x (of more, `pair` names them); `PairLab.bars` and
          `PairLab.history` as they are;
        - ticks as `PairLab.ticks` gives them (columns ``symbol`` and ``price``, and ``quantity``
          where volumes matter), kept in their row order. Each makes an observation, as live; those
          that are not finite and positive are dropped, as live.

        The times are the index, in polars the column of times.
    pair : tuple of str, optional
        Symbols of y and x in a frame. Ticks of `PairLab.ticks` know them; others do not tell
        which is y.
    times : DatetimeIndex, Series or array, optional
        Of prices that have no index of their own.
    label : {"trade", "close", "open"}, optional
        What a timestamp is: of a trade, which on a bar's boundary begins the next bar; of a bar's
        close, which ends it; of a bar's begin, as in Binance's klines, whose price is known a step
        later. By default ``"close"`` for what `PairLab.bars` and `PairLab.history` gave; else
        ``"trade"``, and a leg's age counts from the end of its bar where prices come in regular
        steps.
    max_silence : str or timedelta, optional
        A leg without a price for longer than this, such as ``"30min"``, was not seen: a night, a
        weekend, a hole. Until it has a price again there is no observation, and no bar. By
        default five steps of prices that come every minute or less often (of these, a bar without
        any price of either leg is no observation either); of what comes more often, ten times
        what 99 of 100 steps are within, five minutes at least. None: it was quiet, however long.
        A frame's column ``gap_before``, as `PairLab.ticks` has it, is used instead of the default.
    **settings
        As for `PairLab`: ``window=50, hedge="ols"``, … ``hedge_ratio`` has a default for
        BTCUSDT/ETHUSDT only.

    Returns
    -------
    pandas.DataFrame
        The columns of `PairLab.history`, indexed by time (UTC).

    Warns
    -----
    PairlabWarning
        Where the filters held back every entry; how times on the boundaries of bars are read, where
        they may be meant otherwise; what is wrong with the cache of compiled code.

    Raises
    ------
    SettingError
        For an unknown setting or a value out of range.
    DataError
        For what is no such Series or frame: another type or index, timestamps unsorted or twice,
        prices that are no numbers, infinite or not above zero, fewer or more than two symbols; and
        for a timeframe shorter than the steps in which the prices come.

    Examples
    --------
    >>> import pandas as pd
    >>> from pairlab import analyze
    >>> minutes = pd.date_range("2024-08-08", periods=3, freq="min")
    >>> y = pd.Series([50.0, 51.0, 52.0], minutes)
    >>> x = pd.Series([2.0, 2.1], minutes[:2])
    >>> analyze(y, x, hedge_ratio=10.0)["spread"].tolist()
    [30.0, 30.0, 31.0]
    """
    checked = (Settings if x is None else ObservationSettings)(**settings)
    given = given_of(y, x, pair, times)
    if given.ticks is None and x is None:
        checked = ObservationSettings(**settings)
    label = label_of(label, given)
    limit_ns = limit_of(max_silence)
    engine, rows, *_ = past_of(given, checked, label, limit_ns)
    _tell_filters(engine)
    from pairlab.engine.jit import cache_problems  # imports numba, which the engine has by now

    for problem in cache_problems():
        warn_user(problem)
    frame = rows_frame(rows)
    if engine.values.timeframe != "tick":
        frame.attrs["label"] = "close"
    return frame


def label_of(label: str | None, given: Given) -> str | None:
    """Validate a label; return what is known of one that was not given."""
    if label not in (None, "trade", "close", "open"):
        raise SettingError("label", label, "expected 'trade', 'close' or 'open'")
    if given.ticks is not None:
        if label not in (None, "trade"):
            raise SettingError("label", label, "expected 'trade': a frame of ticks holds trades")
        return "trade"
    if label is None and {leg.attrs.get("label") for leg in (given.y, given.x)} == {"close"}:
        return "close"
    return label


def _tell_filters(engine: PairEngine) -> None:
    """Warn of the filters that held back every entry there could have been."""
    events = engine.events
    held = events[events["kind"] == int(AlertKind.SUPPRESSED)]
    if not len(held) or (events["kind"] == int(AlertKind.ENTRY)).any():
        return
    found = {f: int(((held["failed"] & int(f)) != 0).sum()) for f in Filter}
    by = ", ".join(
        f"{_FILTERS[f]} = {getattr(engine.values, _FILTERS[f])!r} ({count:,} of {len(held):,})"
        for f, count in sorted(found.items(), key=lambda item: -item[1])
        if count
    )
    warn_user(f"no entry: the filters held back every one of them: {by}")
