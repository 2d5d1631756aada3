"""Rows and ticks in memory, as DataFrames and as CSV text."""
