"""The command ``pairlab verify``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from pairlab.lab.verification.verify import verify

__all__ = ["add_verify_command"]


def add_verify_command(commands: Any) -> None:
    """Add ``verify`` to the subparsers of the command line."""
    parser = commands.add_parser(
        "verify",
        help="prove a recording: replay it and compare every row and alert, bit for bit",
        description="Replay a recording and compare every row and alert with those recorded, bit "
        "for bit. Exit status: 0 equal, 1 not.",
    )
    parser.add_argument("recording", metavar="RECORDING", help="a recording's folder")
    parser.add_argument("--json", action="store_true", help="print the certificate as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    found = verify(options.recording)
    print(json.dumps(found.to_dict(), indent=2) if options.json else found)
    sys.exit(0 if found.equal else 1)
