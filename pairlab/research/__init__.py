"""Research on past prices with the live engine: `analyze`."""

from pairlab.research.analyze import analyze

__all__ = ["analyze"]
