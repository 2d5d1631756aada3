"""A replay begins as warm as the lab was that was recorded, and fills the gaps that it filled."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pairlab import PairLab, Replay
from pairlab.data.journal import GapFilled
from pairlab.engine import compile_kernel
from pairlab.schema import RowFlag
from tests.lab.test_unseen import GIVEN, Exchange, market, settled, until

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_kernel()


async def played(lab: PairLab) -> bytes:
    lab.start()
    await lab.wait_closed()
    assert lab.health().state == "stopped", lab.health().detail
    return lab.rows.view().tobytes()


@pytest.mark.parametrize("saved", [False, True], ids=["recorded", "saved"])
async def test_bars_of_the_exchange_are_given_back(tmp_path: Path, saved: bool) -> None:
    exchange = Exchange(market(11))
    exchange.minutes(40)  # what is known of them is candles
    given = {**GIVEN, "timeframe": "1m"}
    lab = PairLab(feed=exchange, **given).start()
    await lab.record(tmp_path / "r").wait_opened()
    await exchange.opened.wait()
    await settled(lab)
    await exchange.bring(10.5)
    if not saved:
        exchange.minutes(7)
        assert exchange.sink is not None
        exchange.sink.on_gap(5)
        await until(lambda: any(isinstance(event, GapFilled) for event in lab.journal))
    await exchange.bring(6.7)
    await settled(lab)
    if saved:
        await lab.save_async(tmp_path / "r.pairlab")
    await lab.stop()
    rows = lab.rows.view()
    seeded = np.flatnonzero(rows["flags"] & RowFlag.SEEDED)
    assert len(seeded) > 38 and np.isfinite(rows["zscore"][seeded[-1] + 1])  # noqa: PT018
    again = PairLab(feed=Replay(tmp_path / ("r.pairlab" if saved else "r"), math.inf), **given)
    assert await played(again) == rows.tobytes()
    assert await played(again) == rows.tobytes()  # a restart is as warm
    assert again.playback is not None
    # So near the beginning that it is warmed from there.
    again.playback.seek(int(rows["time_ns"][seeded[-1] if saved else 45]))
    await again.wait_closed()
    assert again.rows.view().tobytes() == rows.tobytes()
