"""The dashboard's server: Voila for one notebook, on a socket that listens already."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import threading
import warnings
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from jupyter_core.utils import run_sync
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from traitlets.config.loader import Config
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from pairlab.app.request_router import GuardedRouter
from pairlab.app.visitor_kernels import VisitorChannel, VisitorPage
from pairlab.app.voila_config import voila_settings

__all__ = ["DashboardServer", "serve_dashboard"]


def serve_dashboard(
    notebook: Path,
    listener: socket.socket,
    announce: Callable[[str], None],
    *,
    open_browser: bool,
    stoppable: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> None:
    """Serve a notebook as a page until Ctrl-C or SIGTERM.

    Parameters
    ----------
    notebook : Path
        Each visitor gets a kernel of its own that runs it.
    listener : socket
        Bound to loopback.
    announce : callable
        Called once with what to tell the user, when pages are served.
    open_browser : bool
        Whether to show the page in the user's browser.
    stoppable : callable
        Called once, when pages are served, with a function that ends it from any thread.
    """
    # Nothing that IPython would keep in the home folder is the app's.
    warnings.filterwarnings("ignore", "IPython parent", UserWarning)
    server = DashboardServer.instance(config=Config(voila_settings()))
    server.listener, server.announce = listener, announce
    server.open_browser, server.stoppable = open_browser, stoppable
    server.initialize([str(notebook)])
    server.start()


@contextlib.contextmanager
def _stopped_by_signals(loop: IOLoop) -> Iterator[None]:
    """Stop the loop by Ctrl-C or SIGTERM; a second Ctrl-C interrupts whatever runs.

    A KeyboardInterrupt that is raised where exceptions are ignored (a finalizer, a callback of
    somebody's) is lost: the server would run on.
    """

    def stop(number: int, _: object) -> None:
        signal.signal(number, before[number])
        loop.asyncio_loop.call_soon_threadsafe(loop.stop)  # type: ignore[attr-defined]

    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            before = {int(one): signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


class DashboardServer(Voila):  # type: ignore[misc]
    """Voila behind `GuardedRouter`, whose terminal shows errors only."""

    listener: socket.socket
    announce: Callable[[str], None]
    stoppable: Callable[[Callable[[], None]], None]

    def init_settings(self) -> dict[str, Any]:
        """Return Voila's settings; the app's own notebook counts as trusted."""
        # Looking for kernels, IPython makes this folder: the user's home may be read-only.
        os.environ["IPYTHONDIR"] = f"{self.connection_dir}/ipython"
        settings: dict[str, Any] = super().init_settings()
        notary = self.contents_manager.notary
        notary.sign(nbformat.read(self.notebook_path, as_version=4))  # type: ignore[no-untyped-call]
        return settings

    def init_handlers(self) -> list[Any]:
        """Return Voila's handlers, with the page's replaced."""
        ours = {TornadoVoilaHandler: VisitorPage, VoilaKernelWebsocketHandler: VisitorChannel}
        return [
            (pattern, ours.get(handler, handler), *rest)
            for pattern, handler, *rest in super().init_handlers()
        ]

    def listen(self) -> None:
        """Serve on the given socket until the loop is stopped."""
        # Refusals and missing files are the visitors' business, not the operator's.
        logging.getLogger("tornado").setLevel(logging.ERROR)
        self.port = self.listener.getsockname()[1]
        server = HTTPServer(GuardedRouter(self.app))
        server.add_socket(self.listener)
        self.ioloop = IOLoop.current()
        url = f"http://127.0.0.1:{self.port}/"
        loop = self.ioloop
        with _stopped_by_signals(loop):  # from the moment at which it is said that Ctrl-C stops it
            self.announce(f"the dashboard is running at {url}  (Ctrl-C stops it)")
            if self.open_browser:
                threading.Thread(target=self._show, args=(url,), daemon=True).start()
            self.stoppable(lambda: loop.add_callback(loop.stop))
            loop.start()
        server.stop()
        self.stop()

    def stop(self) -> None:
        """End all kernels."""
        run_sync(self.kernel_manager.shutdown_all)()
        shutil.rmtree(self.connection_dir, ignore_errors=True)

    def _show(self, url: str) -> None:
        try:
            shown = webbrowser.open(url)
        except webbrowser.Error:
            shown = False
        if not shown:
            self.announce("no browser was found: open the address yourself")
