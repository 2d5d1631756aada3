"""Numbers read alike in alerts and on the screen."""

from __future__ import annotations

import doctest
import math

from pairlab import formatting
from pairlab.formatting import MINUS, MISSING, number, plain, signed
from pairlab.widgets.style import formats


def test_examples_in_the_docstrings() -> None:
    result = doctest.testmod(formatting)
    assert result.attempted == 6
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
