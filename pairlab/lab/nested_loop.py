"""Waiting for a lab from code that cannot await: inside a running loop, or from another thread.

The loop that a cell waits inside of also runs the feed and the screen. A `KeyboardInterrupt` that
is raised at any instant of it would tear one of their steps, so that the notebook's stop button
only ends the waiting: the signal cancels a task, and the cell gets its `KeyboardInterrupt` when
the loop is whole again. For loops that the cell runs inside by itself, see `guard_cells`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final, TypeAlias, TypeVar

from pairlab.errors import PairlabError, WaitTimeoutError

__all__ = ["guard_cells", "run_beside", "run_inside", "run_on"]

T = TypeVar("T")

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_INSIST: Final = 3  # interrupts of one wait, after which the loop is taken to hang
_LOOK_S: Final = 0.25  # how often another thread sees whether the loop still runs
_LONGEST_S: Final = 86_400.0  # of work on files; it is waited for, and the cell can be interrupted
_GRACE_S: Final = 5.0  # beyond a wait's own timeout, for a loop that does not answer

_ENDED: Final = "the lab's event loop has ended: no more rows will come"
_ELSEWHERE: Final = (
    "the lab was started on another event loop, which does not run: stop it there, and start() it "
    "on this one"
)


def run_inside(loop: asyncio.AbstractEventLoop, work: Work, timeout_s: float) -> None:
    """Run `work` on a lab's loop and return when it has ended; the loop's other tasks go on.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        May run here, in another thread, or not at all.
    work : callable
        Makes the coroutine, once it is certain that it will be awaited.
    timeout_s : float
        That `work` keeps itself.

    Raises
    ------
    PairlabError
        Where the loop cannot be waited for, with what can be done instead.
    KeyboardInterrupt
        If the cell is interrupted meanwhile.
    """
    here = asyncio._get_running_loop()
    if loop.is_closed():
        raise PairlabError("the lab's event loop is closed: start() the lab in one that runs")
    if loop.is_running() and here is not loop:
        _run_from_thread(loop, work, timeout_s)
        return
    if here is not loop and here is not None:
        raise PairlabError(_ELSEWHERE)
    interrupts = _Interrupts(loop)
    counted = 0
    try:
        if here is loop:
            _make_reentrant(loop)
            # The pass of the loop that runs this cell counted its handles beforehand. It may be
            # asyncio's own, begun before nest_asyncio2 came: it takes that many from the queue,
            # found empty or not, and the loop (in a notebook: the kernel) would die of an
            # IndexError. Leave it as many.
            counted = len(loop._ready)  # type: ignore[attr-defined]
        interrupts.task = task = loop.create_task(work(), name="pairlab wait")
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        if not interrupts.count:
            raise
    finally:
        if counted:
            for _ in range(counted - len(loop._ready)):  # type: ignore[attr-defined]
                loop.call_soon(_nothing)
        interrupts.end()


def run_beside(work: Callable[[], T]) -> T:
    """Return what `work` returns, run on a thread while the loop that runs here, if any, goes on.

    In a loop that cannot run inside itself (uvloop) it is run at once, and the loop waits.
    """
    loop = asyncio._get_running_loop()
    if loop is None:
        return work()
    try:
        _make_reentrant(loop)
    except PairlabError:
        return work()
    found: list[T] = []

    async def on_a_thread() -> None:
        found.append(await asyncio.to_thread(work))

    run_inside(loop, on_a_thread, _LONGEST_S)
    return found[0]


def _make_reentrant(loop: asyncio.AbstractEventLoop) -> None:
    """Let a loop of asyncio's run inside itself.

    nest_asyncio 1.6, where it came first, drops each handle whose context is entered already, and
    ipykernel 7 runs cells in one such context: its patch is replaced. Nothing is patched where the
    loop is none of asyncio's own.
    """
    kind = type(loop)
    once = getattr(kind, "_run_once", None)
    if "_nest_patched" not in dir(kind) and once is not asyncio.BaseEventLoop._run_once:  # type: ignore[attr-defined]
        raise PairlabError(
            f"wait() cannot run inside a {kind.__module__}.{kind.__qualname__}: write "
            "'await lab.wait_async(...)', or call wait() from another thread; the lab goes on"
        )
    import nest_asyncio2

    for base in kind.__mro__:
        if "_nest_patched" in vars(base) and "_nest_asyncio2" not in vars(base):
            del base._nest_patched  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "already patched by nest_asyncio": not any more
        nest_asyncio2.apply(loop)


def _run_from_thread(loop: asyncio.AbstractEventLoop, work: Work, timeout_s: float) -> None:
    """Block this thread, not the loop, which runs in another one."""
    until_s = time.monotonic() + timeout_s + _GRACE_S
    coroutine = work()
    result = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        while not concurrent.futures.wait([result], _LOOK_S).done:
            if not loop.is_running():
                raise PairlabError(_ENDED)
            if time.monotonic() > until_s:
                raise WaitTimeoutError(
                    f"the lab's event loop did not answer for {timeout_s + _GRACE_S:g} s: "
                    "something keeps it busy, for example a cell"
                )
    finally:
        if not loop.is_closed():
            result.cancel()
        elif inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()
    try:
        result.result()
    except concurrent.futures.CancelledError:  # by asyncio.run, which ended the loop
        raise PairlabError(_ENDED) from None


async def run_on(loop: asyncio.AbstractEventLoop | None, work: Work) -> None:
    """Await `work` on a lab's loop, whichever loop runs here.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop, optional
        May run here or in another thread. None for the one that runs here.
    work : callable
        Makes the coroutine, once it is certain that it will be awaited.

    Raises
    ------
    PairlabError
        If the loop does not run or ends meanwhile, with what can be done instead.
    """
    if loop is None or loop is asyncio.get_running_loop() or loop.is_closed():
        await work()
        return
    # A loop that runs another one inside of itself, in this thread, would be waited for in vain.
    if not loop.is_running() or getattr(loop, "_thread_id", None) == threading.get_ident():
        raise PairlabError(_ELSEWHERE)
    result = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), loop))
    try:
        while not (await asyncio.wait({result}, timeout=_LOOK_S))[0]:
            if not loop.is_running():
                raise PairlabError(_ENDED)
    finally:
        if not loop.is_closed():
            result.cancel()
    if result.cancelled():
        raise PairlabError(_ENDED)
    result.result()


def _nothing() -> None:
    pass


class _Interrupts:
    """Has SIGINT cancel a task instead of raising at a random instant of the loop.

    It does so from when it is made until `end`, which hands an interrupt on to whoever handled
    SIGINT before. Where no Python function did (it is ignored, or this is not the main thread),
    nothing is changed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.task: asyncio.Task[None] | None = None
        self.count = 0
        self._loop = loop
        self._before: Callable[[int, FrameType | None], Any] | None = None
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before = before
                signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count >= _INSIST:  # a callback that does not return keeps the loop from cancelling
            raise KeyboardInterrupt
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def end(self) -> None:
        if self._before is None:
            return
        signal.signal(signal.SIGINT, self._before)
        if self.count:
            if self._before not in (_on_cell_signal, signal.default_int_handler):
                self._before(signal.SIGINT, None)
            raise KeyboardInterrupt


