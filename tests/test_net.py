"""Which hosts are this machine."""

from __future__ import annotations

from pairlab.feeds.binance.rest_client import is_loopback_url
from pairlab.net import is_loopback


def test_loopback_hosts() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    others = ("0.0.0.0", "::", "10.0.0.1", "example.org", "127.example.org", "")
    assert not any(map(is_loopback, others))


def test_loopback_urls() -> None:
    assert all(map(is_loopback_url, ("ws://127.0.0.1:9", "http://[::1]:80/x", "ws://localhost")))
    assert not any(map(is_loopback_url, ("wss://fstream.binance.com", "ws://127.evil.example")))
