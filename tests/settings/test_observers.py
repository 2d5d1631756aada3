"""Observers cannot keep each other from being called."""

from __future__ import annotations

from typing import Any

import pytest
from traitlets import Int

from pairlab.settings.observers import IsolatedObservers


class Two(IsolatedObservers):
    a = Int(0)
    b = Int(0)


def broken(change: Any) -> None:
    raise ZeroDivisionError(change.name)


def test_every_observer_is_called_and_then_the_first_error_raised() -> None:
    two, seen = Two(), []
    two.observe(broken)
    two.observe(lambda change: seen.append((change.name, change.new)))
    with pytest.raises(ZeroDivisionError, match="a"):
        two.a = 1
    assert (two.a, seen) == (1, [("a", 1)])
    with pytest.raises(ZeroDivisionError, match="a") as raised, two.hold_trait_notifications():
        two.a, two.b = 2, 3
    assert raised.value.__notes__ == ["another observer raised ZeroDivisionError('b')"]
    assert seen[1:] == [("a", 2), ("b", 3)]
    with pytest.raises(ZeroDivisionError, match="b"):
        two.b = 4  # what was raised before is not raised again


def test_what_is_unobserved_is_not_called() -> None:
    two, seen = Two(), []
    two.observe(seen.append, "a")
    two.observe(seen.append, "b")
    two.unobserve(seen.append, "a")
    two.a, two.b = 1, 2
    assert [change.name for change in seen] == ["b"]
    two.unobserve(seen.append, "b")
    two.b = 3
    assert len(seen) == 1
    with pytest.raises(ValueError, match="not in list"):
        two.unobserve(broken, "b")


def test_an_error_within_held_changes_is_the_one_that_is_raised() -> None:
    two = Two()
    two.observe(broken, "a")
    with pytest.raises(KeyError), two.hold_trait_notifications():  # noqa: PT012
        two.a = 1
        raise KeyError("own")
    two.b = 1
