"""A lab for other programs: served over REST, on its own loop; its alerts posted to a webhook."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pairlab.data.origin import Origin
from pairlab.errors import MissingExtraError, PairlabError
from pairlab.lab.runner import LabRunner

if TYPE_CHECKING:
    from pairlab.lab.pair_lab import PairLab
    from pairlab.services.orders.webhook import WebhookBroker
    from pairlab.services.rest.server import RestServer

__all__ = ["Serving", "rest_server"]


class Serving:
    """Serves a lab, and posts its alerts; both end with it.

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

    def webhook(
        self,
        url: str,
        *,
        secret: str | None = None,
        dead_letters: str | os.PathLike[str] = "webhook-dead-letters.ndjson",
        give_up_s: float = 3_600.0,
    ) -> WebhookBroker:
        """Post each alert from now on to an address, signed, until the lab stops.

        Alerts are sent in order, one at a time, each until the receiver takes it (HTTP 2xx, or 409
        for one that it has), with ever longer pauses. The README has a receiver's check in ten
        lines. Up to 10,000 wait; those of one batch of ticks, as for `on_alert`, up to 1,000.

        Parameters
        ----------
        url : str
            ``https://…``. Messages name its host alone: paths carry tokens.
        secret : str, optional
            That the receiver has, too, 16 characters or more; by default from
            ``PAIRLAB_WEBHOOK_SECRET``.
        dead_letters : path
            A line of JSON for each message that was refused (any other answer but HTTP 408, 425,
            429 and 5xx; redirections are not followed), or not taken in time.
        give_up_s : float
            How long each is tried for.

        Returns
        -------
        WebhookBroker
            ``delivered``, ``waiting``, ``dead``, ``last_error``, and ``stop()``.

        Raises
        ------
        SettingError
            If the address is none, or the secret missing or short.
        """
        lab = self._lab
        broker = webhook_broker()(
            lab, url, origin=lambda: Origin.of(lab.pair, lab.health(), lab.row_settings),
            session=self._runner.pipeline.session, clock=self._runner.clock, secret=secret,
            dead_letters=dead_letters, give_up_s=give_up_s,
        )  # fmt: skip
        self._runner.add_service(broker)
        return broker


def webhook_broker() -> type[WebhookBroker]:
    """Return the class of what posts alerts."""
    from pairlab.services.orders.webhook import WebhookBroker

    return WebhookBroker


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
