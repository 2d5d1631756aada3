"""Former import path of `pairlab.local_exchange`, kept for code that uses it."""

from pairlab.local_exchange import *  # noqa: F403
from pairlab.local_exchange import __all__ as __all__

if __name__ == "__main__":
    from runpy import run_module

    run_module("pairlab.local_exchange", run_name="__main__")
