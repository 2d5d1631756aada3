"""`backtest`: decisions of the live engine on past prices, filled and paid for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pairlab.backtesting.accounting import Book, book_of
from pairlab.backtesting.costs import Costs
from pairlab.backtesting.fills import REASONS, Fills, Missed, fill
from pairlab.backtesting.inputs import Source, source_of
from pairlab.backtesting.market import DecidedRows, Market, market_of
from pairlab.backtesting.metrics import metrics_of
from pairlab.backtesting.recorded.streamed import streamed_past
from pairlab.backtesting.result import BacktestResult, DataReport
from pairlab.backtesting.terms import terms_of
from pairlab.engine.validation import ObservationSettings
from pairlab.errors import DataError
from pairlab.research.analyze import label_of
from pairlab.research.past import Past, TakeRows, past_of, require_ratio
from pairlab.research.silence import NEVER, MaxSilence, limit_of
from pairlab.schema import NS_PER_S, Records
from pairlab.settings import SettingKwargs, Settings

__all__ = ["backtest", "daily_of", "evaluate", "evaluated", "missed_of", "run_of", "trades_of"]

_DAY_NS: Final = 86_400 * NS_PER_S
_SETTING_S_FEE: Final = Costs()


def backtest(
    data: object,
    *,
    pair: tuple[str, str] | None = None,
    costs: Costs = _SETTING_S_FEE,
    capital: float = 10_000.0,
    latency_s: float = 0.0,
    max_wait_s: float | None = None,
    lots: object = None,
    mark: object = None,
    label: str | None = None,
    max_silence: MaxSilence = "auto",
    selected_on: tuple[object, object] | None = None,
    **settings: Unpack[SettingKwargs],
) -> BacktestResult:
    """Trade the signal over past prices: the live engine decides, fills and costs are told here.

    Each leg of a decision is filled at its own first trade after it (of prices without an order of
    trades: at its own first observation later than the row), plus `latency_s`; never at a price
    that was carried forward. An entry of which a leg does not trade in time is missed, both legs
    or none; an exit waits as long as it takes. Quantities are fixed at the decision: y for
    `capital`, x for β.

    Parameters
    ----------
    data : DataFrame, tuple of Series, PairLab, Archive, or path(s)
        Ticks as `PairLab.ticks` gives them or two columns of prices; two Series, of y and of x; a
        lab, whose ticks are taken and whose settings are the defaults; `read_archive`'s archive, or
        paths that it reads.
    pair : tuple of str, optional
        Symbols of y and x in a frame that does not say which is y.
    costs : Costs, optional
        By default the setting ``fee_bps``, no slippage, and no funding.
    capital : float
        Notional of y of every trade, and equity at the start, in the quote currency.
    latency_s : float
        From a decision until its orders can be filled, s.
    max_wait_s : float, optional
        How long an entry waits after that for a trade of each leg, s. By default the setting
        ``max_leg_age_s``, or a bar's length where that is longer; of prices in regular steps, two
        steps where that is longer.
    lots : tuple of LotRule, optional
        Limits of the orders of y and of x, or a mapping from symbols: quantities are rounded down
        together, and an entry below a minimum is missed.
    mark : tuple of Series, optional
        Mark prices of y and x on which funding is charged; by default the last trades.
    label, max_silence
        As `pairlab.analyze` takes them.
    selected_on : tuple of timestamps, optional
        The period on which pair or thresholds were chosen: the result warns where the test overlaps
        it.
    **settings
        As for `PairLab`.

    Returns
    -------
    BacktestResult
        Trades, equity at every row, missed entries, and the figures.

    Raises
    ------
    SettingError
        For an unknown setting, a value out of range, or a negative cost.
    DataError
        For data that cannot be used, and funding that does not cover their span.

    Notes
    -----
    The ticks of a recording are read piece by piece, unless `max_silence` is a length of time, and
    what is kept of each row (some 100 bytes, 40 of which are the equity) lies in temporary files
    that the system maps, in the folder that ``TMPDIR`` names: memory grows with the trades alone.
    Any other data are in memory; beyond them it takes less than 100 bytes a row of prices.

    Examples
    --------
    >>> import pandas as pd
    >>> from pairlab import backtest
    >>> minutes = pd.date_range("2024-08-08", periods=60, freq="min", tz="UTC")
    >>> wave = pd.Series([(k * k) % 7 for k in range(60)], minutes, dtype=float)
    >>> x = pd.Series([2_400.0 + k % 3 for k in range(60)], minutes)
    >>> result = backtest(
    ...     (25 * x + wave, x), window=20, hedge_ratio=25.0, entry_z=1.2, min_correlation=-1.0
    ... )
    >>> bool(abs(result.trades["net"].sum() - result.metrics.net_profit) < 1e-6)
    True
    """
    # A silence that is too long for its leg is known at the end alone: nothing to stream.
    source = source_of(data, pair, stream=limit_of(max_silence) in (None, NEVER))
    return evaluated(
        source, label, max_silence, dict(settings), costs, capital=capital, latency_s=latency_s,
        max_wait_s=max_wait_s, lots=lots, mark=mark, selected_on=selected_on,
    )  # fmt: skip


def evaluated(
    source: Source,
    label: str | None,
    max_silence: MaxSilence,
    settings: dict[str, Any],
    costs: Costs,
    *,
    capital: float,
    latency_s: float,
    max_wait_s: float | None,
    lots: object,
    mark: object,
    selected_on: tuple[object, object] | None,
) -> BacktestResult:
    """Run the engine, and fill and pay for its decisions; as `backtest`.

    Of a million rows only those are kept on which something was decided: the others are computed
    again if somebody asks for them.
    """
    checked = settings_of(source, settings)
    kept = DecidedRows(checked.timeframe, on_disk=source.recording is not None)
    past = run_of(source, label, max_silence, settings, kept.take)
    market = kept.market(past)
    again = functools.partial(_rows_again, source, label, max_silence, settings, market.events)
    return evaluate(
        source, past, market, again, costs, capital=capital, latency_s=latency_s,
        max_wait_s=max_wait_s, lots=lots, mark=mark, selected_on=selected_on,
    )  # fmt: skip


def _rows_again(
    source: Source,
    label: str | None,
    max_silence: MaxSilence,
    settings: dict[str, Any],
    events: Records,
) -> Records:
    """Return the rows of a run that made these events.

    Raises
    ------
    DataError
        If it does not any more: the data were changed.
    """
    market = market_of(run_of(source.loaded(), label, max_silence, settings))
    if not np.array_equal(market.events, events):
        raise DataError("the data of this backtest have been changed since: its rows are lost")
    return market.rows


def run_of(
    source: Source,
    label: str | None,
    max_silence: MaxSilence,
    settings: dict[str, Any],
    take: TakeRows | None = None,
) -> Past:
    """Run the engine over data, under the settings that they bring and those that are given."""
    checked = settings_of(source, settings)
    label = label_of(label, source.given)
    if source.recording is not None and take is not None:
        require_ratio(checked, source.given)
        return streamed_past(source.recording, source.given.pair, checked, take)
    return past_of(source.loaded().given, checked, label, limit_of(max_silence), take)


def settings_of(source: Source, settings: dict[str, Any]) -> Settings:
    """Return the settings of a run, checked for what its data are."""
    kind = Settings if source.given.ticks is not None else ObservationSettings
    return kind(**{**source.settings, **settings})


def evaluate(
    source: Source,
    past: Past,
    market: Market,
    rows: Callable[[], Records],
    costs: Costs,
    *,
    capital: float,
    latency_s: float,
    max_wait_s: float | None,
    lots: object,
    mark: object,
    selected_on: tuple[object, object] | None,
) -> BacktestResult:
    """Fill and pay for the decisions of a run, or for some; as `backtest`.

    Parameters
    ----------
    source : Source
        What was run.
    past : Past
        The run.
    market : Market
        Of the run, with the events that are traded.
    rows : callable
        Returns all rows of the market.
    costs, capital, latency_s, max_wait_s, lots, mark, selected_on
        As `backtest` takes them.
    """
    values, pair = market.values, source.given.pair
    terms = terms_of(
        market, pair, costs, capital=capital, latency_s=latency_s, max_wait_s=max_wait_s,
        lots=lots, mark=mark,
    )  # fmt: skip
    capital, fee_bps, wait_s = terms.capital, terms.fee_bps(values), terms.max_wait_s(values)
    fills, missed = fill(market, capital, terms.latency_ns, round(wait_s * 1e9), terms.lots)
    book = book_of(market, fills, capital, fee_bps, terms.slippage_bps, terms.funding, terms.marks)
    index = _utc(market.time_ns)
    equity = pd.DataFrame(
        {name: getattr(book, name) for name in
         ("equity", "realised", "unrealised", "fees", "funding")},
        index=index, copy=False,
    )  # fmt: skip
    daily = daily_of(equity["equity"])
    trades = trades_of(market, fills, book)
    turnover = sum(
        float(np.abs(quantity) @ (leg.entry_fill + np.where(leg.closed, leg.exit_fill, 0.0)))
        for quantity, leg in ((fills.y_quantity, book.y), (fills.x_quantity, book.x))
    )
    chosen_on = None if selected_on is None else (_moment(selected_on[0]), _moment(selected_on[1]))
    return BacktestResult(
        trades=trades,
        equity=equity,
        daily=daily,
        missed=missed_of(market, missed),
        metrics=metrics_of(equity["equity"], daily, trades, capital, len(missed.row), turnover),
        settings=values,
        costs={
            "capital": capital, "fee_bps": fee_bps, "slippage_bps": terms.slippage_bps,
            "latency_s": terms.latency_ns / NS_PER_S, "max_wait_s": wait_s,
            "marks": terms.marked_at,
        },
        data_report=_report(source, past, market, index, len(daily)),
        selected_on=chosen_on,
        funding_known=costs.funding is not None,
        pair=pair,
        events=market.events,
        rows_again=rows,
    )  # fmt: skip


def _moment(value: Any) -> pd.Timestamp:
    moment = pd.Timestamp(value)
    return moment.tz_localize("UTC") if moment.tz is None else moment.tz_convert("UTC")


def _utc(time_ns: NDArray[np.int64]) -> pd.DatetimeIndex:
    """Return an index of times without a copy of them: there may be more than memory holds."""
    return pd.DatetimeIndex(np.ascontiguousarray(time_ns), tz="UTC", copy=False, name="time")


def daily_of(equity: pd.Series[float]) -> pd.Series[float]:
    """Return the equity at the end of every UTC day, also of those without a row."""
    times = equity.index.asi8  # type: ignore[attr-defined]
    if not len(times):
        return equity.copy()
    days = np.arange(times[0] // _DAY_NS, times[-1] // _DAY_NS + 1)
    last = np.searchsorted(times, (days + 1) * _DAY_NS, side="left") - 1
    index = pd.DatetimeIndex((days * _DAY_NS).view("M8[ns]"), name="day").tz_localize("UTC")
    return pd.Series(equity.to_numpy()[last], index, name="equity")


def _report(
    source: Source, past: Past, market: Market, index: pd.DatetimeIndex, days: int
) -> DataReport:
    read = past.tick_count if past.observed is None else len(market.y.price) + len(market.x.price)
    return DataReport(
        source=source.name,
        start=index[0] if len(index) else None,
        end=index[-1] if len(index) else None,
        rows=len(market),
        warm_up_rows=market.warm_up,
        ticks=read,
        dropped=sum(past.engine.dropped.values()),
        gaps=market.gaps,
        days=days,
        market=source.market,
        simulated=source.simulated,
    )


def missed_of(market: Market, missed: Missed) -> pd.DataFrame:
    """Return the table of missed entries."""
    return pd.DataFrame(
        {
            "side": missed.side.astype(np.int8),
            "zscore": market.rows["zscore"][missed.event if market.by_event else missed.row],
            "reason": missed.reason,
        },
        index=_utc(market.time_ns[missed.row]),
    )


def trades_of(market: Market, fills: Fills, book: Book) -> pd.DataFrame:
    """Return the table of trades."""
    rows, y, x = market.rows, book.y, book.x
    entry, exit_ = fills.entry_row, fills.exit_row
    left = exit_ >= 0
    # Where their rows are.
    at_in, at_out = entry, np.where(left, exit_, 0)
    if market.by_event:
        at_in, at_out = fills.entry_event, np.maximum(fills.exit_event, 0)
    closed = y.closed & x.closed
    log = market.values.price_scale == "log"
    y_in, x_in = rows["y"][at_in], rows["x"][at_in]
    with np.errstate(divide="ignore", invalid="ignore"):
        held = -fills.x_quantity / fills.y_quantity * (x_in / y_in if log else 1.0)
    y_out, x_out = (rows[leg][at_out] if len(rows) else y_in for leg in "yx")
    times = {
        f"{what}_{leg}_time": _times(getattr(market, leg).time_ns, getattr(fills, f"{leg}_{what}"))
        for what in ("entry", "exit") for leg in "yx"
    }  # fmt: skip
    drift_in = fills.y_quantity * (y.entry - y_in) + fills.x_quantity * (x.entry - x_in)
    drift_out = fills.y_quantity * (y_out - y.exit) + fills.x_quantity * (x_out - x.exit)
    first = np.fmin(*(times[f"entry_{leg}_time"].view(np.int64) for leg in "yx"))
    ends = [times[f"exit_{leg}_time"] for leg in "yx"]
    end_ns = market.time_ns[-1] if len(market) else 0
    last = np.where(closed, np.maximum(*(e.view(np.int64) for e in ends)), end_ns)
    gross, slippage = y.gross + x.gross, y.slippage + x.slippage
    fees, funding = y.fees + x.fees, y.funding + x.funding
    distance = np.abs(rows["zscore"][at_in]) * rows["spread_std"][at_in]
    size = np.abs(fills.y_quantity)
    last_row = np.where(left, exit_, max(len(market) - 1, 0))
    return pd.DataFrame(
        {
            "side": fills.side.astype(np.int8),
            "entry_decided": _utc(market.time_ns[entry]),
            "entry_y_time": _utc(times["entry_y_time"].view(np.int64)),
            "entry_x_time": _utc(times["entry_x_time"].view(np.int64)),
            "exit_decided": _utc(_times(market.time_ns, np.where(left, exit_, -1)).view(np.int64)),
            "exit_y_time": _utc(times["exit_y_time"].view(np.int64)),
            "exit_x_time": _utc(times["exit_x_time"].view(np.int64)),
            "reason": _reasons(np.where(closed, fills.reason, 0)),
            "entry_z": rows["zscore"][at_in],
            "exit_z": np.where(left, rows["zscore"][at_out] if len(rows) else np.nan, np.nan),
            "hedge_ratio": rows["hedge_ratio"][at_in],
            "hedge_ratio_held": held,
            "half_life": rows["half_life"][at_in],
            "y_quantity": fills.y_quantity,
            "x_quantity": fills.x_quantity,
            "y_entry_price": y.entry_fill,
            "x_entry_price": x.entry_fill,
            "y_exit_price": np.where(y.closed, y.exit_fill, np.nan),
            "x_exit_price": np.where(x.closed, x.exit_fill, np.nan),
            "entry_leg_gap_s": _gap_s(times["entry_y_time"], times["entry_x_time"]),
            "exit_leg_gap_s": _gap_s(*ends),
            "entry_drift": drift_in,
            "exit_drift": np.where(closed, drift_out, np.nan),
            "edge": distance * size * (y_in if log else 1.0),
            "gross": gross,
            "slippage": slippage,
            "fees": fees,
            "funding": funding,
            "net": gross - slippage - fees + funding,
            "mae": book.mae,
            "mfe": book.mfe,
            "rows": last_row - entry,
            "held_s": (last - first) / NS_PER_S,
        },
        index=pd.RangeIndex(len(entry), name="trade"),
    )


def _reasons(numbers: NDArray[np.int64]) -> Any:
    """Return the words of numbers: taken from an array of few, as pandas reads every object."""
    if not len(numbers):
        return np.zeros(0, object)
    return pd.array(REASONS, dtype="str").take(numbers)


def _times(time_ns: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """Return the times at indexes; NaT where one is -1."""
    if not len(time_ns):
        return np.zeros(len(at), "M8[ns]")
    found = np.ascontiguousarray(time_ns[np.maximum(at, 0)]).view("M8[ns]").copy()
    found[at < 0] = np.datetime64("NaT")
    return found


def _gap_s(a: NDArray[np.datetime64], b: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Return the time between two fills, s; NaN where one is missing."""
    gap: NDArray[np.float64] = np.abs((a - b) / np.timedelta64(1, "s"))
    return gap
