"""PairLab: one feed into one engine into history and alerts, on the notebook's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from collections.abc import Coroutine
from typing import IO, TYPE_CHECKING, Any

import pandas as pd

from pairlab.alerts import AlertLog, Snapshot
from pairlab.errors import PairlabError
from pairlab.health import Health
from pairlab.history import Ring, bars_frame, csv_pieces, rows_frame, ticks_frame
from pairlab.life import LabLife

if TYPE_CHECKING:
    from pairlab.widgets.dashboard import Dashboard

__all__ = ["PairLab"]


class PairLab(LabLife):
    """Live analytics of one pair: stream in; dashboard, DataFrames and alerts out.

    Parameters
    ----------
    y, x : str
        Symbols as the exchange spells them. ``y`` is bought when the spread is bought.
    feed : str, os.PathLike, sequence of paths or Feed
        ``"binance"`` (live), ``"demo"`` (the embedded exchange with a synthetic market), a
        recording's path or paths, a ``ws://`` or ``wss://`` URL that speaks Binance's protocol,
        or an object with the methods of `pairlab.feeds.base.Feed`.
    stream : {"aggTrade", "trade", "bookTicker"}, optional
        What a tick is. By default ``aggTrade``; for a recording, what it holds.
    **settings
        Any setting, see `pairlab.settings.SETTINGS`.

    Raises
    ------
    SettingError
        If a setting is unknown, out of range or contradicts another.

    Examples
    --------
    In a notebook::

        lab = PairLab("BTCUSDT", "ETHUSDT", feed="demo")
        lab.start()
        lab
    """

    _dashboard: Dashboard | None = None

    # -- what is known --------------------------------------------------------------------------

    @property
    def rows(self) -> Ring:
        """The rows as records of `pairlab.ROW`; `history` is the DataFrame of them."""
        return self._pipeline.rows

    @property
    def generation(self) -> int:
        """Changes whenever the rows were computed anew under other settings."""
        return self._pipeline.generation

    @property
    def alert_log(self) -> AlertLog:
        """Alerts and setting changes as objects; `alerts` is the DataFrame of them."""
        return self._pipeline.alert_log

    @property
    def stream(self) -> str:
        """The stream in use."""
        return self._stream

    def latest(self) -> Snapshot | None:
        """Return the newest row (at bar timeframes: the forming bar, provisional), or None."""
        return self._pipeline.latest()

    def history(self, last: int | None = None) -> pd.DataFrame:
        """Return the newest `last` rows (all by default) as a DataFrame indexed by UTC time.

        Nothing is copied: the frame is a picture of its moment that later rows do not change.
        """
        return rows_frame(self.rows.view(last))

    def ticks(self) -> pd.DataFrame:
        """Return the ticks held: symbol, id, price, quantity, buyer_is_maker, received; UTC."""
        return ticks_frame(self._pipeline.ticks.view(), self.pair)

    def bars(self, timeframe: str = "1m") -> pd.DataFrame:
        """Return the closed bars of any timeframe but "tick", indexed by their close time, UTC.

        Columns y_open, y_high, y_low, y_close, y_volume, and the same for x.
        """
        if self._pipeline.engine is None:
            raise PairlabError("there are no bars yet: the engine is still being made ready")
        return bars_frame(self._pipeline.engine.bars(timeframe))

    def alerts(self) -> pd.DataFrame:
        """Return the alert log as a DataFrame: alerts and setting changes, oldest first."""
        return self.alert_log.frame()

    def health(self) -> Health:
        """Return feed, engine and loop at this moment."""
        p = self._pipeline
        feed = self._feed.health() if self._feed is not None else self._state
        row_p50_ms, row_p99_ms = p.latency_ms.p50_p99()
        (t0, n0), (t1, n1) = (self._rates[0], self._rates[-1]) if self._rates else ((0, 0), (0, 0))
        last = p.rows.view(1)
        running = self._main is not None and not self._main.done()
        return Health(
            state=feed.state,
            detail=feed.detail,
            feed=self._name,
            real_money=self._real_money,
            stream=self.stream,
            ticks=feed.ticks,
            rows=p.made,
            dropped={**feed.dropped, **p.dropped()},
            reconnects=feed.reconnects,
            gaps=feed.gaps,
            missing=feed.missing,
            lag_ms=feed.lag_ms,
            lag_p50_ms=feed.lag_p50_ms,
            lag_p99_ms=feed.lag_p99_ms,
            row_p50_ms=row_p50_ms,
            row_p99_ms=row_p99_ms,
            ticks_per_s=(n1 - n0) / (t1 - t0) if running and t1 > t0 else 0.0,
            filled=int(last["filled"][0]) if len(last) else 0,
            window=self.settings.window,
            uptime_s=time.monotonic() - self._started_s if running else 0.0,
            memory_bytes=p.rows.nbytes + p.ticks.nbytes,
            loop_lag_ms=self._loop_lag_s * 1e3,
            late_ticks=0 if p.engine is None else p.engine.late,
            warnings=p.warnings(),
            bad_frames=feed.bad_frames,
        )

    # -- files and waiting ----------------------------------------------------------------------

    def to_csv(self, target: str | os.PathLike[str] | IO[str]) -> None:
        """Write the history to a file, in pieces; the numbers read back are the same ones.

        Parameters
        ----------
        target : path or text file
            Where to. Times are ISO 8601 UTC, NaN is an empty field.
        """
        rows = self.rows.view()
        with contextlib.ExitStack() as stack:
            if isinstance(target, str | os.PathLike):
                target = stack.enter_context(open(target, "w", encoding="utf-8", newline=""))
            for text in csv_pieces(rows):
                target.write(text)

    def csv_bytes(self) -> bytes:
        """Return what `to_csv` writes; any thread may call it."""
        out = io.BytesIO()
        for text in csv_pieces(self.rows.view()):
            out.write(text.encode())
        return out.getvalue()

    def wait(self, rows: int = 1, timeout_s: float = 30.0) -> None:
        """Block this cell, not the stream, until `rows` rows were made since the start.

        Raises
        ------
        WaitTimeoutError
            After `timeout_s` seconds, saying how many there are.
        FeedError
            If the feed fails meanwhile.
        """
        if self.loop is None or self._main is None:
            raise PairlabError("wait() needs a started lab: call start() first")
        _run_inside(self.loop, self.wait_async(rows, timeout_s))

    # -- the screen -----------------------------------------------------------------------------

    def dashboard(self) -> Dashboard:
        """Return the dashboard; every call gives the same one, so every view shares its cost."""
        from pairlab.widgets.dashboard import Dashboard

        if self._dashboard is None or self._dashboard.comm is None:  # none yet, or closed
            self._dashboard = Dashboard(self)
        return self._dashboard

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Show the dashboard where a notebook displays the lab."""
        return self.dashboard()._repr_mimebundle_(**kwargs)


def _run_inside(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` inside the running loop: the one place that does. The cell waits, tasks go on."""
    import nest_asyncio2

    nest_asyncio2.apply(loop)
    # The pass of the loop that runs this cell counted its handles beforehand. It may be asyncio's
    # own, begun before nest_asyncio2 came: it takes that many from the queue, found empty or not,
    # and the loop (in a notebook: the kernel) would die of an IndexError. Leave it as many.
    counted = len(loop._ready)  # type: ignore[attr-defined]
    try:
        loop.run_until_complete(work)
    finally:
        for _ in range(counted - len(loop._ready)):  # type: ignore[attr-defined]
            loop.call_soon(_nothing)


def _nothing() -> None:
    pass
