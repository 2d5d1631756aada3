"""What the terminal of `pairlab live` is told of the exchange, from before the page is served."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Final

from pairlab.errors import PairlabError
from pairlab.feeds.binance.reachability import find_problem
from pairlab.feeds.binance.venue import LIVE_URL
from pairlab.schema import Pair

__all__ = ["ExchangeWatch"]

_EVERY_S: Final = 30.0
_PATIENCE_S: Final = 1.0  # an exchange that can be reached has answered by then, usually


class ExchangeWatch:
    """Asks the exchange, in a thread of its own, whether it answers and has the symbols.

    It delays nothing: without a network the page is served all the same. What changes is told
    once, each time that it does.

    Parameters
    ----------
    pair : Pair
        Symbols that must be listed.
    say : callable
        Takes a line for the terminal.
    url : str
        Of the stream.
    every_s : float
        Between two questions.
    """

    def __init__(
        self,
        pair: Pair,
        say: Callable[[str], None],
        url: str = LIVE_URL,
        every_s: float = _EVERY_S,
    ) -> None:
        self._pair, self._say, self._url, self._every_s = pair, say, url, every_s
        self._error: PairlabError | None = None
        self._ended: Callable[[], None] = lambda: None
        self._first = threading.Event()
        # Without a factory the runner makes its loop the main thread's own, which the server runs.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="pairlab exchange", daemon=True)

    def __enter__(self) -> ExchangeWatch:
        self._runner.get_loop()  # made here: it can be told to stop at any time
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._runner.get_loop().call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def refuse(self, patience_s: float = _PATIENCE_S) -> None:
        """Raise what makes every page useless, if it is known by now or soon.

        Raises
        ------
        UnknownSymbolError
            For a symbol that is not listed.
        NetworkSetupError
            For a proxy or certificate of the environment that cannot be used.
        """
        self._first.wait(patience_s)
        if self._error is not None:
            raise self._error

    def when_refused(self, function: Callable[[], None]) -> None:
        """Call a function, on the watch's thread, as soon as `refuse` would raise."""
        self._ended = function
        if self._error is not None:
            function()

    def _run(self) -> None:
        try:
            with self._runner as runner:
                runner.run(self._watch())
        except PairlabError as error:
            self._error = error
            self._ended()
        finally:
            self._first.set()

    async def _watch(self) -> None:
        told = ""
        pair: Pair | None = self._pair
        while not self._stop.is_set():
            looking = asyncio.ensure_future(find_problem(self._url, pair=pair))
            stopping = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not looking.done():
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
                return
            problem = looking.result()
            if problem and not told:
                self._say(
                    f"{problem} The page is served all the same, and tries again every 30 s or "
                    "sooner"
                )
            elif told and not problem:
                self._say("the exchange answers again")
            if not problem:
                pair = None  # its symbols were looked at
            told = problem
            self._first.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._stop.wait()
