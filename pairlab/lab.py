"""PairLab: one feed into one engine into history and alerts, on the notebook's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from collections.abc import Coroutine, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from pairlab.alerts import Alert, AlertLog, Snapshot
from pairlab.csvs import frame_csv, ticks_csv
from pairlab.errors import MissingExtraError, PairlabError, SettingError
from pairlab.health import Health
from pairlab.history import Ring, bars_frame, csv_pieces, rows_frame, ticks_frame
from pairlab.life import LabLife
from pairlab.lookup import between_ns, inside, row_at, selected_ns, span_ns

if TYPE_CHECKING:
    from pairlab.services.server import RestServer
    from pairlab.widgets.dashboard import Dashboard, LayoutSpec, ThemeName

__all__ = ["PairLab", "What"]

What = Literal["history", "ticks", "alerts"]
"""What can be written to a file."""


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

    _selected_ns: tuple[int, int] | None = None

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

    @property
    def newest_ns(self) -> int:
        """Exchange time of the newest tick in `latest`, ns since 1970 UTC; 0 before the first."""
        return 0 if self._pipeline.engine is None else self._pipeline.engine.newest_ns

    def history(self, last: int | None = None) -> pd.DataFrame:
        """Return the newest `last` rows (all by default) as a DataFrame indexed by UTC time.

        Nothing is copied: the frame is a picture of its moment that later rows do not change.
        """
        return rows_frame(self.rows.view(last))

    def between(self, start: Any = None, end: Any = None) -> pd.DataFrame:
        """Return the rows of `history` from `start` to `end`, both included.

        Parameters
        ----------
        start, end : str, datetime, numpy.datetime64, pandas.Timestamp, int or None
            UTC where no zone is named; an int is in ns; None is open.

        Raises
        ------
        DataError
            If one is no moment in time, or `end` is before `start`.
        """
        return rows_frame(between_ns(self.rows.view(), *span_ns(start, end)))

    def at(self, when: Alert | Any) -> pd.Series[Any]:
        """Return the row of `history` that an alert was decided on, or that stood at a moment.

        Parameters
        ----------
        when : Alert or moment
            An alert of `alert_log`; or a moment as `between` takes it, for the last row up to it.

        Returns
        -------
        pandas.Series
            The row, named by its time; the index holds the columns of `history`.

        Raises
        ------
        DataError
            If that row is no longer held, was computed anew under other settings since, or there
            was none yet. An alert's own numbers stay in ``alert.at`` and ``alert.explain()``.
        """
        return rows_frame(row_at(self.rows, when)).iloc[0]

    @property
    def selection(self) -> pd.DataFrame:
        """The rows selected with the mouse on a chart, or with `select`; none: an empty frame.

        The columns are those of `history`; rows that have left the history are not in it.
        """
        rows = self.rows.view()
        if self._selected_ns is None:
            return rows_frame(rows[:0])
        return rows_frame(between_ns(rows, *self._selected_ns))

    @property
    def selected_ns(self) -> tuple[int, int] | None:
        """Both ends of the selected span, ns since 1970 UTC; None: nothing is selected."""
        return self._selected_ns

    def select(self, start: Any = None, end: Any = None) -> None:
        """Select a span of time on the charts, as a drag with the mouse does; without, none.

        Parameters
        ----------
        start, end : moments
            As `between` takes them; one alone leaves the other end where the history has it now.

        Raises
        ------
        DataError
            If one is no moment in time, `end` is before `start`, or one alone lies outside of the
            history. What was selected stays so.
        """
        self._selected_ns = selected_ns(self.rows.view(), start, end)

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

    def to_csv(
        self,
        target: str | os.PathLike[str] | IO[str],
        what: What = "history",
        start: Any = None,
        end: Any = None,
    ) -> None:
        """Write the history to a file, in pieces; the numbers read back are the same ones.

        Parameters
        ----------
        target : path or text file
            Where to. Times are ISO 8601 UTC, NaN is an empty field.
        what : {"history", "ticks", "alerts"}
            Which table: the columns of the method of that name.
        start, end : moments, optional
            Only what is between them, as in `between`.
        """
        pieces = self.csv_pieces(what, start, end)
        with contextlib.ExitStack() as stack:
            if isinstance(target, str | os.PathLike):
                target = stack.enter_context(open(target, "w", encoding="utf-8", newline=""))
            for text in pieces:
                target.write(text)

    def csv_bytes(self, what: What = "history", start: Any = None, end: Any = None) -> bytes:
        """Return what `to_csv` writes; any thread may call it for the history and the ticks."""
        out = io.BytesIO()
        for text in self.csv_pieces(what, start, end):
            out.write(text.encode())
        return out.getvalue()

    def csv_pieces(
        self, what: What = "history", start: Any = None, end: Any = None
    ) -> Iterator[str]:
        """Return what `to_csv` writes, piece by piece: a picture of this moment.

        The pieces may be made on any thread.
        """
        if what not in get_args(What):
            raise SettingError("what", what, f"one of {', '.join(map(repr, get_args(What)))}")
        first, last = span_ns(start, end)
        if what == "history":
            return csv_pieces(between_ns(self.rows.view(), first, last))
        if what == "ticks":
            ticks = self._pipeline.ticks.view()
            return ticks_csv(inside(ticks, ticks["time_ns"], first, last), self.pair)
        alerts = self.alerts()
        times = pd.DatetimeIndex(alerts.index).as_unit("ns").asi8
        return iter([frame_csv(inside(alerts, times, first, last))])

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

    # -- other programs -------------------------------------------------------------------------

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        token: str | None = None,
        allowed_hosts: Iterable[str] = (),
        requests_per_s: float = 500.0,
        changes_per_s: float = 5.0,
    ) -> RestServer:
        """Serve the analytics over REST, on this loop, until the lab ends.

        Parameters
        ----------
        host : str
            What to listen on. Beyond this machine, reading needs the token, too.
        port : int
            0 finds a free one.
        token : str, optional
            What changes need; by default from ``PAIRLAB_TOKEN``, or made and printed once.
        allowed_hosts : iterable of str
            Names by which clients may call this machine, beside ``localhost`` and addresses.
        requests_per_s, changes_per_s : float
            Most that one client may ask and try to change, in the long run.

        Raises
        ------
        MissingExtraError
            Without ``pip install "pairlab[api]"``.
        PairlabError
            If the lab is not started, or the port is in use.
        """
        import asyncio

        if self._main is None or self.loop is not asyncio.get_running_loop():
            raise PairlabError("serve() needs a started lab, on its own loop: call start() first")
        # The imports read files: not on the loop that ticks come on.
        server = (await asyncio.to_thread(_rest_server))(self, host, port)
        if self._before:  # the lab that this one replaces may still hold the port
            await asyncio.wait(self._before)
        if self._main is None:
            raise PairlabError("the lab was stopped before it could be served")
        await server.start(
            token=token, allowed_hosts=allowed_hosts,
            requests_per_s=requests_per_s, changes_per_s=changes_per_s,
        )  # fmt: skip
        self._services.append(server)
        return server

    # -- the screen -----------------------------------------------------------------------------

    def dashboard(self, layout: LayoutSpec = "auto", theme: ThemeName = "dark") -> Dashboard:
        """Return the dashboard of a layout and theme; every call with the same gives the same one.

        All dashboards of a lab share their parts: each is painted and sent once, however many
        views show it. For `layout` and `theme` see `pairlab.widgets.Dashboard`.
        """
        from pairlab.widgets.dashboard import Dashboard

        return Dashboard(self, layout, theme)

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


def _rest_server() -> type[RestServer]:
    try:
        from pairlab.services.server import RestServer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "api") from None
    return RestServer
