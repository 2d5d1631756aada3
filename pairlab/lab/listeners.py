"""Callbacks of a lab's user, each isolated from the stream and from the others."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import re
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction, isgeneratorfunction
from typing import Any, Final, Protocol, TypeAlias

from pairlab.alerts import Alert
from pairlab.clock import SYSTEM_CLOCK, Clock
from pairlab.errors import SettingError
from pairlab.schema import LogLevel

__all__ = ["AlertCallback", "Listeners", "NumberedAlerts"]

AlertCallback: TypeAlias = Callable[[Alert], object]
"""A plain or a coroutine function that takes an alert."""

_Callback: TypeAlias = Callable[[Any], object]


class NumberedAlerts(Protocol):
    """A log of alerts, each with a number: a lab's `AlertLog`, or a board's."""

    @property
    def newest_number(self) -> int:
        """Number of the newest alert; 0 before the first."""

    def since(self, number: int) -> Sequence[Any]:
        """Return the alerts after that number that are kept, oldest first."""


_REPEAT_S: Final = 10.0  # a callback that raises again and again is named so often
_ALERTS_WAITING: Final = 1_000  # for one callback; the oldest go first
_CALL_TIMEOUT_S: Final = 60.0  # of one call for one alert
_STOP_TIMEOUT_S: Final = 5.0  # for what is being delivered when the lab stops
_ERROR_LENGTH: Final = 300

_URL: Final = re.compile(r"(\w+://)(?:[^\s/@'\"]*@)?([^\s/?#'\"]+)[^\s'\"]*")


class Listeners:
    """Functions of the user's, called after each batch of ticks and for each alert.

    What one raises is counted and logged: the stream and the other listeners are not affected.

    Parameters
    ----------
    log : callable
        Takes a level and a message for the event log.
    clock : Clock
        Source of the time.
    owner : str
        Who has them, in the event log: "lab" or "board".

    Attributes
    ----------
    errors : int
        How often a listener raised.
    """

    def __init__(
        self,
        log: Callable[[LogLevel, str], None],
        clock: Clock = SYSTEM_CLOCK,
        owner: str = "lab",
    ) -> None:
        self.errors = 0
        self._owner = owner
        self._log = log
        self._clock = clock
        self._functions: dict[object, Callable[[], object]] = {}
        self._running: dict[object, asyncio.Task[None]] = {}  # listeners that await something
        self._missed: set[object] = set()  # of those, the ones to call again
        self._subscribers: dict[object, _Subscriber] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_alert = 0  # number of the last alert that was handed out
        self._noted_s: dict[str, float] = {}  # when each was last named, by its name

    def __len__(self) -> int:
        return len(self._functions) + len(self._subscribers)

    # -- after each batch -----------------------------------------------------------------------

    def on_update(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have a function called after every batch of ticks and every rebuild.

        Parameters
        ----------
        listener : callable
            Called on the lab's loop, between two batches: a plain function must return at once.
            A coroutine function is awaited beside the stream; batches that come meanwhile make
            one more call. What it raises is counted (`PairLab.listener_errors`) and reported in
            the event log, and stops nothing.

        Returns
        -------
        callable
            Ends it; a second call does nothing.

        Raises
        ------
        SettingError
            If `listener` cannot be called.
        """
        return _add(self._functions, "listener", listener, listener, "without arguments")

    def notify(self) -> None:
        """Call every function of `on_update`."""
        for key, function in tuple(self._functions.items()):
            if self._running and key in self._running:
                self._missed.add(key)
                continue
            result = self.call(function)
            if result is not None and isawaitable(result):
                self._run_beside(key, function, result)

    def call(self, function: Callable[[], object]) -> object:
        """Return what a function of somebody else's returns; None if it raises, which is told."""
        try:
            return function()
        except BaseException as error:  # sys.exit() in a callback must not end the kernel
            self._note_error(function, error)
            return None

    def _run_beside(
        self, key: object, function: Callable[[], object], result: Awaitable[object]
    ) -> None:
        async def run() -> None:
            await self._isolated(function, result)
            while key in self._missed and key in self._functions:
                self._missed.discard(key)
                again = self.call(function)
                if isawaitable(again):
                    await self._isolated(function, again)

        def ended(_: asyncio.Task[None]) -> None:
            self._running.pop(key, None)
            self._missed.discard(key)

        if asyncio._get_running_loop() is None:  # a setting changed after the loop has ended
            if isinstance(result, Coroutine):
                result.close()
            return
        self._running[key] = task = self._start(run())
        task.add_done_callback(ended)

    # -- for each alert -------------------------------------------------------------------------

    def on_alert(self, callback: AlertCallback) -> Callable[[], None]:
        """Have a function called with each new alert, in order, one at a time.

        Parameters
        ----------
        callback : callable
            Takes a `pairlab.alerts.Alert`; its ``sentence`` and ``explain()`` say what happened. A
            coroutine function is awaited on the lab's loop, for 60 s at most. A plain one runs on
            a thread of its own, so that it may block; what it changes in the lab it hands to the
            lab's loop: ``lab.call_on_loop(lab.settings.update, …)``.

        Returns
        -------
        callable
            Ends it: nothing more is delivered. A second call does nothing.

        Raises
        ------
        SettingError
            If `callback` cannot be called.

        Notes
        -----
        No callback can stop the feed. What one raises is counted (`PairLab.listener_errors`) and
        reported in the event log, without the paths of URLs, where tokens stand. Up to 1,000
        alerts wait for a slow callback; then the oldest are left out, which the event log says.
        `PairLab.stop` waits up to 5 s for what is being delivered.

        Examples
        --------
        A message to Telegram, with the token that @BotFather gave you::

            import httpx
            def tell(alert):
                url = f"https://api.telegram.org/bot{TOKEN}/sendMessage"
                httpx.post(url, json={"chat_id": CHAT, "text": alert.sentence}).raise_for_status()
            lab.on_alert(tell)
        """
        return self.subscribe(callback)

    def subscribe(self, callback: Callable[..., object]) -> Callable[[], None]:
        """Do as `on_alert`, whatever an alert is in the logs that `deliver` is given."""
        subscriber = _Subscriber(callback)
        return _add(self._subscribers, "callback", callback, subscriber, "with an alert")

    def deliver(self, alerts: NumberedAlerts) -> None:
        """Hand the alerts that are new in a log to the functions of `on_alert`; on the loop."""
        newest = alerts.newest_number
        if newest == self._last_alert:
            return
        last, self._last_alert = self._last_alert, newest
        if not self._subscribers:
            return
        new = alerts.since(last)
        for key, subscriber in tuple(self._subscribers.items()):
            if left_out := subscriber.put(new):
                self._note(
                    subscriber.function,
                    f"is too slow: {left_out:,} alerts were not delivered to it",
                )
            if not subscriber.delivering:
                subscriber.delivering = True
                self._start(self._drain(key, subscriber))

    def skip(self, alerts: NumberedAlerts) -> None:
        """Count the alerts of a log as delivered."""
        self._last_alert = alerts.newest_number

    async def _drain(self, key: object, subscriber: _Subscriber) -> None:
        function = subscriber.function
        try:
            while subscriber.waiting and key in self._subscribers:
                alert = subscriber.waiting.popleft()
                if _is_async(function):
                    result = self.call(functools.partial(function, alert))
                else:
                    result = await self._call_in_thread(function, alert)
                if isawaitable(result):
                    await self._isolated(function, result)
        finally:
            subscriber.delivering = False

    async def _call_in_thread(self, function: _Callback, alert: object) -> object:
        """Call a function that may block; the daemon thread of one that hangs blocks no exit."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()
        context = contextvars.copy_context()  # what it prints goes to the cell that started the lab

        def end(result: object, error: BaseException | None) -> None:
            if not ended.done():
                ended.set_result((result, error))

        def run() -> None:
            result, error = None, None
            try:
                result = context.run(function, alert)
            except BaseException as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(end, result, error)

        threading.Thread(target=run, name=f"pairlab {_name(function)}", daemon=True).start()
        await asyncio.wait({ended}, timeout=_CALL_TIMEOUT_S)
        if not ended.done():
            self._note(function, f"has not returned for {_CALL_TIMEOUT_S:g} s; later alerts wait")
        result, error = await ended
        if error is not None:
            self._note_error(function, error)
        return result

    async def finish(self, caller: asyncio.Task[Any] | None) -> None:
        """Wait a little for what is under way, then cancel it, but for the task that asks for it.

        Parameters
        ----------
        caller : asyncio.Task or None
            May be a callback that stops the lab.
        """
        for task in set(self._running.values()) - {caller}:
            task.cancel()
        late = self._tasks - {caller}
        if late:
            _, late = await asyncio.wait(late, timeout=_STOP_TIMEOUT_S)
        for task in late:
            task.cancel()
        left = sum(len(subscriber.waiting) for subscriber in self._subscribers.values())
        if late:
            self._log(
                "warning",
                f"the {self._owner} stopped before callbacks of on_alert() had ended: "
                f"{len(late)} cancelled, {left:,} alerts not delivered",
            )
            await asyncio.wait(late, timeout=1.0)
        for subscriber in self._subscribers.values():
            subscriber.waiting.clear()

    # -- isolation ------------------------------------------------------------------------------

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(
            work, name="pairlab callback"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _isolated(self, function: Callable[..., object], result: Awaitable[object]) -> None:
        """Await what a callback returned."""
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S) as limit:
                await result
        except GeneratorExit:
            raise
        except BaseException as error:
            # A cancellation of its own making is an error of the callback's like any other.
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            if limit.expired():
                self._note(function, f"was cancelled: it had not ended after {_CALL_TIMEOUT_S:g} s")
            else:
                self._note_error(function, error)

    def _note_error(self, function: Callable[..., object], error: BaseException) -> None:
        self._note(function, f"raised {_shown(error)}")

    def _note(self, function: Callable[..., object], what: str) -> None:
        self.errors += 1
        name = _name(function)
        now_s = self._clock.monotonic_s()
        if now_s - self._noted_s.get(name, float("-inf")) >= _REPEAT_S:
            self._noted_s[name] = now_s
            self._log(
                "error",
                f"the callback {name} {what}; the stream continues "
                f"({self.errors:,} errors of callbacks so far)",
            )


class _Subscriber:
    """A function of `on_alert`, and the alerts that wait for it."""

    def __init__(self, function: _Callback) -> None:
        self.function = function
        self.waiting: deque[Any] = deque(maxlen=_ALERTS_WAITING)
        self.delivering = False

    def put(self, alerts: Iterable[Any]) -> int:
        """Add alerts; return how many older ones left for them."""
        before, added = len(self.waiting), 0
        for alert in alerts:
            self.waiting.append(alert)
            added += 1
        return before + added - len(self.waiting)


def _add(
    to: dict[object, Any], parameter: str, function: object, entry: Any, called: str
) -> Callable[[], None]:
    if not callable(function):
        raise SettingError(parameter, function, f"expected a function that is called {called}")
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise SettingError(
            parameter, function, "it yields, so that a call of it does nothing: expected a plain "
            "or an async function",
        )  # fmt: skip
    key = object()  # the same function may be added twice
    to[key] = entry

    def remove() -> None:
        to.pop(key, None)

    return remove


def _is_async(function: Callable[..., object]) -> bool:
    call = getattr(type(function), "__call__", None)  # noqa: B004  # the method, not whether
    return iscoroutinefunction(function) or iscoroutinefunction(call)


def _name(function: Callable[..., object]) -> str:
    if isinstance(function, functools.partial):
        return _name(function.func)
    try:
        return str(getattr(function, "__qualname__", function))
    except Exception:
        return type(function).__name__


def _shown(error: BaseException) -> str:
    """Return an error in short, without what follows the host in a URL: tokens stand there."""
    try:
        text = repr(error)
    except Exception:
        text = type(error).__name__
    text = _URL.sub(r"\1\2/…", text)
    return text if len(text) <= _ERROR_LENGTH else text[: _ERROR_LENGTH - 1] + "…"
