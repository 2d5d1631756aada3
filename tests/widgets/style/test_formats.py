"""Numbers as the screen shows them."""

from __future__ import annotations

import doctest
import json
import math
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairlab.widgets.style import formats
from pairlab.widgets.style.formats import (
    age,
    duration,
    guess_decimals,
    js_number,
    number,
    p_value,
    quantity_ms,
    safe,
    signed,
    span_label,
)  # fmt: skip

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
BROKEN = re.compile(r"nan|inf|-|[+−]0(\.0+)?$", re.IGNORECASE)


def test_examples_in_the_docstrings() -> None:
    result = doctest.testmod(formats)
    assert result.attempted == 16
    assert result.failed == 0


@given(ANY_FLOAT, st.integers(0, 4))
def test_no_number_is_ever_shown_broken(value: float, decimals: int) -> None:
    for text in (number(value, decimals), p_value(value), age(value), quantity_ms(value)):
        assert text == "–" or not BROKEN.search(text.replace("<", "")), text
    assert not re.search(r"nan|inf|-|−0(\.0+)?$", signed(value, decimals), re.IGNORECASE)


@given(st.floats(-1e9, 1e9), st.integers(0, 6))
def test_a_shown_number_is_the_number(value: float, decimals: int) -> None:
    for shown in (number(value, decimals), signed(value, decimals)):
        back = float(shown.replace("−", "-").replace(",", ""))
        assert math.isclose(back, round(value, decimals), abs_tol=10.0**-decimals / 1e3)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(61279.0, 1), "61,279.0"),
        (number(float("nan")), "–"),
        (signed(0.0), "+0.00"),
        (signed(-0.9), "−0.90"),
        (p_value(0.0009), "<0.001"),
        (p_value(0.033), "0.033"),
        (p_value(float("nan")), "–"),
        (age(0.1), "0.10"),
        (age(12.4), "12"),
        (quantity_ms(0.12), "0.1"),
        (quantity_ms(27.4), "27"),
        (duration(1.52), "1.5 s"),
        (duration(3723), "1:02:03"),
        (span_label(300), "5 min"),
        (span_label(30), "30 s"),
        (safe('<b onload="x">&'), "&lt;b onload=&quot;x&quot;&gt;&amp;"),
    ],
)
def test_formats_of_the_design(shown: str, expected: str) -> None:
    assert shown == expected


def test_decimals_of_a_price_without_tick_size_show_its_digits() -> None:
    assert [guess_decimals(p) for p in (61279.0, 1.0834, 0.00001234)] == [2, 6, 8]
    assert guess_decimals(float("nan")) == 2


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to ask JavaScript itself")
def test_tick_label_keys_read_as_javascript_prints_them() -> None:
    values = [2.0, -0.5, 0.1 + 0.2, 1e-7, 123456789.125, 1732285910000.0, -4.889964788732394, 1e21]
    values += [5e-05, 0.0, -0.0, 1e15 + 0.5, 61000.0, 2.5e-10, 1 / 3]
    script = f"console.log(JSON.stringify({json.dumps(values)}.map(v => String(v))))"
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    assert [js_number(v) for v in values] == json.loads(done.stdout)
