"""What is asked of the past, by the engine that answers live: `analyze`."""

from pairlab.research.analyze import analyze

__all__ = ["analyze"]
