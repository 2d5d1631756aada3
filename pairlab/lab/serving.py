"""A lab served over REST, on its own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pairlab.errors import MissingExtraError, PairlabError
from pairlab.lab.runner import LabRunner

if TYPE_CHECKING:
    from pairlab.lab.pair_lab import PairLab
    from pairlab.services.rest.server import RestServer

__all__ = ["Serving", "rest_server"]


class Serving:
    """Serves a lab; its servers end with it.

    Parameters
    ----------
    lab : PairLab
        What is served.
    runner : LabRunner
        Of the lab.
    """

    def __init__(self, lab: PairLab, runner: LabRunner) -> None:
        self._lab: Final = lab
        self._runner: Final = runner

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
        if not self._runner.started or self._runner.loop is not asyncio.get_running_loop():
            raise PairlabError("serve() needs a started lab, on its own loop: call start() first")
        # The imports read files: not on the loop that ticks come on.
        server = (await asyncio.to_thread(rest_server))(self._lab, host, port)
        await self._runner.wait_replaced()
        if not self._runner.started:
            raise PairlabError("the lab was stopped before it could be served")
        await server.start(
            token=token, allowed_hosts=allowed_hosts,
            requests_per_s=requests_per_s, changes_per_s=changes_per_s,
        )  # fmt: skip
        if not self._runner.started:  # stopped meanwhile: nobody would stop the server
            await server.stop()
            raise PairlabError("the lab was stopped before it could be served")
        self._runner.add_service(server)
        return server


def rest_server() -> type[RestServer]:
    """Return the server's class, which takes time to import.

    Raises
    ------
    MissingExtraError
        Without ``pip install "pairlab[api]"``.
    """
    try:
        from pairlab.services.rest.server import RestServer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "api") from None
    return RestServer
