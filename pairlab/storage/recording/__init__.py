"""Recordings: a lab's ticks, rows, alerts and journal, kept while it runs, and read again."""
