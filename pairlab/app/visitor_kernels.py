"""Kernels of the dashboard's visitors: each ends when its page is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Any, Final

from jupyter_server import CallContext
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError
from traitlets import Float
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

__all__ = [
    "ABANDONED_AFTER_S",
    "PING_SETTINGS",
    "VisitorChannel",
    "VisitorKernels",
    "VisitorPage",
]

ABANDONED_AFTER_S: Final = 60.0
"""A kernel without a page's connection is ended after this time.

A page that is closed ends its kernel at once. This is for one that could not: its browser was
killed, it never opened a connection, or the connection broke and the page did not come back.
"""

PING_SETTINGS: Final = {"ws_ping_interval": 15_000, "ws_ping_timeout": 45_000}
"""Milliseconds. A browser that answers no ping for the time-out counts as disconnected."""

_PROTOCOL: Final = "v1.kernel.websocket.jupyter.org"
_CHECKS_PER_TIMEOUT: Final = 20
_KERNEL_ARGUMENTS: Final = ("--IPKernelApp.log_level=ERROR", "--HistoryManager.enabled=False")
"""Not the warning that loopback sockets are not encrypted; no history, since nobody types."""


class VisitorPage(TornadoVoilaHandler):  # type: ignore[misc]
    """Serves the page; its kernel manager asks whether the visitor still receives it."""

    receiving = True

    def on_finish(self) -> None:
        """Note that the page has been sent."""
        self.receiving = False
        super().on_finish()

    def on_connection_close(self) -> None:
        """Note that the visitor left before the page was complete."""
        self.receiving = False
        super().on_connection_close()


class VisitorChannel(VoilaKernelWebsocketHandler):  # type: ignore[misc]
    """Connects a page to its kernel, by the protocol of the page alone.

    Voila reads a binary message of the older protocol as one of this: a loop of up to 2**64 steps,
    in which the server answers nobody. Jupyter falls back on that protocol for a client that does
    not offer this one, and for one that is being disconnected because it answers no ping.
    """

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer a refused client in a line: Jupyter's page needs what Voila does not set up."""
        self.finish(f"{status_code}: {self._reason}")

    async def pre_get(self) -> None:
        """Refuse a client that does not offer the protocol."""
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "")
        if _PROTOCOL not in (name.strip() for name in offered.split(",")):
            raise HTTPError(400, f"expected Sec-WebSocket-Protocol: {_PROTOCOL}")
        await super().pre_get()

    def send_ping(self) -> None:
        """Ping the page, unless its connection broke since the last ping."""
        with contextlib.suppress(WebSocketClosedError):
            super().send_ping()

    def write_message(self, message: bytes | dict[str, Any], binary: bool = False) -> Any:
        """Send a message of the kernel, unless the connection is being closed."""
        if self.ws_connection is None:
            raise WebSocketClosedError
        return super().write_message(message, binary)


class VisitorKernels(AsyncMappingKernelManager):
    """Ends kernels that no page has been connected to for `abandoned_after_s`.

    While a page is being sent, its visitor is there, however long the notebook takes.
    """

    abandoned_after_s = Float(ABANDONED_AFTER_S, config=True, help="Seconds without a page.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._pages: dict[str, VisitorPage] = {}
        self._alone_since_s: dict[str, float] = {}
        self._check = PeriodicCallback(
            self.end_abandoned, 1000 * self.abandoned_after_s / _CHECKS_PER_TIMEOUT
        )

    async def start_kernel(self, *, kernel_id: str | None = None, **kwargs: Any) -> str:  # type: ignore[override]
        """Start a kernel, on behalf of the page that is being handled."""
        kernel_id = kernel_id or self.new_kernel_id(**kwargs)
        page = CallContext.get(CallContext.JUPYTER_HANDLER)
        if isinstance(page, VisitorPage):
            self._pages[kernel_id] = page
        if not self._check.is_running():
            self._check.start()
        # The user's home folder may be read-only, and their startup files are not the app's.
        env = {**kwargs.pop("env", os.environ), "IPYTHONDIR": f"{self.connection_dir}/ipython"}
        return await super().start_kernel(
            kernel_id=kernel_id, extra_arguments=list(_KERNEL_ARGUMENTS), env=env, **kwargs
        )

    def notify_disconnect(self, kernel_id: str) -> None:
        """Count down from the moment at which the last connection closed."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        self._alone_since_s[kernel_id] = time.monotonic()

    async def end_abandoned(self) -> None:
        """End the kernels that have been without a page for too long."""
        now_s, running = time.monotonic(), set(self.list_kernel_ids())
        # A kernel that is starting has a page before it is among those that run.
        self._pages = {key: page for key, page in self._pages.items() if page.receiving}
        for kernel_id in self._alone_since_s.keys() - running:
            del self._alone_since_s[kernel_id]
        abandoned = []
        for kernel_id in running:
            if self._kernel_connections.get(kernel_id) or kernel_id in self._pages:
                self._alone_since_s.pop(kernel_id, None)
            elif now_s - self._alone_since_s.setdefault(kernel_id, now_s) >= self.abandoned_after_s:
                abandoned.append(kernel_id)
        # Together: one that does not answer is killed after 5 s, and must not hold up the others.
        await asyncio.gather(*map(self._end, abandoned))

    async def _end(self, kernel_id: str) -> None:
        try:
            await self.shutdown_kernel(kernel_id)  # type: ignore[no-untyped-call]
        except Exception as error:
            if kernel_id in self:
                self.log.error("kernel %s could not be ended: %s", kernel_id, error)
