"""A board served over REST, on its own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pairlab.errors import PairlabError
from pairlab.lab.serving import rest_server

if TYPE_CHECKING:
    from pairlab.board.board import Board
    from pairlab.board.runner import BoardRunner
    from pairlab.services.rest.server import RestServer

__all__ = ["BoardServing"]


class BoardServing:
    """Serves a board; its servers end with it.

    Parameters
    ----------
    board : Board
        What is served.
    runner : BoardRunner
        Of the board.
    """

    def __init__(self, board: Board, runner: BoardRunner) -> None:
        self._board: Final = board
        self._runner: Final = runner

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        token: str | None = None,
        allowed_hosts: Iterable[str] = (),
        requests_per_s: float = 500.0,
    ) -> RestServer:
        """Serve all pairs over REST, on this loop, until the board ends; nothing can be changed.

        ``/pairs`` is the table; ``/analytics/latest``, ``/analytics/stats``, its ``/csv``,
        ``/pairs/alerts`` and ``/pairs/health`` take ``?pair=BTCUSDT/ETHUSDT``; ``/alerts`` and
        ``/health`` are the board's. ``/docs`` shows them.

        Parameters
        ----------
        host : str
            What to listen on. Beyond this machine, reading needs the token.
        port : int
            0 finds a free one.
        token : str, optional
            By default from ``PAIRLAB_TOKEN``, or made and printed once.
        allowed_hosts : iterable of str
            Names by which clients may call this machine, beside ``localhost`` and addresses.
        requests_per_s : float
            Most that one client may ask, in the long run.

        Returns
        -------
        RestServer
            Its ``url``.

        Raises
        ------
        MissingExtraError
            Without ``pip install "pairlab[api]"``.
        PairlabError
            If the board is not started, or the port is in use.
        """
        runner = self._runner
        if not runner.running or runner.loop is not asyncio.get_running_loop():
            raise PairlabError("serve() needs a started board, on its own loop: call start() first")
        # The imports read files: not on the loop that ticks come on.
        server = (await asyncio.to_thread(rest_server))(self._board, host, port)
        await server.start(
            token=token, allowed_hosts=allowed_hosts, requests_per_s=requests_per_s,
            changes_per_s=1.0,
        )  # fmt: skip
        if not runner.running:  # stopped meanwhile: nobody would stop the server
            await server.stop()
            raise PairlabError("the board was stopped before it could be served")
        runner.services.append(server)
        return server
