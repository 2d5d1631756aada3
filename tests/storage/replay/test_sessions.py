"""What `lab.save` wrote is played like a recording: its ticks, gaps and first settings."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from pairlab import PairEngine, PairLab, Replay
from pairlab.app.recorded_pair import replayed_pair
from pairlab.engine.gaps import Gap, update_over_gaps
from pairlab.errors import DataError
from pairlab.schema import Pair
from pairlab.storage.replay.open_source import open_source
from pairlab.storage.replay.sessions import SessionTicks
from pairlab.storage.session.read_session import read_session
from tests.lab.session.labs import OPTIONS, lab_with_a_past
from tests.storage.replay.files import same

PAIR = Pair("BTCUSDT", "ETHUSDT")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[PairLab, Path]:
    lab, path = lab_with_a_past(), tmp_path_factory.mktemp("saved") / "x.pairlab"
    lab.save(path)
    return lab, path


def test_its_ticks_and_gaps_are_played(saved: tuple[PairLab, Path]) -> None:
    lab, path = saved
    source = open_source([path], PAIR)
    (block,) = source.blocks()
    assert same(block.ticks, lab._pipeline.ticks.view())
    assert [tuple(mark) for mark in block.gaps] == [(650, 1, 3)]
    assert "it holds the last 1,000 of 2,300 ticks" in source.notes[0]
    assert replayed_pair([path], None, None) == PAIR


def test_the_settings_are_those_before_its_first_tick_if_the_journal_tells(
    saved: tuple[PairLab, Path],
) -> None:
    _, path = saved
    session = read_session(path)
    source = SessionTicks(session, "x")
    # entry_z was set before the first tick that is held; window, exit_z and fee_bps after it.
    settings = source.settings
    assert (settings.window, settings.entry_z, settings.exit_z) == (30, 1.25, 0.5)
    assert settings.fee_bps != 0.5
    assert "3 later changes are not played" in source.notes[1]
    short = SessionTicks(replace(session, journal=session.journal[-1:]), "x")
    assert short.settings == session.settings
    assert "the settings are those at saving" in short.notes[1]


async def test_a_lab_plays_it_with_its_settings(saved: tuple[PairLab, Path]) -> None:
    _, path = saved
    lab = PairLab(feed=str(path), exit_z=0.75)
    assert isinstance(lab.playback, Replay)
    lab.playback.speed = math.inf
    lab.start()
    await lab.wait_closed()
    values = {**OPTIONS, "window": 30, "entry_z": 1.25, "exit_z": 0.75}
    for name in ("window", "entry_z", "exit_z", "history_rows"):
        assert getattr(lab.settings, name) == values[name]
    want = update_over_gaps(PairEngine(**values), lab._pipeline.ticks.view(), [Gap(650, 3)])
    assert lab.rows.view().tobytes() == want[-600:].tobytes()
    assert any("of the session: " in entry.message for entry in lab.event_log)


def test_what_is_no_session_or_another_one_is_refused(
    saved: tuple[PairLab, Path], tmp_path: Path
) -> None:
    _, path = saved
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    broken = tmp_path / "broken.pairlab"
    broken.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.pairlab' cannot be opened"):
        open_source([broken], PAIR)
    with pytest.raises(DataError, match="not of A and B"):
        open_source([path], Pair("A", "B"))
    with pytest.raises(DataError, match="bookTicker ticks, not of trade"):
        open_source([path], PAIR, "trade")
    with pytest.raises(DataError, match="one session at a time"):
        open_source([path, broken], PAIR)
    with pytest.raises(DataError, match="a saved session"):
        open_source([path], PAIR, columns={"time": "t"})
