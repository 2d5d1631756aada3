"""Every setting in one table: validated together, observable, shared by widgets, API and engine.

A new setting is one line in `Settings` (type, default, range, meaning) and its name and type in
`SettingKwargs`, so that editors complete ``PairLab(window=…)``; a test compares the two. The rest
follows: `SETTINGS`, `SettingValues`, the REST schema and the text of the controls.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, make_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, TypedDict, Unpack

from traitlets import TraitType

from pairlab.errors import SettingError
from pairlab.limits.consistency import check_ratio, check_together, choice_of
from pairlab.schema import TIMEFRAMES_NS
from pairlab.settings.display import DisplayedSettings

__all__ = [
    "METRIC_SETTINGS",
    "SETTINGS",
    "SettingKwargs",
    "SettingSpec",
    "SettingValue",
    "SettingValues",
    "Settings",
    "unknown_setting",
]

SettingValue: TypeAlias = str | int | float | bool | None
"""What a setting may be."""


class SettingSpec:
    """One setting: default, validation of a single value, and the text that describes both.

    Attributes
    ----------
    name : str
        Of the setting.
    default : object
        Its default.
    allowed : str
        The allowed values in words.
    about : str
        Its meaning.
    schema : Mapping[str, object]
        `allowed` as JSON Schema, for REST.
    defines_metric : bool
        Whether a change rebuilds the metrics from the ticks held.
    """

    name = ""
    defines_metric = False

    def __init__(
        self,
        default: object,
        allowed: str,
        clean: Callable[[object], object],
        about: str,
        schema: Mapping[str, object],
    ) -> None:
        self.default = default
        self.allowed = allowed
        self.about = about
        self.schema = schema
        self._clean = clean

    def __repr__(self) -> str:
        return f"{self.default!r}, {self.allowed}: {self.about}"

    def clean(self, name: str, value: object) -> object:
        """Return the value in its proper type, or raise a `SettingError`."""
        try:
            return self._clean(value)
        except (TypeError, ValueError, OverflowError):
            raise SettingError(name, value, f"expected {self.allowed}") from None


def _number(
    default: float, low: float, high: float, about: str, *, above: bool = False, unit: str = ""
) -> SettingSpec:
    def clean(value: object) -> float:
        if isinstance(value, bool | str) or not hasattr(value, "__float__"):
            raise TypeError
        number = float(value)
        if not math.isfinite(number) or not low <= number <= high or (above and number == low):
            raise ValueError
        return number

    edge = "above" if above else "from"
    lowest = "exclusiveMinimum" if above else "minimum"
    schema = {"type": "number", lowest: low, "maximum": high}
    return SettingSpec(default, f"a number {edge} {low:g} to {high:g}{unit}", clean, about, schema)


def _whole(default: int, low: int, high: int, about: str, *, unit: str = "") -> SettingSpec:
    def clean(value: object) -> int:
        if isinstance(value, bool | str) or not hasattr(value, "__int__"):
            raise TypeError
        number = int(value)
        if number != value or not low <= number <= high:
            raise ValueError
        return number

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return SettingSpec(
        default, f"a whole number from {low:,} to {high:,}{unit}", clean, about, schema
    )


def _choice(default: str, choices: tuple[str, ...], about: str) -> SettingSpec:
    def clean(value: object) -> str:
        return choice_of(value, choices)

    words = "one of " + ", ".join(repr(c) for c in choices)
    return SettingSpec(default, words, clean, about, {"type": "string", "enum": list(choices)})


def _flag(default: bool, about: str) -> SettingSpec:
    def clean(value: object) -> bool:
        # numpy's bool is not Python's; anything else (1, "yes") is more likely a slip.
        if isinstance(value, bool) or type(value).__name__ == "bool":
            return bool(value)
        raise TypeError

    return SettingSpec(default, "True or False", clean, about, {"type": "boolean"})


def _ratio(default: float, about: str) -> SettingSpec:
    def clean(value: object) -> float:
        if isinstance(value, bool | str) or not hasattr(value, "__float__"):
            raise TypeError
        number = float(value)
        if not math.isfinite(number) or number == 0.0 or abs(number) > 1e9:
            raise ValueError
        return number

    schema = {"type": "number", "minimum": -1e9, "maximum": 1e9, "not": {"const": 0}}
    return SettingSpec(default, "a number other than 0, from -1e+09 to 1e+09", clean, about, schema)


def _optional(spec: SettingSpec) -> SettingSpec:
    def clean(value: object) -> object:
        return None if value is None else spec._clean(value)

    words = f"None (off), or {spec.allowed}"
    return SettingSpec(None, words, clean, spec.about, {"anyOf": [spec.schema, {"type": "null"}]})


def unknown_setting(name: str, known: tuple[str, ...] = ()) -> SettingError:
    """Return the error for a name that is no setting, with the closest one that is."""
    names = [*SETTINGS, *known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(names)
    error = SettingError(name, "…", hint)
    error.args = (f"there is no setting {name!r}: {hint}",)
    return error


class _Setting(TraitType[Any, Any]):
    """A trait that asks its `Settings` whether a value is valid, None included."""

    def __init__(self, spec: SettingSpec) -> None:
        super().__init__(help=spec.about)
        self.spec = spec

    def _validate(self, obj: Any, value: Any) -> Any:
        return obj._accept(self.name, value)


def _setting(spec: SettingSpec, *, defines_metric: bool = False) -> Any:
    """Return the trait of a setting; `Any`, so that the annotation beside it is its type."""
    spec.defines_metric = defines_metric
    return _Setting(spec)


class SettingKwargs(TypedDict, total=False):
    """Settings as keywords of `PairLab`, `analyze`, `PairEngine` and `Settings`."""

    timeframe: str
    window: int
    hedge: str
    hedge_ratio: float
    price_scale: str
    correlation_of: str
    entry_z: float
    exit_z: float
    stop_z: float | None
    min_correlation: float
    max_leg_age_s: float
    require_stationary: bool
    max_p_value: float
    adf_lags: int
    kalman_half_life: float
    cooldown_s: float
    max_hold_s: float | None
    fee_bps: float
    min_edge_bps: float | None
    history_rows: int
    ticks_held: int


class Settings(DisplayedSettings):
    """Every setting of a lab, validated together; observe with ``settings.observe(f, "entry_z")``.

    A refused change raises a `SettingError` that names the setting, the value and the allowed
    range, and leaves every old value in place. An observer that raises undoes nothing: all others
    are called, then its error is raised.

    Parameters
    ----------
    **values
        Settings by name, see `SETTINGS`; the rest get their defaults.

    Examples
    --------
    >>> Settings(entry_z=2.5).entry_z
    2.5
    >>> Settings(entry_z=0.3)
    Traceback (most recent call last):
    ...
    pairlab.errors.SettingError: entry_z = 0.3 is invalid: it must be above exit_z (0.5)
    """

    timeframe: str = _setting(
        _choice(
            "tick", tuple(TIMEFRAMES_NS), "One observation per tick, or per bar of this length."
        ),
        defines_metric=True,
    )
    window: int = _setting(
        _whole(50, 10, 50_000, "Observations that every rolling metric looks back over."),
        defines_metric=True,
    )
    hedge: str = _setting(
        _choice("fixed", ("fixed", "ols", "kalman"), "Where the hedge ratio comes from."),
        defines_metric=True,
    )
    hedge_ratio: float = _setting(
        _ratio(25.0, "Units of x sold per unit of y bought, for hedge='fixed'."),
        defines_metric=True,
    )
    price_scale: str = _setting(
        _choice("linear", ("linear", "log"), "Prices as they are, or their natural logarithms."),
        defines_metric=True,
    )
    correlation_of: str = _setting(
        _choice("prices", ("prices", "returns"), "What the rolling correlation is taken of."),
        defines_metric=True,
    )
    entry_z: float = _setting(
        _number(2.0, 0.0, 20.0, "Open a position at this |z-score|.", above=True)
    )
    exit_z: float = _setting(
        _number(0.5, 0.0, 20.0, "Close it when the z-score is back within this.")
    )
    stop_z: float | None = _setting(
        _optional(_number(4.0, 0.0, 40.0, "Close at a loss when |z-score| gets here.", above=True))
    )
    min_correlation: float = _setting(
        _number(0.7, -1.0, 1.0, "No entry below this rolling correlation of y with β·x.")
    )
    max_leg_age_s: float = _setting(
        _number(
            10.0,
            0.0,
            1e9,
            "No entry while a leg's last price is as old as this (and older than a bar).",
            above=True,
            unit=" s",
        )
    )
    require_stationary: bool = _setting(
        _flag(False, "Enter only while the stationarity test says yes.")
    )
    max_p_value: float = _setting(
        _number(
            0.05,
            0.0,
            1.0,
            "Level of the stationarity test, by critical values for the window's length.",
            above=True,
        )
    )
    adf_lags: int = _setting(
        _whole(1, 0, 1, "Lagged differences in the stationarity test."), defines_metric=True
    )
    kalman_half_life: float = _setting(
        _number(300.0, 10.0, 1e7, "Memory of the Kalman hedge.", unit=" observations"),
        defines_metric=True,
    )
    cooldown_s: float = _setting(
        _number(0.0, 0.0, 1e9, "No entry for this long after an exit.", unit=" s")
    )
    max_hold_s: float | None = _setting(
        _optional(_number(3600.0, 0.0, 1e9, "Close a position held this long; 0: off.", unit=" s"))
    )
    fee_bps: float = _setting(
        _number(
            4.0,
            0.0,
            1000.0,
            "What one fill costs, per leg and side; a round trip is four.",
            unit=" bps",
        )
    )
    min_edge_bps: float | None = _setting(
        _optional(
            _number(
                16.0,
                0.0,
                10_000.0,
                "No entry while the spread's distance from its mean is worth less of y's notional.",
                above=True,
                unit=" bps",
            )
        )
    )
    history_rows: int = _setting(
        _whole(100_000, 100, 50_000_000, "Rows that history() keeps.", unit=" rows")
    )
    ticks_held: int = _setting(
        _whole(1_000_000, 1_000, 100_000_000, "Ticks kept for ticks() and rebuilds.", unit=" ticks")
    )

    _both_legs_a_row = False  # at the tick timeframe

    def __init__(self, **values: Unpack[SettingKwargs]) -> None:
        # The default ratio is of one pair: see `require_explicit_hedge_ratio`.
        self._ratio_given = "hedge_ratio" in values
        self._default_ratio_fits = True
        self._checked = False
        super().__init__(**asdict(self.checked(**values)))
        self._checked = True

    @classmethod
    def checked(cls, **values: Unpack[SettingKwargs]) -> SettingValues:
        """Return what ``Settings(**values).values()`` does, which see, without the object."""
        full = replace(SettingValues(), **cls._clean(values))
        check_together(full, values, both_legs_a_row=cls._both_legs_a_row)
        check_ratio(full, given="hedge_ratio" in values, default_fits=True)
        return full

    def values(self) -> SettingValues:
        """Return a frozen snapshot of every setting."""
        return SettingValues(**{name: getattr(self, name) for name in SETTINGS})

    def update(self, **changes: Unpack[SettingKwargs]) -> None:
        """Change several settings at once: all of them, or, with an error, none.

        Raises
        ------
        SettingError
            For an unknown name, a value out of range, or values that contradict each other.
        """
        clean = self._clean(changes)
        given = self._ratio_given
        self._ratio_given = given or "hedge_ratio" in changes
        try:
            self._check_together(replace(self.values(), **clean), *changes)
        except SettingError:
            self._ratio_given = given
            raise
        self._checked = False  # checked just now, all together; one by one they may contradict
        try:
            with self.hold_trait_notifications():
                for name, value in clean.items():
                    setattr(self, name, value)
        finally:
            self._checked = True

    def require_explicit_hedge_ratio(self) -> None:
        """Refuse the default hedge ratio from now on: this is not BTCUSDT/ETHUSDT.

        Raises
        ------
        SettingError
            If the default ratio is in use.
        """
        self._default_ratio_fits = False
        self._check_together(self.values())

    def __setattr__(self, name: str, value: Any) -> None:
        # A typo would otherwise make a new attribute and change nothing.
        if not name.startswith("_") and not hasattr(type(self), name):
            raise unknown_setting(name)
        super().__setattr__(name, value)

    def _accept(self, name: str, value: Any) -> Any:
        """Return a proposed value in its proper type, or refuse it."""
        value = SETTINGS[name].clean(name, value)
        if self._checked:
            given = self._ratio_given
            self._ratio_given = given or name == "hedge_ratio"
            try:
                self._check_together(replace(self.values(), **{name: value}), name)
            except SettingError:
                self._ratio_given = given
                raise
        return value

    @staticmethod
    def _clean(values: Mapping[str, Any]) -> dict[str, Any]:
        clean = {}
        for name, value in values.items():
            if name not in SETTINGS:
                raise unknown_setting(name)
            clean[name] = SETTINGS[name].clean(name, value)
        return clean

    def _check_together(self, v: SettingValues, *changed: str) -> None:
        """Raise for values that contradict each other, and blame one that was asked for."""
        check_together(v, changed, both_legs_a_row=self._both_legs_a_row)
        check_ratio(v, given=self._ratio_given, default_fits=self._default_ratio_fits)


SETTINGS: Final[Mapping[str, SettingSpec]] = {
    name: trait.spec for name, trait in vars(Settings).items() if isinstance(trait, _Setting)
}
"""Each setting's default, allowed range and meaning."""

for _name, _spec in SETTINGS.items():
    _spec.name = _name

METRIC_SETTINGS: Final = frozenset(n for n, spec in SETTINGS.items() if spec.defines_metric)
"""Settings that define a metric: changing one rebuilds the metrics from the ticks held."""

if TYPE_CHECKING:

    class SettingValues(Settings):
        """The attributes of `Settings`, frozen: a type checker knows each one's type."""

        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
else:
    SettingValues = make_dataclass(
        "SettingValues",
        [(n, Settings.__annotations__[n], spec.default) for n, spec in SETTINGS.items()],
        frozen=True,
        slots=True,
        kw_only=True,
    )
    SettingValues.__module__ = __name__  # pickles by name
    SettingValues.__doc__ = "A frozen snapshot of every setting, as `Settings.values` returns it."
