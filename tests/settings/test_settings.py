"""Settings: one validated truth, all or nothing."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairlab import SettingError
from pairlab.lab.pipeline import Pipeline
from pairlab.limits.consistency import largest_z
from pairlab.settings import SETTINGS, SettingKwargs, Settings


def test_defaults_are_the_documented_ones() -> None:
    assert asdict(Settings().values()) == {
        "timeframe": "tick", "window": 50, "hedge": "fixed", "hedge_ratio": 25.0,
        "price_scale": "linear", "correlation_of": "prices", "entry_z": 2.0, "exit_z": 0.5,
        "stop_z": None, "min_correlation": 0.7, "max_leg_age_s": 10.0,
        "require_stationary": False, "max_p_value": 0.05, "adf_lags": 1,
        "kalman_half_life": 300.0, "cooldown_s": 0.0, "max_hold_s": None, "fee_bps": 4.0,
        "min_edge_bps": None, "history_rows": 100_000, "ticks_held": 1_000_000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", 9), ("window", 50_001), ("window", 50.5), ("window", "50"), ("window", None),
        ("window", True), ("entry_z", 0.5), ("entry_z", 0.4), ("entry_z", float("nan")),
        ("entry_z", float("inf")), ("exit_z", 2.0), ("exit_z", -0.1), ("stop_z", 2.0),
        ("stop_z", 1.0), ("min_correlation", 1.01), ("hedge", "lad"), ("hedge_ratio", 0.0),
        ("hedge_ratio", float("nan")), ("timeframe", "2m"), ("adf_lags", 2),
        ("require_stationary", 1), ("max_p_value", 0.0), ("kalman_half_life", 0),
        ("fee_bps", -0.1), ("fee_bps", 1001), ("fee_bps", None), ("fee_bps", float("nan")),
        ("min_edge_bps", 0.0), ("min_edge_bps", -1), ("min_edge_bps", 10_001),
        ("min_edge_bps", float("inf")), ("min_edge_bps", "16"), ("min_edge_bps", False),
        ("cooldown_s", -1), ("max_hold_s", -1), ("max_hold_s", 2e9), ("max_hold_s", "60"),
        ("max_leg_age_s", 0), ("history_rows", 10), ("price_scale", "log"),
    ],
)  # fmt: skip
def test_refused_value_is_named_and_the_old_one_stays(name: str, value: Any) -> None:
    settings = Settings()
    before = settings.values()
    with pytest.raises(SettingError) as caught:
        setattr(settings, name, value)
    assert caught.value.name in str(caught.value)
    assert settings.values() == before
    with pytest.raises(SettingError):
        Settings(**{name: value})


def test_unknown_name_offers_the_closest() -> None:
    with pytest.raises(SettingError, match="entry_z"):
        Settings(entri_z=2.0)
    with pytest.raises(SettingError, match="window"):
        Settings().windw = 20  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [float("inf"), 10**400, -(10**400)])
@pytest.mark.parametrize("name", ["window", "entry_z", "hedge_ratio", "max_leg_age_s"])
def test_numbers_beyond_all_bounds_are_refused_too(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=name):
        Settings(**{name: value})


def test_the_setting_that_was_asked_for_is_the_one_that_is_blamed() -> None:
    with pytest.raises(SettingError, match=r"^stop_z = 1\.5"):
        Settings(stop_z=1.5)
    with pytest.raises(SettingError, match=r"^exit_z = 3\.0"):
        Settings(exit_z=3)
    with pytest.raises(SettingError, match=r"^entry_z = 5\.0"):
        Settings(stop_z=4).entry_z = 5


def test_update_is_all_or_nothing_and_may_cross_through_a_contradiction() -> None:
    settings = Settings()
    settings.update(entry_z=0.4, exit_z=0.1)  # one by one, entry_z would contradict exit_z
    assert (settings.entry_z, settings.exit_z) == (0.4, 0.1)
    before = settings.values()
    with pytest.raises(SettingError):
        settings.update(window=100, entry_z=0.05)
    assert settings.values() == before


def test_a_holding_time_may_be_nothing_or_zero() -> None:
    settings = Settings(max_hold_s=np.int64(0))
    assert settings.max_hold_s == 0.0
    with pytest.raises(SettingError, match=r"expected None \(off\), or a number from 0 to"):
        settings.max_hold_s = float("nan")


def test_observers_see_a_change_once_and_none_for_a_refusal() -> None:
    settings = Settings()
    seen: list[tuple[str, Any, Any]] = []
    settings.observe(lambda change: seen.append((change.name, change.old, change.new)))
    settings.entry_z = 2.5
    settings.entry_z = 2.5
    with pytest.raises(SettingError):
        settings.entry_z = 0.1
    settings.update(entry_z=3, window=60)
    assert seen == [("entry_z", 2.0, 2.5), ("entry_z", 2.5, 3.0), ("window", 50, 60)]


def test_numpy_numbers_become_plain_ones() -> None:
    settings = Settings(
        window=np.int64(60), entry_z=np.float64(2.5), require_stationary=np.bool_(True)
    )
    assert type(settings.window) is int
    assert type(settings.entry_z) is float
    assert settings.require_stationary is True


def test_the_default_ratio_belongs_to_one_pair_in_linear_prices() -> None:
    with pytest.raises(SettingError, match="hedge_ratio"):
        Settings(price_scale="log")
    assert Settings(price_scale="log", hedge_ratio=0.9).hedge_ratio == 0.9
    assert Settings(price_scale="log", hedge="ols").hedge == "ols"
    other = Settings(hedge="ols")
    other.require_explicit_hedge_ratio()
    with pytest.raises(SettingError, match="hedge_ratio"):
        other.hedge = "fixed"
    other.update(hedge="fixed", hedge_ratio=3.0)
    assert other.hedge == "fixed"


def allowed(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Draw what a setting's own schema allows."""
    if "anyOf" in schema:
        return st.one_of(*map(allowed, schema["anyOf"]))
    match schema["type"]:
        case "string":
            return st.sampled_from(schema["enum"])
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
    above = "exclusiveMinimum" in schema
    lowest = schema["exclusiveMinimum" if above else "minimum"]
    numbers = st.floats(lowest, schema["maximum"], exclude_min=above)
    return numbers.filter(bool) if "not" in schema else numbers


