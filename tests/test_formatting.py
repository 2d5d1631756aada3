"""Numbers read alike in alerts and on the screen."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab import formatting
from pairlab.formatting import MINUS, MISSING, number, parse_number, plain, signed
from pairlab.widgets.style import formats


def test_examples_in_the_docstrings() -> None:
    result = doctest.testmod(formatting)
    assert result.attempted == 12
    assert result.failed == 0


def test_there_is_one_of_each() -> None:
    assert formats.signed is signed
    assert formats.number is number
    assert formats.MISSING == MISSING


def test_no_number_is_told_as_nan_inf_or_minus_zero() -> None:
    for write in (number, plain, signed):
        assert write(math.nan) == write(math.inf) == write(-math.inf) == MISSING
        assert MINUS not in write(-1e-9)
        assert write(-1.5).startswith(MINUS)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("2,5", 2.5), ("24,5", 24.5), ("0,05", 0.05), (",5", 0.5), ("−2,5", -2.5), ("+1,25", 1.25),
        ("1,5e−6", 1.5e-6), ("0,125", 0.125), ("1234,567", 1234.567), ("1,0000", 1.0),
        ("1,000.5", 1000.5), ("1.000,5", 1000.5), ("1,000,000", 1e6), ("1.000.000", 1e6),
        ("1 000,5", 1000.5), ("1\u00a0000", 1000.0), ("1\u202f000,25", 1000.25),
        ("1'000.5", 1000.5), ("24.871", 24.871), ("1e3", 1000.0), (" 7 ", 7.0), ("5.", 5.0),
    ],
)  # fmt: skip
def test_a_number_is_read_as_whoever_typed_it_meant_it(typed: str, value: float) -> None:
    assert parse_number(typed) == value


@pytest.mark.parametrize(
    "typed",
    ["1,000", "24,871", "−1,000", "100,000", "1,5,2", "1,00,000", "1,000e3", "1_0", "2_5", "5,",
     "1.2.3", "1,2.3", "1 2", "1e-400", "1,5e-999", "nan", "inf", "0x10", "2;5", "2 ,5", ""],
)  # fmt: skip
def test_what_may_be_two_numbers_or_none_is_refused(typed: str) -> None:
    assert parse_number(typed) == typed


@pytest.mark.parametrize(
    ("typed", "value"), [("1,000", 1000.0), ("12,000", 12_000.0), ("2.000", "2.000"), ("2,5", 2.5),
                         ("250.0", 250.0), ("1.000.000", 1e6), ("1 000", 1000.0)],
)  # fmt: skip
def test_a_count_is_read_as_the_screen_writes_counts(typed: str, value: float | str) -> None:
    assert parse_number(typed, whole=True) == value


@given(st.decimals(-(10**7), 10**7, places=3), st.integers(0, 3), st.booleans())
def test_no_way_to_write_a_number_is_read_as_another_one(
    value: object, decimals: int, whole: bool
) -> None:
    plain_text = f"{value:.{decimals}f}"
    wanted = float(plain_text)
    english = f"{float(plain_text):,.{decimals}f}"
    swapped = english.translate(str.maketrans(",.", ".,"))
    spaced = english.translate(str.maketrans(",.", "\u202f,"))
    for typed in (english, swapped, spaced, plain_text.replace(".", ",")):
        read = parse_number(typed, whole=whole)
        if typed == swapped and typed.count(".") == 1 and "," not in typed and not whole:
            continue  # a single point is a decimal point, as the screen writes it
        if whole and decimals == 3:
            continue  # nobody counts in thousandths
        assert read in (wanted, typed)
