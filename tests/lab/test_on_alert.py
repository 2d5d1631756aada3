"""on_alert(): each alert reaches the user's function once and in order, whatever that one does."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from pairlab import PairLab, SettingError
from pairlab.alerts import Alert
from pairlab.lab import listeners
from tests.lab.test_runner import ScriptedFeed, some_ticks

pytestmark = pytest.mark.usefixtures("no_task_left")

EASY = {"min_correlation": -1.0, "entry_z": 1.0, "min_edge_bps": None}
ROUND_S = 120.0


class Lab:
    """A lab whose feed the test scripts, and its alerts so far."""

    def __init__(self) -> None:
        self.feed = ScriptedFeed()
        self.lab = PairLab(feed=self.feed, **EASY)
        self.given = 0

    async def give(self, count: int = 400) -> None:
        await self.feed.give(some_ticks(count, start=self.given))
        self.given += count
        # Legs take turns: the first tick, and the first after each gap, is of one leg alone.
        gaps = int((self.lab.ticks()["gap_before"] > 0).sum())
        await self.lab.wait_async(self.given - 1 - gaps, ROUND_S)

    async def deliver(self) -> None:
        """Wait for every callback that is under way."""
        await asyncio.wait_for(asyncio.gather(*self.lab._listeners._tasks), ROUND_S)

    @property
    def numbers(self) -> list[int]:
        return [alert.number for alert in self.lab.alert_log.alerts()]

    def told(self, text: str) -> list[str]:
        return [e.message for e in self.lab.event_log if text in e.message]


async def test_plain_and_coroutine_functions_get_every_alert_in_order() -> None:
    it, seen = Lab(), {name: [] for name in ("plain", "async", "object", "lambda")}
    threads = set()

    def plain(alert: Alert) -> None:
        threads.add(threading.current_thread())
        seen["plain"].append(alert)

    async def awaited(alert: Alert, into: str) -> None:
        await asyncio.sleep(0)
        threads.add(threading.current_thread())
        seen[into].append(alert)

    class Object:
        async def __call__(self, alert: Alert) -> None:
            await awaited(alert, "object")

    async with it.lab as lab:
        lab.on_alert(plain)
        lab.on_alert(lambda alert: awaited(alert, "lambda"))
        lab.on_alert(Object())

        async def coroutine(alert: Alert) -> None:
            await awaited(alert, "async")

        lab.on_alert(coroutine)
        for _ in range(3):
            await it.give()
        await it.deliver()
        assert len(it.numbers) > 10
        for alerts in seen.values():
            assert [alert.number for alert in alerts] == it.numbers
            assert alerts == lab.alert_log.alerts()
        assert threading.main_thread() in threads  # coroutine functions: the lab's own
        assert len(threads) > 1  # a plain one may block, so it is kept off the loop
        assert lab.listener_errors == 0


def raises_error(_: Alert) -> None:
    raise ZeroDivisionError("a fault of the callback's")


def exits(_: Alert) -> None:
    sys.exit("a fault of the callback's")


def runs_out(_: Alert) -> None:
    raise StopIteration("a fault of the callback's")


def takes_nothing() -> None:
    pass


class Unprintable(Exception):
    def __repr__(self) -> str:
        raise ValueError("cannot even be shown")


def raises_unprintable(_: Alert) -> None:
    raise Unprintable


async def async_error(_: Alert) -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError("a fault of the callback's")


async def async_exit(_: Alert) -> None:
    sys.exit("a fault of the callback's")


async def cancelled(_: Alert) -> None:
    raise asyncio.CancelledError("a fault of the callback's")


async def interrupted(_: Alert) -> None:
    raise KeyboardInterrupt


FAULTY: list[Callable[..., Any]] = [
    raises_error, exits, runs_out, takes_nothing, raises_unprintable,
    async_error, async_exit, cancelled, interrupted,
]  # fmt: skip


@pytest.mark.parametrize("faulty", FAULTY)
async def test_a_fault_is_counted_and_told_and_stops_nothing(faulty: Callable[..., Any]) -> None:
    it, after = Lab(), []
    async with it.lab as lab:
        lab.on_alert(faulty)
        lab.on_alert(after.append)
        await it.give()
        await it.give()
        await it.deliver()
        assert [alert.number for alert in after] == it.numbers
        assert lab.listener_errors == len(it.numbers) > 5
        assert len(it.told(f"the callback {faulty.__name__} raised")) == 1  # once in a while
        assert (lab.health().state, len(lab.history())) == ("live", it.given - 1)


@pytest.mark.parametrize(
    "faulty", [lambda: sys.exit(1), lambda: next(iter(())), lambda: asyncio.sleep(0, 1 / 0)]
)
async def test_what_a_listener_of_batches_does_stops_nothing_either(faulty: Any) -> None:
    it = Lab()
    async with it.lab as lab:
        lab.on_update(faulty)
        await it.give()
        await it.give()
        assert lab.listener_errors >= 2
        assert (lab.health().state, len(lab.history())) == ("live", it.given - 1)


async def test_a_coroutine_function_may_listen_to_batches() -> None:
    it, calls, release = Lab(), [], asyncio.Event()

    async def slow() -> None:
        calls.append(it.given)
        await release.wait()

    async def faulty() -> None:
        raise ZeroDivisionError("a fault of the callback's")

    async with it.lab as lab:
        await it.give()
        lab.on_update(slow)
        lab.on_update(faulty)
        for _ in range(5):
            await it.give(100)
            await asyncio.sleep(0)
        assert len(calls) == 1  # not one waiting call a batch
        release.set()
        await it.deliver()
        assert len(calls) == 2  # what came meanwhile makes one more
        assert lab.listener_errors >= 2
        assert it.told("faulty raised ZeroDivisionError")


async def test_a_callback_that_blocks_or_hangs_does_not_hold_up_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "_STOP_TIMEOUT_S", 0.05)
    it, release, hung = Lab(), threading.Event(), asyncio.Event()

    def blocks(_: Alert) -> None:
        release.wait(ROUND_S)

    async def hangs(_: Alert) -> None:
        hung.set()
        await asyncio.Event().wait()

    async with it.lab as lab:
        lab.on_alert(blocks)
        lab.on_alert(hangs)
        for _ in range(4):
            await it.give()
        await hung.wait()
        assert (lab.health().state, len(lab.history())) == ("live", it.given - 1)
    release.set()
    assert "2 cancelled" in it.told("callbacks of on_alert()")[0]
    assert lab.health().state == "stopped"


async def test_one_that_never_ends_is_cancelled_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "_CALL_TIMEOUT_S", 0.01)
    it = Lab()

    async def hangs(_: Alert) -> None:
        await asyncio.Event().wait()

    async with it.lab as lab:
        lab.on_alert(hangs)
        await it.give(200)
        await it.deliver()
        assert lab.listener_errors == len(it.numbers) > 0
        assert it.told("hangs was cancelled: it had not ended after 0.01 s")


async def test_only_the_newest_alerts_wait_for_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "_ALERTS_WAITING", 5)
    it, got, release = Lab(), [], asyncio.Event()

    async def slow(alert: Alert) -> None:
        await release.wait()
        got.append(alert.number)

    async with it.lab as lab:
        lab.on_alert(slow)
        for _ in range(4):
            await it.give()
            await asyncio.sleep(0)
        release.set()
        await it.deliver()
        assert it.told("slow is too slow")
        assert got[-5:] == it.numbers[-5:]
        assert len(got) < len(it.numbers)


async def test_it_ends_when_asked_and_the_last_alerts_arrive_before_a_stop() -> None:
    it, ended, kept = Lab(), [], []

    async def slow(alert: Alert) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        kept.append(alert.number)

    async with it.lab as lab:
        end = lab.on_alert(lambda alert: ended.append(alert.number))
        lab.on_alert(slow)
        await it.give()
        await it.deliver()
        first = list(it.numbers)
        end()
        end()  # a second end does nothing
        await it.give()
    assert ended == first
    assert kept == it.numbers
    assert len(kept) > len(first)


async def test_a_callback_may_stop_the_lab_and_the_next_start_goes_on() -> None:
    it, got, stopped = Lab(), [], asyncio.Event()

    async def stop_at_first(alert: Alert) -> None:
        got.append(alert.number)
        if len(got) == 1:
            await it.lab.stop()
            stopped.set()

    it.lab.on_alert(stop_at_first)
    it.lab.start()
    await it.give(100)
    await asyncio.wait_for(stopped.wait(), ROUND_S)
    assert it.lab.health().state == "stopped"
    before = len(got)
    it.feed.opened.clear()
    it.lab.start()
    await it.give()
    await it.deliver()
    assert len(got) > before
    assert got == sorted(set(got))
    await it.lab.stop()


async def test_no_token_of_a_url_gets_into_the_event_log() -> None:
    it = Lab()
    secret = "https://me:pw@api.example.org/bot123:ABC-token/sendMessage?key=SECRET"

    def tell(_: Alert) -> None:
        request = httpx.Request("POST", secret)
        httpx.Response(401, request=request).raise_for_status()

    async with it.lab as lab:
        lab.on_alert(tell)
        await it.give()
        await it.deliver()
        (message,) = it.told("tell raised")
        assert "api.example.org/…" in message
        assert not any(part in message for part in ("ABC", "SECRET", "pw"))


@pytest.mark.parametrize("what", [None, "print", 3])
def test_what_cannot_be_called_is_refused_at_once(what: Any) -> None:
    lab = PairLab(feed="demo")
    for add, name in ((lab.on_alert, "callback"), (lab.on_update, "listener")):
        with pytest.raises(SettingError, match=rf"{name} = {what!r} is invalid: expected a func"):
            add(what)


async def test_a_display_that_breaks_costs_neither_feed_nor_stop() -> None:
    class Broken:
        def start(self) -> None:
            raise RuntimeError("a display's own fault")

        finish = refresh = close = start

    class BrokenService:
        async def stop(self) -> None:
            raise RuntimeError("a service's own fault")

    it = Lab()
    it.lab.attach(Broken())
    async with it.lab as lab:
        await it.give()
        lab._runner.add_service(BrokenService())
        lab.log("info", "said")
        assert lab.health().state == "live"
    assert lab.health().state == "stopped"
    assert it.told("a display's own fault")
    assert it.told("a service's own fault")


def test_the_facade_has_the_signature_and_the_recipe() -> None:
    assert list(inspect.signature(PairLab.on_alert).parameters) == ["self", "callback"]
    assert PairLab.on_alert.__qualname__ == "PairLab.on_alert"
    text = inspect.getdoc(PairLab.on_alert)
    assert text is not None
    recipe = text.partition("gave you::")[2].strip().splitlines()
    assert len(recipe) == 5
    assert "api.telegram.org" in "".join(recipe)


def test_a_function_that_yields_is_refused() -> None:
    def plain(_: object) -> Iterator[None]:
        yield

    async def async_one(_: object) -> AsyncIterator[None]:
        yield

    lab = PairLab(feed="demo")
    for function in (plain, async_one):
        with pytest.raises(SettingError, match="it yields"):
            lab.on_alert(function)
