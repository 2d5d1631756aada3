"""When the screen is painted, by what its pages say of themselves."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from pairlab import PairLab
from pairlab.widgets import PriceChart, SpreadChart
from pairlab.widgets.core.render_loop import RenderLoop
from pairlab.widgets.core.widget_utils import tree
from pairlab.widgets.transport import heartbeat
from pairlab.widgets.transport.bqplot_marks import Axis
from pairlab.widgets.transport.frame_pacer import (
    AHEAD,
    ASK_S,
    CAREFUL,
    EVERY,
    FORGET_S,
    SILENT_S,
    FramePacer,
)
from pairlab.widgets.transport.render_latency import RenderLatency
from tests.widgets.conftest import MakeLab, Wire, settled


def opened(*pages: str) -> FramePacer:
    pace = FramePacer()
    for page in pages:
        assert pace.on_ack({"page": page, "shows": ["*"]}, 0.0)
    return pace


def answer(pace: FramePacer, page: str, frame: int, now_s: float) -> None:
    assert not pace.on_ack({"page": page, "drawn": frame}, now_s)


def test_where_no_page_ever_spoke_painting_goes_on() -> None:
    pace = FramePacer()
    for n in range(100):
        assert pace.decide(n) == "paint"
        pace.send(n)
    assert pace.looking(100) is None


def test_the_slowest_page_that_is_looked_at_sets_the_pace() -> None:
    pace = opened("fast", "slow")
    for n in range(1, AHEAD + 1):
        assert pace.decide(0.1 * n) == "paint"
        assert pace.send(0.1 * n) == n
        answer(pace, "fast", n, 0.1 * n)
    assert pace.decide(0.4) == "wait"
    answer(pace, "slow", 1, 0.5)
    assert pace.decide(0.5) == "paint"
    assert pace.looking(0.5) == 2


def test_a_hidden_page_is_asked_and_painted_again_when_it_answers() -> None:
    pace = opened("page")
    pace.send(1.0)
    assert pace.decide(1.0 + SILENT_S - 0.1) == "paint"  # one frame may be on its way
    pace.send(2.0)
    assert pace.decide(2.1) == "wait"
    assert pace.decide(1.0 + SILENT_S) == "ask"
    assert pace.looking(1.0 + SILENT_S) == 0
    asked = pace.send(7.0, ask=True)
    assert asked
    assert pace.decide(7.0 + ASK_S / 2) == "wait"
    assert pace.decide(7.0 + ASK_S) == "ask"
    answer(pace, "page", asked, 9.0)
    assert pace.decide(9.0) == "paint"


def test_a_hidden_page_does_not_slow_one_that_is_looked_at() -> None:
    pace = opened("hidden", "seen")
    for n in range(1, 200):
        now_s = 0.1 * n
        if pace.decide(now_s) == "paint":
            asked = pace.send(now_s)
            if asked:
                answer(pace, "seen", asked, now_s)
        else:
            assert now_s < 0.1 + SILENT_S
    assert pace.looking(20.0) == 1
    assert pace.decide(20.0) == "paint"


def test_a_page_that_keeps_up_is_seldom_asked() -> None:
    pace = opened("page")
    asked = []
    for n in range(1, 101):
        assert pace.decide(0.1 * n) == "paint"
        number = pace.send(0.1 * n)
        if asked and asked[-1] == n - 1:
            answer(pace, "page", n - 1, 0.1 * n)  # a frame late: that still keeps up
        if number:
            asked.append(number)
    assert asked == [*range(1, CAREFUL + 1), *range(CAREFUL + EVERY, 101, EVERY)]


def test_a_page_that_falls_behind_is_asked_every_time() -> None:
    pace = opened("page")
    for n in range(1, CAREFUL + 1):
        answer(pace, "page", pace.send(0.1 * n) or 0, 0.1 * n)
    assert [pace.send(1.0) for _ in range(EVERY - 1)] == [None] * (EVERY - 1)
    asked = pace.send(1.1)
    assert asked
    assert pace.send(1.2) is None
    assert pace.decide(1.3) == "wait"
    answer(pace, "page", asked, 2.0)
    for n in range(CAREFUL):
        assert pace.decide(2.1 + n) == "paint"
        number = pace.send(2.1 + n)
        assert number
        answer(pace, "page", number, 2.2 + n)
    assert pace.send(20.0) is None


def test_a_closed_page_and_a_forgotten_one_cost_nothing() -> None:
    pace = opened("closed", "killed")
    assert not pace.on_ack({"page": "closed", "shows": []}, 1.0)
    assert pace.looking(1.0) == 1
    pace.send(2.0)
    pace.send(3.0 + FORGET_S)
    assert pace.looking(3.0 + FORGET_S) == 0
    assert pace.on_ack({"page": "killed", "drawn": 1}, 4.0 + FORGET_S)  # it was only asleep
    assert pace.decide(4.0 + FORGET_S) == "paint"


def test_what_pages_show_is_known_part_by_part() -> None:
    pace = FramePacer()
    assert pace.shown(0.0) is None
    assert pace.on_ack({"page": "one", "shows": ["a", "b"]}, 0.0)
    assert pace.on_ack({"page": "two", "shows": ["b"]}, 0.0)
    assert pace.shown(0.0) == {"a", "b"}
    assert not pace.on_ack({"page": "one", "shows": ["b"]}, 0.0)  # nothing that it may have missed
    assert pace.shown(0.0) == {"b"}
    assert pace.on_ack({"page": "one", "shows": ["b", "c"]}, 0.0)
    pace.mute()
    assert pace.shown(0.0) is None  # what a cell that runs displays is told only after it
    pace.unmute(0.0)
    pace.send(0.0)
    answer(pace, "two", 1, 0.1)
    assert pace.shown(SILENT_S) == {"b"}  # one is hidden
    assert pace.on_ack({"page": "three", "shows": ["*"]}, SILENT_S)
    assert pace.shown(SILENT_S) is None


def test_while_a_cell_runs_silence_means_nothing() -> None:
    pace = opened("page")
    pace.mute()
    for n in range(100):
        assert pace.decide(n) == "paint"
        pace.send(n)
    pace.unmute(100.0)
    assert pace.decide(100.1) == "wait"  # a hundred frames are on their way
    answer(pace, "page", 100, 100.2)
    assert pace.decide(100.2) == "paint"


def test_nonsense_from_a_page_does_no_harm() -> None:
    pace = opened("page")
    for content in (
        {},
        {"page": None},
        {"page": "page", "drawn": "x"},
        {"page": "page", "drawn": 99},
        {"page": "page", "shows": "everything"},
        {"page": "page", "shows": [None, {}]},
    ):
        pace.on_ack(content, 1.0)
    assert pace.decide(1.0) == "paint"
    assert pace.send(1.0) == 1


async def looked_at(lab: PairLab) -> RenderLoop:
    """Return the lab's screen with a page before it that keeps up, whatever is sent."""
    screen: RenderLoop = lab.dashboard().render_loop
    lab.dashboard().frames_per_s = 50.0
    screen.channel.widget._handle_custom_msg({"page": "page", "shows": ["*"]}, [])
    await settled(lambda: screen.channel.pacer.looking(time.monotonic()) == 1, lab)
    screen.channel.pacer.mute()
    return screen


