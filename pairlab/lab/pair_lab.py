"""PairLab: one feed into one engine into history and alerts, on the notebook's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from pairlab.errors import MissingExtraError, PairlabError
from pairlab.lab.queries import Queries, Table

if TYPE_CHECKING:
    from pairlab.services.rest.server import RestServer
    from pairlab.widgets.dashboard import Dashboard, LayoutSpec, ThemeName

__all__ = ["PairLab", "Table"]


class PairLab(Queries):
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

    def wait(self, rows: int = 1, timeout_s: float = 30.0) -> None:
        """Block this cell, not the stream, until there are rows.

        Parameters
        ----------
        rows : int
            How many, counted since the lab was made.
        timeout_s : float
            How long to wait at most.

        Raises
        ------
        WaitTimeoutError
            After `timeout_s` seconds, saying how many there are.
        FeedError
            If the feed fails meanwhile.
        PairlabError
            If the lab is not started.
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

        Returns
        -------
        RestServer
            Its ``url`` and ``token``.

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

        Parameters
        ----------
        layout : str or sequence
            ``"auto"``, ``"compact"``, ``"wide"``, or rows of part names, as
            `pairlab.widgets.Dashboard` takes them.
        theme : {"dark", "light", "jupyterlab"}
            Colours.

        Returns
        -------
        Dashboard
            All of a lab share their parts: each is painted and sent once, however many show it.

        Raises
        ------
        SettingError
            If there is no such layout, part or theme.
        """
        from pairlab.widgets.dashboard import Dashboard

        return Dashboard.shared(self, layout, theme)

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
        from pairlab.services.rest.server import RestServer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "api") from None
    return RestServer