ANYTHING = st.one_of(st.floats(), st.integers(), st.text(max_size=5), st.none(), st.booleans())
ALONE = sorted(
    # Those whose values no other setting forbids.
    set(SETTINGS)
    - {"entry_z", "exit_z", "stop_z", "window", "history_rows", "price_scale", "correlation_of"}
)


RETURNS = "the correlation of returns per tick is 0 whatever the legs do"


@pytest.mark.parametrize(
    ("given", "blamed", "why"),
    [
        ({"window": 10, "entry_z": 3.0}, "entry_z", "at most (n − 1)/√n = 2.846"),
        ({"window": 10, "entry_z": 3.0}, "entry_z", "a window of 11 or more"),
        ({"window": 10, "entry_z": 3.0, "hedge": "ols"}, "entry_z", "would never enter"),
        ({"window": 12, "entry_z": 3.2, "price_scale": "log", "hedge": "ols"}, "entry_z", "3.175"),
        ({"window": 17, "stop_z": 4.0}, "stop_z", "would never stop; expected that or less, or a"),
        ({"window": 400, "entry_z": 20.0, "stop_z": None}, "entry_z", "a window of 402 or more"),
        ({"correlation_of": "returns"}, "correlation_of", RETURNS),
        ({"correlation_of": "returns", "timeframe": "tick"}, "correlation_of", RETURNS),
    ],
)
def test_values_that_are_impossible_together_are_refused(given, blamed, why):
    with pytest.raises(SettingError, match=re.escape(why)) as caught:
        Settings(**{"hedge_ratio": 25.0, **given})
    assert caught.value.name == blamed


@pytest.mark.parametrize(
    ("held", "change", "why"),
    [
        ({"entry_z": 3.0, "window": 60}, {"window": 10}, "entry_z (3) would never enter; expected"),
        ({"stop_z": 4.0, "window": 60}, {"window": 17}, "stop_z (4) would never stop; expected 18"),
        ({"hedge": "kalman", "window": 10, "entry_z": 3.0}, {"hedge": "ols"}, "with it and a"),
        ({"correlation_of": "returns", "timeframe": "1s"}, {"timeframe": "tick"}, RETURNS),
    ],
)
def test_a_change_to_what_is_impossible_is_refused_and_changes_nothing(held, change, why):
    settings = Settings(**held)
    before = settings.values()
    (name,) = change
    with pytest.raises(SettingError, match=re.escape(why)) as caught:
        settings.update(**change)
    assert caught.value.name == name
    with pytest.raises(SettingError):
        setattr(settings, name, change[name])
    assert settings.values() == before


