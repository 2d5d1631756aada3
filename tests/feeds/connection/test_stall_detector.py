"""The stall detector: counts and awake time in, reasons out; no clock, no loop, no network."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab.feeds.config import Timeouts
from pairlab.feeds.connection.stall_detector import (
    Findings,
    ReplacementReason,
    SocketActivity,
    StallDetector,
    in_words,
)

STEP_S = 0.2
TIMEOUTS = Timeouts(first_data_s=15.0, idle_min_s=5.0, idle_busy_s=10.0, idle_max_s=300.0)


class Watched:
    """A detector, and the connections that it observes.

    Parameters
    ----------
    streams : int
        On each connection.
    timeouts : Timeouts
        The limits.
    """

    def __init__(self, streams: int = 2, timeouts: Timeouts = TIMEOUTS) -> None:
        self.detector = StallDetector(timeouts)
        for slot in range(streams):
            self.detector.add(slot, f"S{slot}@aggTrade")
        self.streams = streams
        self.active = self.connection(1)
        self.candidate: SocketActivity | None = None
        self.counts: dict[int, float] = {}
        self.history: list[Findings] = []

    def connection(self, number: int, route: str = "market") -> SocketActivity:
        return SocketActivity(number, route, dict.fromkeys(range(self.streams), 0))

    def step(self, *per_s: float, awake_s: float = STEP_S, passed_s: float = STEP_S) -> Findings:
        """Let each stream of the active connection speak at its rate for one step."""
        counts = dict(self.active.counts)
        for slot, rate in enumerate(per_s):
            self.counts[slot] = self.counts.get(slot, 0.0) + rate * passed_s
            counts[slot] += int(self.counts[slot])
            self.counts[slot] -= int(self.counts[slot])
        self.active = dataclasses.replace(self.active, counts=counts)
        findings = self.detector.observe(self.active, self.candidate, awake_s)
        self.history.append(findings)
        return findings

    def run(self, seconds: float, *per_s: float) -> list[Findings]:
        return [self.step(*per_s) for _ in range(round(seconds / STEP_S))]

    def reasons(self, findings: list[Findings]) -> list[ReplacementReason]:
        return [reason for found in findings for reason in found.replacements]

    def until_replacement(self, most_s: float, *per_s: float) -> float:
        """Return after how many seconds a replacement is asked for."""
        for n in range(1, round(most_s / STEP_S) + 1):
            if self.step(*per_s).replacements:
                return n * STEP_S
        raise AssertionError(f"no replacement within {most_s} s")


def test_streams_that_speak_lead_to_nothing() -> None:
    watched = Watched()
    assert set(watched.run(120, 10.0, 0.5)) == {Findings()}
    assert watched.detector.alarms == {}


@pytest.mark.parametrize(("per_s", "limit_s"), [(100.0, 5.0), (3.0, 20 / 3), (0.5, 40.0)])
def test_a_stream_stalls_by_its_own_rate_alone(per_s: float, limit_s: float) -> None:
    watched = Watched()
    watched.run(300, per_s, 10.0)
    after_s = watched.until_replacement(400, 0.0, 10.0)
    assert after_s == pytest.approx(limit_s, rel=0.1, abs=2 * STEP_S)
    (reason,) = watched.history[-1].replacements
    assert (reason.kind, reason.slots) == ("stalled", (0,))
    assert reason.why.startswith("S0@aggTrade stalled: nothing for more than")
    assert watched.history[-1].alarms == (reason,)
    assert watched.detector.alarms == {0: reason.why}
    again = watched.step(0.0, 10.0)
    assert (again.replacements, again.alarms) == ((reason,), ())  # told once, asked for on and on
    over = watched.step(100.0, 10.0)
    assert (over.resumed, over.replacements) == ((0,), ())
    assert watched.detector.alarms == {}


def test_a_blocked_loop_is_no_silence() -> None:
    watched = Watched()
    watched.run(60, 10.0, 10.0)
    for _ in range(20):  # a minute at a time: what came meanwhile waits in the socket
        assert watched.step(0.0, 0.0, awake_s=STEP_S) == Findings()
    assert watched.detector.silent_s(1) == pytest.approx(4.0)


def test_a_market_that_does_not_trade_is_probed_ever_more_rarely_and_is_no_alarm() -> None:
    watched = Watched()
    probed_s = []
    for n in range(1, round(3000 / STEP_S)):
        findings = watched.step(10.0, 0.0)
        if findings.probes:
            assert findings.probes == (1,)
            probed_s.append(n * STEP_S)
            findings = watched.detector.note_probes(1, {1: True})
        assert (findings.replacements, findings.alarms) == ((), ())
    waits = [b - a for a, b in zip([0.0, *probed_s], probed_s, strict=False)]
    assert waits[:6] == pytest.approx([15, 15, 30, 60, 120, 240], abs=2 * STEP_S)
    assert max(waits) == pytest.approx(240, abs=2 * STEP_S)  # 16 times the limit, and no rarer


def test_a_stream_that_is_silent_while_its_market_trades_is_an_alarm() -> None:
    watched = Watched()
    watched.run(15.4, 10.0, 0.0)
    assert [f.probes for f in watched.history if f.probes] == [(1,)]  # one probe is under way
    findings = watched.detector.note_probes(1, {1: False})
    (reason,) = findings.replacements
    assert (reason.kind, reason.slots) == ("silent", (1,))
    assert reason.why == (
        "subscribed but silent: S1@aggTrade on /market, nothing for more than 15 s"
    )
    assert findings.alarms == (reason,)
    assert watched.step(10.0, 5.0).resumed == (1,)


def test_a_probe_of_a_connection_that_is_gone_says_nothing_of_the_next() -> None:
    watched = Watched()
    watched.run(16, 0.0, 0.0)
    watched.active = watched.connection(2)
    watched.step(0.0, 0.0)
    assert watched.detector.note_probes(1, {0: False, 1: False}) == Findings()
    assert watched.detector.alarms == {}
    later = watched.run(16, 0.0, 0.0)
    assert [f.probes for f in later if f.probes] == [(0, 1)]  # and the next is probed itself


def test_no_more_than_ten_streams_are_probed_at_once() -> None:
    watched = Watched(streams=25)
    watched.run(15.4)
    assert [len(f.probes) for f in watched.history if f.probes] == [10]
    assert watched.detector.note_probes(1, dict.fromkeys(range(10), True)).probes == (
        *range(10, 20),
    )


def test_a_replacement_that_changes_nothing_is_tried_ever_more_rarely() -> None:
    watched = Watched()
    watched.run(60, 10.0, 10.0)
    tried_s = []
    for n in range(1, round(500 / STEP_S)):
        findings = watched.step(10.0, 0.0)
        if findings.replacements:
            watched.detector.note_replacement(findings.replacements[0], replaced=False)
            tried_s.append(n * STEP_S)
    assert tried_s == pytest.approx([5, 10, 20, 40, 80, 160, 240, 320, 400, 480], abs=10 * STEP_S)
    watched.run(300, 10.0, 10.0)  # until the long silence is out of its usual rate
    assert watched.until_replacement(20, 10.0, 0.0) == pytest.approx(5.0, abs=2 * STEP_S)


def test_age_and_an_announced_restart_are_reasons_of_their_own() -> None:
    watched = Watched(timeouts=dataclasses.replace(TIMEOUTS, rotate_after_s=100.0))
    assert watched.until_replacement(200, 10.0, 10.0) == pytest.approx(100.2, abs=2 * STEP_S)
    (reason,) = watched.history[-1].replacements
    assert (reason.kind, reason.slots, watched.history[-1].alarms) == ("age", (), ())
    watched.detector.note_replacement(reason, replaced=False)
    assert watched.until_replacement(200, 10.0, 10.0) == pytest.approx(60.0, abs=2 * STEP_S)
    watched.active = dataclasses.replace(watched.active, restart_announced=True)
    (reason,) = watched.step(10.0, 10.0).replacements
    assert (reason.kind, reason.slots) == ("shutdown", ())
    watched.detector.note_replacement(reason, replaced=True)
    watched.active = watched.connection(2)
    assert watched.until_replacement(200, 10.0, 10.0) == pytest.approx(100.2, abs=2 * STEP_S)


def test_a_candidate_neither_teaches_nor_alarms_and_takes_its_silence_along() -> None:
    watched = Watched()
    watched.run(60, 10.0, 10.0)
    watched.candidate = watched.connection(2)
    watched.run(12, 10.0, 10.0)
    assert not any(f.alarms or f.replacements or f.probes for f in watched.history)
    assert watched.detector.age_s(2) == pytest.approx(12.0)
    watched.active, watched.candidate = watched.candidate, None
    assert watched.detector.silent_s(2) == pytest.approx(12.0)
    watched.run(3.4)
    assert [f.probes for f in watched.history if f.probes] == [(0, 1)]  # 15 s since it opened
    assert watched.detector.age_s(1) == 0.0  # forgotten


def test_a_candidate_does_not_change_what_is_usual() -> None:
    watched = Watched()
    watched.run(300, 0.5, 0.5)
    for n in range(1, 101):  # 100 messages a second, as after a long queue
        watched.candidate = SocketActivity(2, "market", {0: 20 * n, 1: 20 * n})
        watched.step(0.5, 0.5)
    watched.candidate = None
    assert watched.until_replacement(100, 0.0, 0.5) == pytest.approx(40.0, rel=0.1)


def test_a_subscription_begins_its_own_silence() -> None:
    watched = Watched(streams=1)
    watched.run(100, 10.0)
    watched.detector.add(1, "S1@aggTrade")
    watched.active = dataclasses.replace(watched.active, counts={**watched.active.counts, 1: 0})
    watched.run(14.8, 10.0)
    assert not any(f.probes for f in watched.history)
    assert watched.run(0.6, 10.0)[-1].probes or watched.history[-2].probes == (1,)
    watched.detector.note_probes(1, {1: False})
    assert set(watched.detector.alarms) == {1}
    watched.detector.remove(1)
    assert watched.detector.alarms == {}
    assert watched.step(10.0) == Findings()


def test_a_stream_that_is_subscribed_again_begins_anew() -> None:
    watched = Watched()
    watched.run(60, 10.0, 10.0)
    watched.run(4, 10.0, 0.0)
    watched.active = dataclasses.replace(watched.active, counts={**watched.active.counts, 1: 0})
    watched.run(6, 10.0, 0.0)
    assert not any(f.replacements for f in watched.history)


def test_without_a_connection_there_is_no_alarm() -> None:
    watched = Watched()
    watched.run(60, 10.0, 10.0)
    watched.run(10, 0.0, 0.0)
    assert set(watched.detector.alarms) == {0, 1}
    assert watched.detector.observe(None, None, STEP_S) == Findings()
    assert watched.detector.alarms == {}


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.floats(0.2, 40.0),  # seconds
            st.tuples(*[st.sampled_from((0.0, 0.0, 0.3, 2.0, 50.0))] * 3),  # messages a second
            st.booleans(),  # whether a cell blocks the loop all the while
        ),
        min_size=1,
        max_size=12,
    )
)
def test_alarms_are_exactly_the_silences_that_are_too_long(
    stretches: list[tuple[float, tuple[float, float, float], bool]],
) -> None:
    watched = Watched(streams=3)
    watched.run(30, 5.0, 5.0, 5.0)
    idle_s, alarmed = [0.0] * 3, set()
    for seconds, rates, blocked in stretches:
        steps = [seconds] if blocked else [STEP_S] * round(seconds / STEP_S)
        for passed_s in steps:
            before = dict(watched.active.counts)
            findings = watched.step(*rates, passed_s=passed_s)
            for slot in range(3):
                spoke = watched.active.counts[slot] != before[slot]
                idle_s[slot] = 0.0 if spoke else idle_s[slot] + STEP_S
            limits = [s.rate.idle_limit_s for s in watched.detector._streams.values()]
            overdue = {s for s in range(3) if idle_s[s] > limits[s] + 1e-9}
            certain = {s for s in range(3) if abs(idle_s[s] - limits[s]) > 1e-6}
            assert set(watched.detector.alarms) & certain == overdue & certain
            new = {slot for alarm in findings.alarms for slot in alarm.slots}
            assert not new & alarmed
            assert set(findings.resumed) <= alarmed
            alarmed = (alarmed | new) - set(findings.resumed)
            assert alarmed == set(watched.detector.alarms)
            for reason in findings.replacements:
                assert set(reason.slots) <= alarmed
            assert not any(idle <= TIMEOUTS.idle_min_s for s, idle in enumerate(idle_s) if s in new)


def test_names_are_told_in_words() -> None:
    assert in_words(["a"]) == "a"
    assert in_words(["a", "b"]) == "a and b"
    assert in_words(["a", "b", "c"]) == "a and b and c"
    assert in_words("abcdef") == "a, b, c and 3 more"
