"""Many pairs in one call of the kernel, beside the same pairs with an engine each."""

from __future__ import annotations

import numpy as np

from pairlab.engine import PairEngine
from pairlab.engine.many_pairs import ManyPairs
from pairlab.engine.state import SYMBOL_TICK
from pairlab.schema import ROW, TICK, Records
from tests.benchmarks.harness import Result, Wanted, benchmark, of_two, seconds

SYMBOLS, PAIRS, BATCH, TICKS = 100, 500, 200, 20_000
ROOM = 12_000
NS = 1e9


def market(count: int) -> Records:
    """Ticks of 100 symbols that share a factor."""
    r = np.random.default_rng(3)
    ticks = np.zeros(count, SYMBOL_TICK)
    ticks["leg"] = r.integers(0, SYMBOLS, count)
    ticks["time_ns"] = 1_723_161_256_000_000_000 + np.arange(count) * 50_000
    factor = np.cumsum(r.normal(0, 1e-5, count))
    ticks["price"] = (20.0 + ticks["leg"]) * np.exp(factor + r.normal(0, 1e-4, count))
    ticks["quantity"] = 1.0
    return ticks


def pairs() -> list[tuple[int, int]]:
    """500 pairs: each symbol in ten of them."""
    return [(k % SYMBOLS, (k % SYMBOLS + 1 + k // SYMBOLS) % SYMBOLS) for k in range(PAIRS)]


def engine() -> PairEngine:
    return PairEngine(hedge="ols", window=50, require_stationary=True, stop_z=4.0, bars=False)


class Buffers:
    """A buffer a pair, written from the beginning again when it is full."""

    def __init__(self) -> None:
        self.many = ManyPairs(self.make_room)
        self.rows = np.zeros((PAIRS, ROOM), ROW)
        for y, x in pairs():
            slot = self.many.add(y, x)
            self.many.bind(slot, engine())
            self.many.slots["rows"][slot] = self.rows[slot].ctypes.data
            self.many.slots["room"][slot] = ROOM
            self.many.activate(slot)

    def make_room(self, slot: int) -> None:
        self.many.slots["end"][slot] = 0

    def update(self, batch: Records) -> None:
        for _ in self.many.update(batch):
            pass


@benchmark("500 pairs over 100 symbols in one call a batch, beside an engine a pair")
def board_engine(rounds: int) -> list[Result]:
    """The price of a pair and tick: one call for all, and what a lone engine takes."""
    ticks = market(TICKS)
    batches = np.array_split(ticks, TICKS // BATCH)
    board = Buffers()
    alone = engine()
    share = ticks[ticks["leg"] < 2]
    own = np.zeros(len(share), TICK)
    for name in TICK.names or ():
        own[name] = share[name]
    own = np.tile(own, 50)
    own["time_ns"] = np.sort(own["time_ns"])
    ours, theirs = [], []
    for round_ in range(rounds + 1):
        mine = seconds(lambda: [board.update(batch) for batch in batches])
        one = seconds(lambda: alone.update(own))
        if round_:  # the first fills windows and touches memory
            ours.append(mine * NS / (TICKS * PAIRS * 2 / SYMBOLS))
            theirs.append(one * NS / len(own))
    middle = rounds // 2
    mine_ns, one_ns = sorted(ours)[middle], sorted(theirs)[middle]
    return [
        of_two(
            "a pair and tick, beside a lone engine", mine_ns, one_ns, "engine", "ns",
            Wanted(ours_at_most=one_ns + 150.0), rounds, slower=True,
        )
    ]  # fmt: skip
