"""The protocol package stands alone, for services that speak it without an exchange."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_it_imports_no_market_and_no_server() -> None:
    code = (
        "import sys\n"
        "from pairlab.local_exchange.protocol import control, frames, messages, rest\n"
        "wrong = ('pairlab.local_exchange.server', 'pairlab.local_exchange.market')\n"
        "print([m for m in sys.modules if m.startswith(wrong)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
