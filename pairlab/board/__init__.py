"""Many pairs at once: one feed, one call of the kernel a batch, one table.

::

    board           Board: the facade
    runner          its tasks on the notebook's loop: feeds, engine start, rebuilds, rescans
    core            ticks of all symbols to rows of all pairs, without asyncio
    pair_pipeline   one pair's pipeline, in the memory of all
    slot_rows       rows that the kernel writes
    tick_store      ticks of all symbols, and a pair's share of them
    board_pair      one pair as a lab that every widget can show
"""

from pairlab.board.board import Board

__all__ = ["Board"]