@pytest.mark.parametrize(
    "given",
    [
        {"window": 10, "entry_z": 2.84},
        {"window": 11, "entry_z": 3.0},
        {"window": 18, "stop_z": 4.0},
        {"window": 402, "entry_z": 20.0},
        {"window": 10, "entry_z": 3.0, "stop_z": 8.0, "hedge": "kalman"},  # it has no ceiling
        {"window": 10, "entry_z": 2.0, "stop_z": None},
        {"correlation_of": "returns", "timeframe": "1s"},
    ],
)
def test_what_is_just_possible_is_accepted(given):
    Settings(**given)


def test_the_ceiling_is_where_z_cannot_go():
    """Of a window of equal spreads and one that jumped: nothing has a larger z."""
    for n in (10, 18, 402):
        e = np.zeros(n)
        e[-1] = 1.0
        assert (e[-1] - e.mean()) / e.std(ddof=1) == pytest.approx(largest_z(n), rel=1e-12)
    r = np.random.default_rng(3)
    e = r.standard_cauchy((20_000, 10))
    z = (e[:, -1] - e.mean(axis=1)) / e.std(axis=1, ddof=1)
    assert 2.84 < np.abs(z).max() <= largest_z(10)


@given(st.sampled_from(ALONE).flatmap(lambda n: st.tuples(st.just(n), allowed(SETTINGS[n].schema))))
def test_whatever_the_schema_allows_is_accepted(change: tuple[str, Any]) -> None:
    name, value = change
    settings = Settings()
    before = settings.values()
    settings.update(**{name: value})
    assert settings.values() == replace(before, **{name: value})


def drawn_changes(draw_value: Callable[[str], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    names = st.lists(st.sampled_from(sorted(SETTINGS)), max_size=4, unique=True)
    return names.flatmap(lambda some: st.fixed_dictionaries({n: draw_value(n) for n in some}))


def test_no_change_ever_leaves_a_contradiction() -> None:
    accepted = refused = 0

    @settings(deadline=None, max_examples=200)
    @given(drawn_changes(lambda n: allowed(SETTINGS[n].schema)) | drawn_changes(lambda _: ANYTHING))
    def check(changes: dict[str, Any]) -> None:
        nonlocal accepted, refused
        settings = Settings()
        before = settings.values()
        try:
            settings.update(**changes)
        except SettingError:
            refused += 1
            assert settings.values() == before
        else:
            accepted += bool(changes)
            assert settings.values() == replace(before, **changes)
        values = settings.values()
        assert values.exit_z < values.entry_z
        assert values.stop_z is None or values.stop_z > values.entry_z
        assert values.history_rows >= values.window
        assert Settings(**asdict(values)).values() == values

    check()
    assert min(accepted, refused) > 30, (accepted, refused)  # both ways were gone


def test_keywords_are_the_settings_with_their_types() -> None:
    assert SettingKwargs.__annotations__.keys() == SETTINGS.keys()
    table = {name: Settings.__annotations__[name] for name in SETTINGS}
    assert {n: t.__forward_arg__ for n, t in SettingKwargs.__annotations__.items()} == table


def test_a_snapshot_is_frozen_and_equal_to_its_like() -> None:
    settings = Settings(window=20)
    before = settings.values()
    settings.window = 30
    assert (before.window, settings.values().window) == (20, 30)
    assert before == Settings(window=20).values()
    assert pickle.loads(pickle.dumps(before)) == before
    with pytest.raises(FrozenInstanceError):
        before.window = 40


def test_an_observer_that_raises_keeps_no_other_name_from_the_pipeline() -> None:
    def broken(change: Any) -> None:
        raise ZeroDivisionError

    settings = Settings(hedge_ratio=1.0)
    settings.observe(broken, "entry_z")
    pipeline = Pipeline(settings, lambda: None)
    pipeline.start_engine()
    with pytest.raises(ZeroDivisionError):
        settings.update(entry_z=2.5, exit_z=0.7, cooldown_s=9.0)
    assert pipeline.engine is not None
    assert pipeline.engine.values == settings.values()
    assert [change.name for change in pipeline.alert_log] == ["entry_z", "exit_z", "cooldown_s"]
    with pytest.raises(ZeroDivisionError):
        settings.entry_z = 3.0
    assert pipeline.engine.values.entry_z == 3.0
