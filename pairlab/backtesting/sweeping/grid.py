"""The sets of settings that a sweep tries: a product of axes, or some of it."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pairlab.engine.validation import ObservationSettings
from pairlab.errors import DataError, SettingError
from pairlab.settings import SETTINGS, SettingKwargs, SettingValues, unknown_setting

__all__ = ["MAX_SETS", "Point", "axes_of", "points_of", "threads_of", "values_of"]

MAX_SETS: Final = 1_000_000
"""Sets that one sweep tries, at most; of a larger grid ``max_tries`` draws some."""

Point = dict[str, object]
"""The settings of one set that vary."""


def axes_of(grid: Mapping[str, Iterable[object]]) -> dict[str, list[object]]:
    """Return the values of each setting that varies, each once, cleaned one by one.

    Raises
    ------
    SettingError
        For a name that is no setting, or a value out of range.
    DataError
        For a grid that is empty, or not a mapping.
    """
    if not isinstance(grid, Mapping) or not grid:
        raise DataError(f"grid must name settings and their values, not {grid!r}")
    axes = {}
    for name, given in grid.items():
        if name not in SETTINGS:
            raise unknown_setting(str(name))
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise DataError(f"grid[{name!r}] must be several values, not {given!r}")
        values = list(dict.fromkeys(SETTINGS[name].clean(name, value) for value in given))
        if not values:
            raise DataError(f"grid[{name!r}] is empty")
        axes[name] = values
    return axes


def points_of(
    axes: Mapping[str, Sequence[object]],
    constraint: Callable[[Point], bool] | None,
    max_tries: int | None,
    seed: int,
) -> list[Point]:
    """Return the sets to try, in the order of the grid.

    Parameters
    ----------
    axes : mapping
        As `axes_of` gives them; the last one varies fastest.
    constraint : callable, optional
        False leaves a set out.
    max_tries : int, optional
        How many are drawn without replacement, before the constraint.
    seed : int
        Of the draw.

    Raises
    ------
    SettingError
        For a grid of more than a million sets of which none are drawn.
    DataError
        If none is left.
    """
    if constraint is not None and not callable(constraint):
        raise SettingError("constraint", constraint, "expected a function that takes a set")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise SettingError("seed", seed, "expected a whole number")
    total = math.prod(len(values) for values in axes.values())
    if max_tries is not None:
        _whole("max_tries", max_tries, 1, MAX_SETS)
    elif total > MAX_SETS:
        raise SettingError(
            "max_tries", None, f"the grid has {total:,} sets: expected a number up to {MAX_SETS:,}"
        )
    numbers: Iterable[int] = range(total)
    if max_tries is not None and max_tries < total:
        numbers = sorted(random.Random(seed).sample(range(total), max_tries))  # noqa: S311
    points = [_point(axes, number) for number in numbers]
    if constraint is not None:
        points = [point for point in points if constraint(dict(point))]
    if not points:
        raise DataError("the constraint leaves no set of the grid")
    return points


def _point(axes: Mapping[str, Sequence[object]], number: int) -> Point:
    point: Point = {}
    for name, values in reversed(list(axes.items())):
        number, at = divmod(number, len(values))
        point[name] = values[at]
    return {name: point[name] for name in axes}


def _whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise SettingError(name, value, f"expected a whole number from {low:,} to {high:,}")


def threads_of(n_jobs: int) -> int:
    """Return how many threads to use; -1: one for each core.

    Raises
    ------
    SettingError
        For any other number below 1.
    """
    if n_jobs == -1:
        return os.cpu_count() or 1
    _whole("n_jobs", n_jobs, 1, 1_000)
    return n_jobs


def values_of(settings: Mapping[str, Any], point: Point) -> SettingValues:
    """Return the settings of one set, validated together.

    Raises
    ------
    SettingError
        If they contradict each other.
    """
    given: SettingKwargs = {**settings, **point}  # type: ignore[typeddict-item]
    return ObservationSettings.checked(**given)
