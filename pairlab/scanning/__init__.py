"""Scan of a universe: every pair tested at once, corrected, and compared with chance."""

from pairlab.scanning.result import ScanResult
from pairlab.scanning.scan import scan

__all__ = ["ScanResult", "scan"]
