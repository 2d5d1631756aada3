"""Alerts as webhooks: each once at the receiver, in order, whatever the network does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairlab import PairLab, SettingError
from pairlab.errors import NetworkSetupError
from pairlab.local_exchange import LocalExchange
from pairlab.services.orders import webhook as webhook_module
from pairlab.services.orders.messages import Signer
from pairlab.services.orders.webhook import WebhookBroker
from tests.ahead import Ahead
from tests.services.orders.receiver import BadNetwork, Receiver, readme_check

SECRET = "correct horse battery staple"
SETTINGS: dict[str, Any] = {
    "window": 30, "entry_z": 1.2, "exit_z": 0.4, "min_correlation": -1.0, "max_leg_age_s": 1e6,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again sooner than one would."""
    monkeypatch.setattr(webhook_module, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(webhook_module, "_MOST_WAIT_S", 0.05)
    monkeypatch.setattr(webhook_module, "_STOP_S", 60.0)  # whatever else the machine does


def notes(broker: WebhookBroker) -> asyncio.Event:
    """Return what is set when the broker tells of something that went wrong."""
    event, note = asyncio.Event(), broker._note

    def told(words: str) -> None:
        note(words)
        event.set()

    broker._note = told  # type: ignore[method-assign]
    return event


@pytest.fixture(autouse=True)
def said() -> Iterator[list[str]]:
    """Keep whatever any logger says: no secret may be in it."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    keeper, root = Keeper(), logging.getLogger()
    level = root.level
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(keeper)
    root.setLevel(level)
    assert not [line for line in lines if SECRET in line or "t0ken" in line]


async def test_each_alert_comes_once_in_order_through_a_network_that_is_cut_five_times(
    tmp_path: Path,
) -> None:
    market = Ahead(1_500, seed=4, speed=1.0)
    async with (
        Receiver(SECRET) as receiver,
        BadNetwork(receiver.port) as network,
        LocalExchange(market) as exchange,
    ):
        lab = PairLab(feed=exchange.url, **SETTINGS)
        url = f"http://127.0.0.1:{network.port}/hook/t0ken"
        broker = lab.webhook(url, secret=SECRET, dead_letters=tmp_path / "dead.ndjson")
        failed = notes(broker)
        async with lab:
            for cut in range(5):
                await receiver.wait(10 * cut + 5)
                network.loses_answers, network.refuses = 1, cut % 2 == 1
                if network.refuses:
                    failed.clear()
                    network.cut()
                    await failed.wait()
                    network.refuses = False
            await lab.wait_async(1_500, 60)
        made = lab.alert_log.alerts()  # what waited was sent before the lab ended
        assert len(made) > 60
        assert [message["number"] for message in receiver.new] == [a.number for a in made]
        assert [m["zscore"] for m in receiver.new] == [a.at.zscore for a in made]
        assert [m["sentence"] for m in receiver.new] == [a.sentence for a in made]
        assert {m["real_money"] for m in receiver.new} == {False}
        assert network.lost >= 3
        assert receiver.verdicts.count("known") >= 1, "an answer was lost: it came again"
        assert set(receiver.verdicts) == {"new", "known"}
        assert (broker.delivered, broker.waiting, broker.dead) == (len(made), 0, 0)
        assert not (tmp_path / "dead.ndjson").exists()
        told = " ".join(entry.message for entry in lab.event_log)
        assert "takes messages again" in told
        for secret in (SECRET, "t0ken"):
            assert secret not in told + repr(broker) + str(vars(broker).get("last_error"))


def test_an_old_message_and_a_forged_one_are_refused() -> None:
    check, seen, body = readme_check(), set(), b'{"number": 1}'
    headers = Signer(SECRET).headers("s-1", body, 1_000.0)
    assert check(headers, body, SECRET, seen, now=lambda: 1_001.0) == "new"
    assert check(headers, body, SECRET, seen, now=lambda: 1_002.0) == "known"
    assert check(headers, body, SECRET, set(), now=lambda: 1_400.0) == "too old"
    for change in (
        {"Idempotency-Key": "s-2"}, {"X-Pairlab-Timestamp": "1001.000"},
        {"X-Pairlab-Signature": "sha256=" + "0" * 64},
    ):  # fmt: skip
        assert check({**headers, **change}, body, SECRET, set(), now=lambda: 1_001.0) == "forged"
    assert check(headers, body + b" ", SECRET, set(), now=lambda: 1_001.0) == "forged"
    assert check(headers, body, SECRET + "!", set(), now=lambda: 1_001.0) == "forged"
    assert SECRET not in repr(vars(Signer(SECRET)))


async def test_what_is_refused_goes_to_the_dead_letters_and_the_next_one_on(
    tmp_path: Path,
) -> None:
    market = Ahead(400, seed=4, speed=1.0)
    async with Receiver(SECRET) as receiver, LocalExchange(market) as exchange:
        receiver.answers = [
            "503 Busy",
            "429 Slow\r\nRetry-After: nan",
            "400 Bad",
            "404 Gone",
            "409 Known",
        ]
        lab = PairLab(feed=exchange.url, **SETTINGS)
        url = f"http://127.0.0.1:{receiver.port}/t0ken"
        broker = lab.webhook(url, secret=SECRET, dead_letters=tmp_path / "dead.ndjson")
        async with lab:
            await lab.wait_async(400, 60)
            await receiver.wait(3)
        made = lab.alert_log.alerts()
        lines = await asyncio.to_thread((tmp_path / "dead.ndjson").read_text)
        dead = [json.loads(line) for line in lines.splitlines()]
        assert [d["message"]["number"] for d in dead] == [1, 2]
        assert [d["reason"].rpartition(" ")[2] for d in dead] == ["400", "404"]
        assert SECRET not in lines + json.dumps(receiver.new)
        assert "t0ken" not in lines
        # 409: the receiver knows the third one already.
        assert [m["number"] for m in receiver.new] == [a.number for a in made[3:]]
        assert (broker.delivered, broker.dead) == (len(made) - 2, 2)


async def test_a_receiver_that_is_gone_holds_up_neither_the_lab_nor_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "_STOP_S", 0.2)
    market = Ahead(600, seed=4, speed=1.0)
    async with LocalExchange(market) as exchange:
        async with Receiver(SECRET) as gone:
            port = gone.port
        lab = PairLab(feed=exchange.url, **SETTINGS)
        broker = lab.webhook(
            f"http://127.0.0.1:{port}/t0ken", secret=SECRET, dead_letters=tmp_path / "dead.ndjson"
        )
        failed = notes(broker)
        async with lab:
            await lab.wait_async(600, 60)
            await failed.wait()
            assert broker.waiting > 0
            assert "cannot be reached" in broker.last_error
            warnings = [e.message for e in lab.event_log if "webhook" in e.message]
            assert len(warnings) == 1, "an outage is told once"
        made = len(lab.alert_log.alerts())
        assert broker.waiting == 0
        assert broker.dead == made
        lines = await asyncio.to_thread((tmp_path / "dead.ndjson").read_text)
        assert [json.loads(x)["message"]["number"] for x in lines.splitlines()] == [
            *range(1, made + 1)
        ]


async def test_as_many_wait_as_are_allowed_and_the_oldest_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "_MOST_WAITING", 4)
    monkeypatch.setattr(webhook_module, "_STOP_S", 0.2)
    async with LocalExchange(Ahead(600, seed=4, speed=1.0)) as exchange:
        async with Receiver(SECRET) as gone:
            port = gone.port
        lab = PairLab(feed=exchange.url, **SETTINGS)
        dead = tmp_path / "dead.ndjson"
        broker = lab.webhook(f"http://127.0.0.1:{port}/", secret=SECRET, dead_letters=dead)
        failed = notes(broker)
        async with lab:
            await lab.wait_async(600, 60)
            await failed.wait()
        made = len(lab.alert_log.alerts())
        lines = (await asyncio.to_thread(dead.read_text)).splitlines()
        numbers = [json.loads(line)["message"]["number"] for line in lines]
        assert sorted(numbers) == [*range(1, made + 1)]
        assert numbers[0] == 2, "the first is on its way, the second the oldest that waits"
        assert sorted(numbers[-4:]) == sorted({1, *numbers[-3:]}), "those that waited at the end"
        told = [e.message for e in lab.event_log if "given up" in e.message]
        assert len(told) <= 2, "why, once each"


async def test_a_message_is_given_up_in_time(tmp_path: Path) -> None:
    market = Ahead(300, seed=4, speed=1.0)
    async with Receiver(SECRET) as receiver, LocalExchange(market) as exchange:
        receiver.answers = ["500 Broken"] * 10_000
        lab = PairLab(feed=exchange.url, **SETTINGS)
        broker = lab.webhook(
            f"http://127.0.0.1:{receiver.port}/", secret=SECRET, give_up_s=0.0,
            dead_letters=tmp_path / "no" / "such" / "folder",
        )  # fmt: skip
        lost = notes(broker)
        async with lab:
            await lab.wait_async(300, 60)
            await lost.wait()
        assert broker.delivered == broker.waiting == 0
        assert broker.dead == len(lab.alert_log.alerts())
        told = [e.message for e in lab.event_log]
        assert any("cannot be written (No such file or directory)" in line for line in told)


async def test_what_cannot_be_sent_for_a_proxy_is_given_up_and_tried_at_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Ahead(300, seed=4, speed=1.0)
    async with Receiver(SECRET) as receiver, LocalExchange(market) as exchange:
        lab = PairLab(feed=exchange.url, **SETTINGS)
        broker = lab.webhook(
            f"http://127.0.0.1:{receiver.port}/", secret=SECRET, dead_letters=tmp_path / "dead"
        )
        usual, refused = broker._client, asyncio.Event()

        def broken() -> Any:
            lab.call_on_loop(refused.set)
            raise NetworkSetupError("HTTPS_PROXY is none")

        monkeypatch.setattr(broker, "_client", broken)
        async with lab:
            await refused.wait()
            monkeypatch.setattr(broker, "_client", usual)
            await lab.wait_async(300, 60)
            await receiver.wait(3)
        made = len(lab.alert_log.alerts())
        assert broker.dead >= 1
        assert (broker.delivered, broker.waiting) == (made - broker.dead, 0)


@pytest.mark.parametrize(
    ("url", "more", "words"),
    [
        ("ftp://t0ken@host/", {"secret": SECRET}, "expected https://host/path"),
        ("hooks.example.com/t0ken", {"secret": SECRET}, "expected https://host/path"),
        (None, {"secret": SECRET}, "expected https://host/path"),
        ("https://host:99999/t0ken", {"secret": SECRET}, "expected https://host/path"),
        ("https://[t0ken", {"secret": SECRET}, "expected https://host/path"),
        ("https://host/", {"secret": "short t0ken"}, "16 characters or more"),
        ("https://host/", {"secret": "t0ken-t0ken-t0ken\udcff"}, "16 characters or more"),
        ("https://host/", {}, "PAIRLAB_WEBHOOK_SECRET"),
        ("https://host/", {"secret": SECRET, "give_up_s": -1.0}, "give_up_s = -1.0 is invalid"),
        ("https://host/", {"secret": SECRET, "give_up_s": np.inf}, "give_up_s = inf is invalid"),
    ],
)
def test_bad_arguments_are_named_without_what_is_secret(
    url: Any, more: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAIRLAB_WEBHOOK_SECRET", raising=False)
    lab = PairLab(feed="demo")
    with pytest.raises(SettingError, match=words) as refused:
        lab.webhook(url, **more)
    assert "t0ken" not in str(refused.value)
    assert len(lab._listeners) == 0


def test_the_secret_of_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRLAB_WEBHOOK_SECRET", SECRET)
    broker = PairLab(feed="demo").webhook("https://hooks.example.com/services/t0ken")
    assert repr(broker) == (
        "<WebhookBroker to hooks.example.com: 0 delivered, 0 waiting, 0 given up>"
    )
