"""A user's callbacks: each is called, and pays for its own faults alone."""

from __future__ import annotations

from pairlab.lab.listeners import Listeners


class Clock:
    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return round(self.now_s * 1e9)


def test_one_that_raises_is_named_once_in_a_while_and_stops_nobody() -> None:
    notes: list[tuple[str, str]] = []
    calls: list[str] = []
    clock = Clock()
    listeners = Listeners(lambda level, message: notes.append((level, message)), clock)

    def faulty() -> None:
        calls.append("faulty")
        raise ValueError("never works")

    listeners.on_update(lambda: calls.append("first"))
    listeners.on_update(faulty)
    listeners.on_update(lambda: calls.append("last"))
    for _ in range(5):
        listeners.notify()
    assert calls == ["first", "faulty", "last"] * 5
    assert listeners.errors == 5
    clock.now_s += 10.0
    listeners.notify()
    assert [level for level, _ in notes] == ["error", "error"]
    assert "faulty raised ValueError('never works'); the stream continues (1 e" in notes[0][1]
    assert "(6 errors of callbacks so far)" in notes[1][1]


def test_one_may_end_itself_or_another_meanwhile() -> None:
    calls: list[str] = []
    listeners = Listeners(lambda level, message: None)

    def once() -> None:
        calls.append("once")
        end_once()
        end_other()
        end_other()  # a second end does nothing

    end_once = listeners.on_update(once)
    end_other = listeners.on_update(lambda: calls.append("other"))
    listeners.notify()
    listeners.notify()
    assert calls == ["once", "other"]  # in the first round it was its turn already
    assert len(listeners) == 0
