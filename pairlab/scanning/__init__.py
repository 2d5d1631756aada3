"""Scan of a universe: every pair tested at once, corrected, and compared with chance."""

from pairlab.scanning.breaks import BreakReport, monitor_break
from pairlab.scanning.result import ScanResult
from pairlab.scanning.scan import scan
from pairlab.scanning.sources.live import scan_live

__all__ = ["BreakReport", "ScanResult", "monitor_break", "scan", "scan_live"]
