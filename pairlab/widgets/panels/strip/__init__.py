"""The status bar: the feed in one indicator, the numbers that lead, and the legend."""
