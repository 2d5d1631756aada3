"""Many pairs at once: one feed, one call of the kernel a batch, one table.

::

    board           Board: the facade; asked_pairs reads what it is asked for
    runner          its tasks on the notebook's loop; board_pair is one pair as a lab
    group_source    feed= to a group of feeds; symbol_tasks runs one a symbol
    core            ticks of all symbols to rows of all pairs, without asyncio
    pair_pipeline   one pair's pipeline; slot_rows and tick_store are its memory
    board_klines    bars of before, each symbol asked for once
    rescan          every pair of the symbols scanned again at each bar
    board_table     a line a pair; board_alerts: the alerts of all pairs
    record          a recording a pair; the board over REST
"""

from pairlab.board.board import Board

__all__ = ["Board"]
