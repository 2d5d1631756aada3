"""Configuration: every number is finite, every option is documented and reaches the feed."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import fields
from typing import get_type_hints

import pytest

from pairlab.errors import DataError, FeedError, FirewallError, GeoBlockedError, UnknownSymbolError
from pairlab.feeds import BinanceFeed, FeedConfig, FeedGroup
from pairlab.feeds.config import FeedOptions, Limits, Retry, Timeouts, is_final
from tests.feeds.scripted import PAIR


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, True])
@pytest.mark.parametrize("name", ["open_s", "repair_s", "idle_busy_s"])
def test_times_are_finite(name: str, value: float) -> None:
    with pytest.raises(DataError, match=f"{name} = .* is invalid: expected a finite number"):
        Timeouts(**{name: value})


@pytest.mark.parametrize("value", [0, -5, math.inf])
def test_limits_are_finite(value: int) -> None:
    with pytest.raises(DataError, match=r"max_held_ticks = .* is invalid"):
        Limits(max_held_ticks=value)


def test_a_connection_has_no_more_streams_than_binance_allows() -> None:
    assert Limits(max_streams=1024).max_streams == 1024
    with pytest.raises(DataError, match="max_streams = 1025 is invalid: expected from 1 to 1024"):
        Limits(max_streams=1025)


def test_zero_is_fine_where_it_means_at_once() -> None:
    assert Timeouts(healthy_after_s=0, repair_grace_s=0).healthy_after_s == 0


def test_what_a_retry_cannot_help() -> None:
    assert is_final(GeoBlockedError("x"))
    assert is_final(UnknownSymbolError("x"))
    assert not is_final(FirewallError("x"))
    assert not is_final(FeedError("x"))


def test_every_option_is_documented_once_and_accepted_as_a_keyword() -> None:
    names = [field.name for field in fields(FeedConfig)]
    assert set(get_type_hints(FeedOptions)) == set(names)
    words = inspect.getdoc(FeedConfig) or ""
    for name in names:
        assert re.search(rf"^{name} : ", words, re.M), name
        assert f"`{name}`" in (inspect.getdoc(BinanceFeed) or ""), name


def test_options_reach_the_feed_and_none_stands_for_the_default() -> None:
    timeouts, limits, retry = Timeouts(rest_s=1.0), Limits(max_streams=4), Retry()
    group = FeedGroup(timeouts=timeouts, limits=limits, retry=retry, align_s=2.0, name="X")
    assert (group.context.timeouts, group.context.limits) == (timeouts, limits)
    assert group.context.retry is retry
    assert (group.pair(*PAIR).info.name, group.config.align_s) == ("X", 2.0)
    assert FeedGroup(timeouts=None, limits=None, retry=None).config == FeedConfig(
        retry=FeedGroup().config.retry
    )
    with pytest.raises(TypeError, match="strem"):
        BinanceFeed(PAIR, strem="trade")  # type: ignore[call-arg]


def test_a_feed_tells_the_time_by_the_clock_it_is_given() -> None:
    class Stopped:
        def monotonic_s(self) -> float:
            return 5.0

        def time_ns(self) -> int:
            return 7

    clock = Stopped()
    feed = BinanceFeed(PAIR, clock=clock)
    assert feed._clock is clock
    assert feed.source.context.throttle._clock is clock


def test_a_password_in_a_url_is_in_no_repr_and_no_error() -> None:
    there = {"url": "wss://joe:secret@there:9443/a@b", "rest_url": "https://joe:secret@there/x"}
    config = FeedConfig(**there)  # type: ignore[arg-type]
    assert "url='wss://there:9443/a@b', rest_url='https://there/x', routes=None" in repr(config)
    assert "secret" not in repr(config) + repr(FeedGroup(**there))  # type: ignore[arg-type]
    assert config.url == there["url"]
    with pytest.raises(DataError, match=r"url = 'http://there'") as raised:
        BinanceFeed(PAIR, url="http://joe:secret@there")
    assert "secret" not in str(raised.value)