async def test_a_frame_that_cannot_be_sent_is_told_and_what_it_had_is_sent_again(
    running_lab: MakeLab, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_lab() as lab:
        screen = await looked_at(lab)
        screen._resync._round, screen._resync._rounds_left = (
            iter(()),
            0,
        )  # all was said to the new page

        def broken(*_: Any, **__: Any) -> None:
            raise OSError("the line is cut")

        with monkeypatch.context() as cut:
            cut.setattr(screen.channel.widget.carrier, "send", broken)
            frames = screen.meter.painted
            while screen.meter.painted < frames + 5:  # or the test's timeout ends it
                await lab.wait_async(lab.health().rows + 5, 30)
        told = [e.message for e in lab.event_log if e.level == "error"]
        assert len(told) == 1  # once, not with every frame
        assert told[0].startswith("a frame could not be sent: OSError: the line is cut. Feed")
        axes = {w.model_id for w in tree(lab.dashboard()) if isinstance(w, Axis)}
        wire.take()
        sent: set[str] = set()
        while not axes <= sent:  # nothing but the healer sends an axis again
            await lab.wait_async(lab.health().rows + 5, 30)
            bundles = [m["data"].get("content", {}) for m in wire.take()]
            sent |= {update["id"] for b in bundles for update in b.get("updates", ())}


async def test_rows_count_as_shown_once_their_frame_is_sent(
    running_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_lab() as lab:
        screen = await looked_at(lab)
        send, sent, order = screen.channel.widget.carrier.send, screen.latency.sent, []
        monkeypatch.setattr(
            screen.channel.widget.carrier,
            "send",
            lambda *a, **k: ("beat" in a[0] or order.append("sent"), send(*a, **k)),
        )
        monkeypatch.setattr(
            screen.latency, "sent", lambda *a, **k: (order.append("shown"), sent(*a, **k))
        )
        while order.count("shown") < 3:
            await lab.wait_async(lab.health().rows + 5, 30)
        first = order.index("sent")
        assert order[first : first + 6] == ["sent", "shown"] * 3


async def test_a_part_that_no_page_shows_is_not_painted(running_lab: MakeLab) -> None:
    async with running_lab() as lab:
        spread, prices = SpreadChart(lab), PriceChart(lab)
        screen = spread.render_loop

        async def painted(*shown: Any) -> list[Any]:
            """Return which of both were painted while a page showed these."""
            ids = [part.model_id for part in shown]
            screen.channel.widget._handle_custom_msg({"page": "page", "shows": [*ids, "other"]}, [])
            while screen.channel.pacer.shown(time.monotonic()) != {*ids, "other"}:
                await lab.wait_async(lab.health().rows + 1, 30)
            lines = {
                part: part._lines[0] if part is prices else part._curve for part in (spread, prices)
            }
            before = {part: line.y for part, line in lines.items()}
            frames = screen.meter.painted
            while screen.meter.painted < frames + 3:
                screen.channel.widget._handle_custom_msg({"page": "page", "drawn": 10**9}, [])
                await lab.wait_async(lab.health().rows + 5, 30)
            return [part for part, line in lines.items() if line.y is not before[part]]

        assert await painted(spread, prices) == [spread, prices]
        assert await painted(prices) == [prices]
        assert await painted() == []
        assert await painted(spread) == [spread]


async def test_a_lab_that_nobody_looks_at_is_not_painted(running_lab: MakeLab, wire: Wire) -> None:
    async with running_lab() as lab:
        screen = lab.dashboard().render_loop
        say = screen.channel.widget._handle_custom_msg

        def sent() -> list[str]:
            return [
                m["id"]
                for m in wire.take()
                if m["id"] != screen.channel.widget.carrier.comm.comm_id
            ]

        say({"page": "page", "shows": ["*"]}, [])
        await settled(lambda: screen.channel.pacer.looking(0.0) == 1, lab)
        say({"page": "page", "shows": []}, [])
        await settled(lambda: screen.channel.pacer.looking(0.0) == 0, lab)
        wire.take()
        rows = lab.health().rows
        await lab.wait_async(rows + 200, 30)
        assert sent() == []
        say({"page": "another", "shows": ["*"]}, [])
        while not sent():  # or the test's timeout ends it
            await lab.wait_async(lab.health().rows + 20, 30)


def test_a_late_answer_does_not_set_a_page_back() -> None:
    pace = opened("page")
    first = pace.send(1.0)
    pace.send(1.1)
    answer(pace, "page", 2, 1.2)
    answer(pace, "page", first or 0, 1.3)
    assert pace.decide(1.4) == "paint"


async def test_the_latency_of_rows_is_known_once_a_page_has_drawn_them(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab() as lab:
        loop = lab.dashboard().render_loop
        say = loop.channel.widget._handle_custom_msg
        say({"page": "page", "shows": ["*"]}, [])
        await settled(lambda: loop.channel.pacer.answers, lab)
        wire.take()
        loop.latency = RenderLatency()  # whatever was measured before pages answered
        while math.isnan(loop.latency.p50_p99_ms()[0]):  # or the test's timeout ends it
            await lab.wait_async(lab.health().rows + 5, 30)
            for message in wire.take():
                if number := message["data"].get("content", {}).get("frame"):
                    say({"page": "page", "drawn": number, "shows": ["*"]}, [])
        assert loop.latency.p50_p99_ms()[0] > 0


def test_a_page_on_which_nothing_is_in_sight_is_not_painted_until_something_is() -> None:
    pace = FramePacer()
    assert pace.on_ack({"page": "a", "shows": ["z", "p"], "seen": False}, 0.0)
    pace.send(0.0)
    assert not pace.on_ack({"page": "a", "shows": [], "seen": True}, 0.1)
    assert pace.looking(0.1) == 0
    assert pace.decide(0.1) != "paint"
    assert not pace.on_ack({"page": "a", "drawn": 1, "shows": []}, 0.2)  # a late answer
    assert pace.looking(0.2) == 0
    pace.send(0.3, ask=True)
    # Seen again it has all that was sent: nothing of it is sent anew.
    assert not pace.on_ack({"page": "a", "shows": ["z"], "seen": True}, 0.4)
    assert pace.decide(0.4) == "paint"
    assert pace.shown(0.4) == {"z"}
    assert not pace.on_ack({"page": "a", "shows": ["z", "p"], "seen": True}, 0.5)
    assert pace.shown(0.5) == {"z", "p"}
    assert pace.on_ack({"page": "a", "shows": ["z", "p", "new"], "seen": False}, 0.6)


async def test_pages_are_told_that_the_lab_lives_where_frames_are_rare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.01)
    loop, said, third = asyncio.get_running_loop(), list[dict[str, bool]](), asyncio.Event()

    def send(beat: dict[str, bool]) -> None:
        said.append(beat)
        if len(said) == 3:
            third.set()

    newest_s = -math.inf
    beats = heartbeat.Heartbeat(send, lambda: newest_s)
    beats.start(loop)
    await asyncio.wait_for(third.wait(), 10)
    assert said == [{"beat": True}] * len(said)
    newest_s = math.inf  # frames go, and tell it as well
    count = len(said)
    await asyncio.sleep(0.05)
    assert len(said) == count
    beats.stop()
    beats.tell()
    assert said[-1] == {"beat": False}


async def test_a_page_that_was_cut_off_gets_what_it_missed(
    running_lab: MakeLab, wire: Wire
) -> None:
    async with running_lab(rows=60) as lab:
        screen = lab.dashboard().render_loop
        screen.channel.widget._handle_custom_msg({"page": "a", "shows": ["*"]}, [])
        screen._resync._rounds_left = 0
        screen.channel.widget._handle_custom_msg({"page": "a", "back": True}, [])
        await settled(lambda: screen._resync._rounds_left > 0, lab)