# -- cells that run a loop inside themselves --------------------------------------------------


_guarded: set[int] = set()


def guard_cells() -> None:
    """Have the stop button interrupt cells only where nothing of the loop's can be torn.

    A cell may run the kernel's loop inside itself without asking this module (nest_asyncio and
    ``run_until_complete``), and ipykernel lets SIGINT raise a little before and after a cell, too.
    In a kernel, from the first call on, an interrupt that comes in between two handles of a loop
    inside a cell, or within one, is raised after it; one that comes outside of any cell is
    ignored; every other is raised at once, as ever. Where ipykernel's handler is not Python's own
    it stays.
    """
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return
    if id(shell) not in _guarded:
        _guarded.add(id(shell))
        shell.events.register("pre_run_cell", _guard_cell)
    _guard_cell()  # the first call comes from a cell


def _guard_cell(_info: object = None) -> None:
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_cell_signal)  # ipykernel takes it back after the cell


def _on_cell_signal(_number: int, frame: FrameType | None) -> None:
    in_cell, in_loop = _where(frame)
    if not in_cell:
        return
    if not in_loop:
        raise KeyboardInterrupt
    loop = asyncio._get_running_loop()
    if loop is not None:
        loop.call_soon_threadsafe(_raise_in_cell)


def _raise_in_cell() -> None:
    """Raise in a handle of its own: the handles before and after it are whole."""
    if _where(sys._getframe()) == (True, True):  # else the loop inside the cell has ended meanwhile
        raise KeyboardInterrupt


def _where(frame: FrameType | None) -> tuple[bool, bool]:
    """Tell whether a frame is called from a cell, and whether by a loop that runs inside of it."""
    in_loop = False
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_run_once":
            in_loop = True
        elif code.co_name == "run_code" and "IPython" in code.co_filename:
            return True, in_loop
        frame = frame.f_back
    return False, False
