"""Malformed messages: each is invalid, and each kind is used."""

from __future__ import annotations

import json

import pytest

from pairlab.local_exchange.server.malformed import CORRUPTIONS, corrupt, not_available
from tests.local_exchange.server.test_faults import record_if_valid

TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":7,'
    b'"p":"61800.30","q":"0.006","X":"MARKET","m":false}}'
)


@pytest.mark.parametrize("way", CORRUPTIONS)
def test_no_corrupt_message_is_valid(way: str) -> None:
    corrupted = CORRUPTIONS[way](TRADE)
    assert corrupted != TRADE
    seen: dict[str, set[int]] = {"BTCUSDT": set()}
    record_if_valid(seen, {}, corrupted.replace(b'"t":', b'"a":'))
    assert seen == {"BTCUSDT": set()}


def test_corruptions_are_taken_in_turn() -> None:
    taken = {corrupt(number, TRADE) for number in range(len(CORRUPTIONS))}
    assert taken == {way(TRADE) for way in CORRUPTIONS.values()}
    assert len(taken) == len(CORRUPTIONS)


def test_an_na_row() -> None:
    data = json.loads(not_available(TRADE))["data"]
    assert (data["X"], data["p"], data["q"], data["t"]) == ("NA", "0", "0", 7)
