"""One live lab: the facade, the runner of its tasks, the pipeline from ticks to rows, queries."""

from pairlab.lab.pair_lab import PairLab

__all__ = ["PairLab"]
